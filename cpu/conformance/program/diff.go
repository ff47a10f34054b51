package program

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"dfemu/cpu/x86"
)

// Diff returns what is different between two outcomes of a program, in words; nothing if they are as
// they should be. Not compared are what the manuals leave open: the addresses of the last
// x87 instruction and operand, and memory that held the stack of the handlers, where there are flags that are undefined.
func Diff(want, got *Outcome) (diffs []string) {
	add := func(what string, w, g any) { diffs = append(diffs, fmt.Sprintf("%s: %v became %v", what, w, g)) }
	hex := func(what string, w, g uint64) {
		if w != g {
			add(what, fmt.Sprintf("%#x", w), fmt.Sprintf("%#x", g))
		}
	}
	if want.Reason != got.Reason {
		add("end", want.Reason, got.Reason)
	}
	hex("events", want.Events, got.Events)
	diffs = append(diffs, diffLog(want.RAM, got.RAM)...)
	diffs = append(diffs, diffBus(want.Bus, got.Bus)...)
	w, g := want.State, got.State
	for n := range w.GPR {
		hex(fmt.Sprintf("GPR %d", n), w.GPR[n], g.GPR[n])
	}
	hex("RIP", w.RIP, g.RIP)
	hex("RFLAGS", w.RFLAGS, g.RFLAGS)
	for n := range w.Vec {
		if w.Vec[n] != g.Vec[n] {
			add(fmt.Sprintf("YMM%d", n), fmt.Sprintf("%x", w.Vec[n]), fmt.Sprintf("%x", g.Vec[n]))
		}
	}
	hex("MXCSR", uint64(w.MXCSR), uint64(g.MXCSR))
	for _, s := range [...]*x86.State{&w, &g} {
		f := &s.FPU
		f.FIP, f.FDP, f.FOP, f.FCS, f.FDS = 0, 0, 0, 0, 0
		s.GPR, s.Vec, s.RIP, s.RFLAGS, s.MXCSR = [16]uint64{}, [16][4]uint64{}, 0, 0, 0
		s.APIC, s.TSCOffset = x86.APIC{}, 0
	}
	if w.FPU != g.FPU {
		add("x87", fmt.Sprintf("%x", w.FPU), fmt.Sprintf("%x", g.FPU))
		g.FPU = w.FPU
	}
	if w != g {
		add("system registers", fmt.Sprintf("%+v", w), fmt.Sprintf("%+v", g))
	}
	return append(diffs, diffMemory(want.RAM, got.RAM)...)
}

// diffLog compares the logs of the handlers, of which the first difference says most.
func diffLog(w, g []byte) []string {
	le := binary.LittleEndian
	for n := range logEntries {
		at := physLog + n*logEntry
		x, y := w[at:at+logEntry], g[at:at+logEntry]
		if bytes.Equal(x, y) {
			continue
		}
		show := func(b []byte) string {
			return fmt.Sprintf("vector %#x(%#x) RIP %#x CS %#x RSP %#x CR2 %#x flags %#x", le.Uint64(b), le.Uint64(b[8:]),
				le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:]))
		}
		return []string{fmt.Sprintf("event %d modulo %d: %s became %s", n, logEntries, show(x), show(y))}
	}
	return nil
}

// diffBus returns the first access that is different.
func diffBus(w, g []Access) []string {
	for n := range max(len(w), len(g)) {
		switch {
		case n >= len(w):
			return []string{fmt.Sprintf("bus: access %d is one too many: %+v", n, g[n])}
		case n >= len(g):
			return []string{fmt.Sprintf("bus: access %d is missing: %+v", n, w[n])}
		case w[n] != g[n]:
			return []string{fmt.Sprintf("bus: access %d: %+v became %+v", n, w[n], g[n])}
		}
	}
	return nil
}

// diffMemory returns the first bytes of each page that are different.
func diffMemory(w, g []byte) (diffs []string) {
	for at := 0; at < len(w); at += pageSize {
		if at >= physExc && at < physKernel || at == physLog {
			continue
		}
		x, y := w[at:at+pageSize], g[at:at+pageSize]
		if bytes.Equal(x, y) {
			continue
		}
		for n := range x {
			if x[n] != y[n] {
				end := min(n+16, pageSize)
				diffs = append(diffs, fmt.Sprintf("memory at %#x: % x became % x", at+n, x[n:end], y[n:end]))
				break
			}
		}
	}
	return diffs
}
