package cputest

// Guests that take interrupts and exceptions.
const (
	// msi: waits in HLT for a message, then takes a level-triggered one.
	msi = "" +
		"bd0000e0fe" + // 0: mov ebp,0xfee00000
		"c785f0000000ff010000" + // 5: mov DWORD PTR [rbp+0xf0],0x1ff
		"b001" + // f: mov al,0x1
		"e6c0" + // 11: out 0xc0,al
		"fa" + // 13: cli
		"833c250000030001" + // 14: cmp DWORD PTR ds:0x30000,0x1
		"7304" + // 1c: jae 0x22
		"fb" + // 1e: sti
		"f4" + // 1f: hlt
		"ebf1" + // 20: jmp 0x13
		"b011" + // 22: mov al,0x11
		"e610" + // 24: out 0x10,al
		"fa" + // 26: cli
		"b002" + // 27: mov al,0x2
		"e6c0" + // 29: out 0xc0,al
		"fa" + // 2b: cli
		"833c250000030002" + // 2c: cmp DWORD PTR ds:0x30000,0x2
		"7304" + // 34: jae 0x3a
		"fb" + // 36: sti
		"f4" + // 37: hlt
		"ebf1" + // 38: jmp 0x2b
		"b022" + // 3a: mov al,0x22
		"e610" + // 3c: out 0x10,al
		"e6f4" // 3e: out 0xf4,al

	// msiHandler: counts, reports and ends an interrupt.
	msiHandler = "" +
		"50" + // 0: push rax
		"ff042500000300" + // 1: inc DWORD PTR ds:0x30000
		"488b442410" + // 8: mov rax,QWORD PTR [rsp+0x10]
		"b0ee" + // d: mov al,0xee
		"e610" + // f: out 0x10,al
		"c785b000000000000000" + // 11: mov DWORD PTR [rbp+0xb0],0x0
		"58" + // 1b: pop rax
		"48cf" // 1c: iretq

	// pic: the 8259's interrupt while interrupts are on, while they are off, and in HLT.
	pic = "" +
		"fb" + // 0: sti
		"b003" + // 1: mov al,0x3
		"e6c0" + // 3: out 0xc0,al
		"fa" + // 5: cli
		"833c250000030001" + // 6: cmp DWORD PTR ds:0x30000,0x1
		"7304" + // e: jae 0x14
		"fb" + // 10: sti
		"f4" + // 11: hlt
		"ebf1" + // 12: jmp 0x5
		"b003" + // 14: mov al,0x3
		"e6c0" + // 16: out 0xc0,al
		"90" + // 18: nop
		"b033" + // 19: mov al,0x33
		"e610" + // 1b: out 0x10,al
		"fb" + // 1d: sti
		"90" + // 1e: nop
		"833c250000030002" + // 1f: cmp DWORD PTR ds:0x30000,0x2
		"72f6" + // 27: jb 0x1f
		"b044" + // 29: mov al,0x44
		"e610" + // 2b: out 0x10,al
		"fa" + // 2d: cli
		"b004" + // 2e: mov al,0x4
		"e6c0" + // 30: out 0xc0,al
		"fa" + // 32: cli
		"833c250000030003" + // 33: cmp DWORD PTR ds:0x30000,0x3
		"7304" + // 3b: jae 0x41
		"fb" + // 3d: sti
		"f4" + // 3e: hlt
		"ebf1" + // 3f: jmp 0x32
		"e6f4" // 41: out 0xf4,al

	// picHandler: counts and reports.
	picHandler = "" +
		"50" + // 0: push rax
		"ff042500000300" + // 1: inc DWORD PTR ds:0x30000
		"b0dd" + // 8: mov al,0xdd
		"e610" + // a: out 0x10,al
		"58" + // c: pop rax
		"48cf" // d: iretq

	// nmi: an NMI with interrupts off, and in HLT.
	nmi = "" +
		"bd0000e0fe" + // 0: mov ebp,0xfee00000
		"c785f0000000ff010000" + // 5: mov DWORD PTR [rbp+0xf0],0x1ff
		"c7856003000000040000" + // f: mov DWORD PTR [rbp+0x360],0x400
		"fa" + // 19: cli
		"b005" + // 1a: mov al,0x5
		"e6c0" + // 1c: out 0xc0,al
		"833c250000030001" + // 1e: cmp DWORD PTR ds:0x30000,0x1
		"72f6" + // 26: jb 0x1e
		"b006" + // 28: mov al,0x6
		"e6c0" + // 2a: out 0xc0,al
		"833c250000030002" + // 2c: cmp DWORD PTR ds:0x30000,0x2
		"7303" + // 34: jae 0x39
		"f4" + // 36: hlt
		"ebf3" + // 37: jmp 0x2c
		"e6f4" // 39: out 0xf4,al

	// nmiHandler: counts.
	nmiHandler = "" +
		"ff042500000300" + // 0: inc DWORD PTR ds:0x30000
		"48cf" // 7: iretq

	// timer: the local APIC's timer, one-shot and periodic.
	timerGuest = "" +
		"bd0000e0fe" + // 0: mov ebp,0xfee00000
		"c785f0000000ff010000" + // 5: mov DWORD PTR [rbp+0xf0],0x1ff
		"c785e00300000b000000" + // f: mov DWORD PTR [rbp+0x3e0],0xb
		"c7852003000052000000" + // 19: mov DWORD PTR [rbp+0x320],0x52
		"c7858003000080841e00" + // 23: mov DWORD PTR [rbp+0x380],0x1e8480
		"fa" + // 2d: cli
		"833c250000030001" + // 2e: cmp DWORD PTR ds:0x30000,0x1
		"7304" + // 36: jae 0x3c
		"fb" + // 38: sti
		"f4" + // 39: hlt
		"ebf1" + // 3a: jmp 0x2d
		"8b8590030000" + // 3c: mov eax,DWORD PTR [rbp+0x390]
		"e710" + // 42: out 0x10,eax
		"c7852003000052000200" + // 44: mov DWORD PTR [rbp+0x320],0x20052
		"c7858003000040420f00" + // 4e: mov DWORD PTR [rbp+0x380],0xf4240
		"fa" + // 58: cli
		"833c250000030004" + // 59: cmp DWORD PTR ds:0x30000,0x4
		"7304" + // 61: jae 0x67
		"fb" + // 63: sti
		"f4" + // 64: hlt
		"ebf1" + // 65: jmp 0x58
		"c7858003000000000000" + // 67: mov DWORD PTR [rbp+0x380],0x0
		"e6f4" // 71: out 0xf4,al

	// timerHandler: counts, and ends the interrupt.
	timerHandler = "" +
		"ff042500000300" + // 0: inc DWORD PTR ds:0x30000
		"c785b000000000000000" + // 7: mov DWORD PTR [rbp+0xb0],0x0
		"48cf" // 11: iretq

	// smp: starts the second processor with INIT and a start-up IPI, and waits for its sign of life.
	smp = "" +
		"bd0000e0fe" + // 0: mov ebp,0xfee00000
		"c785f0000000ff010000" + // 5: mov DWORD PTR [rbp+0xf0],0x1ff
		"c7851003000000000001" + // f: mov DWORD PTR [rbp+0x310],0x1000000
		"c7850003000000450000" + // 19: mov DWORD PTR [rbp+0x300],0x4500
		"c7851003000000000001" + // 23: mov DWORD PTR [rbp+0x310],0x1000000
		"c7850003000009460000" + // 2d: mov DWORD PTR [rbp+0x300],0x4609
		"f390" + // 37: pause
		"833c250000030000" + // 39: cmp DWORD PTR ds:0x30000,0x0
		"74f4" + // 41: je 0x37
		"8b042500000300" + // 43: mov eax,DWORD PTR ds:0x30000
		"e710" + // 4a: out 0x10,eax
		"e6f4" // 4c: out 0xf4,al

	// smpAP: the sign of life, in real mode.
	smpAP = "" +
		"b80030" + // 0: mov ax,0x3000
		"8ed8" + // 3: mov ds,ax
		"8cc8" + // 5: mov ax,cs
		"66c706000050510000" + // 7: mov DWORD PTR ds:0x0,0x5150
		"f4" + // 10: hlt
		"ebfd" // 11: jmp 0x10

	// user: a program at CPL 3 that calls the system twice with SYSCALL.
	user = "" +
		"b9800000c0" + // 0: mov ecx,0xc0000080
		"0f32" + // 5: rdmsr
		"83c801" + // 7: or eax,0x1
		"0f30" + // a: wrmsr
		"b9810000c0" + // c: mov ecx,0xc0000081
		"31c0" + // 11: xor eax,eax
		"ba18002800" + // 13: mov edx,0x280018
		"0f30" + // 18: wrmsr
		"ffc1" + // 1a: inc ecx
		"b800800100" + // 1c: mov eax,0x18000
		"31d2" + // 21: xor edx,edx
		"0f30" + // 23: wrmsr
		"b9840000c0" + // 25: mov ecx,0xc0000084
		"b800020000" + // 2a: mov eax,0x200
		"0f30" + // 2f: wrmsr
		"488d0d09000000" + // 31: lea rcx,[rip+0x9]
		"41bb02000000" + // 38: mov r11d,0x2
		"480f07" + // 3e: sysretq
		"b9e8030000" + // 41: mov ecx,0x3e8
		"31ff" + // 46: xor edi,edi
		"8d7c0f03" + // 48: lea edi,[rdi+rcx*1+0x3]
		"ffc9" + // 4c: dec ecx
		"75f8" + // 4e: jne 0x48
		"31f6" + // 50: xor esi,esi
		"0f05" + // 52: syscall
		"b800000300" + // 54: mov eax,0x30000
		"f3480fb8ff" + // 59: popcnt rdi,rdi
		"660f6ecf" + // 5e: movd xmm1,edi
		"660fefc0" + // 62: pxor xmm0,xmm0
		"660ffec1" + // 66: paddd xmm0,xmm1
		"660f7ec7" + // 6a: movd edi,xmm0
		"ffc6" + // 6e: inc esi
		"0f05" // 70: syscall

	// userHandler: reports the argument, and returns or ends.
	userHandler = "" +
		"89f8" + // 0: mov eax,edi
		"e710" + // 2: out 0x10,eax
		"85f6" + // 4: test esi,esi
		"7503" + // 6: jne 0xb
		"480f07" + // 8: sysretq
		"e6f4" // b: out 0xf4,al

	// program: a program at CPL 3 that divides by zero twice.
	program = "" +
		"6a33" + // 0: push 0x33
		"6800800200" + // 2: push 0x28000
		"6802020000" + // 7: push 0x202
		"6a3b" + // c: push 0x3b
		"488d0503000000" + // e: lea rax,[rip+0x3]
		"50" + // 15: push rax
		"48cf" + // 16: iretq
		"b9e8030000" + // 18: mov ecx,0x3e8
		"31ff" + // 1d: xor edi,edi
		"8d7c0f03" + // 1f: lea edi,[rdi+rcx*1+0x3]
		"ffc9" + // 23: dec ecx
		"75f8" + // 25: jne 0x1f
		"31f6" + // 27: xor esi,esi
		"f7f1" + // 29: div ecx
		"f3480fb8ff" + // 2b: popcnt rdi,rdi
		"660f6ecf" + // 30: movd xmm1,edi
		"660fefc0" + // 34: pxor xmm0,xmm0
		"660ffec1" + // 38: paddd xmm0,xmm1
		"660f7ec7" + // 3c: movd edi,xmm0
		"ffc6" + // 40: inc esi
		"f7f1" // 42: div ecx

	// programHandler: reports the argument and the caller, and returns or ends.
	programHandler = "" +
		"89f8" + // 0: mov eax,edi
		"e710" + // 2: out 0x10,eax
		"8b442408" + // 4: mov eax,DWORD PTR [rsp+0x8]
		"e710" + // 8: out 0x10,eax
		"8b0424" + // a: mov eax,DWORD PTR [rsp]
		"e710" + // d: out 0x10,eax
		"83042402" + // f: add DWORD PTR [rsp],0x2
		"85f6" + // 13: test esi,esi
		"7502" + // 15: jne 0x19
		"48cf" + // 17: iretq
		"e6f4" // 19: out 0xf4,al

	// triple: an exception without an interrupt table.
	triple = "" +
		"6a00" + // 0: push 0x0
		"6a00" + // 2: push 0x0
		"0f011c24" + // 4: lidt [rsp]
		"0f0b" // 8: ud2

	// undefined: UD2.
	undefined = "" +
		"0f0b" // 0: ud2
)
