#include "textflag.h"

// Compare-and-swap of widths that sync/atomic lacks. Pointers may be unaligned;
// LOCK keeps the access one also then. They point into guest memory, which
// the collector neither moves nor scans, so no write barrier is involved.

// func cas8(p unsafe.Pointer, old, new uint8) bool
TEXT ·cas8(SB), NOSPLIT, $0-17
	MOVQ p+0(FP), BX
	MOVB old+8(FP), AX
	MOVB new+9(FP), CX
	LOCK
	CMPXCHGB CX, 0(BX)
	SETEQ ret+16(FP)
	RET

// func cas16(p unsafe.Pointer, old, new uint16) bool
TEXT ·cas16(SB), NOSPLIT, $0-17
	MOVQ p+0(FP), BX
	MOVW old+8(FP), AX
	MOVW new+10(FP), CX
	LOCK
	CMPXCHGW CX, 0(BX)
	SETEQ ret+16(FP)
	RET

// func cas128(p unsafe.Pointer, old0, old1, new0, new1 uint64) (r0, r1 uint64, ok bool)
TEXT ·cas128(SB), NOSPLIT, $0-57
	MOVQ p+0(FP), DI
	MOVQ old0+8(FP), AX
	MOVQ old1+16(FP), DX
	MOVQ new0+24(FP), BX
	MOVQ new1+32(FP), CX
	LOCK
	CMPXCHG16B 0(DI)
	MOVQ AX, r0+40(FP)
	MOVQ DX, r1+48(FP)
	SETEQ ok+56(FP)
	RET
