// Package softfloat implements IEEE 754 arithmetic with the exact semantics
// of x86 processors, in portable Go.
//
// # Formats
//
// binary16, binary32 and binary64 values are raw bit patterns held in uint16,
// uint32 and uint64; the x87 double-extended format is the struct [F80].
// Method names carry the width they work on: [Env.Add32], [Env.Add64],
// [Env.Add80].  binary16 has conversions only.
//
// # Environment
//
// Every operation that can round or raise an exception is a method of [Env],
// which holds the control state (rounding mode, exception masks, FTZ, DAZ and
// x87 precision control) and accumulates the exception flags in the order
// MXCSR[5:0] and the x87 status word share.  [FromMXCSR] and [FromControl]
// build an Env from the architectural registers.
//
// # Exceptions
//
// Flags are sticky: an operation only ever ORs into Env.Flags.  To learn what
// one instruction raised, clear Env.Flags before it and pass the flags to
// [Flags.Deliver] afterwards; that is needed only while some exception is
// unmasked.  The operations follow the masks themselves where those change
// the outcome:
//
//   - an unmasked pre-computation exception (IE, DE, ZE) ends the operation
//     and suppresses the post-computation flags (OE, UE, PE);
//   - with UE unmasked a tiny result raises UE even when it is exact;
//   - an unmasked OE or UE makes an x87 register operation return the
//     correctly rounded result with its exponent adjusted by 24576.
//
// Results returned along with an unmasked pre-computation exception, or with
// any unmasked exception of an SSE operation, are meaningless: the processor
// leaves the destination alone, and so should the caller.
//
// # Structure
//
// An operand is unpacked to a num, a class plus a left-aligned 64-bit
// significand and an unbounded exponent.  Each operation computes a wide
// (a 128-bit significand whose last bit is sticky) and a single function,
// Env.round, turns it into a num of the destination format and raises OE, UE
// and PE.  References to the SDM mean the Intel 64 and IA-32 Architectures
// Software Developer's Manual.
package softfloat
