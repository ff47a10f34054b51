package devices

import (
	"fmt"
	"strings"
)

// Inspector is a device that shows what it holds, for whoever looks at a machine that
// stands still.
type Inspector interface {
	// Inspect returns the device's registers and what it knows of a queue (or port), nothing
	// if queue is -1 or there is no such one. It has no side effects, those of reading registers included.
	Inspect(queue int) (registers, state []Inspected)
}

// Inspected is a register, or a part of a device's state.
type Inspected struct {
	Name   string
	Value  uint64
	Fields []FieldValue // of the value, those that are not 0
}

// String is a line for people.
func (i Inspected) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s = %#x", i.Name, i.Value)
	for n, f := range i.Fields {
		sep := " "
		if n == 0 {
			sep = "  {"
		}
		if f.Value == 1 {
			fmt.Fprintf(&b, "%s%s", sep, f.Name)
		} else {
			fmt.Fprintf(&b, "%s%s=%#x", sep, f.Name, f.Value)
		}
	}
	if len(i.Fields) > 0 {
		b.WriteByte('}')
	}
	return b.String()
}

// Inspect reads the registers of the table that are not 0 or write-only, without those for which skip
// (if not nil) returns true: what d does for the others must have no side effects.
func (b *Bank) Inspect(d Registers, skip func(Reg) bool) (l []Inspected) {
	for _, i := range b.rows {
		g := &b.regs[i]
		for k := range max(g.Count, 1) {
			r := Reg{g, i, k}
			if g.Rights == WO || skip != nil && skip(r) {
				continue
			}
			if v := d.ReadRegister(r, Ones(g.Size)) & Ones(g.Size); v != 0 {
				l = append(l, Inspected{r.String(), v, g.Decode(v)})
			}
		}
	}
	return l
}

// Decode returns the fields of a value that are not 0.
func (g *Register) Decode(v uint64) (l []FieldValue) {
	for _, f := range g.Fields {
		if x := v >> f.Lo & (1<<(f.Hi-f.Lo+1) - 1); x != 0 {
			l = append(l, FieldValue{f.Name, x})
		}
	}
	return l
}
