package conformance

import (
	"fmt"
	"math/bits"

	"dfemu/cpu/x86"
)

// Diff is one thing that two processors left different.
type Diff struct {
	What      string // register, flag, memory address, or part of the fault
	Want, Got string // on the host, and on the other
}

// gprNames are the registers' names, for reports.
var gprNames = [16]string{"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
	"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

var flagNames = [...]struct {
	mask uint64
	name string
}{{x86.CF, "CF"}, {x86.PF, "PF"}, {x86.AF, "AF"}, {x86.ZF, "ZF"}, {x86.SF, "SF"}, {x86.TF, "TF"}, {x86.IF, "IF"},
	{x86.DF, "DF"}, {x86.OF, "OF"}, {x86.IOPL, "IOPL"}, {x86.NT, "NT"}, {x86.RF, "RF"}, {x86.VM, "VM"},
	{x86.AC, "AC"}, {x86.ID, "ID"}}

// flagString names the flags that are set.
func flagString(f uint64) string {
	s := ""
	for _, n := range flagNames {
		if f&n.mask != 0 {
			s += n.name + " "
		}
	}
	if s == "" {
		return "none"
	}
	return s[:len(s)-1]
}

// equal reports whether two results are the same in everything.
func (r *Result) equal(s *Result) bool {
	return r.Regs == s.Regs && r.Fault == s.Fault && r.Mem == s.Mem
}

// distance counts what is different between two results: registers, bits of flag
// and status words, parts of the fault, bytes of memory.
func distance(w, g *Result) (n int) {
	count := func(differ bool) {
		if differ {
			n++
		}
	}
	bitsOf := func(x uint64) { n += bits.OnesCount64(x) }
	count(w.Fault.Vector != g.Fault.Vector)
	count(w.Fault.Code != g.Fault.Code)
	count(w.Fault.CR2 != g.Fault.CR2)
	a, b := &w.Regs, &g.Regs
	count(a.RIP != b.RIP)
	bitsOf(a.RFLAGS ^ b.RFLAGS)
	for i := range a.GPR {
		count(a.GPR[i] != b.GPR[i])
		count(a.Vec[i] != b.Vec[i])
	}
	for i := range a.Sel {
		count(a.Sel[i] != b.Sel[i])
	}
	count(a.FSBase != b.FSBase)
	count(a.GSBase != b.GSBase)
	bitsOf(uint64(a.MXCSR ^ b.MXCSR))
	x, y := &a.FPU, &b.FPU
	bitsOf(uint64(x.CW^y.CW) | uint64(x.SW^y.SW)<<16 | uint64(x.Tag^y.Tag)<<32)
	count(x.FOP != y.FOP)
	count(x.FIP != y.FIP)
	count(x.FDP != y.FDP)
	count(x.FCS != y.FCS)
	count(x.FDS != y.FDS)
	for i := range x.R {
		count(x.R[i] != y.R[i])
	}
	if w.Mem != g.Mem {
		for i := range w.Mem {
			count(w.Mem[i] != g.Mem[i])
		}
	}
	return n
}

// compare returns what is different between the results of a case on the host
// and elsewhere, leaving out what is undefined. It changes both results.
// masked, if it is not nil, counts by rule the cases in which a rule made something equal.
func compare(c *Case, want, got *Result, masked []uint64) []Diff {
	if want.equal(got) {
		return nil
	}
	ignoreUndefined(c, want, got, masked)
	if want.equal(got) {
		return nil
	}
	var d []Diff
	add := func(what, format string, want, got any) {
		d = append(d, Diff{what, fmt.Sprintf(format, want), fmt.Sprintf(format, got)})
	}
	if want.Fault != got.Fault {
		d = append(d, Diff{"fault", want.Fault.String(), got.Fault.String()})
	}
	w, g := &want.Regs, &got.Regs
	if w.RIP != g.RIP {
		add("RIP", "%#x", w.RIP, g.RIP)
	}
	if w.RFLAGS != g.RFLAGS {
		x := w.RFLAGS ^ g.RFLAGS
		add("flags "+flagString(x), "%s", flagString(w.RFLAGS&x), flagString(g.RFLAGS&x))
	}
	for i := range w.GPR {
		if w.GPR[i] != g.GPR[i] {
			add(gprNames[i], "%#x", w.GPR[i], g.GPR[i])
		}
	}
	for i, name := range [6]string{"ES", "CS", "SS", "DS", "FS", "GS"} {
		if w.Sel[i] != g.Sel[i] {
			add(name, "%#x", w.Sel[i], g.Sel[i])
		}
	}
	if w.FSBase != g.FSBase {
		add("FS base", "%#x", w.FSBase, g.FSBase)
	}
	if w.GSBase != g.GSBase {
		add("GS base", "%#x", w.GSBase, g.GSBase)
	}
	for i := range w.Vec {
		if w.Vec[i] != g.Vec[i] {
			add(fmt.Sprintf("YMM%d", i), "%s", vecString(w.Vec[i]), vecString(g.Vec[i]))
		}
	}
	if w.MXCSR != g.MXCSR {
		add("MXCSR", "%#x", w.MXCSR, g.MXCSR)
	}
	d = append(d, compareFPU(&w.FPU, &g.FPU)...)
	return append(d, compareMemory(&want.Mem, &got.Mem)...)
}

// compareFPU compares the x87 state.
func compareFPU(w, g *x86.FPU) (d []Diff) {
	add := func(what, format string, want, got any) {
		d = append(d, Diff{what, fmt.Sprintf(format, want), fmt.Sprintf(format, got)})
	}
	for i := range w.R {
		if w.R[i] != g.R[i] {
			add(fmt.Sprintf("R%d", i), "%s", w.R[i].SE, g.R[i].SE)
			d[len(d)-1].Want, d[len(d)-1].Got = f80String(w.R[i]), f80String(g.R[i])
		}
	}
	for _, f := range [...]struct {
		name string
		w, g uint64
	}{{"FCW", uint64(w.CW), uint64(g.CW)}, {"FSW", uint64(w.SW), uint64(g.SW)}, {"FTW", uint64(w.Tag), uint64(g.Tag)},
		{"FOP", uint64(w.FOP), uint64(g.FOP)}, {"FIP", w.FIP, g.FIP}, {"FDP", w.FDP, g.FDP}} {
		if f.w != f.g {
			add(f.name, "%#x", f.w, f.g)
		}
	}
	return d
}

// compareMemory returns the first differing run of bytes.
func compareMemory(w, g *Memory) []Diff {
	for i := range w {
		if w[i] == g[i] {
			continue
		}
		n := 1
		for j := i; j < len(w) && j < i+64; j++ {
			if w[j] != g[j] {
				n = j - i + 1
			}
		}
		return []Diff{{fmt.Sprintf("memory at %#x", dataBase+i), fmt.Sprintf("% x", w[i:i+n]), fmt.Sprintf("% x", g[i:i+n])}}
	}
	return nil
}

func vecString(v [4]uint64) string {
	return fmt.Sprintf("%016x_%016x_%016x_%016x", v[3], v[2], v[1], v[0])
}

func f80String(f x86.F80) string { return fmt.Sprintf("%04x.%016x", f.SE, f.Mant) }

// String names the exception as the manuals do.
func (f Fault) String() string {
	name := "shutdown"
	if f.Vector >= 0 {
		name = fmt.Sprintf("vector %d", f.Vector)
		names := [...]string{"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "", "#TS", "#NP", "#SS", "#GP",
			"#PF", "", "#MF", "#AC", "#MC", "#XM"}
		if f.Vector < len(names) && names[f.Vector] != "" {
			name = names[f.Vector]
		}
	}
	if f.Code != 0 {
		name += fmt.Sprintf("(%#x)", f.Code)
	}
	if f.Vector == x86.VecPF {
		name += fmt.Sprintf(" CR2 %#x", f.CR2)
	}
	return name
}
