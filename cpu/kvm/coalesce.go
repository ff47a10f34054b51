//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"fmt"
	"sync"

	"dfemu/cpu"
)

// ring is where KVM collects writes to coalesced zones: a page that all
// processors share, with the indices of the first and of the free entry.
type ring struct {
	mu   sync.Mutex
	used bool // a zone has been registered
	page []byte
}

// Layout of the page.
const (
	ringFirst   = 0
	ringLast    = 4
	ringEntries = 8
	ringEntry   = 24 // address, length, whether a port, 8 bytes of data
)

// Coalesce makes writes to a zone wait in the kernel until a processor stops
// for some other reason or the ring is full. It is for registers that
// are written often and to no effect that the guest could miss, such as a
// frame buffer's. It must be called before any processor runs. Reads of the zone still
// reach the bus, after the writes.
func (a *Accel) Coalesce(port bool, addr uint64, size uint32) error {
	if a.ring.page == nil || port && !a.caps.coalesceIO {
		return fmt.Errorf("kvm: coalesced writes: %w", ErrUnsupported)
	}
	z := &zone{Addr: addr, Size: size}
	if port {
		z.Port = 1
	}
	if _, err := ioctl(a.vm, ioctlRegisterCoalesced, z); err != nil {
		return fmt.Errorf("kvm: coalesce writes at %#x: %w", addr, err)
	}
	a.ring.used = true
	return nil
}

// drain makes the writes that have been collected.
func (r *ring) drain(bus cpu.Bus) {
	if !r.used {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := uint32(len(r.page)-ringEntries) / ringEntry
	for {
		first := loadAcquire(r.page[ringFirst:])
		if first == loadAcquire(r.page[ringLast:]) || first >= n {
			return
		}
		e := r.page[ringEntries+first*ringEntry:][:ringEntry]
		addr, size, port := binary.NativeEndian.Uint64(e), int(binary.NativeEndian.Uint32(e[8:])), e[12] != 0
		data := binary.NativeEndian.Uint64(e[16:])
		switch {
		case size < 1 || size > 8:
		case port:
			bus.Out(uint16(addr), size, uint32(data)&uint32(1<<(8*size)-1))
		default:
			writeBus(bus, addr, size, data)
		}
		storeRelease(r.page[ringFirst:], (first+1)%n)
	}
}
