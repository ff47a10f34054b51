package perf

import (
	"encoding/binary"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Config says what a Collector collects.
type Config struct {
	CPUs   int           // logical processors
	Period time.Duration // between two samples of a processor that executes
	// Kernel has the names of what runs in kernel mode, Programs those of user mode. They may be
	// missing.
	Kernel   *Object
	Programs []*Object
}

// Collector takes samples from processors. Its methods Sample and Exit are called
// on the goroutine of the processor they are about, the others from any.
type Collector struct {
	cfg    Config
	shards []shard
	slide  slide
}

// slide is how far the kernel is from where it is linked.
type slide struct {
	mu     sync.Mutex
	value  atomic.Uint64
	known  atomic.Bool
	misses uint // samples in which the kernel was not where it was last
}

// Limits of what is kept for one processor, against guests that make as many
// different stacks as they can. What is beyond is counted, not told apart.
const (
	maxStacks = 1 << 17
	maxExits  = 1 << 15
)

// searchEvery is how many samples pass between two searches for a kernel that was not found.
const searchEvery = 32

// shard is what is collected about one processor.
type shard struct {
	mu      sync.Mutex
	stacks  map[string]uint64 // by encoded stack
	exits   map[exitKey]uint64
	samples uint64
	lost    uint64
	locator locator
	stack   []location // scratch
	key     []byte     // scratch
}

// space is whose an address is.
type space uint8

const (
	inBoot    space = iota // kernel mode, outside of the kernel: firmware, boot loaders
	inReal                 // 16-bit code, whose addresses are offsets
	inKernel               // the kernel, as linked
	inHigh                 // kernel mode, high addresses, before it was known where the kernel is
	inUser                 // user mode, of no known program
	inProgram              // the first program, as linked; then the others
)

// location is one frame of a stack.
type location struct {
	space space
	addr  uint64
}

// Cause is what made a processor leave the guest: an access to a port or to memory that is a device's.
type Cause struct {
	Port  bool   // a port, not memory
	Write bool   // a write, not a read
	Name  string // what answers
}

type exitKey struct {
	cause Cause
	rip   uint64
}

// maxPrograms bounds the programs of a Collector by the numbers of their spaces.
const maxPrograms = 255 - int(inProgram)

// NewCollector returns a collector for a machine that is to be run.
func NewCollector(cfg Config) *Collector {
	cfg.Programs = cfg.Programs[:min(len(cfg.Programs), maxPrograms)]
	c := &Collector{cfg: cfg, shards: make([]shard, cfg.CPUs)}
	for i := range c.shards {
		c.shards[i].stacks = map[string]uint64{}
		c.shards[i].exits = map[exitKey]uint64{}
		c.shards[i].locator.programs = cfg.Programs
	}
	return c
}

// SetKernel replaces Config.Kernel, before the machine runs.
func (c *Collector) SetKernel(o *Object) { c.cfg.Kernel = o }

// Sample takes a sample of processor id; see [cpu.Config].
func (c *Collector) Sample(id int, s *cpu.Sample) {
	if id < 0 || id >= len(c.shards) {
		return
	}
	h := &c.shards[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stack = c.walk(h, s, h.stack[:0])
	h.key = append(h.key[:0], min(s.CPL, 3))
	for _, l := range h.stack {
		h.key = append(h.key, byte(l.space))
		h.key = binary.LittleEndian.AppendUint64(h.key, l.addr)
	}
	h.samples++
	if _, ok := h.stacks[string(h.key)]; !ok && len(h.stacks) >= maxStacks {
		h.lost++
		return
	}
	h.stacks[string(h.key)]++
}

// Exit tells of an access that processor id made at rip.
func (c *Collector) Exit(id int, rip uint64, cause Cause) {
	if id < 0 || id >= len(c.shards) {
		return
	}
	h := &c.shards[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	k := exitKey{cause, rip}
	if _, ok := h.exits[k]; !ok && len(h.exits) >= maxExits {
		k = exitKey{cause: Cause{Name: "others"}}
	}
	h.exits[k]++
}

// walk appends the stack of a sample, beginning with where it is.
func (c *Collector) walk(h *shard, s *cpu.Sample, stack []location) []location {
	if s.Mode == x86.Mode16 {
		return append(stack, location{inReal, s.RIP})
	}
	read := reader(s.Read)
	f := first(s)
	if !f.user && f.ip >= highHalf {
		c.findKernel(read)
	}
	add := func(f frame) bool {
		stack = append(stack, c.place(h, read, s, f))
		return len(stack) < maxDepth
	}
	add(f)
	if f.user {
		callers(read, f, s.Mode, c.begin(stack[0], f.ip), add)
		return stack
	}
	k := c.cfg.Kernel
	if k == nil || k.orc == nil {
		callers(read, f, s.Mode, c.begin(stack[0], f.ip), add)
		return stack
	}
	for stack[len(stack)-1].space == inKernel {
		next, ok := k.orc.step(read, f, c.slide.value.Load())
		if !ok || !next.user && next.ip < highHalf {
			break
		}
		f = next
		if !add(f) {
			break
		}
		if f.user {
			callers(read, f, x86.Mode64, c.begin(stack[len(stack)-1], f.ip), add)
			break
		}
	}
	return stack
}

// begin returns where in memory the function at a place begins, 0 if it is not known. ip is where the place is in
// memory.
func (c *Collector) begin(l location, ip uint64) uint64 {
	o := c.object(l.space)
	if o == nil {
		return 0
	}
	f, ok := o.Lookup(l.addr)
	if !ok {
		return 0
	}
	return ip - (l.addr - f.Addr)
}

// object returns the file that a space is of, nil if there is none.
func (c *Collector) object(s space) *Object {
	switch {
	case s == inKernel:
		return c.cfg.Kernel
	case s >= inProgram && int(s-inProgram) < len(c.cfg.Programs):
		return c.cfg.Programs[s-inProgram]
	}
	return nil
}

// place tells whose code a frame is in. Addresses that a call returns to become those of the call.
func (c *Collector) place(h *shard, read reader, s *cpu.Sample, f frame) location {
	back := uint64(1)
	if f.exact {
		back = 0
	}
	if f.user {
		if i, link, ok := h.locator.locate(read, s.CR3, f.ip); ok {
			return location{inProgram + space(i), link - back}
		}
		return location{inUser, f.ip - back}
	}
	k := c.cfg.Kernel
	switch {
	case k == nil:
	case k.fixed() || c.slide.known.Load():
		link := f.ip - c.slide.value.Load()
		if from, to := k.span(); link >= from && link < to {
			return location{inKernel, link - back}
		}
		if link, ok := k.fromPhysical(f.ip); ok {
			return location{inKernel, link - back}
		}
	default:
		if link, ok := k.fromPhysical(f.ip); ok {
			return location{inKernel, link - back}
		}
	}
	if f.ip >= highHalf {
		return location{inHigh, f.ip - back}
	}
	return location{inBoot, f.ip - back}
}

// fixed reports whether a kernel is certain to be where it is linked.
func (o *Object) fixed() bool { return o.physical || o.anchor.text == nil }

// fromPhysical returns the linked address of code at a physical address.
func (o *Object) fromPhysical(pa uint64) (uint64, bool) {
	if !o.physical {
		return 0, false
	}
	for i := range o.segments {
		s := &o.segments[i]
		if s.exec && pa-s.paddr < s.memsz {
			return s.vaddr + (pa - s.paddr), true
		}
	}
	return 0, false
}

// findKernel looks where the kernel is. After a reset it may be somewhere else.
func (c *Collector) findKernel(read reader) {
	k := c.cfg.Kernel
	if k == nil || k.fixed() {
		return
	}
	s := &c.slide
	if s.known.Load() && k.anchor.at(read, s.value.Load()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Before paging is set up, and where the tables are those of user mode, it is nowhere to be found; looking takes
	// a while, so it is not done each time.
	if s.misses++; s.misses&(s.misses-1) != 0 && s.misses%searchEvery != 0 {
		return
	}
	if v, ok := k.anchor.find(read, s.value.Load()); ok {
		s.value.Store(v)
		s.known.Store(true)
		s.misses = 0
	}
}

// Slide returns how far the kernel has moved itself from where it is linked, and whether that is known.
func (c *Collector) Slide() (uint64, bool) {
	k := c.cfg.Kernel
	return c.slide.value.Load(), k != nil && (k.fixed() || c.slide.known.Load())
}

// take returns what has been collected about a processor.
func (h *shard) take() (stacks map[string]uint64, exits map[exitKey]uint64, samples, lost uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.stacks), maps.Clone(h.exits), h.samples, h.lost
}
