package nvme

import (
	"fmt"
	"hash/crc32"
	"sync"
)

// States of a zone (zoned namespaces, figure 3).
const (
	zoneEmpty         = 0x1
	zoneImplicit      = 0x2 // implicitly opened
	zoneExplicit      = 0x3 // explicitly opened
	zoneClosed        = 0x4
	zoneReadOnlyState = 0xd
	zoneFullState     = 0xe
	zoneOfflineState  = 0xf
)

// A zoneLayout is how a zoned namespace is divided.
type zoneLayout struct {
	Size, Capacity     int64 // bytes
	MaxOpen, MaxActive int   // 0: no limit
}

// A zone is one zone. WP counts blocks from the zone's start.
type zone struct {
	State uint8
	Ext   bool // a descriptor extension has been set
	// Finished by the controller; reset recommended … are never set here.
	WP uint64
}

// zoneExtension is the size in bytes of a zone descriptor extension.
const zoneExtension = 64

// A zoneSet is the zones of a namespace.
type zoneSet struct {
	layout zoneLayout
	tail   int64 // where in the namespace's bytes the table is kept

	mu      sync.Mutex
	zones   []zone
	ext     map[int][zoneExtension]byte
	open    int
	active  int
	dirty   bool
	changed []uint64 // start LBAs of zones changed without the host's doing
}

// The table of zones at the end of the store: a magic number, the CRC-32 of the
// rest, and 16 bytes for each zone: state, extension flag, write pointer.
const (
	zoneMagic  = "dfemuZNS"
	zoneHeader = 16
	zoneRecord = 16 + zoneExtension
)

func zoneTableSize(zones int64) int64 { return (zoneHeader + zones*zoneRecord + 4095) / 4096 * 4096 }

// makeZones divides the namespace into zones and loads their states.
func (ns *namespace) makeZones(l zoneLayout, lbaf uint8) error {
	s := shifts[lbaf]
	switch {
	case log2(l.Size) < int(s):
		return fmt.Errorf("NVMe namespace %d: zones of %d bytes: must be a power of two, at least one block", ns.id, l.Size)
	case l.Capacity <= 0 || l.Capacity > l.Size || l.Capacity%(1<<s) != 0:
		return fmt.Errorf("NVMe namespace %d: zone capacity of %d bytes: must be whole blocks, at most the zone size %d", ns.id, l.Capacity, l.Size)
	case l.MaxOpen < 0 || l.MaxActive < 0 || l.MaxActive > 0 && l.MaxOpen > l.MaxActive:
		return fmt.Errorf("NVMe namespace %d: limits of %d open and %d active zones: open must be at most active", ns.id, l.MaxOpen, l.MaxActive)
	}
	n := ns.bytes / l.Size
	for n > 0 && n*l.Size+zoneTableSize(n) > ns.bytes {
		n--
	}
	if n == 0 || n > 1<<20 {
		return fmt.Errorf("NVMe namespace %d: %d bytes make %d zones of %d bytes with their table; must be 1 to 1048576", ns.id, ns.bytes, n, l.Size)
	}
	z := &zoneSet{layout: l, tail: n * l.Size, zones: make([]zone, n), ext: map[int][zoneExtension]byte{}}
	for i := range z.zones {
		z.zones[i].State = zoneEmpty
	}
	ns.zones = z
	return z.load(ns, s)
}

// load reads the table. A store of zeroes has none: all zones are empty.
func (z *zoneSet) load(ns *namespace, shift uint8) error {
	b := make([]byte, zoneHeader+len(z.zones)*zoneRecord)
	if _, err := ns.store.ReadAt(b, ns.base+z.tail); err != nil {
		return fmt.Errorf("NVMe namespace %d: read the table of zones: %w", ns.id, err)
	}
	if string(b[:8]) != zoneMagic {
		return nil
	}
	if crc32.ChecksumIEEE(b[zoneHeader:]) != le.Uint32(b[8:]) || b[12] != shift {
		return fmt.Errorf("NVMe namespace %d: the table of zones at byte %d is damaged, or for another block size", ns.id, z.tail)
	}
	capacity := uint64(z.layout.Capacity) >> shift
	for i := range z.zones {
		p := b[zoneHeader+i*zoneRecord:]
		v := zone{State: p[0], Ext: p[1] != 0, WP: le.Uint64(p[8:])}
		switch v.State {
		case zoneImplicit, zoneExplicit:
			v.State = zoneClosed // as after a power cycle
		case zoneEmpty, zoneClosed, zoneReadOnlyState, zoneFullState, zoneOfflineState:
		default:
			return fmt.Errorf("NVMe namespace %d: zone %d has state %#x in its table", ns.id, i, v.State)
		}
		v.WP = min(v.WP, capacity)
		if v.Ext {
			z.ext[i] = [zoneExtension]byte(p[16:])
		}
		if v.State == zoneClosed {
			z.active++
		}
		z.zones[i] = v
	}
	return nil
}

// persist writes the table if it changed since.
func (z *zoneSet) persist(ns *namespace) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.dirty || ns.store.ReadOnly() {
		return nil
	}
	b := make([]byte, zoneHeader+len(z.zones)*zoneRecord)
	copy(b, zoneMagic)
	b[12] = ns.geometry().shift
	for i := range z.zones {
		p := b[zoneHeader+i*zoneRecord:]
		p[0] = z.zones[i].State
		if z.zones[i].Ext {
			p[1] = 1
			e := z.ext[i]
			copy(p[16:], e[:])
		}
		le.PutUint64(p[8:], z.zones[i].WP)
	}
	le.PutUint32(b[8:], crc32.ChecksumIEEE(b[zoneHeader:]))
	if _, err := ns.store.WriteAt(b, ns.base+z.tail); err != nil {
		return err
	}
	z.dirty = false
	return nil
}

// fits tells whether the zones can be formatted with another block size.
func (z *zoneSet) fits(shift uint8) bool {
	return z.layout.Capacity%(1<<shift) == 0 && z.layout.Size >= 1<<shift
}

// formatted makes all zones empty.
func (z *zoneSet) formatted() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for i := range z.zones {
		z.zones[i] = zone{State: zoneEmpty}
	}
	z.ext = map[int][zoneExtension]byte{}
	z.open, z.active, z.dirty = 0, 0, true
}

// size and capacity of a zone in blocks.
func (z *zoneSet) size(g *geometry) uint64     { return uint64(z.layout.Size) >> g.shift }
func (z *zoneSet) capacity(g *geometry) uint64 { return uint64(z.layout.Capacity) >> g.shift }

func isOpen(s uint8) bool   { return s == zoneImplicit || s == zoneExplicit }
func isActive(s uint8) bool { return isOpen(s) || s == zoneClosed }

// set changes a zone's state and keeps count. The caller holds mu.
func (z *zoneSet) set(i int, s uint8) {
	old := z.zones[i].State
	z.zones[i].State = s
	z.dirty = true
	count := func(n *int, was, is bool) {
		if was && !is {
			*n--
		} else if !was && is {
			*n++
		}
	}
	count(&z.open, isOpen(old), isOpen(s))
	count(&z.active, isActive(old), isActive(s))
}

// admit makes sure that a zone may be opened: the limits of open and active
// zones. An implicitly opened zone is closed if that helps. The caller holds mu.
func (z *zoneSet) admit(i int, opening bool) status {
	s := z.zones[i].State
	if !isActive(s) && z.layout.MaxActive > 0 && z.active >= z.layout.MaxActive {
		return tooManyActive
	}
	if !opening || isOpen(s) || z.layout.MaxOpen == 0 || z.open < z.layout.MaxOpen {
		return success
	}
	for k := range z.zones {
		if z.zones[k].State == zoneImplicit {
			z.set(k, zoneClosed)
			return success
		}
	}
	return tooManyOpen
}

// checkRead tells whether blocks may be read: offline zones cannot.
func (z *zoneSet) checkRead(ns *namespace, slba, n uint64) status {
	if n == 0 {
		return success
	}
	size := z.size(ns.geometry())
	z.mu.Lock()
	defer z.mu.Unlock()
	for i := slba / size; i <= (slba+n-1)/size; i++ {
		if z.zones[i].State == zoneOfflineState {
			return zoneOffline
		}
	}
	return success
}

// reserve admits a write of n blocks and moves the write pointer; at is where the
// blocks go.
func (z *zoneSet) reserve(ns *namespace, slba, n uint64, appending bool) (at uint64, st status) {
	g := ns.geometry()
	size, capacity := z.size(g), z.capacity(g)
	i := int(slba / size)
	start := uint64(i) * size
	z.mu.Lock()
	defer z.mu.Unlock()
	v := &z.zones[i]
	switch v.State {
	case zoneFullState:
		return 0, zoneFull
	case zoneReadOnlyState:
		return 0, zoneReadOnly
	case zoneOfflineState:
		return 0, zoneOffline
	}
	switch {
	case appending && slba != start:
		return 0, invalidField
	case appending:
		slba = start + v.WP
	case slba != start+v.WP:
		return 0, zoneInvalidWrite
	}
	if slba-start+n > capacity {
		return 0, zoneBoundary
	}
	if st := z.admit(i, true); st != success {
		return 0, st
	}
	if !isOpen(v.State) {
		z.set(i, zoneImplicit)
	}
	z.dirty = true
	if v.WP += n; v.WP == capacity {
		z.set(i, zoneFullState)
	}
	return slba, success
}

// changedPage is the Changed Zone List log (zoned namespaces, figure 44).
func (z *zoneSet) changedPage(retain bool) []byte {
	b := make([]byte, 4096)
	z.mu.Lock()
	defer z.mu.Unlock()
	le.PutUint16(b, uint16(len(z.changed)))
	for i, lba := range z.changed {
		le.PutUint64(b[8+8*i:], lba)
	}
	if !retain {
		z.changed = nil
	}
	return b
}

// identifyZones is Identify Namespace of the zoned command set (figure 48). z is
// nil for what is common to namespaces that may be created with zones of size bytes.
func identifyZones(b []byte, z *zoneSet, size int64) {
	limit := func(n int) uint32 {
		if n == 0 {
			return 0xffffffff
		}
		return uint32(n - 1)
	}
	mar, mor := uint32(0xffffffff), uint32(0xffffffff)
	if z != nil {
		size = z.layout.Size
		mar, mor = limit(z.layout.MaxActive), limit(z.layout.MaxOpen)
	}
	le.PutUint16(b[2:], 1) // OZCS: reads may cross zones
	le.PutUint32(b[4:], mar)
	le.PutUint32(b[8:], mor)
	for i, s := range shifts {
		le.PutUint64(b[2816+16*i:], uint64(size)>>s)
		b[2816+16*i+8] = zoneExtension / 64
	}
}
