#include "textflag.h"
#include "layout_dragonfly_amd64.h"

TEXT ·addresses(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), DI
	LEAQ ·vectors(SB), AX
	MOVQ AX, 0(DI)
	LEAQ ·sigReturn(SB), AX
	MOVQ AX, 8(DI)
	LEAQ ·start(SB), AX
	MOVQ AX, 16(DI)
	LEAQ _rt0_amd64_dragonfly(SB), AX
	MOVQ AX, 24(DI)
	RET

TEXT ·loadTables(SB), NOSPLIT, $0-24
	MOVQ gdt+0(FP), AX
	LGDT (AX)
	MOVQ idt+8(FP), AX
	LIDT (AX)
	MOVQ tss+16(FP), AX
	LTR  AX
	RET

TEXT ·setCR3(SB), NOSPLIT, $0-8
	MOVQ v+0(FP), AX
	MOVQ AX, CR3
	RET

TEXT ·getCR3(SB), NOSPLIT, $0-8
	MOVQ CR3, AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·getCR2(SB), NOSPLIT, $0-8
	MOVQ CR2, AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·getCR4(SB), NOSPLIT, $0-8
	MOVQ CR4, AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·setCR4(SB), NOSPLIT, $0-8
	MOVQ v+0(FP), AX
	MOVQ AX, CR4
	RET

TEXT ·invlpg(SB), NOSPLIT, $0-8
	MOVQ   va+0(FP), AX
	INVLPG (AX)
	RET

TEXT ·pause(SB), NOSPLIT, $0
	PAUSE
	RET

TEXT ·halt(SB), NOSPLIT, $0
	CLI
	HLT
	RET

TEXT ·in8(SB), NOSPLIT, $0-9
	MOVW port+0(FP), DX
	XORL AX, AX
	INB
	MOVB AX, ret+8(FP)
	RET

TEXT ·out8(SB), NOSPLIT, $0-3
	MOVW port+0(FP), DX
	MOVB v+2(FP), AX
	OUTB
	RET

TEXT ·in16(SB), NOSPLIT, $0-10
	MOVW port+0(FP), DX
	XORL AX, AX
	INW
	MOVW AX, ret+8(FP)
	RET

TEXT ·out16(SB), NOSPLIT, $0-4
	MOVW port+0(FP), DX
	MOVW v+2(FP), AX
	OUTW
	RET

TEXT ·in32(SB), NOSPLIT, $0-12
	MOVW port+0(FP), DX
	INL
	MOVL AX, ret+8(FP)
	RET

TEXT ·out32(SB), NOSPLIT, $0-8
	MOVW port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET

TEXT ·rdtsc(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·rdmsr(SB), NOSPLIT, $0-16
	MOVL msr+0(FP), CX
	RDMSR
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+8(FP)
	RET

TEXT ·wrmsr(SB), NOSPLIT, $0-16
	MOVL msr+0(FP), CX
	MOVQ v+8(FP), AX
	MOVQ AX, DX
	SHRQ $32, DX
	WRMSR
	RET

TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET

TEXT ·rdrand(SB), NOSPLIT, $0-9
	RDRANDQ AX
	MOVQ  AX, v+0(FP)
	SETCS ok+8(FP)
	RET

TEXT ·percpuAddress(SB), NOSPLIT, $0-8
	MOVQ P_SELF(GS), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·contextAddress(SB), NOSPLIT, $0-8
	MOVQ P_CTX(GS), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·zero(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), DI
	MOVQ n+8(FP), CX
	SHRQ $3, CX
	XORL AX, AX
	CLD
	REP; STOSQ
	RET

// kcall is a system call of the kernel's own, made without telling the Go scheduler.
TEXT ·kcall(SB), NOSPLIT, $0-41
	MOVQ nr+0(FP), AX
	MOVQ a+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ c+24(FP), DX
	SYSCALL
	MOVQ AX, ret+32(FP)
	SETCS err+40(FP)
	RET

TEXT ·framePointer(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ BP, ret+0(FP)
	RET

TEXT ·mmioRead8(SB), NOSPLIT, $0-9
	MOVQ p+0(FP), DI
	MOVB (DI), AX
	MOVB AX, ret+8(FP)
	RET

TEXT ·mmioRead16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), DI
	MOVW (DI), AX
	MOVW AX, ret+8(FP)
	RET

TEXT ·mmioWrite8(SB), NOSPLIT, $0-9
	MOVQ p+0(FP), DI
	MOVB v+8(FP), AX
	MOVB AX, (DI)
	RET

TEXT ·mmioWrite16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), DI
	MOVW v+8(FP), AX
	MOVW AX, (DI)
	RET

TEXT ·mmioWrite32(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), DI
	MOVL v+8(FP), AX
	MOVL AX, (DI)
	RET

TEXT ·mmioWrite64(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), DI
	MOVQ v+8(FP), AX
	MOVQ AX, (DI)
	RET

TEXT ·currentG(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·getDR6(SB), NOSPLIT, $0-8
	MOVQ DR6, AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·setDR6(SB), NOSPLIT, $0-8
	MOVQ v+0(FP), AX
	MOVQ AX, DR6
	RET

TEXT ·setDR7(SB), NOSPLIT, $0-8
	MOVQ v+0(FP), AX
	MOVQ AX, DR7
	RET

// setDR sets the addresses.
TEXT ·setDR(SB), NOSPLIT, $0-32
	MOVQ a0+0(FP), AX
	MOVQ AX, DR0
	MOVQ a1+8(FP), AX
	BYTE $0x0f; BYTE $0x23; BYTE $0xc8 // MOVQ AX, DR1
	MOVQ a2+16(FP), AX
	MOVQ AX, DR2
	MOVQ a3+24(FP), AX
	MOVQ AX, DR3
	RET
