package cputest

// Guests that reach the bus.
const (
	// realIO: in real mode: every width of IN and OUT, and a word of memory.
	realIO = "" +
		"b041" + // 0: mov al,0x41
		"e610" + // 2: out 0x10,al
		"b83412" + // 4: mov ax,0x1234
		"e710" + // 7: out 0x10,ax
		"66b8efcdab89" + // 9: mov eax,0x89abcdef
		"66e710" + // f: out 0x10,eax
		"66e520" + // 12: in eax,0x20
		"66a30001" + // 15: mov ds:0x100,eax
		"baf803" + // 19: mov dx,0x3f8
		"ec" + // 1c: in al,dx
		"e610" + // 1d: out 0x10,al
		"66a10001" + // 1f: mov eax,ds:0x100
		"66e710" + // 23: out 0x10,eax
		"e6f4" // 26: out 0xf4,al

	// protIO: every width of IN and OUT with both ways to name the port, and the string forms in both directions.
	protIO = "" +
		"b8d4c3b2a1" + // 0: mov eax,0xa1b2c3d4
		"e610" + // 5: out 0x10,al
		"66e711" + // 7: out 0x11,ax
		"e712" + // a: out 0x12,eax
		"baf0010000" + // c: mov edx,0x1f0
		"ee" + // 11: out dx,al
		"66ef" + // 12: out dx,ax
		"ef" + // 14: out dx,eax
		"31c0" + // 15: xor eax,eax
		"e420" + // 17: in al,0x20
		"e710" + // 19: out 0x10,eax
		"66e521" + // 1b: in ax,0x21
		"e710" + // 1e: out 0x10,eax
		"e522" + // 20: in eax,0x22
		"e710" + // 22: out 0x10,eax
		"baf8030000" + // 24: mov edx,0x3f8
		"ec" + // 29: in al,dx
		"66ed" + // 2a: in ax,dx
		"ed" + // 2c: in eax,dx
		"e710" + // 2d: out 0x10,eax
		"fc" + // 2f: cld
		"bf00000300" + // 30: mov edi,0x30000
		"b905000000" + // 35: mov ecx,0x5
		"f36c" + // 3a: rep ins BYTE PTR es:[edi],dx
		"b904000000" + // 3c: mov ecx,0x4
		"66f36d" + // 41: rep ins WORD PTR es:[edi],dx
		"b903000000" + // 44: mov ecx,0x3
		"f36d" + // 49: rep ins DWORD PTR es:[edi],dx
		"6c" + // 4b: ins BYTE PTR es:[edi],dx
		"be00000300" + // 4c: mov esi,0x30000
		"baf8010000" + // 51: mov edx,0x1f8
		"b905000000" + // 56: mov ecx,0x5
		"f36e" + // 5b: rep outs dx,BYTE PTR ds:[esi]
		"b904000000" + // 5d: mov ecx,0x4
		"66f36f" + // 62: rep outs dx,WORD PTR ds:[esi]
		"b903000000" + // 65: mov ecx,0x3
		"f36f" + // 6a: rep outs dx,DWORD PTR ds:[esi]
		"6e" + // 6c: outs dx,BYTE PTR ds:[esi]
		"31c9" + // 6d: xor ecx,ecx
		"f36f" + // 6f: rep outs dx,DWORD PTR ds:[esi]
		"fd" + // 71: std
		"be03000300" + // 72: mov esi,0x30003
		"b904000000" + // 77: mov ecx,0x4
		"f36e" + // 7c: rep outs dx,BYTE PTR ds:[esi]
		"fc" + // 7e: cld
		"89f0" + // 7f: mov eax,esi
		"e710" + // 81: out 0x10,eax
		"89f8" + // 83: mov eax,edi
		"e710" + // 85: out 0x10,eax
		"e6f4" // 87: out 0xf4,al

	// longIO: the same bytes in 64-bit mode.
	longIO = "" +
		"b8d4c3b2a1" + // 0: mov eax,0xa1b2c3d4
		"e610" + // 5: out 0x10,al
		"66e711" + // 7: out 0x11,ax
		"e712" + // a: out 0x12,eax
		"baf0010000" + // c: mov edx,0x1f0
		"ee" + // 11: out dx,al
		"66ef" + // 12: out dx,ax
		"ef" + // 14: out dx,eax
		"31c0" + // 15: xor eax,eax
		"e420" + // 17: in al,0x20
		"e710" + // 19: out 0x10,eax
		"66e521" + // 1b: in ax,0x21
		"e710" + // 1e: out 0x10,eax
		"e522" + // 20: in eax,0x22
		"e710" + // 22: out 0x10,eax
		"baf8030000" + // 24: mov edx,0x3f8
		"ec" + // 29: in al,dx
		"66ed" + // 2a: in ax,dx
		"ed" + // 2c: in eax,dx
		"e710" + // 2d: out 0x10,eax
		"fc" + // 2f: cld
		"bf00000300" + // 30: mov edi,0x30000
		"b905000000" + // 35: mov ecx,0x5
		"f36c" + // 3a: rep ins BYTE PTR es:[rdi],dx
		"b904000000" + // 3c: mov ecx,0x4
		"66f36d" + // 41: rep ins WORD PTR es:[rdi],dx
		"b903000000" + // 44: mov ecx,0x3
		"f36d" + // 49: rep ins DWORD PTR es:[rdi],dx
		"6c" + // 4b: ins BYTE PTR es:[rdi],dx
		"be00000300" + // 4c: mov esi,0x30000
		"baf8010000" + // 51: mov edx,0x1f8
		"b905000000" + // 56: mov ecx,0x5
		"f36e" + // 5b: rep outs dx,BYTE PTR ds:[rsi]
		"b904000000" + // 5d: mov ecx,0x4
		"66f36f" + // 62: rep outs dx,WORD PTR ds:[rsi]
		"b903000000" + // 65: mov ecx,0x3
		"f36f" + // 6a: rep outs dx,DWORD PTR ds:[rsi]
		"6e" + // 6c: outs dx,BYTE PTR ds:[rsi]
		"31c9" + // 6d: xor ecx,ecx
		"f36f" + // 6f: rep outs dx,DWORD PTR ds:[rsi]
		"fd" + // 71: std
		"be03000300" + // 72: mov esi,0x30003
		"b904000000" + // 77: mov ecx,0x4
		"f36e" + // 7c: rep outs dx,BYTE PTR ds:[rsi]
		"fc" + // 7e: cld
		"89f0" + // 7f: mov eax,esi
		"e710" + // 81: out 0x10,eax
		"89f8" + // 83: mov eax,edi
		"e710" + // 85: out 0x10,eax
		"e6f4" // 87: out 0xf4,al

	// longMMIO: accesses of every width to a device in memory: across a page, read-modify-write, and string instructions.
	longMMIO = "" +
		"bb000000d0" + // 0: mov ebx,0xd0000000
		"48b81122334455667788" + // 5: movabs rax,0x8877665544332211
		"884301" + // f: mov BYTE PTR [rbx+0x1],al
		"66894302" + // 12: mov WORD PTR [rbx+0x2],ax
		"894304" + // 16: mov DWORD PTR [rbx+0x4],eax
		"48894308" + // 19: mov QWORD PTR [rbx+0x8],rax
		"c643035a" + // 1d: mov BYTE PTR [rbx+0x3],0x5a
		"c74310efbeadde" + // 21: mov DWORD PTR [rbx+0x10],0xdeadbeef
		"48c74318feffffff" + // 28: mov QWORD PTR [rbx+0x18],0xfffffffffffffffe
		"0fb64301" + // 30: movzx eax,BYTE PTR [rbx+0x1]
		"e710" + // 34: out 0x10,eax
		"0fbf4302" + // 36: movsx eax,WORD PTR [rbx+0x2]
		"e710" + // 3a: out 0x10,eax
		"8b4304" + // 3c: mov eax,DWORD PTR [rbx+0x4]
		"e710" + // 3f: out 0x10,eax
		"488b4308" + // 41: mov rax,QWORD PTR [rbx+0x8]
		"e710" + // 45: out 0x10,eax
		"48c1e820" + // 47: shr rax,0x20
		"e710" + // 4b: out 0x10,eax
		"8983fe0f0000" + // 4d: mov DWORD PTR [rbx+0xffe],eax
		"8b83fe0f0000" + // 53: mov eax,DWORD PTR [rbx+0xffe]
		"e710" + // 59: out 0x10,eax
		"48b80807060504030201" + // 5b: movabs rax,0x102030405060708
		"488983fd0f0000" + // 65: mov QWORD PTR [rbx+0xffd],rax
		"488b83fd0f0000" + // 6c: mov rax,QWORD PTR [rbx+0xffd]
		"e710" + // 73: out 0x10,eax
		"48c1e820" + // 75: shr rax,0x20
		"e710" + // 79: out 0x10,eax
		"83432005" + // 7b: add DWORD PTR [rbx+0x20],0x5
		"804b2501" + // 7f: or BYTE PTR [rbx+0x25],0x1
		"b807000000" + // 83: mov eax,0x7
		"874328" + // 88: xchg DWORD PTR [rbx+0x28],eax
		"e710" + // 8b: out 0x10,eax
		"807b3000" + // 8d: cmp BYTE PTR [rbx+0x30],0x0
		"0f95c0" + // 91: setne al
		"e610" + // 94: out 0x10,al
		"fc" + // 96: cld
		"488d7340" + // 97: lea rsi,[rbx+0x40]
		"bf00000300" + // 9b: mov edi,0x30000
		"b903000000" + // a0: mov ecx,0x3
		"f3a4" + // a5: rep movs BYTE PTR es:[rdi],BYTE PTR ds:[rsi]
		"b902000000" + // a7: mov ecx,0x2
		"f348a5" + // ac: rep movs QWORD PTR es:[rdi],QWORD PTR ds:[rsi]
		"be00000300" + // af: mov esi,0x30000
		"488dbb80000000" + // b4: lea rdi,[rbx+0x80]
		"b902000000" + // bb: mov ecx,0x2
		"f3a5" + // c0: rep movs DWORD PTR es:[rdi],DWORD PTR ds:[rsi]
		"b877000000" + // c2: mov eax,0x77
		"b903000000" + // c7: mov ecx,0x3
		"66f3ab" + // cc: rep stos WORD PTR es:[rdi],ax
		"8b042503000300" + // cf: mov eax,DWORD PTR ds:0x30003
		"e710" + // d6: out 0x10,eax
		"e6f4" // d8: out 0xf4,al

	// mmioVex: vector accesses to a device in memory.
	mmioVex = "" +
		"0f20e0" + // 0: mov rax,cr4
		"0d00060400" + // 3: or eax,0x40600
		"0f22e0" + // 8: mov cr4,rax
		"31c9" + // b: xor ecx,ecx
		"31d2" + // d: xor edx,edx
		"b807000000" + // f: mov eax,0x7
		"0f01d1" + // 14: xsetbv
		"bb000000d0" + // 17: mov ebx,0xd0000000
		"c5fa6f4b40" + // 1c: vmovdqu xmm1,XMMWORD PTR [rbx+0x40]
		"c4e3f9164b5001" + // 21: vpextrq QWORD PTR [rbx+0x50],xmm1,0x1
		"c5f96e5360" + // 28: vmovd xmm2,DWORD PTR [rbx+0x60]
		"c5f97ed0" + // 2d: vmovd eax,xmm2
		"e710" + // 31: out 0x10,eax
		"e6f4" // 33: out 0xf4,al

	// romWrite: a store to read-only memory, which leaves for the bus and changes nothing.
	romWrite = "" +
		"bb00000e00" + // 0: mov ebx,0xe0000
		"8b03" + // 5: mov eax,DWORD PTR [rbx]
		"e710" + // 7: out 0x10,eax
		"c70378563412" + // 9: mov DWORD PTR [rbx],0x12345678
		"c643059a" + // f: mov BYTE PTR [rbx+0x5],0x9a
		"8b03" + // 13: mov eax,DWORD PTR [rbx]
		"e710" + // 15: out 0x10,eax
		"e6f4" // 17: out 0xf4,al
)
