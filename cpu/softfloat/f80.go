package softfloat

// F80 is a value of the x87 double-extended format (SDM vol. 1, section
// 4.2.2).  The operations on it honour Env.Prec where the instruction does
// and leave the C1 condition bit in Env.RoundedUp.
type F80 struct {
	Mant uint64 // significand, with the explicit integer bit on top
	SE   uint16 // sign in bit 15, biased exponent below
}

// Indefinite80 returns the real indefinite QNaN, the masked response to
// invalid operations.
func Indefinite80() F80 { return pack80(indefinite()) }

// Class80 is the kind of an F80 as FXAM tells it.
type Class80 uint8

// The classes, in the encoding C3:C2:C0 of FXAM (SDM vol. 2, FXAM).
// FXAM's "empty" is a matter of the tag word.
const (
	ClassUnsupported Class80 = 0
	ClassNaN         Class80 = 1
	ClassNormal      Class80 = 2
	ClassInfinity    Class80 = 3
	ClassZero        Class80 = 4
	ClassDenormal    Class80 = 6
)

// Class returns the kind of a (FXAM).
func (a F80) Class() Class80 {
	switch n := unpack80(a); n.class {
	case classZero:
		return ClassZero
	case classInf:
		return ClassInfinity
	case classQNaN, classSNaN:
		return ClassNaN
	case classUnsupported:
		return ClassUnsupported
	default:
		if n.denorm {
			return ClassDenormal
		}
		return ClassNormal
	}
}

// Signbit tells whether a has its sign bit set.
func (a F80) Signbit() bool { return a.SE>>15 != 0 }

// Abs returns a with a clear sign bit (FABS).
func (a F80) Abs() F80 { return F80{a.Mant, a.SE &^ (1 << 15)} }

// Neg returns a with its sign bit flipped (FCHS).
func (a F80) Neg() F80 { return F80{a.Mant, a.SE ^ 1<<15} }

func unpack80(a F80) num {
	n := num{neg: a.SE>>15 != 0, mant: a.Mant}
	switch field := int32(a.SE & 0x7fff); {
	case field == 0 && a.Mant == 0:
		n.class = classZero
	case field == 0:
		// Pseudo-denormals have the exponent of denormals and the integer
		// bit set.
		w := normalize(n.neg, ext64.emin, a.Mant, 0)
		n.class, n.mant, n.exp, n.denorm = classFinite, w.hi, w.exp, true
	case a.Mant&integerBit == 0:
		n.class = classUnsupported // unnormals, pseudo-infinities, pseudo-NaNs
	case field != 0x7fff:
		n.class, n.exp = classFinite, field-ext64.emax
	case a.Mant == integerBit:
		n.class = classInf
	case a.Mant&quietBit != 0:
		n.class = classQNaN
	default:
		n.class = classSNaN
	}
	return n
}

func pack80(n num) F80 {
	field, mant := n.encode(&ext64)
	a := F80{Mant: mant, SE: uint16(field)}
	if n.neg {
		a.SE |= 1 << 15
	}
	return a
}

// precision returns the register format under the precision control.
func (e *Env) precision() *format {
	switch e.Prec {
	case 24:
		return &ext24
	case 53:
		return &ext53
	}
	return &ext64
}

// Operand is a source operand of an x87 instruction.  Operands in memory may
// be of other formats than F80 and are converted exactly; what exceptions
// they raise, however, depends on the format they came in.
type Operand struct{ n num }

// Operand80 returns a register operand.
func Operand80(a F80) Operand { return Operand{unpack80(a)} }

// Operand32 returns an m32fp operand.
func Operand32(a uint32) Operand { return Operand{unpack(&binary32, uint64(a))} }

// Operand64 returns an m64fp operand.
func Operand64(a uint64) Operand { return Operand{unpack(&binary64, a)} }

// OperandInt returns an m16int or m32int operand (FIADD and the like).
func OperandInt(a int32) Operand { return Operand{unpack80(I64ToF80(int64(a)))} }

// Op80 is a basic arithmetic operation.
type Op80 uint8

// The basic operations.  The reversed ones (FSUBR, FDIVR) are had by
// exchanging the operands.
const (
	OpAdd Op80 = iota
	OpSub
	OpMul
	OpDiv
)

// Arith80 returns a op b, rounded to the precision control.
func (e *Env) Arith80(op Op80, a, b Operand) F80 {
	e.RoundedUp = false
	f := e.precision()
	switch op {
	case OpSub:
		return pack80(e.add(f, a.n, b.n.negated()))
	case OpMul:
		return pack80(e.mul(f, a.n, b.n))
	case OpDiv:
		return pack80(e.div(f, a.n, b.n))
	}
	return pack80(e.add(f, a.n, b.n))
}

// Add80 returns a+b (FADD).
func (e *Env) Add80(a, b F80) F80 { return e.Arith80(OpAdd, Operand80(a), Operand80(b)) }

// Sub80 returns a-b (FSUB).
func (e *Env) Sub80(a, b F80) F80 { return e.Arith80(OpSub, Operand80(a), Operand80(b)) }

// Mul80 returns a*b (FMUL).
func (e *Env) Mul80(a, b F80) F80 { return e.Arith80(OpMul, Operand80(a), Operand80(b)) }

// Div80 returns a/b (FDIV).
func (e *Env) Div80(a, b F80) F80 { return e.Arith80(OpDiv, Operand80(a), Operand80(b)) }

// Sqrt80 returns the square root of a (FSQRT).
func (e *Env) Sqrt80(a F80) F80 {
	e.RoundedUp = false
	return pack80(e.sqrt(e.precision(), unpack80(a)))
}

// RoundToInt80 rounds a to an integral value by Env.Round (FRNDINT).
func (e *Env) RoundToInt80(a F80) F80 {
	e.RoundedUp = false
	n := unpack80(a)
	if e.denormal(n.denorm) {
		return a
	}
	return pack80(e.roundToIntegral(n, e.Round, false))
}

// Compare80 compares a and b, raising IE if either is a NaN (FCOM, FCOMI).
func (e *Env) Compare80(a, b F80) Relation {
	return e.CompareOperands(Operand80(a), Operand80(b))
}

// CompareQuiet80 compares a and b, raising IE only for SNaNs and unsupported
// encodings (FUCOM, FUCOMI).
func (e *Env) CompareQuiet80(a, b F80) Relation {
	e.RoundedUp = false
	return e.compare(unpack80(a), unpack80(b), false)
}

// CompareOperands is Compare80 for any kind of operands (FCOM m32fp, FICOM,
// and FTST with OperandInt(0)).
func (e *Env) CompareOperands(a, b Operand) Relation {
	e.RoundedUp = false
	return e.compare(a.n, b.n, true)
}

// Scale80 returns a * 2^trunc(b) (FSCALE).
func (e *Env) Scale80(a, b F80) F80 {
	e.RoundedUp = false
	return pack80(e.scale(unpack80(a), unpack80(b)))
}

func (e *Env) scale(a, b num) num {
	if a.isNaN() || b.isNaN() {
		return e.nan2(&ext64, a, b)
	}
	if b.class == classInf && (b.neg && a.class == classInf || !b.neg && a.class == classZero) {
		return e.invalid()
	}
	if e.denormal(a.denorm || b.denorm) {
		return zero(false)
	}
	switch {
	case b.class == classInf && b.neg:
		return zero(a.neg)
	case b.class == classInf:
		return infinity(a.neg)
	case a.class != classFinite:
		return a
	}
	// Any power of two beyond 2^17 leads out of the format, bias adjustment
	// or not.
	power := int32(1 << 17)
	if b.class == classZero {
		power = 0
	} else if b.exp < 17 {
		mag, _, _ := magnitude(b, RoundZero)
		power = int32(mag)
	}
	if b.neg {
		power = -power
	}
	return e.round(&ext64, a.wide().scaled(power))
}

// Extract80 splits a into its unbiased exponent, as a number, and its
// significand with the sign of a (FXTRACT).
func (e *Env) Extract80(a F80) (exponent, significand F80) {
	e.RoundedUp = false
	n := unpack80(a)
	switch {
	case n.isNaN():
		r := pack80(e.nan1(n))
		return r, r
	case n.class == classInf:
		return pack80(infinity(false)), a
	case n.class == classZero:
		e.Flags |= ZE
		return pack80(infinity(true)), a
	case e.denormal(n.denorm):
		return a, a
	}
	exponent = I64ToF80(int64(n.exp))
	n.exp = 0
	return exponent, pack80(n)
}

// Constant80 is one of the constants built into the x87 unit.
type Constant80 uint8

// The constants that depend on the rounding mode.  FLD1 and FLDZ are
// I64ToF80(1) and F80{}.
const (
	Log2Of10 Constant80 = iota // FLDL2T
	Log2OfE                    // FLDL2E
	Pi                         // FLDPI
	Log10Of2                   // FLDLG2
	LnOf2                      // FLDLN2
)

// LoadConstant80 returns constant c rounded by Env.Round.  It raises nothing.
func (e *Env) LoadConstant80(c Constant80) F80 {
	e.RoundedUp = false
	var w wide
	switch c {
	case Log2Of10:
		w = log2Of10
	case Log2OfE:
		w = log2OfE
	case Log10Of2:
		w = log10Of2
	case LnOf2:
		w = lnOf2
	default:
		w = pi
	}
	quiet := Env{Round: e.Round, Masks: AllExceptions}
	return pack80(quiet.round(&ext64, w))
}
