package virtio

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"dfemu/devices"
)

// The words that driver and device exchange in a ring are accessed with
// sync/atomic, which orders them against the plain accesses around them: what
// the driver wrote before it published an index is visible after the index was
// loaded, and what the device wrote before storing one likewise. All are
// sequentially consistent, so that a device that stores an index and then loads
// the other side's event word cannot miss what the driver stored before it
// loaded that index.
//
// Invariants: a shared is guest RAM that stays mapped until the machine is
// closed; newShared has checked that it starts at a multiple of 4 in the host's
// address space, load and store that the word is inside. The host is
// little-endian, like the guest.

// shared is a piece of guest RAM whose words both sides access.
type shared struct {
	b    []byte
	addr uint64 // guest-physical
}

var errUnaligned = errors.New("guest RAM is not aligned in the host's memory")

// newShared returns the n bytes at addr, widened to whole words of 4 bytes;
// skip is how far addr is from its start. RAM consists of whole pages, so
// widening cannot leave it.
func newShared(m devices.Memory, addr uint64, n int) (s shared, skip int, err error) {
	skip = int(addr & 3)
	n = (skip + n + 3) &^ 3
	b, err := m.View(addr-uint64(skip), n)
	if err != nil {
		return shared{}, 0, err
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))&3 != 0 {
		return shared{}, 0, errUnaligned
	}
	return shared{b, addr - uint64(skip)}, skip, nil
}

func (s shared) word(off int) *uint32 {
	w := s.b[off : off+4 : off+4]
	return (*uint32)(unsafe.Pointer(unsafe.SliceData(w)))
}

// load32 loads the word at off, a multiple of 4.
func (s shared) load32(off int) uint32 { return atomic.LoadUint32(s.word(off)) }

// store32 stores the word at off, a multiple of 4.
func (s shared) store32(off int, v uint32) { atomic.StoreUint32(s.word(off), v) }

// load16 loads the half word at off, a multiple of 2.
func (s shared) load16(off int) uint16 {
	return uint16(s.load32(off&^3) >> (8 * (off & 2)))
}

// store16 stores the half word at off, a multiple of 2, and leaves its
// neighbour alone, which may be the driver's.
func (s shared) store16(off int, v uint16) {
	p, shift := s.word(off&^3), 8*(off&2)
	for {
		old := atomic.LoadUint32(p)
		if atomic.CompareAndSwapUint32(p, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}
