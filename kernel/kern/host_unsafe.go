package kern

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Invariant of the unsafe code: a slice of words is seen as its bytes, never longer.

// Host is a Platform on a development machine, for tests: threads are goroutines, priorities
// mean nothing, and physical addresses are made up.
type Host struct {
	// Out receives the console; nil discards it.
	Out io.Writer
	// Registers are found by MapRegisters at their physical addresses.
	Registers map[uint64]Registers
	// Room is what Available says, in bytes; 0 is plenty.
	Room int64

	start   time.Time
	once    sync.Once
	mu      sync.Mutex
	waiters map[*atomic.Uint32][]chan struct{}
	next    uint64
	memory  map[uint64][]byte
	tokens  map[*Token]*holder
	pins    map[uint32]*Interrupt
	low     atomic.Uint32
}

func (h *Host) init() {
	h.once.Do(func() {
		h.start = time.Now()
		h.waiters = map[*atomic.Uint32][]chan struct{}{}
		h.memory = map[uint64][]byte{}
		h.tokens = map[*Token]*holder{}
		h.pins = map[uint32]*Interrupt{}
		h.next = 1 << 20
	})
}

// CPUs implements Platform.
func (h *Host) CPUs() int { return 2 }

// CPU implements Platform.
func (h *Host) CPU() int { return 0 }

// Now implements Platform.
func (h *Host) Now() time.Duration {
	h.init()
	return time.Since(h.start)
}

// StartThread implements Platform.
func (h *Host) StartThread(_ ThreadAttr, f func()) { go f() }

// Wait implements Platform.
func (h *Host) Wait(addr *atomic.Uint32, val uint32, timeout time.Duration) bool {
	h.init()
	h.mu.Lock()
	if addr.Load() != val {
		h.mu.Unlock()
		return true
	}
	c := make(chan struct{})
	h.waiters[addr] = append(h.waiters[addr], c)
	h.mu.Unlock()
	if timeout < 0 {
		<-c
		return true
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, w := range h.waiters[addr] {
		if w == c {
			h.waiters[addr] = append(h.waiters[addr][:i:i], h.waiters[addr][i+1:]...)
			return false
		}
	}
	return true
}

// Wake implements Platform.
func (h *Host) Wake(addr *atomic.Uint32, n int) {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.waiters[addr]
	if n < 1 || n > len(w) {
		n = len(w)
	}
	for _, c := range w[:n] {
		close(c)
	}
	if n == len(w) {
		delete(h.waiters, addr)
	} else {
		h.waiters[addr] = w[n:]
	}
}

// AllocDMA implements Platform.
func (h *Host) AllocDMA(size, align int, limit uint64) (DMA, error) {
	h.init()
	if size <= 0 || align < 0 || align&(align-1) != 0 {
		return DMA{}, errors.New("allocate DMA memory: size must be positive and alignment a power of two")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := uint64(max(align, 4096))
	h.next = (h.next + a - 1) &^ (a - 1)
	// Words are accessed atomically: the memory is aligned to them.
	words := make([]uint64, (size+7)/8)
	d := DMA{h.next, unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:size]}
	if limit != 0 && d.Phys+uint64(size) > limit {
		return DMA{}, errors.New("allocate DMA memory: none below the limit")
	}
	h.next += uint64(size)
	h.memory[d.Phys] = d.Bytes
	return d, nil
}

// Available implements Platform: it is Room.
func (h *Host) Available() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Room == 0 {
		return 1 << 40
	}
	return h.Room
}

// SetRoom changes Room while the kernel runs.
func (h *Host) SetRoom(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Room = n
}

// WaitLowMemory implements Platform: it waits for LowMemory.
func (h *Host) WaitLowMemory(timeout time.Duration) bool {
	return h.low.Swap(0) != 0 || h.Wait(&h.low, 0, timeout) && h.low.Swap(0) != 0
}

// LowMemory has the kernel believe that little memory is left.
func (h *Host) LowMemory() {
	h.low.Store(1)
	h.Wake(&h.low, 0)
}

// FreeDMA implements Platform.
func (h *Host) FreeDMA(d DMA) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.memory, d.Phys)
}

// Memory returns n bytes at a physical address that AllocDMA has given out, as a device model needs
// them; nil if they are not in one allocation.
func (h *Host) Memory(phys uint64, n int) []byte {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	for base, b := range h.memory {
		if phys >= base && phys-base <= uint64(len(b)) && uint64(n) <= uint64(len(b))-(phys-base) {
			return b[phys-base:][:n:n]
		}
	}
	return nil
}

// MapRegisters implements Platform.
func (h *Host) MapRegisters(phys, size uint64) (Registers, error) {
	if r, ok := h.Registers[phys]; ok && r.Size() >= size {
		return r, nil
	}
	return nil, errors.New("map registers: there are none at this address")
}

// NewInterrupt implements Platform. Tests call its Raise.
func (h *Host) NewInterrupt(cpu int) (*Interrupt, error) {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next += 4096
	return &Interrupt{Addr: 0xfee00000, Data: uint32(h.next >> 12), CPU: max(cpu, 0)}, nil
}

// NewPin implements Platform. Tests find it by Pin.
func (h *Host) NewPin(gsi uint32, cpu int) (*Interrupt, error) {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pins[gsi] != nil {
		return nil, errors.New("the pin is in use")
	}
	i := &Interrupt{CPU: max(cpu, 0), Rearm: func() {}}
	h.pins[gsi] = i
	return i, nil
}

// Pin returns what NewPin has made for a global system interrupt, or nil.
func (h *Host) Pin(gsi uint32) *Interrupt {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pins[gsi]
}

// holder is who has a token on a Host.
type holder struct {
	excl   string // goroutine
	depth  int    // its holds
	shared int    // holds of others
}

// goroutine names the calling goroutine, from the first line of its trace.
func goroutine() string {
	var b [64]byte
	f := strings.Fields(string(b[:runtime.Stack(b[:], false)]))
	return f[1]
}

// GetToken implements Platform. On a Host a thread that blocks keeps its tokens.
func (h *Host) GetToken(t *Token, mode TokenMode) {
	for !h.TryToken(t, mode) {
		runtime.Gosched()
	}
}

// TryToken implements Platform.
func (h *Host) TryToken(t *Token, mode TokenMode) bool {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.tokens[t]
	if o == nil {
		o = &holder{}
		h.tokens[t] = o
	}
	me := goroutine()
	switch {
	case o.excl == me:
		o.depth++
	case o.excl != "":
		return false
	case mode == Shared:
		o.shared++
	case o.shared > 0:
		return false
	default:
		o.excl, o.depth = me, 1
	}
	return true
}

// ReleaseToken implements Platform.
func (h *Host) ReleaseToken(t *Token) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.tokens[t]
	if o == nil || o.depth == 0 && o.shared == 0 {
		panic("kern: a token is released that nobody holds")
	}
	if o.depth == 0 {
		o.shared--
	} else if o.depth--; o.depth == 0 {
		o.excl = ""
	}
}

// CritEnter implements Platform.
func (h *Host) CritEnter() {}

// CritExit implements Platform.
func (h *Host) CritExit() {}

// SendPassive implements Platform.
func (h *Host) SendPassive(_ int, flag *atomic.Uint32) { flag.Store(1) }

// Migrate implements Platform.
func (h *Host) Migrate(int) {}

// Console implements Platform.
func (h *Host) Console(p []byte) {
	if h.Out != nil {
		// A console that cannot be written has nowhere to say so.
		_, _ = h.Out.Write(p)
	}
}
