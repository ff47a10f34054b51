package nvme

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"sync"
	"sync/atomic"

	"dfemu/devices"
)

// shifts are the LBA formats: the binary logarithm of their block size.
var shifts = [2]uint8{9, 12}

// Values of the Namespace Write Protection Config feature.
const (
	protectNone       = 0
	protectOn         = 1
	protectUntilPower = 2
)

// geometry is how a namespace is formatted.
type geometry struct {
	lbaf   uint8
	shift  uint8
	blocks uint64
}

// vectored is a store that moves several pieces at once.
type vectored interface {
	ReadVAt(bufs [][]byte, off int64) error
	WriteVAt(bufs [][]byte, off int64) error
}

// A namespace is a range of a store, made of logical blocks.
type namespace struct {
	sub    *Subsystem
	id     uint32
	csi    uint8
	shared bool
	store  devices.Block
	vec    vectored // the same, if it can
	base   int64    // bytes from the start of the store
	bytes  int64
	entry  *poolEntry // of those in the pool, guarded by Subsystem.mu
	eui    uint64
	nguid  [16]byte
	uuid   [16]byte

	automatic   bool            // attached to controllers that appear
	attachedIDs map[uint16]bool // guarded by Subsystem.mu

	geo     atomic.Pointer[geometry]
	protect atomic.Uint32
	// guard is held shared by commands, exclusively by a fused Compare and Write and by what changes the namespace as
	// a whole. gone and formatting say why it may not be used.
	guard      sync.RWMutex
	gone       atomic.Bool
	formatting atomic.Bool
	bad        badBlocks
	resv       reservations
	zones      *zoneSet // nil unless zoned
}

func (ns *namespace) geometry() *geometry { return ns.geo.Load() }

// readOnly tells whether writes are refused.
func (ns *namespace) readOnly() bool { return ns.store.ReadOnly() || ns.protect.Load() != protectNone }

// formatIndex returns the LBA format for a block size.
func formatIndex(size int) (uint8, error) {
	switch size {
	case 0, 512:
		return 0, nil
	case 4096:
		return 1, nil
	}
	return 0, fmt.Errorf("NVMe blocks of %d bytes: must be 512 or 4096", size)
}

// staticSpace makes the namespace of an option.
func (s *Subsystem) staticSpace(o *NamespaceOptions) (*namespace, error) {
	lbaf, err := formatIndex(o.BlockSize)
	if err != nil {
		return nil, err
	}
	ns := &namespace{
		sub: s, id: o.NSID, shared: o.Shared, store: o.Store, bytes: o.Store.Size(),
		eui: o.EUI64, nguid: o.NGUID, uuid: o.UUID, automatic: !o.Detached,
	}
	if ns.eui == 0 && ns.nguid == ([16]byte{}) {
		ns.eui = makeEUI(s.o.Serial, o.NSID)
	}
	if o.Zoned {
		ns.csi = csiZoned
		z := zoneLayout{Size: o.ZoneSize, Capacity: o.ZoneCapacity, MaxOpen: o.MaxOpen, MaxActive: o.MaxActive}
		defaultTo(&z.Size, 16<<20)
		defaultTo(&z.Capacity, z.Size)
		if err := ns.makeZones(z, lbaf); err != nil {
			return nil, err
		}
	}
	return ns, ns.prepare(lbaf)
}

// prepare completes a new namespace.
func (ns *namespace) prepare(lbaf uint8) error {
	ns.vec, _ = ns.store.(vectored)
	ns.attachedIDs = map[uint16]bool{}
	ns.setFormat(lbaf)
	if ns.geometry().blocks == 0 {
		return fmt.Errorf("NVMe namespace %d: its store of %d bytes has no room for a block", ns.id, ns.bytes)
	}
	return nil
}

// setFormat formats the namespace in memory.
func (ns *namespace) setFormat(lbaf uint8) {
	g := &geometry{lbaf: lbaf, shift: shifts[lbaf]}
	n := ns.bytes
	if ns.zones != nil {
		n = int64(len(ns.zones.zones)) * ns.zones.layout.Size
	}
	g.blocks = uint64(n) >> g.shift
	ns.geo.Store(g)
}

// makeEUI makes an identifier that is the same each time.
func makeEUI(serial string, nsid uint32) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d", serial, nsid)
	// 52-54-00 is a locally administered prefix.
	return 0x525400<<40 | h.Sum64()>>24
}

// inside tells whether a range of blocks is in the namespace.
func (g *geometry) inside(first, n uint64) bool { return first <= g.blocks && n <= g.blocks-first }

const reservationCapabilities = 0xfe // all types, and the newer meaning of Ignore Existing Key

// commonFormats fills in the part of Identify Namespace that is the same for all.
func commonFormats(b []byte) {
	b[25] = uint8(len(shifts) - 1) // NLBAF
	b[33] = 1 << 3                 // DLFEAT: Write Zeroes may deallocate
	for i, s := range shifts {
		b[128+4*i+2] = s
	}
	b[128+2] |= 0
	b[128+3] = 1 // relative performance: better
	b[128+7] = 0 // best
	b[31] = reservationCapabilities
	le.PutUint16(b[74:], copyMaxBlocks) // MSSRL
	le.PutUint32(b[76:], copyMaxTotal)  // MCL
	b[80] = copyMaxRanges - 1           // MSRC
}

// Limits of the command Copy.
const (
	copyMaxBlocks = 0xffff
	copyMaxTotal  = 1 << 20
	copyMaxRanges = 128
)

// identify is the Identify Namespace data structure (NVM command set, figure 97).
func (ns *namespace) identify(b []byte) {
	commonFormats(b)
	g := ns.geometry()
	capacity := g.blocks
	if z := ns.zones; z != nil {
		capacity = uint64(len(z.zones)) * uint64(z.layout.Capacity) >> g.shift
	}
	le.PutUint64(b[0:], g.blocks)
	le.PutUint64(b[8:], capacity)
	le.PutUint64(b[16:], capacity)
	b[26] = g.lbaf
	if ns.shared {
		b[30] = 1
	}
	le.PutUint64(b[48:], uint64(ns.bytes))
	if ns.readOnly() {
		b[99] = 1
	}
	copy(b[104:120], ns.nguid[:])
	for i := range 8 {
		b[120+i] = byte(ns.eui >> (56 - 8*i))
	}
}

// descriptors is the Namespace Identification Descriptor list.
func (ns *namespace) descriptors(b []byte) {
	add := func(kind byte, id []byte) {
		b[0], b[1] = kind, byte(len(id))
		copy(b[4:], id)
		b = b[4+len(id):]
	}
	if ns.eui != 0 {
		var e [8]byte
		for i := range e {
			e[i] = byte(ns.eui >> (56 - 8*i))
		}
		add(1, e[:])
	}
	if ns.nguid != ([16]byte{}) {
		add(2, ns.nguid[:])
	}
	if ns.uuid != ([16]byte{}) {
		add(3, ns.uuid[:])
	}
	add(4, []byte{ns.csi})
}

// setProtection changes the write protection state.
func (ns *namespace) setProtection(v uint32) status {
	switch {
	case v > protectOn:
		return invalidField // not offered in NWPC
	case ns.store.ReadOnly():
		return notChangeable
	}
	if v != protectNone && ns.flush() != nil {
		return internalError
	}
	ns.protect.Store(v)
	ns.sub.changed(ns.id, nil)
	return success
}

// flush makes what was written durable.
func (ns *namespace) flush() error {
	if ns.zones != nil {
		if err := ns.zones.persist(ns); err != nil {
			return err
		}
	}
	return ns.store.Flush()
}

// badBlocks are those marked by Write Uncorrectable.
type badBlocks struct {
	n  atomic.Int64 // ranges
	mu sync.Mutex
	// Ranges are sorted and do not touch each other.
	Ranges []blockRange
}

const maxBadRanges = 1 << 16

// mark adds a range; it reports false when there are too many.
func (b *badBlocks) mark(first, n uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut(first, n)
	if len(b.Ranges) >= maxBadRanges {
		return false
	}
	i := 0
	for i < len(b.Ranges) && b.Ranges[i].slba < first {
		i++
	}
	b.Ranges = append(b.Ranges[:i:i], append([]blockRange{{first, n}}, b.Ranges[i:]...)...)
	b.n.Store(int64(len(b.Ranges)))
	return true
}

// clear removes what is marked in a range.
func (b *badBlocks) clear(first, n uint64) {
	if b.n.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut(first, n)
}

func (b *badBlocks) cut(first, n uint64) {
	end := first + n
	var l []blockRange
	for _, r := range b.Ranges {
		e := r.slba + r.blocks
		if e <= first || r.slba >= end {
			l = append(l, r)
			continue
		}
		if r.slba < first {
			l = append(l, blockRange{r.slba, first - r.slba})
		}
		if e > end {
			l = append(l, blockRange{end, e - end})
		}
	}
	b.Ranges = l
	b.n.Store(int64(len(l)))
}

// hit tells whether a range has marked blocks.
func (b *badBlocks) hit(first, n uint64) bool {
	if b.n.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.Ranges {
		if r.slba < first+n && first < r.slba+r.blocks {
			return true
		}
	}
	return false
}

// log2 is the binary logarithm of a power of two, or -1.
func log2(n int64) int {
	if n <= 0 || n&(n-1) != 0 {
		return -1
	}
	return bits.TrailingZeros64(uint64(n))
}
