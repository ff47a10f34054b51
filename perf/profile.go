package perf

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/google/pprof/profile"
)

// base is the name of the file without its directories.
func (o *Object) base() string { return filepath.Base(o.File) }

// builder makes a profile of a report.
type builder struct {
	p         *profile.Profile
	r         *Report
	mappings  map[space]*profile.Mapping
	locations map[location]*profile.Location
	functions map[functionKey]*profile.Function
}

type functionKey struct {
	space space
	name  string
}

// Profile returns the report as a pprof profile of the guest. It has three values for each stack: samples, the time
// they stand for, and accesses to devices. Addresses are those of the files. Samples have the labels
// cpu, the number of the processor, and cpl, its privilege level; accesses have cpu and exit, what they were.
func (r *Report) Profile() *profile.Profile {
	b := &builder{
		r:         r,
		mappings:  map[space]*profile.Mapping{},
		locations: map[location]*profile.Location{},
		functions: map[functionKey]*profile.Function{},
		p: &profile.Profile{
			SampleType: []*profile.ValueType{
				{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}, {Type: "exits", Unit: "count"},
			},
			DefaultSampleType: "cpu",
			PeriodType:        &profile.ValueType{Type: "cpu", Unit: "nanoseconds"},
			Period:            r.Period.Nanoseconds(),
			TimeNanos:         r.Start.UnixNano(),
			DurationNanos:     r.Elapsed.Nanoseconds(),
		},
	}
	if r.Start.IsZero() {
		b.p.TimeNanos = 0
	}
	b.mapping(inKernel) // pprof takes the first for what the profile is of
	for i := range r.stacks {
		s := &r.stacks[i]
		n := int64(s.n)
		out := &profile.Sample{
			Value: []int64{n, n * r.Period.Nanoseconds(), 0},
			Label: map[string][]string{"cpu": {strconv.Itoa(s.cpu)}, "cpl": {strconv.Itoa(int(s.cpl))}},
		}
		for j := range s.frames {
			out.Location = append(out.Location, b.location(&s.frames[j]))
		}
		b.p.Sample = append(b.p.Sample, out)
	}
	for i := range r.exits {
		e := &r.exits[i]
		b.p.Sample = append(b.p.Sample, &profile.Sample{
			Value:    []int64{0, 0, int64(e.n)},
			Label:    map[string][]string{"cpu": {strconv.Itoa(e.cpu)}, "exit": {e.cause.String()}},
			Location: []*profile.Location{b.location(&e.at)},
		})
	}
	b.p.Comments = append(b.p.Comments, "guest of dfemu, "+r.Accel)
	if r.SlideKnown && r.Slide != 0 {
		b.p.Comments = append(b.p.Comments, fmt.Sprintf("the kernel was %#x above its addresses here", r.Slide))
	}
	for _, c := range counters {
		if n := r.total(c); n != 0 {
			b.p.Comments = append(b.p.Comments, fmt.Sprintf("%s: %d", c.name, n))
		}
	}
	return b.p
}

// mapping returns the mapping that stands for a space.
func (b *builder) mapping(s space) *profile.Mapping {
	if m := b.mappings[s]; m != nil {
		return m
	}
	m := &profile.Mapping{ID: uint64(len(b.p.Mapping) + 1), HasFunctions: true}
	var o *Object
	switch {
	case s == inKernel:
		o = b.r.kernel
	case s >= inProgram:
		o = b.r.progs[s-inProgram]
	}
	if o != nil {
		m.File, m.BuildID = o.File, o.buildID
		m.Start, m.Limit = o.span()
		m.HasLineNumbers, m.HasFilenames = o.lines != nil, o.lines != nil
		for i := range o.segments {
			if g := &o.segments[i]; g.exec && !o.Kernel {
				m.Start, m.Limit, m.Offset = g.vaddr, g.vaddr+g.memsz, g.off
				break
			}
		}
	} else {
		switch s {
		case inUser:
			m.File = "[user]"
		case inBoot, inReal:
			m.File = "[boot]"
		default:
			m.File = "[kernel]"
		}
	}
	b.mappings[s] = m
	b.p.Mapping = append(b.p.Mapping, m)
	return m
}

// location returns the profile's location of a place.
func (b *builder) location(p *resolved) *profile.Location {
	if l := b.locations[p.location]; l != nil {
		return l
	}
	line := profile.Line{}
	file := ""
	if p.obj != nil && p.obj.lines != nil {
		var n int
		if file, n = p.obj.lines(p.addr); n > 0 {
			line.Line = int64(n)
		}
	}
	key := functionKey{p.space, p.fn.Name}
	if line.Function = b.functions[key]; line.Function == nil {
		line.Function = &profile.Function{
			ID: uint64(len(b.p.Function) + 1), Name: p.fn.Name, SystemName: p.fn.Name, Filename: file,
		}
		b.functions[key] = line.Function
		b.p.Function = append(b.p.Function, line.Function)
	}
	l := &profile.Location{
		ID: uint64(len(b.p.Location) + 1), Mapping: b.mapping(p.space), Address: p.addr, Line: []profile.Line{line},
	}
	b.locations[p.location] = l
	b.p.Location = append(b.p.Location, l)
	return l
}
