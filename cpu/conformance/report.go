package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dfemu/cpu/x86"
)

// Summary is one line: the instruction and what is different.
func (m *Mismatch) Summary() string {
	var what []string
	for _, d := range m.Diffs {
		name := d.What
		switch {
		case name == "fault":
			name = faultKind(d.Want) + " became " + faultKind(d.Got)
		case strings.HasPrefix(name, "memory"):
			name = "memory"
		case strings.HasPrefix(name, "YMM"):
			name = "vector"
		}
		what = append(what, name)
	}
	return fmt.Sprintf("%s: %v: %s", m.Subject, m.Case.Inst.Op, strings.Join(what, ", "))
}

// String shows the case and both results in full.
func (m *Mismatch) String() string {
	var b strings.Builder
	c := m.Case
	fmt.Fprintf(&b, "%v", &c.Inst)
	if c.Tail != 0 {
		fmt.Fprintf(&b, ", then %v", c.Tail)
	}
	fmt.Fprintf(&b, "\n  bytes % x at %#x, form %v\n", c.Code, c.Regs.RIP, c.Form)
	for _, d := range m.Diffs {
		fmt.Fprintf(&b, "  %-12s host %s\n  %-12s here %s\n", d.What, d.Want, "", d.Got)
	}
	fmt.Fprintf(&b, "  host ends with %v at %#x, here with %v at %#x\n", m.Want.Fault, m.Want.Regs.RIP, m.Got.Fault, m.Got.Regs.RIP)
	b.WriteString("  before:\n")
	writeState(&b, c)
	fmt.Fprintf(&b, "  again: dfemu conformance --seed %d --first %d --cases 1%s --subject %s\n", c.Seed, c.Index, c.only, m.Subject)
	return b.String()
}

// writeState shows the part of the state before a case that the instruction is likely to use.
func writeState(b *strings.Builder, c *Case) {
	r := &c.Regs
	for i, v := range r.GPR {
		fmt.Fprintf(b, "    %-3s %016x", gprNames[i], v)
		if i&3 == 3 {
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(b, "    flags %s, FS base %#x, GS base %#x\n", flagString(r.RFLAGS), r.FSBase, r.GSBase)
	if c.Inst.VecLen > 8 {
		fmt.Fprintf(b, "    MXCSR %#x\n", r.MXCSR)
		for i := range c.Inst.Args[:c.Inst.NArgs] {
			if a := &c.Inst.Args[i]; a.Kind == x86.KindVec {
				fmt.Fprintf(b, "    YMM%d %s\n", a.Reg, vecString(r.Vec[a.Reg&15]))
			}
		}
	}
	if e := c.Inst.Enc.Exc; e == x86.ExcX87 || e == x86.ExcMMX || e == x86.ExcMMXF {
		top := int(r.FPU.SW >> 11 & 7)
		fmt.Fprintf(b, "    FCW %#x FSW %#x FTW %08b\n", r.FPU.CW, r.FPU.SW, r.FPU.Tag)
		for i := range 8 {
			fmt.Fprintf(b, "    ST%d = R%d %s\n", i, (top+i)&7, f80String(r.FPU.R[(top+i)&7]))
		}
	}
	if i, ok := at(r.GPR[x86.RSP]); ok {
		fmt.Fprintf(b, "    stack % x\n", c.Mem[i:min(i+40, len(c.Mem))])
	}
	if c.Operand != 0 {
		fmt.Fprintf(b, "    operand at %#x", c.Operand)
		if i, ok := at(c.Operand); ok {
			fmt.Fprintf(b, ": % x", c.Mem[i:min(i+32, len(c.Mem))])
		}
		b.WriteByte('\n')
	}
}

// String is the result for people, one fact a line.
func (r *Report) String() string {
	var b strings.Builder
	for _, c := range r.Coverage {
		fmt.Fprintf(&b, "opcodes     %d of %d rows of the opcode table in %d-bit mode\n", c.Rows, c.RowsTotal, 16<<c.Mode)
		fmt.Fprintf(&b, "forms       %d of %d (opcode × operand form × size × prefixes)\n", c.Forms, c.FormsTotal)
	}
	fmt.Fprintf(&b, "subjects    %s\n", strings.Join(r.Subjects, ", "))
	fmt.Fprintf(&b, "cases       %d, of which %d fault, and %d have a second instruction that tests the flags\n", r.Cases, r.Faults, r.Tails)
	fmt.Fprintf(&b, "mismatches  %d\n", r.Mismatches)
	for _, what := range slices.Sorted(maps.Keys(r.Unstable)) {
		fmt.Fprintf(&b, "unstable    %d cases, the host having come to two different results: %s\n", r.Unstable[what], what)
	}
	rate := float64(r.Cases) / r.Elapsed.Seconds()
	fmt.Fprintf(&b, "elapsed     %.1f s, %.0f cases a second\n", r.Elapsed.Seconds(), rate)
	for _, why := range slices.Sorted(maps.Keys(r.Masked)) {
		fmt.Fprintf(&b, "masked      %d cases: %s\n", r.Masked[why], why)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Excluded)) {
		fmt.Fprintf(&b, "left out    %d rows: %s\n", r.Excluded[why], why)
	}
	for _, why := range slices.Sorted(maps.Keys(r.ExcludedForms)) {
		fmt.Fprintf(&b, "left out    %d forms: %s\n", r.ExcludedForms[why], why)
	}
	return b.String()
}

// faultKind is a fault's name without the address.
func faultKind(s string) string {
	s, _, _ = strings.Cut(s, " CR2")
	return s
}
