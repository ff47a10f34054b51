#include "textflag.h"
#include "layout_dragonfly_amd64.h"

// The code between the processor and the kernel's Go. Everything here runs with
// interrupts off. GS always points to the CPU's percpu; FS points to the thread's
// storage while a thread runs and to the CPU's own while the kernel does, whose
// stand-in for a g has a stack bound below every stack of the CPU: so the kernel's
// bottom layer is ordinary Go.

// entry is where the boot stub comes in, on the stub's page tables.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	CLI
	CLD
	LEAQ ·bspArea+4095(SB), DI
	ANDQ $~4095, DI
	JMP  ·start(SB)

// start sets a CPU up whose percpu is at DI.
TEXT ·start(SB), NOSPLIT|NOFRAME, $0
	MOVQ DI, R15
	MOVQ DI, AX
	MOVQ DI, DX
	SHRQ $32, DX
	MOVL $0xc0000101, CX // GS base
	WRMSR
	MOVQ R15, P_SELF(GS)
	LEAQ A_STACK(R15), SP
	MOVQ SP, P_STACK(GS)
	MOVL $1, AX
	XORL CX, CX
	CPUID
	MOVL CX, R8
	XORL R9, R9
	MOVL $0, AX
	CPUID
	CMPL AX, $7
	JB   nofsgs
	MOVL $7, AX
	XORL CX, CX
	CPUID
	TESTL $1, BX
	JZ   nofsgs
	MOVQ CR4, AX
	ORQ  $0x10000, AX
	MOVQ AX, CR4
	ORQ  $F_FSGS, R9
nofsgs:
	TESTL $0x4000000, R8
	JZ   noxsave
	MOVQ CR4, AX
	ORQ  $0x40000, AX
	MOVQ AX, CR4
	MOVL $0xd, AX
	XORL CX, CX
	CPUID
	ANDL $7, AX // x87, SSE, AVX: the state of AVX-512 would make each switch of threads several times as long
	MOVL AX, P_XMASK(GS)
	XORL DX, DX
	XORL CX, CX
	XSETBV
	ORQ  $F_XSAVE, R9
noxsave:
	MOVQ R9, P_FEAT(GS)
	BYTE $0xdb; BYTE $0xe3 // FNINIT
	MOVL $0x1f80, AX
	PUSHQ AX
	LDMXCSR (SP)
	POPQ AX
	MOVL $0xc0000081, CX // STAR: kernel code 8, data 0x10; user 0x28 base
	XORL AX, AX
	MOVL $0x00280008, DX
	WRMSR
	MOVL $0xc0000082, CX // LSTAR
	LEAQ ·syscallEntry(SB), AX
	MOVQ AX, DX
	SHRQ $32, DX
	WRMSR
	MOVL $0xc0000084, CX // FMASK: IF, DF, TF, AC
	MOVL $0x40700, AX
	XORL DX, DX
	WRMSR
	LEAQ A_G(R15), AX
	MOVQ AX, A_G-8(R15) // at -8(FS), where Go looks for its g
	MOVQ AX, P_KFS(GS)
	LOADFS
	XORPS X15, X15
	XORL BP, BP
	CALL ·kstart(SB)
	JMP  ·leave(SB)

// leave returns to the thread the CPU runs, or waits for an interrupt.
TEXT ·leave(SB), NOSPLIT|NOFRAME, $0
	MOVQ  P_CTX(GS), DI
	TESTQ DI, DI
	JZ    idle
	JMP   ·resume(SB)
idle:
	MOVQ P_STACK(GS), SP
	XORL BP, BP
	MOVQ $1, P_IDLE(GS)
	STI
	HLT
	CLI
	JMP  idle // only a non-maskable interrupt returns here

// resume goes on with the thread whose context is at DI.
TEXT ·resume(SB), NOSPLIT|NOFRAME, $0
	MOVQ C_FS(DI), AX
	LOADFS
	CMPQ C_FPV(DI), $0
	JE   nofp
	LOADFPU(C_FPU, DI)
	JMP  fpdone
nofp:
	XORPS X15, X15
fpdone:
	MOVQ C_AX(DI), AX
	MOVQ C_BX(DI), BX
	MOVQ C_CX(DI), CX
	MOVQ C_DX(DI), DX
	MOVQ C_SI(DI), SI
	MOVQ C_BP(DI), BP
	MOVQ C_R8(DI), R8
	MOVQ C_R9(DI), R9
	MOVQ C_R10(DI), R10
	MOVQ C_R11(DI), R11
	MOVQ C_R12(DI), R12
	MOVQ C_R13(DI), R13
	MOVQ C_R14(DI), R14
	MOVQ C_R15(DI), R15
	LEAQ C_RIP(DI), SP
	MOVQ C_DI(DI), DI
	IRETQ

// syscallEntry is the target of SYSCALL: CX is the return address, R11 the flags, and
// the stack is the caller's. The Go runtime, in ring 0, is the caller.
TEXT ·syscallEntry(SB), NOSPLIT|NOFRAME, $0
	BTQ  $9, R11
	JCC  self
	CMPQ AX, $232 // clock_gettime, nine in ten
	JE   clock
full:
	INCQ P_NSYS(GS)
	MOVQ R11, P_SCRATCH(GS)
	MOVQ P_CTX(GS), R11
	MOVQ AX, C_AX(R11)
	MOVQ BX, C_BX(R11)
	MOVQ DX, C_DX(R11)
	MOVQ SI, C_SI(R11)
	MOVQ DI, C_DI(R11)
	MOVQ BP, C_BP(R11)
	MOVQ R8, C_R8(R11)
	MOVQ R9, C_R9(R11)
	MOVQ R10, C_R10(R11)
	MOVQ R12, C_R12(R11)
	MOVQ R13, C_R13(R11)
	MOVQ R14, C_R14(R11)
	MOVQ R15, C_R15(R11)
	MOVQ CX, C_RIP(R11)
	MOVQ CX, C_CX(R11)
	MOVQ SP, C_SP(R11)
	MOVQ P_SCRATCH(GS), AX
	MOVQ AX, C_FL(R11)
	MOVQ AX, C_R11(R11)
	MOVQ $0, C_FPV(R11)
	MOVQ P_KFS(GS), AX
	LOADFS
	MOVQ P_STACK(GS), SP
	MOVQ $0, P_SLOW(GS)
	CALL ·ksyscall(SB)
	CMPQ P_SLOW(GS), $0
	JNE  slow
	MOVQ P_CTX(GS), R11
	MOVQ C_FS(R11), AX
	LOADFS
	MOVQ C_AX(R11), AX
	MOVQ C_BX(R11), BX
	MOVQ C_DX(R11), DX
	MOVQ C_SI(R11), SI
	MOVQ C_DI(R11), DI
	MOVQ C_BP(R11), BP
	MOVQ C_R8(R11), R8
	MOVQ C_R9(R11), R9
	MOVQ C_R10(R11), R10
	MOVQ C_R12(R11), R12
	MOVQ C_R13(R11), R13
	MOVQ C_R14(R11), R14
	MOVQ C_R15(R11), R15
	MOVQ C_RIP(R11), CX
	XORPS X15, X15
	MOVQ C_SP(R11), SP
	PUSHQ C_FL(R11) // 8 bytes of the caller's stack: Go has no red zone
	POPFQ
	JMP  CX
slow:
	JMP  ·leave(SB)

clock:
	TESTQ $~4, DI // CLOCK_REALTIME 0, CLOCK_MONOTONIC 4
	JNE   full
	MOVQ  R11, P_SCRATCH(GS)
	RDTSC
	SHLQ  $32, DX
	ORQ   DX, AX
	SUBQ  P_TSC0(GS), AX
	MULQ  P_TSCMUL(GS)
	SHRQ  $32, DX, AX
	TESTQ DI, DI
	JNE   monotonic
	ADDQ  P_WALL(GS), AX
monotonic:
	XORL  DX, DX
	MOVL  $1000000000, R11
	DIVQ  R11
	MOVQ  AX, 0(SI)
	MOVQ  DX, 8(SI)
	XORL  AX, AX
	MOVQ  P_SCRATCH(GS), R11
	ANDQ  $~1, R11
	PUSHQ R11
	POPFQ
	JMP   CX

self: // with interrupts off the kernel's own bottom layer calls: the runtime reports a panic in it
	PUSHQ R11
	PUSHQ CX
	SUBQ  $32, SP
	MOVQ  AX, 0(SP)
	MOVQ  DI, 8(SP)
	MOVQ  SI, 16(SP)
	MOVQ  DX, 24(SP)
	CALL  ·kself(SB)
	ADDQ  $32, SP
	POPQ  CX
	POPQ  R11
	XORL  AX, AX
	JMP   CX

// vectors are the interrupt gates' targets, five bytes each.
TEXT ·vectors(SB), NOSPLIT|NOFRAME, $0
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)
	CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB); CALL ·vectored(SB)

// vectored sorts out what interrupted what. It runs on one of the CPU's interrupt stacks. The
// stack becomes: DI, AX, vector, error, RIP, CS, flags, SP, SS.
TEXT ·vectored(SB), NOSPLIT|NOFRAME, $0
	PUSHQ AX
	MOVQ  8(SP), AX
	PUSHQ DI
	LEAQ  ·vectors(SB), DI
	SUBQ  DI, AX
	IMUL3L $52429, AX, AX // offset/5 is the vector plus one
	SHRL  $18, AX
	DECL  AX
	CMPL  AX, $32
	JAE   noerr
	MOVL  $0x60227d00, DI // vectors with an error code
	BTL   AX, DI
	JCC   noerr
	MOVQ  AX, 16(SP)
	JMP   have
noerr:
	SUBQ  $8, SP
	MOVQ  8(SP), DI
	MOVQ  DI, 0(SP)
	MOVQ  16(SP), DI
	MOVQ  DI, 8(SP)
	MOVQ  AX, 16(SP)
	MOVQ  $0, 24(SP)
have:
	CLD
	CMPQ  16(SP), $2
	JEQ   nmi
	CMPQ  P_IDLE(GS), $0
	JNE   idle
	TESTQ $0x200, 48(SP)
	JZ    nested
thread:
	MOVQ  P_CTX(GS), DI
	MOVQ  BX, C_BX(DI)
	MOVQ  CX, C_CX(DI)
	MOVQ  DX, C_DX(DI)
	MOVQ  SI, C_SI(DI)
	MOVQ  BP, C_BP(DI)
	MOVQ  R8, C_R8(DI)
	MOVQ  R9, C_R9(DI)
	MOVQ  R10, C_R10(DI)
	MOVQ  R11, C_R11(DI)
	MOVQ  R12, C_R12(DI)
	MOVQ  R13, C_R13(DI)
	MOVQ  R14, C_R14(DI)
	MOVQ  R15, C_R15(DI)
	MOVQ  0(SP), AX
	MOVQ  AX, C_DI(DI)
	MOVQ  8(SP), AX
	MOVQ  AX, C_AX(DI)
	MOVQ  16(SP), AX
	MOVQ  AX, C_VEC(DI)
	MOVQ  24(SP), AX
	MOVQ  AX, C_ERR(DI)
	MOVQ  32(SP), AX
	MOVQ  AX, C_RIP(DI)
	MOVQ  40(SP), AX
	MOVQ  AX, C_CS(DI)
	MOVQ  48(SP), AX
	MOVQ  AX, C_FL(DI)
	MOVQ  56(SP), AX
	MOVQ  AX, C_SP(DI)
	MOVQ  64(SP), AX
	MOVQ  AX, C_SS(DI)
	MOVQ  CR2, AX
	MOVQ  AX, C_CR2(DI)
	MOVQ  $1, C_FPV(DI)
	SAVEFPU(C_FPU, DI)
	MOVQ  P_KFS(GS), AX
	LOADFS
	MOVQ  P_STACK(GS), SP
	XORL  BP, BP
	XORPS X15, X15
	CALL  ·ktrap(SB)
	JMP   ·leave(SB)

idle: // nothing is interrupted but waiting
	CMPQ  16(SP), $32
	JB    fatal
	MOVQ  $0, P_IDLE(GS)
	MOVQ  16(SP), AX
	MOVQ  P_STACK(GS), SP
	XORL  BP, BP
	XORPS X15, X15
	PUSHQ AX
	PUSHQ AX
	CALL  ·kidle(SB)
	JMP   ·leave(SB)

nested: // the kernel itself: it may touch memory that is not there yet, or run into a breakpoint
	CMPQ  P_STEP(GS), $0
	JE    kernel
	MOVQ  $0, P_STEP(GS) // no, a thread that executes one instruction so
	JMP   thread
kernel:
	CMPQ  16(SP), $1
	JEQ   watched
	CMPQ  16(SP), $3
	JEQ   mayNest
	CMPQ  16(SP), $14
	JNE   fatal
mayNest:
	CMPQ  P_NESTED(GS), $0
	JNE   fatal
	MOVQ  $1, P_NESTED(GS)
	PUSHQ BX
	PUSHQ CX
	PUSHQ DX
	PUSHQ SI
	PUSHQ BP
	PUSHQ R8
	PUSHQ R9
	PUSHQ R10
	PUSHQ R11
	PUSHQ R12
	PUSHQ R13
	PUSHQ R14
	PUSHQ R15
	MOVQ  SP, BP
	MOVQ  P_SELF(GS), DI
	SAVEFPU(A_FPU, DI)
	SUBQ  $32, SP
	MOVL  $0xc0000100, CX
	RDMSR
	SHLQ  $32, DX
	ORQ   DX, AX
	MOVQ  AX, 24(SP) // the base FS has
	MOVQ  P_KFS(GS), AX
	LOADFS
	XORPS X15, X15
	LEAQ  120(BP), AX
	MOVQ  AX, 0(SP)  // vector and what follows
	MOVQ  BP, 16(SP)
	XORL  BP, BP
	CALL  ·knested(SB)
	MOVQ  16(SP), BP
	MOVQ  24(SP), AX
	LOADFS
	MOVQ  P_SELF(GS), DI
	LOADFPU(A_FPU, DI)
	MOVQ  BP, SP
	MOVQ  $0, P_NESTED(GS)
	POPQ  R15
	POPQ  R14
	POPQ  R13
	POPQ  R12
	POPQ  R11
	POPQ  R10
	POPQ  R9
	POPQ  R8
	POPQ  BP
	POPQ  SI
	POPQ  DX
	POPQ  CX
	POPQ  BX
	POPQ  DI
	POPQ  AX
	ADDQ  $16, SP
	IRETQ

watched: // the kernel has done what gdb looks for: it goes on
	MOVQ  DR6, AX
	TESTQ $15, AX
	JZ    fatal
	XORL  AX, AX
	MOVQ  AX, DR6
	ORQ   $0x10000, 48(SP) // also where that is an instruction
	POPQ  DI
	POPQ  AX
	ADDQ  $16, SP
	IRETQ

nmi:
	MOVQ P_KFS(GS), AX
	LOADFS
	LEAQ 16(SP), DI
	SUBQ $16, SP
	MOVQ DI, 0(SP)
	MOVQ BP, 8(SP)
	CALL ·kstopped(SB)
	CLI
	HLT
	JMP  -2(PC)

fatal:
	CLI
	MOVQ P_KFS(GS), AX
	LOADFS
	LEAQ 16(SP), DI
	SUBQ $16, SP
	MOVQ DI, 0(SP)
	MOVQ BP, 8(SP)
	CALL ·kfatal(SB)
	CLI
	HLT
	JMP  -2(PC)

// sigReturn is where signal handlers return to: SP points to the ucontext.
TEXT ·sigReturn(SB), NOSPLIT|NOFRAME, $0
	MOVQ SP, DI
	MOVL $344, AX
	SYSCALL
	UNDEF
