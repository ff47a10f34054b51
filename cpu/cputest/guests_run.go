package cputest

// Guests that the tests of kicks and of state run.
const (
	// identity: CPUID names KVM and the processor, the TSC goes on, and the paravirtual clock is filled in.
	identity = "" +
		"b800000040" + // 0: mov eax,0x40000000
		"0fa2" + // 5: cpuid
		"89d8" + // 7: mov eax,ebx
		"e710" + // 9: out 0x10,eax
		"b801000000" + // b: mov eax,0x1
		"31c9" + // 10: xor ecx,ecx
		"0fa2" + // 12: cpuid
		"c1e91f" + // 14: shr ecx,0x1f
		"89c8" + // 17: mov eax,ecx
		"e610" + // 19: out 0x10,al
		"c1eb18" + // 1b: shr ebx,0x18
		"89d8" + // 1e: mov eax,ebx
		"e610" + // 20: out 0x10,al
		"0f31" + // 22: rdtsc
		"48c1e220" + // 24: shl rdx,0x20
		"488d3410" + // 28: lea rsi,[rax+rdx*1]
		"0f31" + // 2c: rdtsc
		"48c1e220" + // 2e: shl rdx,0x20
		"4801d0" + // 32: add rax,rdx
		"4839f0" + // 35: cmp rax,rsi
		"0f97c0" + // 38: seta al
		"e610" + // 3b: out 0x10,al
		"b9014d564b" + // 3d: mov ecx,0x4b564d01
		"b801100300" + // 42: mov eax,0x31001
		"31d2" + // 47: xor edx,edx
		"0f30" + // 49: wrmsr
		"833c251810030000" + // 4b: cmp DWORD PTR ds:0x31018,0x0
		"74f6" + // 53: je 0x4b
		"0f32" + // 55: rdmsr
		"e710" + // 57: out 0x10,eax
		"e6f4" // 59: out 0xf4,al

	// spin: never stops.
	spin = "" +
		"ebfe" // 0: jmp 0x0

	// halted: never wakes up.
	halted = "" +
		"fa" + // 0: cli
		"f4" + // 1: hlt
		"ebfd" // 2: jmp 0x1

	// report: tells what it finds in registers.
	report = "" +
		"e710" + // 0: out 0x10,eax
		"89d8" + // 2: mov eax,ebx
		"e710" + // 4: out 0x10,eax
		"89c8" + // 6: mov eax,ecx
		"e710" + // 8: out 0x10,eax
		"4489f8" + // a: mov eax,r15d
		"e710" + // d: out 0x10,eax
		"660f7ee8" + // f: movd eax,xmm5
		"e710" + // 13: out 0x10,eax
		"b9020100c0" + // 15: mov ecx,0xc0000102
		"0f32" + // 1a: rdmsr
		"e710" + // 1c: out 0x10,eax
		"0f21c8" + // 1e: mov rax,dr1
		"e710" + // 21: out 0x10,eax
		"648b042500000000" + // 23: mov eax,DWORD PTR fs:0x0
		"e710" + // 2b: out 0x10,eax
		"e6f4" // 2d: out 0xf4,al
)
