package balloon

import "dfemu/devices"

// Feature bits (Virtual I/O Device 1.2, section 5.5.3).
const (
	featureStats        = 1 << 1
	featureDeflateOnOOM = 1 << 2
	featurePoison       = 1 << 4
	featureReporting    = 1 << 5
)

var featureNames = map[uint64]string{
	1 << 0: "MUST_TELL_HOST", featureStats: "STATS_VQ", featureDeflateOnOOM: "DEFLATE_ON_OOM", 1 << 3: "FREE_PAGE_HINT",
	featurePoison: "PAGE_POISON", featureReporting: "PAGE_REPORTING",
}

// Queues (section 5.5.2). Linux counts only those that exist: without free page hints, which this
// device does not have, its queue for reports is the one before.
const (
	queueInflate = 0
	queueDeflate = 1
	queueStats   = 2
	queueHints   = 3
	queueReport  = 4
	queues       = 5
)

// Rows of the device configuration (section 5.5.4).
const (
	regNumPages = iota
	regActual
	regHintID
	regPoison
)

const configSize = 16

// configRegisters is the table of the device configuration.
var configRegisters = devices.NewBank("virtio balloon", []devices.Register{
	regNumPages: {Offset: 0, Size: 4, Name: "num_pages", Rights: devices.RO},
	regActual:   {Offset: 4, Size: 4, Name: "actual"},
	regHintID:   {Offset: 8, Size: 4, Name: "free_page_hint_cmd_id", Rights: devices.RO},
	regPoison:   {Offset: 12, Size: 4, Name: "poison_val"},
}).With(devices.Rules{Clause: "virtio 1.2, 5.5.4"})

// What requests are called, for watchers.
const (
	opInflate = iota
	opDeflate
	opStats
	opReport
)

var opNames = [...]string{"INFLATE", "DEFLATE", "STATS", "REPORT"}

const (
	pageSize  = 4096
	maxPages  = 64 << 10 // in one request
	statSize  = 10       // tag[2] value[8]
	maxStats  = 64       // in one buffer
	statKinds = 16
)

// statNames are the statistics of section 5.5.6.4, by tag, as QEMU calls them.
var statNames = [statKinds]string{
	"stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory", "stat-total-memory",
	"stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
}
