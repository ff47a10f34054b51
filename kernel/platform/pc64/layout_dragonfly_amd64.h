// Offsets in percpu, which GS points to. checkLayout compares them.
#define P_SELF    0
#define P_CTX     8
#define P_STACK   16
#define P_FEAT    24
#define P_SLOW    32
#define P_KFS     40
#define P_INDEX   48
#define P_SCRATCH 56
#define P_XMASK   64
#define P_TSC0    72
#define P_TSCMUL  80
#define P_WALL    88
#define P_IDLE    96
#define P_NESTED  104
#define P_NSYS    112
#define P_STEP    120

#define F_FSGS  1
#define F_XSAVE 2

// Offsets in the area of memory that begins with percpu.
#define A_G     0x1000
#define A_FPU   0x2000
#define A_STACK 0x14000

// Offsets in context.
#define C_AX 0
#define C_BX 8
#define C_CX 16
#define C_DX 24
#define C_SI 32
#define C_DI 40
#define C_BP 48
#define C_R8 56
#define C_R9 64
#define C_R10 72
#define C_R11 80
#define C_R12 88
#define C_R13 96
#define C_R14 104
#define C_R15 112
#define C_RIP 120
#define C_CS 128
#define C_FL 136
#define C_SP 144
#define C_SS 152
#define C_FPV 160
#define C_FS 168
#define C_ERR 176
#define C_VEC 184
#define C_CR2 192
#define C_FPU 256

// LOADFS makes AX the base of FS; it destroys CX and DX.
#define LOADFS \
	TESTQ $F_FSGS, P_FEAT(GS) \
	JZ    3(PC)               \
	WRFSBASEQ AX              \
	JMP   5(PC)               \
	MOVQ  AX, DX              \
	SHRQ  $32, DX             \
	MOVL  $0xc0000100, CX     \
	WRMSR

// SAVEFPU and LOADFPU move the vector state to and from OFF(BASE), which is aligned to 64
// bytes; they destroy AX and DX.
#define SAVEFPU(OFF, BASE) \
	TESTQ $F_XSAVE, P_FEAT(GS) \
	JZ    5(PC)                \
	MOVL  P_XMASK(GS), AX      \
	XORL  DX, DX               \
	XSAVE64 OFF(BASE)             \
	JMP   2(PC)                \
	FXSAVE64 OFF(BASE)

#define LOADFPU(OFF, BASE) \
	TESTQ $F_XSAVE, P_FEAT(GS) \
	JZ    5(PC)                \
	MOVL  P_XMASK(GS), AX      \
	XORL  DX, DX               \
	XRSTOR64 OFF(BASE)            \
	JMP   2(PC)                \
	FXRSTOR64 OFF(BASE)
