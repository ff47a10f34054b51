package net

import "dfemu/devices"

// Feature bits (Virtual I/O Device 1.2, section 5.1.3).
const (
	featureCsum             = 1 << 0
	featureGuestCsum        = 1 << 1
	featureCtrlGuestOffload = 1 << 2
	featureMTU              = 1 << 3
	featureMAC              = 1 << 5
	featureGuestTSO4        = 1 << 7
	featureGuestTSO6        = 1 << 8
	featureGuestECN         = 1 << 9
	featureHostTSO4         = 1 << 11
	featureHostTSO6         = 1 << 12
	featureHostECN          = 1 << 13
	featureMrgRxbuf         = 1 << 15
	featureStatus           = 1 << 16
	featureCtrlVQ           = 1 << 17
	featureCtrlRx           = 1 << 18
	featureCtrlVLAN         = 1 << 19
	featureCtrlRxExtra      = 1 << 20
	featureGuestAnnounce    = 1 << 21
	featureMQ               = 1 << 22
	featureCtrlMACAddr      = 1 << 23
	featureGuestUSO4        = 1 << 54
	featureGuestUSO6        = 1 << 55
	featureHostUSO          = 1 << 56
	featureSpeedDuplex      = 1 << 63
)

// guestOffloads are the features that CTRL_GUEST_OFFLOADS_SET may turn on and off
// (section 5.1.6.5.8).
const guestOffloads = featureGuestCsum | featureGuestTSO4 | featureGuestTSO6 | featureGuestECN | featureGuestUSO4 | featureGuestUSO6

// Rows of the device configuration (section 5.1.4).
const (
	regMAC = iota
	regStatus
	regMaxPairs
	regMTU
	regSpeed
	regDuplex
)

const configSize = 0x11

// configRegisters is the table of the device-specific configuration.
var configRegisters = devices.NewBank("virtio net config", []devices.Register{
	regMAC: {Offset: 0x00, Size: 1, Name: "mac", Rights: devices.RO, Count: 6, Stride: 1},
	regStatus: {Offset: 0x06, Size: 2, Name: "status", Rights: devices.RO, Fields: []devices.Field{
		{Name: "VIRTIO_NET_S_LINK_UP", Lo: 0, Hi: 0}, {Name: "VIRTIO_NET_S_ANNOUNCE", Lo: 1, Hi: 1},
	}},
	regMaxPairs: {Offset: 0x08, Size: 2, Name: "max_virtqueue_pairs", Rights: devices.RO},
	regMTU:      {Offset: 0x0a, Size: 2, Name: "mtu", Rights: devices.RO},
	regSpeed:    {Offset: 0x0c, Size: 4, Name: "speed", Rights: devices.RO},
	regDuplex:   {Offset: 0x10, Size: 1, Name: "duplex", Rights: devices.RO},
}).With(devices.Rules{Clause: "virtio 1.2, 5.1.4"})

// Bits of the configuration's status.
const (
	statusLinkUp   = 1
	statusAnnounce = 2
)

// Offsets in the header that precedes each frame (section 5.1.6).
const (
	hdrFlags      = 0  // 8 bits
	hdrGSOType    = 1  // 8 bits
	hdrHdrLen     = 2  // 16 bits each from here on
	hdrGSOSize    = 4  //
	hdrCsumStart  = 6  //
	hdrCsumOffset = 8  //
	hdrNumBuffers = 10 //
	hdrSize       = 12
)

// Classes and commands of the control queue (section 5.1.6.5).
const (
	classRx       = 0
	rxPromisc     = 0
	rxAllMulti    = 1
	rxAllUni      = 2
	rxNoMulti     = 3
	rxNoUni       = 4
	rxNoBcast     = 5
	classMAC      = 1
	macTableSet   = 0
	macAddrSet    = 1
	classVLAN     = 2
	vlanAdd       = 0
	vlanDel       = 1
	classAnnounce = 3
	announceAck   = 0
	classMQ       = 4
	mqPairsSet    = 0
	classOffloads = 5
	offloadsSet   = 0

	ackOK  = 0
	ackErr = 1
)

// Codes of frames for traces and faults; control commands have class<<8 | command.
const (
	OpTransmit = 0x10000
	OpReceive  = 0x10001
)

const (
	macSize      = 6
	minFrame     = 14 // an Ethernet header
	ethernetMTU  = 1500
	maxFrame     = 14 + 4 + 65535
	maxPairs     = 64
	maxMACs      = 64 // in the filter table; more turn it into a pass for all
	batchSize    = 64 // frames handled at a time
	defaultQueue = 1024
)
