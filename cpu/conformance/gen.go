package conformance

import (
	"encoding/binary"
	"fmt"
	"strings"

	"dfemu/cpu/x86"
)

// generator makes cases. It belongs to one goroutine.
type generator struct {
	seed  uint64
	rows  []rowForms
	only  string
	tails [3]map[x86.Op]*x86.Enc // by mode; see tail

	r      rng
	f      *Form
	c      *Case
	choice x86.Choice
	flavor flavor
}

// background is what the data pages hold where a case does not say otherwise.
// It does not depend on the seed, because the read-only page keeps it.
var background = func() (b [dataAll]byte) {
	r := newRNG(0, 0)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.u64())
	}
	return b
}()

// attempts is how often a form is tried with other registers before it counts
// as impossible.
const attempts = 64

// make fills in c with case number index: all rows in turn, and all forms of a row in turn.
func (g *generator) make(index uint64, c *Case) error {
	row := &g.rows[index%uint64(len(g.rows))]
	turn := index / uint64(len(g.rows))
	g.f = &row.forms[(turn*7919+turn/uint64(len(row.forms)))%uint64(len(row.forms))]
	g.c = c
	g.r = newRNG(g.seed, index)
	*c = Case{Seed: g.seed, Index: index, Form: g.f, only: g.only}
	copy(c.Mem[:], background[:])
	var err error
	for range attempts {
		if err = g.try(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("conformance: case %d: %v cannot be encoded as %v: %w", index, g.f.Enc.Op, g.f, err)
}

// try makes one attempt.
func (g *generator) try() error {
	c, r := g.c, &g.r
	code, err := g.choose()
	if err != nil {
		return err
	}
	if err := x86.Decode(g.f.Mode, code, &c.Inst); err != nil {
		return err
	}
	if savesState(c.Inst.Op) && (g.addresses(x86.RAX) || g.addresses(x86.RDX)) {
		return errPlace // they say which components, and the host has more of them
	}
	g.flavor = flavorOf(g.f.Enc, &c.Inst)
	if r.pct(12) {
		g.flavor = flavor(r.n(int(numFlavors)))
	}
	g.registers()
	g.flags()
	g.place(len(code))
	if err := g.operands(); err != nil {
		return err
	}
	g.prepare()
	code, err = x86.Encode(g.f.Enc, g.choice)
	if err != nil {
		return err
	}
	if err := x86.Decode(g.f.Mode, code, &c.Inst); err != nil {
		return err
	}
	code = g.redundant(code)
	if err := x86.Decode(g.f.Mode, code, &c.Inst); err != nil {
		return err
	}
	c.Code = append(append(c.code[:0], code...), g.tail()...)
	return nil
}

// tail returns, for some instructions that write flags, one that tests them:
// processors in software combine the two, or compute flags no earlier than they are needed.
func (g *generator) tail() []byte {
	r, c := &g.r, g.c
	f := c.Inst.Enc.Flags()
	if f.Written == 0 || c.Step() || c.Inst.EndsBlock() || !r.pct(40) {
		return nil
	}
	var e *x86.Enc
	choice := x86.Choice{Mode: g.f.Mode}
	for range 8 {
		cc := x86.Op(r.n(16))
		op := pick(r, []x86.Op{x86.JO + cc, x86.JO + cc, x86.JO + cc, x86.SETO + cc, x86.CMOVO + cc, x86.ADC, x86.SBB, x86.RCL, x86.LAHF, x86.CMC})
		e = g.tails[g.f.Mode][op]
		if e != nil && uint64(e.Flags().Tested)&undefinedFlags(c) == 0 {
			break
		}
		e = nil
	}
	if e == nil {
		return nil
	}
	for i := range choice.Args {
		choice.Args[i] = x86.Arg{Kind: e.Args[i].Info().Kind, Reg: uint16(r.n(4)), Imm: int64(r.n(64))}
	}
	choice.Mem = x86.Mem{Seg: x86.DS, Base: x86.NoReg, Index: x86.NoReg}
	code, err := x86.Encode(e, choice)
	if err != nil {
		return nil
	}
	c.Tail = e.Op
	return code
}

// tailRows returns the rows that tail chooses from: the short forms with registers.
func tailRows(mode x86.Mode) map[x86.Op]*x86.Enc {
	all := x86.Encodings()
	rows := map[x86.Op]*x86.Enc{}
	for i := range all {
		e := &all[i]
		_, cond := e.Op.Cond()
		switch {
		case !e.ValidIn(mode) || rows[e.Op] != nil:
		case cond, e.Op == x86.ADC || e.Op == x86.SBB || e.Op == x86.LAHF || e.Op == x86.CMC,
			e.Op == x86.RCL && e.Args[1] == x86.One:
			rows[e.Op] = e
		}
	}
	return rows
}

// choose fills in g.choice with random operands and encodes it.
func (g *generator) choose() ([]byte, error) {
	r, f := &g.r, g.f
	g.choice = x86.Choice{Mode: f.Mode, OpSize: f.OpSize, AddrSize: f.AddrSize, Lock: f.Lock, Rep: f.Rep, Repne: f.Repne,
		W: r.pct(20), L: r.pct(20), VEX3: r.pct(20), REX: f.Mode == x86.Mode64 && r.pct(10), Spare: uint8(r.n(8))}
	if f.VecLen >= 16 && f.Enc.Map.IsVEX() {
		g.choice.VecLen = f.VecLen
	}
	if f.Enc.Map.IsVEX() && len(f.Enc.VecLens()) == 1 {
		g.choice.VecLen = 0
	}
	regs := 16
	if f.Mode != x86.Mode64 {
		regs = 8
	}
	for i, s := range f.Enc.Args {
		if s == x86.NoArg {
			break
		}
		info := s.Info()
		a := &g.choice.Args[i]
		a.Kind = info.Kind
		if info.Where == x86.InRM && f.mem() {
			a.Kind = x86.KindMem
		}
		switch info.Kind {
		case x86.KindMMX, x86.KindX87:
			a.Reg = uint16(r.n(8))
		case x86.KindSeg:
			a.Reg = uint16(r.n(6))
		case x86.KindCR:
			a.Reg = pick(r, []uint16{0, 2, 3, 4, 8})
		case x86.KindDR:
			a.Reg = uint16(r.n(8))
		default:
			a.Reg = uint16(r.n(regs))
		}
		if a.Kind == x86.KindReg && info.RegSize.Bytes(f.OpSize, f.VecLen, f.Mode) == 1 {
			if f.Mode != x86.Mode64 {
				a.Reg &= 3
			}
			if r.pct(30) {
				a.Reg &= 3
				a.High = true
			}
		}
		a.Imm = g.immediate(s, info)
	}
	g.chooseMem(regs)
	return x86.Encode(f.Enc, g.choice)
}

// immediate returns a value for an immediate operand of form s.
func (g *generator) immediate(s x86.Spec, info x86.SpecInfo) int64 {
	r := &g.r
	switch s {
	case x86.Ib:
		v := int64(r.u64() & 0xff)
		if r.pct(40) {
			v &= 0xf
		}
		return v
	case x86.Is, x86.Jb:
		return int64(int8(r.u64()))
	case x86.Iw:
		return int64(uint16(r.u64()) & uint16(0xffff>>r.n(16)))
	case x86.Ap:
		return int64(uint32(r.u64()))
	}
	size := int(info.RegSize.Bytes(g.f.OpSize, g.f.VecLen, g.f.Mode))
	v := r.integer(size)
	if size < 8 && size > 0 {
		return int64(v<<(64-8*size)) >> (64 - 8*size)
	}
	return int64(v)
}

// chooseMem chooses the registers and the displacement of the memory operand.
func (g *generator) chooseMem(regs int) {
	r, f := &g.r, g.f
	m := &g.choice.Mem
	*m = x86.Mem{Base: x86.NoReg, Index: x86.NoReg, Seg: f.Seg}
	for _, s := range f.Enc.Args {
		if s == x86.Yv {
			m.Seg = x86.ES
		}
	}
	if !f.mem() {
		return
	}
	if f.AddrSize == 2 {
		g.chooseMem16()
		return
	}
	switch f.Shape {
	case ShapeRIP:
		m.Base = x86.RIPBase
	case ShapeScaled, ShapeAbsolute:
	default:
		m.Base = uint8(r.n(regs))
		if f.Seg == x86.DS && (m.Base == x86.RSP || m.Base == x86.RBP) {
			m.Seg = x86.SS
		}
	}
	switch f.Shape {
	case ShapeIndex, ShapeIndex8, ShapeIndex32, ShapeScaled:
		m.Scale = uint8(r.n(4))
		if f.Enc.Attr&x86.Gather != 0 {
			m.VSIB = true
			m.Index = uint8(r.n(regs))
			break
		}
		m.Index = uint8(r.n(regs))
		for m.Index == x86.RSP || m.Index == m.Base {
			m.Index = uint8(r.n(regs))
		}
	}
	switch f.Shape {
	case ShapeBase8, ShapeIndex8:
		m.Disp = int64(int8(r.u64()))
		g.choice.DispSize = 1
	case ShapeBase32, ShapeIndex32:
		m.Disp = int64(int32(r.u64())) >> r.n(28)
		g.choice.DispSize = 4
	case ShapeScaled:
		m.Disp = int64(int32(r.u64())) >> r.n(28)
	}
}

// chooseMem16 chooses a 16-bit address: its registers, and a displacement.
func (g *generator) chooseMem16() {
	r, m := &g.r, &g.choice.Mem
	pairs := [][2]uint8{{x86.RBX, x86.RSI}, {x86.RBX, x86.RDI}, {x86.RBP, x86.RSI}, {x86.RBP, x86.RDI},
		{x86.RSI, x86.NoReg}, {x86.RDI, x86.NoReg}, {x86.RBP, x86.NoReg}, {x86.RBX, x86.NoReg}}
	if g.f.Shape != ShapeAbsolute && g.f.Shape != ShapeScaled {
		p := pick(r, pairs)
		m.Base, m.Index = p[0], p[1]
		if g.f.Seg == x86.DS && m.Base == x86.RBP {
			m.Seg = x86.SS
		}
	}
	switch g.f.Shape {
	case ShapeBase8, ShapeIndex8:
		m.Disp = int64(int8(r.u64()))
		g.choice.DispSize = 1
	case ShapeBase32, ShapeIndex32, ShapeAbsolute, ShapeScaled:
		m.Disp = int64(int16(r.u64()))
		g.choice.DispSize = 2
	}
}

// flags chooses RFLAGS.
func (g *generator) flags() {
	r, c := &g.r, g.c
	f := uint64(x86.Flag1 | x86.IF)
	f |= r.u64() & x86.ArithFlags
	if r.pct(20) {
		f |= x86.DF
	}
	if r.pct(4) {
		f |= x86.AC
	}
	if r.pct(10) {
		f |= x86.ID
	}
	if r.pct(2) {
		f |= x86.NT
	}
	// What branches may come back to itself, and has to be stopped.
	rep := g.f.Rep || g.f.Repne
	switch ctl := c.Inst.Ctl(); {
	case ctl == x86.CtlJump, ctl == x86.CtlCond, ctl == x86.CtlCall, ctl == x86.CtlRet, ctl == x86.CtlFar:
		f |= x86.TF
	case rep && r.pct(25), !rep && r.pct(40):
		f |= x86.TF
	}
	c.Regs.RFLAGS = f
}

// place chooses where the instruction is.
func (g *generator) place(n int) {
	r := &g.r
	at := uint64(r.n(codeSize - 64))
	switch {
	case r.pct(4): // across the two pages
		at = pageSize - uint64(1+r.n(16))
	case r.pct(2) && g.f.Enc.Op != x86.UD1 && g.f.Enc.Op != x86.UD0: // a part of it is not mapped; how long is UD1?
		at = codeSize - uint64(r.n(n))
		if at == codeSize {
			at -= uint64(n)
		}
	}
	g.c.Regs.RIP = codeBase + at
}

// redundant inserts, now and then, prefixes that change nothing.
func (g *generator) redundant(code []byte) []byte {
	r, c := &g.r, g.c
	if !r.pct(6) {
		return code
	}
	p := pick(r, []byte{0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x40, 0x4f})
	if g.choice.Mem.Base == x86.RIPBase {
		return code // the operand would move
	}
	if g.f.Enc.Size == x86.SizeF64 {
		return code // 66 makes near branches of 16 bits on AMD, F2 and F3 change LOOPE; Intel ignores them
	}
	longer := append([]byte{p}, code...)
	var in x86.Inst
	if x86.Decode(g.f.Mode, longer, &in) != nil || in.Op != c.Inst.Op || *in.Enc != *c.Inst.Enc {
		return code
	}
	was := c.Inst
	in.Len, in.Enc = was.Len, was.Enc
	if in != was {
		return code
	}
	return longer
}

// String describes the form.
func (f *Form) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mode%d %v size %d vec %d addr %d %v", 16<<f.Mode, f.Enc.Op, f.OpSize, f.VecLen, f.AddrSize, f.Shape)
	switch f.Seg {
	case x86.FS:
		b.WriteString(" fs")
	case x86.GS:
		b.WriteString(" gs")
	}
	for _, p := range []struct {
		set  bool
		name string
	}{{f.Lock, " lock"}, {f.Rep, " rep"}, {f.Repne, " repne"}} {
		if p.set {
			b.WriteString(p.name)
		}
	}
	return b.String()
}
