package interp

import (
	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// The x87 instructions (Intel SDM vol. 1, chapter 8).
//
// In an Op of these instructions dst and src are numbers of stack registers,
// aux chooses between instructions that share a handler, size is that of the
// memory operand, and imm holds the opcode in the form of FOP and above it the bits below.
const (
	x87Pop = 1 << 16 // pop the stack afterwards
	x87Rev = 1 << 17 // reversed operands: FSUBR, FDIVR
	x87Int = 1 << 18 // the memory operand is an integer
)

// Bits of the status word (SDM vol. 1, 8.1.3).
const (
	swSF  = 1 << 6
	swC0  = 1 << 8
	swC1  = 1 << 9
	swC2  = 1 << 10
	swC3  = 1 << 14
	swB   = 1 << 15
	swCC  = swC0 | swC1 | swC2 | swC3
	swExc = uint16(softfloat.AllExceptions)
)

// x87Begin starts an instruction that has nothing more to check than that the
// x87 is available.
func (c *CPU) x87Begin(o *Op) bool {
	if !c.x87Ready(true) {
		return false
	}
	c.x87Note(o)
	return true
}

// x87Note records the instruction for FIP, FCS and FOP, and clears C1. It is the first change
// that an instruction makes.
func (c *CPU) x87Note(o *Op) {
	f := &c.s.FPU
	f.FIP, f.FCS = c.ripOf(o), c.s.Seg[x86.CS].Selector
	f.FOP = uint16(o.imm) & 0x7ff
	f.SW &^= swC1
}

// x87NoteMem is x87Note for an instruction with a memory operand, which goes to FDP and FDS.
func (c *CPU) x87NoteMem(o *Op) {
	c.x87Note(o)
	c.s.FPU.FDP = c.lea(o)
	if o.seg < segNone {
		c.s.FPU.FDS = c.s.Seg[o.seg].Selector
	}
}

// phys returns the number of the physical register that is ST(i).
func (c *CPU) phys(i uint8) uint8 { return (uint8(c.s.FPU.SW>>11) + i) & 7 }

// st returns ST(i), stEmpty whether it is empty.
func (c *CPU) st(i uint8) softfloat.F80 { return softfloat.F80(c.s.FPU.R[c.phys(i)]) }
func (c *CPU) stEmpty(i uint8) bool     { return c.s.FPU.Tag>>c.phys(i)&1 == 0 }

// setST writes ST(i).
func (c *CPU) setST(i uint8, v softfloat.F80) {
	n := c.phys(i)
	c.s.FPU.R[n] = x86.F80(v)
	c.s.FPU.Tag |= 1 << n
}

// turn adds n to TOP.
func (c *CPU) turn(n uint16) {
	f := &c.s.FPU
	f.SW = f.SW&^swTop | (f.SW+n<<11)&swTop
}

func (c *CPU) push(v softfloat.F80) {
	c.turn(7)
	c.setST(0, v)
}

func (c *CPU) pop() {
	c.s.FPU.Tag &^= 1 << c.phys(0)
	c.turn(1)
}

// popIf pops if o asks for it.
func (c *CPU) popIf(o *Op) {
	if o.imm&x87Pop != 0 {
		c.pop()
	}
}

// x87Raise enters exceptions into the status word. It reports whether an
// exception that is not masked keeps the instruction from having its result: one of IE, DE and ZE.
func (c *CPU) x87Raise(fl softfloat.Flags) (masked bool) {
	f := &c.s.FPU
	f.SW |= uint16(fl)
	bad := uint16(fl) &^ f.CW
	if bad == 0 {
		return true
	}
	f.SW |= swES | swB
	return bad&uint16(softfloat.PreComputation) == 0
}

// x87Done is x87Raise for the exceptions of a finished operation, with C1 for the direction of rounding.
func (c *CPU) x87Done(e *softfloat.Env) bool {
	if e.RoundedUp {
		c.s.FPU.SW |= swC1
	}
	return c.x87Raise(e.Flags)
}

// underflow and overflow raise a stack fault, and report whether the masked
// response follows.
func (c *CPU) underflow() bool {
	c.s.FPU.SW |= swSF
	return c.x87Raise(softfloat.IE)
}

func (c *CPU) overflow() bool {
	c.s.FPU.SW |= swSF | swC1
	return c.x87Raise(softfloat.IE)
}

// x87Env returns the environment that the control word describes.
func (c *CPU) x87Env() softfloat.Env { return softfloat.FromControl(c.s.FPU.CW) }

// opcode returns the instruction's opcode in the form of FOP: the low three bits of
// the escape byte, and the ModRM byte.
func opcode(in *x86.Inst) uint64 {
	if in.Op == x86.FWAIT {
		return 0
	}
	return uint64(in.Enc.Code&7)<<8 | uint64(in.ModRM)
}

// compileX87 puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileX87(c *CPU, in *x86.Inst, o *Op) (done, end bool) {
	if in.Op < x86.FWAIT || in.Op > x86.FNSTSW {
		return false, false
	}
	o.imm = opcode(in)
	mem := false
	for i := range in.NArgs {
		if a := &in.Args[i]; a.Kind == x86.KindMem {
			mem = true
			o.size = a.Size
		}
	}
	var fn handler
	switch {
	case in.Op >= x86.FADD && in.Op <= x86.FIDIVR:
		fn = compileX87Arith(in, o, mem)
	case in.Op >= x86.FCOM && in.Op <= x86.FUCOMIP:
		fn = compileX87Compare(in, o, mem)
	case in.Op >= x86.FLD && in.Op <= x86.FXCH:
		fn = compileX87Move(in, o, mem)
	case in.Op >= x86.FCMOVB && in.Op <= x86.FCMOVNU:
		o.src = uint8(in.Args[1].Reg)
		o.aux = uint8(in.Op - x86.FCMOVB)
		fn = fcmov
	case in.Op >= x86.FLD1 && in.Op <= x86.FLDZ:
		o.aux = uint8(in.Op - x86.FLD1)
		fn = fldConst
	default:
		fn = compileX87Other(in, o, mem)
	}
	if fn == nil {
		return false, false
	}
	o.fn = fn
	return true, false
}

// compileX87Other is compileX87 for what has no operand, and for control.
func compileX87Other(in *x86.Inst, o *Op, mem bool) handler {
	switch in.Op {
	case x86.FWAIT:
		return fwait
	case x86.FTST:
		return ftst
	case x86.FXAM:
		return fxam
	case x86.FCHS, x86.FABS:
		o.aux = uint8(in.Op - x86.FCHS)
		return fchs
	case x86.FSQRT, x86.FRNDINT, x86.F2XM1:
		o.aux = [...]uint8{unarySqrt, unaryRound, unaryExp}[index3(in.Op, x86.FSQRT, x86.FRNDINT)]
		return unary87
	case x86.FSIN, x86.FCOS:
		o.aux = uint8(in.Op - x86.FSIN)
		return fsin
	case x86.FSINCOS:
		return fsincos
	case x86.FPTAN:
		return fptan
	case x86.FXTRACT:
		return fxtract
	case x86.FPREM, x86.FPREM1:
		if in.Op == x86.FPREM1 {
			o.aux = 1
		}
		return fprem
	case x86.FSCALE:
		return fscale
	case x86.FPATAN, x86.FYL2X, x86.FYL2XP1:
		o.aux = [...]uint8{binaryAtan, binaryLog, binaryLog1}[index3(in.Op, x86.FPATAN, x86.FYL2X)]
		return binary87
	case x86.FINCSTP:
		o.aux = 1
		return fincstp
	case x86.FDECSTP:
		o.aux = 7
		return fincstp
	case x86.FFREE, x86.FFREEP:
		o.dst = uint8(in.Args[0].Reg)
		if in.Op == x86.FFREEP {
			o.imm |= x87Pop
		}
		return ffree
	case x86.FNOP:
		return fnop
	case x86.FNINIT:
		return fninit
	case x86.FNCLEX:
		return fnclex
	case x86.FNENI, x86.FNDISI, x86.FNSETPM:
		return fneni
	case x86.FLDCW:
		return fldcw
	case x86.FNSTCW:
		return fnstcw
	case x86.FNSTSW:
		if mem {
			return fnstsw
		}
		return fnstswAX
	}
	return nil
}

// index3 returns 0 if op is a, 1 if it is b, and otherwise 2.
func index3(op, a, b x86.Op) int {
	switch op {
	case a:
		return 0
	case b:
		return 1
	}
	return 2
}
