// Package drivertest is what tests of drivers run them on: a host platform whose memory can run out, whose log can be
// waited for, and whose PCI functions have registers of a test.
package drivertest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
	"dfemu/kernel/kern/kerntest"
)

// Host is a kern.Host that a test looks into.
type Host struct {
	kern.Host
	K *kern.Kernel

	mu    sync.Mutex
	cond  *sync.Cond
	log   strings.Builder
	ints  []*kern.Interrupt
	alloc int             // allocations so far
	fail  map[int]bool    // those that fail
	out   map[uint64]bool // allocations that have not been freed
}

// New returns a host and the kernel on it.
func New() *Host {
	h := &Host{fail: map[int]bool{}, out: map[uint64]bool{}}
	h.cond = sync.NewCond(&h.mu)
	h.Host.Registers = map[uint64]kern.Registers{}
	h.K = kern.New(h)
	return h
}

// Console implements kern.Platform.
func (h *Host) Console(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log.Write(p)
	h.cond.Broadcast()
}

// Log is what the kernel has said.
func (h *Host) Log() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// Patience is how long tests wait for what must come.
const Patience = 20 * time.Second

// Await waits until the kernel has said something.
func (h *Host) Await(t *testing.T, text string) {
	t.Helper()
	late := time.AfterFunc(Patience, h.cond.Broadcast)
	defer late.Stop()
	end := time.Now().Add(Patience)
	h.mu.Lock()
	defer h.mu.Unlock()
	for !strings.Contains(h.log.String(), text) {
		if time.Now().After(end) {
			t.Fatalf("the log lacks %q:\n%s", text, h.log.String())
		}
		h.cond.Wait()
	}
}

// NewInterrupt implements kern.Platform.
func (h *Host) NewInterrupt(cpu int) (*kern.Interrupt, error) {
	i, err := h.Host.NewInterrupt(cpu)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ints = append(h.ints, i)
	}
	return i, err
}

// Raise sends the n-th interrupt that was allocated, if it was.
func (h *Host) Raise(n int) {
	h.mu.Lock()
	var i *kern.Interrupt
	if n < len(h.ints) {
		i = h.ints[n]
	}
	h.mu.Unlock()
	if i != nil {
		i.Raise(h.K)
	}
}

// RaiseMessage sends the interrupt of a message, if there is one.
func (h *Host) RaiseMessage(data uint32) {
	h.mu.Lock()
	var found *kern.Interrupt
	for _, i := range h.ints {
		if i.Data == data {
			found = i
		}
	}
	h.mu.Unlock()
	if found != nil {
		found.Raise(h.K)
	}
}

// FailAlloc makes the n-th allocation of memory from now on fail, the first being number 1.
func (h *Host) FailAlloc(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail[h.alloc+n] = true
}

// Allocs is how many allocations there have been, and how many were not freed.
func (h *Host) Allocs() (all, kept int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.alloc, len(h.out)
}

// ErrMemory is how an allocation fails that is to.
var ErrMemory = errors.New("allocate DMA memory: as the test wants")

// AllocDMA implements kern.Platform.
func (h *Host) AllocDMA(size, align int, limit uint64) (kern.DMA, error) {
	h.mu.Lock()
	h.alloc++
	fail := h.fail[h.alloc]
	h.mu.Unlock()
	if fail {
		return kern.DMA{}, ErrMemory
	}
	d, err := h.Host.AllocDMA(size, align, limit)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.out[d.Phys] = true
	}
	return d, err
}

// FreeDMA implements kern.Platform.
func (h *Host) FreeDMA(d kern.DMA) {
	if len(d.Bytes) == 0 {
		return
	}
	h.mu.Lock()
	if !h.out[d.Phys] {
		h.mu.Unlock()
		panic("drivertest: memory is freed that is not allocated")
	}
	delete(h.out, d.Phys)
	h.mu.Unlock()
	h.Host.FreeDMA(d)
}

// Function is a PCI function with a class code, whose BAR number bar has the registers, and with a single
// message as interrupt.
func (h *Host) Function(class uint32, bar int, regs kern.Registers) *pci.Device {
	const base, command, barAt, capPtr, msi = 0xfe000000, 4, 0x10, 0x34, 0x50
	h.Host.Registers[base] = regs
	c := kerntest.NewSpace(4096)
	c.Mask = bytes.Repeat([]byte{0xff}, 4096)
	c.Put(0, 0x12345678)
	c.Put(8, class<<8)
	c.Put(barAt+4*bar, base)
	c.Put(command, 1<<(16+4)) // a list of capabilities
	c.Put(capPtr, msi)
	c.Put(msi, 5|1<<(16+7)) // 64-bit MSI
	size := uint32(regs.Size())
	for size&(size-1) != 0 {
		size += size & -size
	}
	for _, at := range []int{0, 8, capPtr} {
		c.Allow(at, 0)
	}
	c.Allow(command, 0xffff)
	for i := range 6 {
		c.Allow(barAt+4*i, 0)
	}
	c.Allow(barAt+4*bar, -size)
	return pci.NewDevice(h.K, pci.Address{Slot: 1}, c)
}
