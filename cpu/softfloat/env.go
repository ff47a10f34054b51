package softfloat

// RoundingMode is a rounding direction in the encoding of MXCSR.RC, of the
// x87 control word's RC field and of the low two bits of the ROUNDPS
// immediate (SDM vol. 1, table 4-8).
type RoundingMode uint8

// The four rounding directions.
const (
	RoundNearest RoundingMode = iota // to nearest, ties to even
	RoundDown                        // toward minus infinity
	RoundUp                          // toward plus infinity
	RoundZero                        // toward zero
)

// Flags is a set of floating-point exceptions, laid out as MXCSR[5:0] and the
// low bits of the x87 status and control words.
type Flags uint8

// The six floating-point exceptions (SDM vol. 1, section 4.9.1).
const (
	IE Flags = 1 << iota // invalid operation
	DE                   // denormal operand
	ZE                   // divide by zero
	OE                   // numeric overflow
	UE                   // numeric underflow
	PE                   // inexact result (precision)

	// PreComputation holds the exceptions detected before a result is
	// computed.
	PreComputation = IE | DE | ZE
	// PostComputation holds those detected on the computed result.
	PostComputation = OE | UE | PE
	// AllExceptions holds every exception.
	AllExceptions = PreComputation | PostComputation
)

// Deliver decides what one instruction that raised the exceptions f reports
// under the given masks: the flags to OR into MXCSR or the status word, and
// whether an unmasked exception has to be signalled.  For a packed
// instruction f is the union over all elements; an unmasked pre-computation
// exception of any element then hides the post-computation exceptions of the
// others (SDM vol. 1, section 11.5.3).
func (f Flags) Deliver(masks Flags) (report Flags, fault bool) {
	if f&PreComputation&^masks != 0 {
		return f & PreComputation, true
	}
	return f, f&^masks != 0
}

// Env is the floating-point environment of one operation or a sequence of
// them.  The zero value rounds to nearest with every exception unmasked; most
// callers want [FromMXCSR] or [FromControl].
type Env struct {
	// Round is the rounding direction of all operations that do not take one
	// as an argument.
	Round RoundingMode
	// FTZ flushes tiny SSE results to zero while UE is masked.  It must be
	// false in an x87 environment.
	FTZ bool
	// DAZ takes denormal SSE operands for zeros.  It must be false in an x87
	// environment.
	DAZ bool
	// Prec is the x87 precision control: 24, 53 or 64 significand bits.  Any
	// other value means 64.  SSE operations ignore it.
	Prec uint8
	// Flags accumulates the exceptions raised.
	Flags Flags
	// Masks holds the masked exceptions: bits as MXCSR>>7, or the low six
	// bits of the x87 control word.
	Masks Flags
	// RoundedUp tells whether the last x87 operation rounded its result away
	// from zero: the C1 condition bit.
	RoundedUp bool
}

// FromMXCSR returns the environment an MXCSR value describes (SDM vol. 1,
// section 10.2.3).
func FromMXCSR(mxcsr uint32) Env {
	return Env{
		Round: RoundingMode(mxcsr >> 13 & 3),
		FTZ:   mxcsr>>15&1 != 0,
		DAZ:   mxcsr>>6&1 != 0,
		Flags: Flags(mxcsr) & AllExceptions,
		Masks: Flags(mxcsr>>7) & AllExceptions,
	}
}

// FromControl returns the environment an x87 control word describes, with no
// flags raised (SDM vol. 1, section 8.1.5).  The reserved precision control
// encoding 01 is taken as 64 bits.
func FromControl(cw uint16) Env {
	e := Env{
		Round: RoundingMode(cw >> 10 & 3),
		Prec:  64,
		Masks: Flags(cw) & AllExceptions,
	}
	switch cw >> 8 & 3 {
	case 0:
		e.Prec = 24
	case 2:
		e.Prec = 53
	}
	return e
}

// raise ORs f into the flags and tells whether any of f is unmasked.
func (e *Env) raise(f Flags) (unmasked bool) {
	e.Flags |= f
	return f&^e.Masks != 0
}

// native tells whether the host's own arithmetic can stand in for an
// operation on normal numbers with a normal result.  Such an operation can
// raise nothing but PE, which has to be in the flags already since the host
// does not tell.
func (e *Env) native() bool {
	return e.Round == RoundNearest && e.Flags&PE != 0
}
