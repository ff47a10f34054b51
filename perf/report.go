package perf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"dfemu/cpu"
)

// Run is what is known of a run besides its samples.
type Run struct {
	Accel   string // what executed the guest
	Start   time.Time
	Elapsed time.Duration
	Stats   []cpu.Stats // of each processor
}

// Report is what came of a run. It does not change.
type Report struct {
	Run
	Period  time.Duration
	Samples uint64 // how many were taken
	Lost    uint64 // how many of them are in no stack, because there were too many different ones
	// Slide is how far the kernel had moved itself from where it is linked.
	Slide      uint64
	SlideKnown bool

	stacks []stack
	exits  []exit
	kernel *Object
	progs  []*Object
}

// stack is samples that have the processor, the privilege level and all frames in common.
type stack struct {
	cpu    int
	cpl    uint8
	frames []resolved
	n      uint64
}

// exit is accesses of one processor at one place for one cause.
type exit struct {
	cpu   int
	cause Cause
	at    resolved
	n     uint64
}

// resolved is a location and its function.
type resolved struct {
	location
	fn  Symbol
	obj *Object // nil where fn was made up
}

// Report returns what was collected so far.
func (c *Collector) Report(run Run) *Report {
	r := &Report{Run: run, Period: c.cfg.Period, kernel: c.cfg.Kernel, progs: c.cfg.Programs}
	r.Slide, r.SlideKnown = c.Slide()
	for id := range c.shards {
		stacks, exits, samples, lost := c.shards[id].take()
		r.Samples += samples
		r.Lost += lost
		for key, n := range stacks {
			s := stack{cpu: id, cpl: key[0], n: n}
			for p := []byte(key[1:]); len(p) > 0; p = p[9:] {
				s.frames = append(s.frames, c.resolve(location{space(p[0]), binary.LittleEndian.Uint64(p[1:])}))
			}
			r.stacks = append(r.stacks, s)
		}
		for k, n := range exits {
			at := location{inBoot, k.rip}
			if k.rip >= highHalf {
				at.space = inHigh
			}
			r.exits = append(r.exits, exit{id, k.cause, c.resolve(at), n})
		}
	}
	// The order of maps is none.
	slices.SortFunc(r.stacks, func(a, b stack) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.cpu, b.cpu), cmp.Compare(a.cpl, b.cpl),
			slices.CompareFunc(a.frames, b.frames, func(x, y resolved) int {
				return cmp.Or(cmp.Compare(x.space, y.space), cmp.Compare(x.addr, y.addr))
			}))
	})
	slices.SortFunc(r.exits, func(a, b exit) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.cpu, b.cpu), cmp.Compare(a.at.addr, b.at.addr), cmp.Compare(a.cause.String(), b.cause.String()))
	})
	return r
}

// String names the cause as "write port uart0".
func (c Cause) String() string {
	what, how := "memory", "read"
	if c.Port {
		what = "port"
	}
	if c.Write {
		how = "write"
	}
	return how + " " + what + " " + c.Name
}

// resolve finds the function of a location. By now it is known where the kernel was.
func (c *Collector) resolve(l location) resolved {
	if l.space == inHigh || l.space == inBoot {
		l = c.late(l)
	}
	o := c.object(l.space)
	if o != nil {
		if fn, ok := o.Lookup(l.addr); ok {
			return resolved{l, fn, o}
		}
	}
	return resolved{location: l, fn: Symbol{Name: l.space.unknown(o, l.addr)}}
}

// late gives a place in the kernel to an address that was not known to be in it.
func (c *Collector) late(l location) location {
	slide, ok := c.Slide()
	if !ok {
		return l
	}
	k := c.cfg.Kernel
	if from, to := k.span(); l.addr-slide >= from && l.addr-slide < to {
		return location{inKernel, l.addr - slide}
	}
	if link, ok := k.fromPhysical(l.addr); ok {
		return location{inKernel, link}
	}
	if c.cfg.Kernel.anchor.text != nil && l.addr >= linuxModules && l.addr < linuxModulesEnd {
		if _, ok := k.Lookup(l.addr - slide); ok { // /proc/kallsyms knows modules
			return location{inKernel, l.addr - slide}
		}
	}
	return l
}

// Where Linux has its modules and BPF programs (Documentation/arch/x86/x86_64/mm.rst).
const (
	linuxModules    = 0xffffffff_a0000000
	linuxModulesEnd = 0xffffffff_ff000000
)

// unknown is what stands for the functions of a space that have no names.
func (s space) unknown(o *Object, addr uint64) string {
	switch {
	case o != nil:
		return "[no symbol in " + o.base() + "]"
	case s == inUser:
		return "[user]"
	case s == inReal:
		return "[16-bit code]"
	case s == inBoot:
		return "[boot]"
	case addr >= linuxModules && addr < linuxModulesEnd:
		return "[module]"
	}
	return "[kernel]"
}

// offset names a place as "function+0x12".
func (p *resolved) offset() string {
	if p.obj == nil || p.addr == p.fn.Addr {
		return p.fn.Name
	}
	return fmt.Sprintf("%s+%#x", p.fn.Name, p.addr-p.fn.Addr)
}
