package program

import "dfemu/cpu/x86"

// pool are the rows that random instructions are taken from.
type pool struct{ integer, vector, other []*x86.Enc }

// newPool chooses among the rows of the opcode table.
func newPool(features x86.FeatureSet) pool {
	var p pool
	all := x86.Encodings()
	for i := range all {
		e := &all[i]
		if !features.Has(e.Feat) && e.Feat != x86.FeatNone || !usable(e) {
			continue
		}
		switch {
		case e.Exc == x86.ExcX87 || e.Exc == x86.ExcMMX || e.Exc == x86.ExcMMXF:
			p.other = append(p.other, e)
		case e.Uses(x86.InVvvv) || e.Exc != x86.ExcNone:
			p.vector = append(p.vector, e)
		default:
			p.integer = append(p.integer, e)
		}
	}
	return p
}

// usable reports whether a row is an ordinary instruction: at any privilege
// level, without an effect on control, and with a defined result.
func usable(e *x86.Enc) bool {
	if !e.ValidIn(x86.Mode64) || e.Ctl() != x86.CtlNone || e.Op.Priv() != x86.PrivNone || leftOut(e.Op) {
		return false
	}
	for _, s := range e.Args {
		switch s {
		case x86.Xv, x86.Yv, x86.XBX, x86.XDI, x86.Ob, x86.Ov, x86.Menv, x86.Msave, x86.VMd, x86.VMq, x86.Ms, x86.Mp, x86.Ma,
			x86.Sw, x86.SegES, x86.SegCS, x86.SegSS, x86.SegDS, x86.SegFS, x86.SegGS, x86.Cd, x86.Dd, x86.Ap:
			return false
		}
	}
	return true
}

// leftOut reports whether an instruction is not taken at random.
func leftOut(op x86.Op) bool {
	switch op {
	case x86.CPUID, x86.XGETBV, x86.RDTSC, x86.RDTSCP, x86.RDPID, x86.RDRAND, x86.RDSEED, // about the machine
		x86.SGDT, x86.SIDT, x86.SLDT, x86.STR, x86.SMSW,
		x86.PUSH, x86.POP, x86.PUSHF, x86.POPF, x86.ENTER, x86.LEAVE, // see element
		x86.XSAVE, x86.XSAVEOPT, x86.XSAVEC, x86.XRSTOR, x86.FXSAVE, x86.FXRSTOR, // images with x87 pointers
		x86.LDMXCSR, x86.VLDMXCSR, x86.FLDCW, // unmask exceptions
		x86.FSIN, x86.FCOS, x86.FSINCOS, x86.FPTAN, x86.FPATAN, x86.F2XM1, x86.FYL2X, x86.FYL2XP1, // approximations
		x86.RCPPS, x86.RCPSS, x86.RSQRTPS, x86.RSQRTSS, x86.VRCPPS, x86.VRCPSS, x86.VRSQRTPS, x86.VRSQRTSS,
		x86.SALC, x86.BOUND,
		x86.MONITOR, x86.MWAIT, x86.VMCALL, x86.VMMCALL,
		x86.WRFSBASE, x86.WRGSBASE:
		return true
	}
	return false
}

// undefinedResult reports whether a row's result with an operand size is not defined.
func undefinedResult(op x86.Op, size uint8) bool {
	switch op {
	case x86.SHLD, x86.SHRD, x86.BSWAP, x86.MOVSXD:
		return size == 2
	case x86.BSF, x86.BSR: // with a source of zero
		return true
	}
	return false
}

// freeRegs are the registers that random instructions use. The others hold pointers,
// the loop counter and the stack pointer.
var freeRegs = [...]int{x86.RAX, x86.RCX, x86.RDX, x86.RBX, x86.RSI, x86.RDI, x86.RBP, x86.R8, x86.R9, x86.R10, x86.R11, x86.R14}

func free(r *rng) int { return freeRegs[r.n(len(freeRegs))] }

// The pointers into data, and how many frames there are besides those that are mapped at first.
const (
	pointer12   = dataBase + 0x1800
	pointer13   = dataBase + 0x5040
	spareFrames = 4
)

// random appends an instruction taken at random.
func (b *builder) random() {
	for range 40 {
		rows := b.g.pool.integer
		switch k := b.r.n(100); {
		case k < 30:
			rows = b.g.pool.vector
		case k < 38:
			rows = b.g.pool.other
		}
		if len(rows) > 0 && b.row(rows[b.r.n(len(rows))]) {
			return
		}
	}
	b.bytes(0x90)
}

// row appends an instruction of a row with random operands. It reports whether it could.
func (b *builder) row(e *x86.Enc) bool {
	sizes := e.OpSizes(x86.Mode64)
	if len(sizes) == 0 {
		return false
	}
	c := x86.Choice{Mode: x86.Mode64, OpSize: sizes[b.r.n(len(sizes))], Mem: noMem}
	if undefinedResult(e.Op, c.OpSize) {
		return false
	}
	if lens := e.VecLens(); e.Map.IsVEX() && len(lens) > 1 {
		c.VecLen = lens[b.r.n(len(lens))]
	}
	memory := -1
	wantMem := b.r.pct(35)
	for i, s := range e.Args {
		if s == x86.NoArg {
			break
		}
		f := s.Info()
		a := &c.Args[i]
		a.Kind = f.Kind
		if f.Where == x86.InRM && f.Mem && (f.Kind == x86.KindNone || e.ModRM&x86.MemOnly != 0 || wantMem && e.ModRM&x86.RegOnly == 0) {
			a.Kind = x86.KindMem
			memory = i
		}
		switch f.Kind {
		case x86.KindMMX, x86.KindX87:
			a.Reg = uint16(b.r.n(8))
		case x86.KindVec:
			a.Reg = uint16(b.r.n(16))
		case x86.KindReg:
			a.Reg = uint16(free(&b.r))
			if f.RegSize.Bytes(c.OpSize, c.VecLen, x86.Mode64) == 1 && b.r.pct(20) {
				a.Reg &= 3
				a.High = true
			}
		}
		a.Imm = int64(int8(b.r.u64()))
		switch {
		case s == x86.Ib:
			a.Imm &= 0xff
		case s == x86.Iw:
			a.Imm &= 0xffff
		case (s == x86.Iz || s == x86.Iv) && b.r.pct(60):
			a.Imm = int64(int32(b.r.value()))
			if c.OpSize == 2 {
				a.Imm = int64(int16(a.Imm))
			}
		}
	}
	bits := e.Op == x86.BT || e.Op == x86.BTS || e.Op == x86.BTR || e.Op == x86.BTC
	if bits && memory >= 0 && c.Args[1].Kind == x86.KindReg {
		return false // anywhere
	}
	f := e.Flags()
	if e.Op == x86.SETO || uint64(f.Tested)&b.undef != 0 {
		b.need(uint64(f.Tested))
	}
	if memory >= 0 {
		b.operand(&c)
		c.Lock = e.Attr&x86.Lockable != 0 && memory == 0 && b.r.pct(15)
	}
	code, err := x86.Encode(e, c)
	if err == nil && c.Mem.Base == x86.RIPBase {
		c.Mem.Disp = int64(b.address64() - b.pc() - uint64(len(code)))
		code, err = x86.Encode(e, c)
	}
	if err != nil {
		return false
	}
	b.out = append(b.out, code...)
	b.effect(e.Op, f, c.OpSize)
	return true
}

// effect notes what an instruction does to the flags.
func (b *builder) effect(op x86.Op, f x86.Flags, size uint8) {
	if !f.Cond {
		b.undef &^= uint64(f.Written)
	}
	b.undef |= uint64(f.Undefined) & x86.ArithFlags
	if (op == x86.SHL || op == x86.SHR || op == x86.SAR) && size < 4 {
		b.undef |= x86.CF // the count may be more than the operand has bits
	}
}

// need makes sure that flags are defined.
func (b *builder) need(flags uint64) {
	if b.undef&flags == 0 {
		return
	}
	n, m := free(&b.r), free(&b.r)
	size := pick(&b.r, uint8(1), uint8(2), uint8(4), uint8(4), uint8(8), uint8(8))
	switch b.r.n(6) {
	case 0:
		b.op(x86.ADD, size, r(n), r(m))
	case 1:
		b.op(x86.SUB, size, r(n), i(int64(b.r.n(256)-128)))
	case 2:
		b.op(x86.NEG, size, r(n))
	case 3:
		b.op(x86.CMP, size, r(n), at(x86.R12, int64(8*b.r.n(64))))
	default:
		b.op(x86.CMP, size, r(n), r(m))
	}
	b.undef = 0
}

// address64 returns an address in the data pages, mostly aligned, sometimes across pages.
func (b *builder) address64() uint64 {
	at := uint64(b.r.n(dataPages*pageSize - 64))
	switch b.r.n(16) {
	case 0:
		at = uint64(1+b.r.n(dataPages-1))*pageSize - uint64(b.r.n(40))
	case 1, 2, 3:
	default:
		at &^= 31
	}
	return dataBase + at
}

// operand chooses a memory operand in the data pages. It may append an
// instruction that limits the index, which leaves the flags.
func (b *builder) operand(c *x86.Choice) {
	va := int64(b.address64())
	m := &c.Mem
	base, from := uint8(x86.R12), int64(pointer12)
	if b.r.pct(50) {
		base, from = x86.R13, pointer13
	}
	switch b.r.n(10) {
	case 0:
		m.Base = x86.RIPBase
	case 1:
		m.Disp = va
	case 2, 3:
		n := free(&b.r)
		for _, a := range c.Args {
			if a.Kind == x86.KindReg && int(a.Reg) == n {
				m.Base, m.Disp = base, va-from
				return
			}
		}
		b.op(x86.MOVZX, 4, r(n), operand{Arg: x86.Arg{Kind: x86.KindReg, Reg: uint16(n), Size: 1}})
		m.Base, m.Index, m.Scale = base, uint8(n), uint8(b.r.n(4))
		m.Disp = va - from
		if va > dataBase+6*pageSize {
			m.Disp -= 3 * pageSize
		}
	default:
		m.Base, m.Disp = base, va-from
	}
	if m.Base == base && b.r.pct(5) {
		c.AddrSize = 4
	}
}
