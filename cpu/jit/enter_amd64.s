//go:build linux

#include "textflag.h"

// func enter(base unsafe.Pointer, stub, code uintptr)
//
// Invariant: the code that stub leads to uses the stack for calls of two levels and to save a few registers, returns here, and
// leaves SP and the thread pointer alone. It is free to use all other registers: functions of this kind
// preserve none but BP, which the assembler saves because there is a frame.
TEXT ·enter(SB), NOSPLIT, $64-24
	MOVQ base+0(FP), DI
	MOVQ stub+8(FP), R15
	MOVQ code+16(FP), AX
	MOVQ DI, BP
	CALL R15
	RET

// func goroutine() uintptr
//
// Invariant: the runtime never moves the descriptor of a goroutine, and keeps it while the goroutine exists.
TEXT ·goroutine(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET
