package conformance

import "dfemu/cpu/x86"

// Shape is the kind of a ModRM memory operand.
type Shape uint8

// The shapes.
const (
	ShapeNone     Shape = iota // a register, or no ModRM operand
	ShapeBase                  // [base]
	ShapeBase8                 // [base+disp8]
	ShapeBase32                // [base+disp32]
	ShapeIndex                 // [base+index*scale]
	ShapeIndex8                // [base+index*scale+disp8]
	ShapeIndex32               // [base+index*scale+disp32]
	ShapeScaled                // [index*scale+disp32]
	ShapeAbsolute              // [disp32]
	ShapeRIP                   // [RIP+disp32]
	numShapes
)

// String shows the shape as an assembler would.
func (s Shape) String() string {
	return [numShapes]string{"reg", "[b]", "[b+d8]", "[b+d32]", "[b+i*s]", "[b+i*s+d8]",
		"[b+i*s+d32]", "[i*s+d32]", "[d32]", "[rip+d32]"}[s%numShapes]
}

// Form is one way to encode a row of the opcode table, but for the numbers of
// registers and the values of immediates and displacements.
type Form struct {
	ID       int // index in the list of all forms of a run
	Enc      *x86.Enc
	Mode     x86.Mode
	OpSize   uint8
	VecLen   uint8
	AddrSize uint8
	Shape    Shape
	Seg      uint8 // x86.FS, x86.GS, or x86.DS: no override
	Lock     bool
	Rep      bool
	Repne    bool
}

// mem reports whether the ModRM operand is memory.
func (f *Form) mem() bool { return f.Shape != ShapeNone }

// rowForms is a row with its forms in one mode.
type rowForms struct {
	enc   *x86.Enc
	mode  x86.Mode
	forms []Form
}

// listForms returns the forms of the rows that filter lets through in each of
// the modes, which are those that can be encoded at all.
// leftOut counts the forms that excludedForm names.
func listForms(modes []x86.Mode, filter func(*x86.Enc, x86.Mode) bool, leftOut map[string]int) []rowForms {
	all := x86.Encodings()
	var rows []rowForms
	for _, mode := range modes {
		for i := range all {
			e := &all[i]
			if !e.ValidIn(mode) || !filter(e, mode) {
				continue
			}
			if forms := formsOf(e, mode, leftOut); len(forms) > 0 {
				rows = append(rows, rowForms{e, mode, forms})
			}
		}
	}
	id := 0
	for i := range rows {
		for j := range rows[i].forms {
			rows[i].forms[j].ID = id
			id++
		}
	}
	return rows
}

// formsOf returns the forms of one row.
func formsOf(e *x86.Enc, mode x86.Mode, leftOut map[string]int) []Form {
	shapes := shapesOf(e, mode)
	implied := impliedMemory(e)
	var forms []Form
	for _, size := range e.OpSizes(mode) {
		for _, vl := range e.VecLens() {
			for _, shape := range shapes {
				plain := Form{Enc: e, Mode: mode, OpSize: size, VecLen: vl, Shape: shape, Seg: x86.DS,
					AddrSize: defaultAddrSize(e, mode)}
				forms = append(forms, variants(plain, implied)...)
			}
		}
	}
	kept := forms[:0]
	for _, f := range forms {
		if !f.encodable() {
			continue
		}
		if why := excludedForm(&f); why != "" {
			leftOut[why]++
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

// variants returns f with each of the prefixes it can have.
func variants(f Form, implied bool) []Form {
	forms := []Form{f}
	add := func(change func(*Form)) {
		v := f
		change(&v)
		forms = append(forms, v)
	}
	override := f.mem() || implied && f.Enc.Args[0] != x86.Yv && f.Enc.Args[1] != x86.Yv
	if override {
		add(func(v *Form) { v.Seg = x86.FS })
		add(func(v *Form) { v.Seg = x86.GS })
	}
	short := uint8(4)
	if f.Mode == x86.Mode32 {
		short = 2
	}
	fixed := f.Enc.Attr&(x86.OnlyAS16|x86.OnlyAS32|x86.OnlyAS64) != 0
	if !fixed && (f.mem() || implied || countsByAddress(f.Enc.Op)) {
		if short != 2 || !f.mem() && !override { // without a segment's base, 16 bits reach nothing that is mapped
			add(func(v *Form) { v.AddrSize = short })
		}
		if override {
			add(func(v *Form) { v.AddrSize, v.Seg = short, x86.GS })
		}
	}
	if f.Enc.Attr&x86.Lockable != 0 && f.mem() {
		add(func(v *Form) { v.Lock = true })
	}
	if f.Enc.Attr&(x86.Rep|x86.RepZ) != 0 {
		for _, v := range forms {
			v.Rep = true
			forms = append(forms, v)
			v.Rep, v.Repne = false, true
			forms = append(forms, v)
		}
	}
	return forms
}

// countsByAddress reports whether the address size chooses the counter of a branch.
func countsByAddress(op x86.Op) bool {
	return op == x86.LOOP || op == x86.LOOPE || op == x86.LOOPNE
}

// defaultAddrSize is the address size without a prefix, or the only one that the row has.
func defaultAddrSize(e *x86.Enc, mode x86.Mode) uint8 {
	switch {
	case e.Attr&x86.OnlyAS16 != 0:
		return 2
	case e.Attr&x86.OnlyAS32 != 0:
		return 4
	case e.Attr&x86.OnlyAS64 != 0:
		return 8
	}
	return uint8(2) << mode
}

// shapesOf returns what a row's ModRM operand can be.
func shapesOf(e *x86.Enc, mode x86.Mode) []Shape {
	all := []Shape{ShapeBase, ShapeBase8, ShapeBase32, ShapeIndex, ShapeIndex8, ShapeIndex32, ShapeScaled, ShapeAbsolute}
	if mode == x86.Mode64 {
		all = append(all, ShapeRIP)
	}
	if e.Attr&x86.Gather != 0 {
		return []Shape{ShapeIndex, ShapeIndex8, ShapeIndex32, ShapeScaled}
	}
	for _, s := range e.Args {
		i := s.Info()
		if i.Where != x86.InRM || !i.Mem || e.Attr&x86.IgnoreMod != 0 {
			continue
		}
		if i.Kind == x86.KindNone || e.ModRM&x86.MemOnly != 0 {
			return all
		}
		if e.ModRM&x86.RegOnly == 0 {
			return append([]Shape{ShapeNone}, all...)
		}
	}
	return []Shape{ShapeNone}
}

// impliedMemory reports whether the row accesses memory that a segment
// override applies to, other than by ModRM.
func impliedMemory(e *x86.Enc) bool {
	for _, s := range e.Args {
		switch s {
		case x86.Xv, x86.XBX, x86.XDI, x86.Ob, x86.Ov, x86.Yv:
			return true
		}
	}
	return false
}

// encodable reports whether some instruction of the form can be made.
func (f *Form) encodable() bool {
	var g generator
	for i := range uint64(24) {
		g.r = newRNG(1, i)
		g.f = f
		if _, err := g.choose(); err == nil {
			return true
		}
	}
	return false
}
