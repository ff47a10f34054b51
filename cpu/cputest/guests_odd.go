package cputest

// Guests with instructions that some emulators in host kernels lack, at CPL 0.
const (
	// cmpxchg16b: CMPXCHG16B that succeeds and one that fails.
	cmpxchg16b = "" +
		"bf00000300" + // 0: mov edi,0x30000
		"48c70701000000" + // 5: mov QWORD PTR [rdi],0x1
		"48c7470802000000" + // c: mov QWORD PTR [rdi+0x8],0x2
		"b801000000" + // 14: mov eax,0x1
		"ba02000000" + // 19: mov edx,0x2
		"bb33000000" + // 1e: mov ebx,0x33
		"b944000000" + // 23: mov ecx,0x44
		"f0480fc70f" + // 28: lock cmpxchg16b OWORD PTR [rdi]
		"0f94c0" + // 2d: sete al
		"e610" + // 30: out 0x10,al
		"8b07" + // 32: mov eax,DWORD PTR [rdi]
		"e710" + // 34: out 0x10,eax
		"8b4708" + // 36: mov eax,DWORD PTR [rdi+0x8]
		"e710" + // 39: out 0x10,eax
		"b809000000" + // 3b: mov eax,0x9
		"f0480fc70f" + // 40: lock cmpxchg16b OWORD PTR [rdi]
		"e710" + // 45: out 0x10,eax
		"0f94c0" + // 47: sete al
		"e610" + // 4a: out 0x10,al
		"e6f4" // 4c: out 0xf4,al

	// popcnt: POPCNT of 32 and 64 bits.
	popcnt = "" +
		"b8010f0f00" + // 0: mov eax,0xf0f01
		"f30fb8c8" + // 5: popcnt ecx,eax
		"89c8" + // 9: mov eax,ecx
		"e710" + // b: out 0x10,eax
		"48c7c0ffffffff" + // d: mov rax,0xffffffffffffffff
		"f3480fb8c0" + // 14: popcnt rax,rax
		"e710" + // 19: out 0x10,eax
		"e6f4" // 1b: out 0xf4,al

	// movbe: MOVBE to and from memory.
	movbe = "" +
		"bf00000300" + // 0: mov edi,0x30000
		"b844332211" + // 5: mov eax,0x11223344
		"0f38f107" + // a: movbe DWORD PTR [rdi],eax
		"8b07" + // e: mov eax,DWORD PTR [rdi]
		"e710" + // 10: out 0x10,eax
		"480f38f00f" + // 12: movbe rcx,QWORD PTR [rdi]
		"480fc9" + // 17: bswap rcx
		"89c8" + // 1a: mov eax,ecx
		"e710" + // 1c: out 0x10,eax
		"e6f4" // 1e: out 0xf4,al

	// xgetbv: XGETBV before and after XSETBV.
	xgetbv = "" +
		"0f20e0" + // 0: mov rax,cr4
		"0d00000400" + // 3: or eax,0x40000
		"0f22e0" + // 8: mov cr4,rax
		"31c9" + // b: xor ecx,ecx
		"0f01d0" + // d: xgetbv
		"e710" + // 10: out 0x10,eax
		"b803000000" + // 12: mov eax,0x3
		"31d2" + // 17: xor edx,edx
		"0f01d1" + // 19: xsetbv
		"0f01d0" + // 1c: xgetbv
		"e710" + // 1f: out 0x10,eax
		"e6f4" // 21: out 0xf4,al

	// xrstor: a register through XSAVE and XRSTOR.
	xrstor = "" +
		"0f20e0" + // 0: mov rax,cr4
		"0d00020400" + // 3: or eax,0x40200
		"0f22e0" + // 8: mov cr4,rax
		"31c9" + // b: xor ecx,ecx
		"31d2" + // d: xor edx,edx
		"b803000000" + // f: mov eax,0x3
		"0f01d1" + // 14: xsetbv
		"bf00000300" + // 17: mov edi,0x30000
		"b878563412" + // 1c: mov eax,0x12345678
		"660f6ed8" + // 21: movd xmm3,eax
		"b803000000" + // 25: mov eax,0x3
		"0fae27" + // 2a: xsave [rdi]
		"660fefdb" + // 2d: pxor xmm3,xmm3
		"0fae2f" + // 31: xrstor [rdi]
		"660f7ed8" + // 34: movd eax,xmm3
		"e710" + // 38: out 0x10,eax
		"e6f4" // 3a: out 0xf4,al

	// int3: INT3 and INT n.
	int3 = "" +
		"b061" + // 0: mov al,0x61
		"cc" + // 2: int3
		"e610" + // 3: out 0x10,al
		"cd50" + // 5: int 0x50
		"e610" + // 7: out 0x10,al
		"cd51" + // 9: int 0x51
		"e610" + // b: out 0x10,al
		"e6f4" // d: out 0xf4,al

	// int3Handler: reports the return address.
	int3Handler = "" +
		"fec0" + // 0: inc al
		"89c1" + // 2: mov ecx,eax
		"8b0424" + // 4: mov eax,DWORD PTR [rsp]
		"e711" + // 7: out 0x11,eax
		"89c8" + // 9: mov eax,ecx
		"48cf" // b: iretq

	// vex: AVX2, BMI1 and BMI2.
	vex = "" +
		"0f20e0" + // 0: mov rax,cr4
		"0d00060400" + // 3: or eax,0x40600
		"0f22e0" + // 8: mov cr4,rax
		"31c9" + // b: xor ecx,ecx
		"31d2" + // d: xor edx,edx
		"b807000000" + // f: mov eax,0x7
		"0f01d1" + // 14: xsetbv
		"bf00000300" + // 17: mov edi,0x30000
		"c70703000000" + // 1c: mov DWORD PTR [rdi],0x3
		"c7470404000000" + // 22: mov DWORD PTR [rdi+0x4],0x4
		"c5fe6f0f" + // 29: vmovdqu ymm1,YMMWORD PTR [rdi]
		"c5f5fed1" + // 2d: vpaddd ymm2,ymm1,ymm1
		"c5fe7f5740" + // 31: vmovdqu YMMWORD PTR [rdi+0x40],ymm2
		"8b4744" + // 36: mov eax,DWORD PTR [rdi+0x44]
		"e710" + // 39: out 0x10,eax
		"b907000000" + // 3b: mov ecx,0x7
		"c4e270f2c0" + // 40: andn eax,ecx,eax
		"e710" + // 45: out 0x10,eax
		"b903000000" + // 47: mov ecx,0x3
		"c4e271f707" + // 4c: shlx eax,DWORD PTR [rdi],ecx
		"e710" + // 51: out 0x10,eax
		"e6f4" // 53: out 0xf4,al

	// smap: STAC and CLAC.
	smap = "" +
		"0f01cb" + // 0: stac
		"9c" + // 3: pushf
		"58" + // 4: pop rax
		"c1e812" + // 5: shr eax,0x12
		"e610" + // 8: out 0x10,al
		"0f01ca" + // a: clac
		"9c" + // d: pushf
		"58" + // e: pop rax
		"c1e812" + // f: shr eax,0x12
		"e610" + // 12: out 0x10,al
		"e6f4" // 14: out 0xf4,al

	// invpcid: INVPCID of all translations after a page was moved.
	invpcid = "" +
		"bb00004000" + // 0: mov ebx,0x400000
		"c704250000400011110000" + // 5: mov DWORD PTR ds:0x400000,0x1111
		"c704250000600022220000" + // 10: mov DWORD PTR ds:0x600000,0x2222
		"8b03" + // 1b: mov eax,DWORD PTR [rbx]
		"e710" + // 1d: out 0x10,eax
		"c7042510600000e3006000" + // 1f: mov DWORD PTR ds:0x6010,0x6000e3
		"c704251460000000000000" + // 2a: mov DWORD PTR ds:0x6014,0x0
		"48c704250000030000000000" + // 35: mov QWORD PTR ds:0x30000,0x0
		"48c704250800030000000000" + // 41: mov QWORD PTR ds:0x30008,0x0
		"b802000000" + // 4d: mov eax,0x2
		"660f3882042500000300" + // 52: invpcid rax,ds:0x30000
		"8b03" + // 5c: mov eax,DWORD PTR [rbx]
		"e710" + // 5e: out 0x10,eax
		"e6f4" // 60: out 0xf4,al

	// fwait: x87 arithmetic and FWAIT.
	fwait = "" +
		"dbe3" + // 0: fninit
		"9bd9e8" + // 2: fld1
		"d9e8" + // 5: fld1
		"dec1" + // 7: faddp st(1),st
		"bf00000300" + // 9: mov edi,0x30000
		"db1f" + // e: fistp DWORD PTR [rdi]
		"9b" + // 10: fwait
		"8b07" + // 11: mov eax,DWORD PTR [rdi]
		"e710" + // 13: out 0x10,eax
		"e6f4" // 15: out 0xf4,al
)
