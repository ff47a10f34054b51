package x86

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// unhex returns the bytes of a string such as "0f a2".
func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeRules(t *testing.T) {
	for _, tt := range []struct {
		mode Mode
		code string
		want string // the text, or "#UD" or "#GP"
	}{
		// Operand size: REX.W before 66; a REX that does not stand last has no effect.
		{Mode64, "01 d8", "add eax, ebx"},
		{Mode64, "66 01 d8", "add ax, bx"},
		{Mode64, "66 48 01 d8", "add rax, rbx"},
		{Mode64, "48 66 01 d8", "add ax, bx"},
		{Mode64, "48 41 01 d8", "add r8d, ebx"},
		{Mode16, "01 d8", "add ax, bx"},
		{Mode16, "66 01 d8", "add eax, ebx"},
		{Mode32, "48", "dec eax"},
		{Mode64, "66 50", "push ax"},
		{Mode64, "50", "push rax"},
		{Mode64, "41 50", "push r8"},
		{Mode64, "66 48 50", "push rax"},
		{Mode64, "68 ff ff ff ff", "push 0xffffffffffffffff"},
		{Mode64, "66 68 34 12", "push 0x1234"},
		{Mode64, "48 b8 88 77 66 55 44 33 22 11", "mov rax, 0x1122334455667788"},
		{Mode64, "48 c7 c0 ff ff ff ff", "mov rax, 0xffffffffffffffff"},
		{Mode64, "63 c1", "movsxd eax, ecx"},
		{Mode64, "48 63 c1", "movsxd rax, ecx"},
		{Mode32, "63 c1", "arpl cx, ax"},
		{Mode64, "48 98", "cdqe"},
		{Mode64, "66 98", "cbw"},
		{Mode16, "99", "cwd"},
		{Mode64, "48 cf", "iretq"},
		{Mode64, "48 e5 10", "in eax, 0x10"},
		{Mode64, "48 ef", "out dx, eax"},

		// Near branches ignore 66 in 64-bit mode.
		{Mode64, "66 e8 00 00 00 00", "call .+0x6"},
		{Mode64, "66 c3", "ret"},
		{Mode64, "66 ff e0", "jmp rax"},
		{Mode32, "66 e8 00 00", "call .+0x4"},
		{Mode64, "eb fe", "jmp .+0x0"},
		{Mode64, "67 e3 00", "jecxz .+0x3"},
		{Mode64, "e3 00", "jrcxz .+0x2"},
		{Mode16, "67 e3 00", "jecxz .+0x3"},
		{Mode32, "67 e3 00", "jcxz .+0x3"},
		{Mode64, "ff 18", "call far fword ptr [rax]"},
		{Mode64, "48 ff 28", "jmp far tbyte ptr [rax]"},
		{Mode64, "ff d8", "#UD"},

		// Byte registers.
		{Mode64, "88 e0", "mov al, ah"},
		{Mode64, "40 88 e0", "mov al, spl"},
		{Mode64, "40 b7 01", "mov dil, 0x1"},
		{Mode64, "b7 01", "mov bh, 0x1"},

		// NOP, XCHG and PAUSE.
		{Mode64, "90", "nop"},
		{Mode64, "48 90", "nop"},
		{Mode64, "41 90", "xchg r8d, eax"},
		{Mode64, "f3 90", "pause"},
		{Mode64, "f3 41 90", "xchg r8d, eax"},
		{Mode64, "91", "xchg ecx, eax"},

		// Addressing.
		{Mode64, "8b 05 10 00 00 00", "mov eax, dword ptr [rip+0x10]"},
		{Mode64, "67 8b 05 10 00 00 00", "mov eax, dword ptr [eip+0x10]"},
		{Mode32, "8b 05 10 00 00 00", "mov eax, dword ptr [0x10]"},
		{Mode64, "8b 04 25 10 00 00 00", "mov eax, dword ptr [0x10]"},
		{Mode64, "8b 04 24", "mov eax, dword ptr [rsp]"},
		{Mode64, "42 8b 04 24", "mov eax, dword ptr [rsp+r12*1]"},
		{Mode64, "41 8b 45 00", "mov eax, dword ptr [r13]"},
		{Mode64, "41 8b 04 24", "mov eax, dword ptr [r12]"},
		{Mode64, "8b 04 6d 00 00 00 80", "mov eax, dword ptr [rbp*2-0x80000000]"},
		{Mode16, "8b 02", "mov ax, word ptr [bp+si]"},
		{Mode16, "8b 46 ff", "mov ax, word ptr [bp-0x1]"},
		{Mode16, "8b 06 34 12", "mov ax, word ptr [0x1234]"},
		{Mode32, "67 8b 07", "mov eax, dword ptr [bx]"},
		{Mode64, "2e 3e 8b 00", "mov eax, dword ptr [rax]"},
		{Mode64, "64 2e 8b 00", "mov eax, dword ptr fs:[rax]"},
		{Mode32, "36 8b 00", "mov eax, dword ptr ss:[eax]"},
		{Mode32, "64 65 8b 00", "mov eax, dword ptr gs:[eax]"},
		{Mode32, "3e 8b 45 00", "mov eax, dword ptr ds:[ebp]"},
		{Mode64, "a1 01 02 03 04 05 06 07 08", "mov eax, dword ptr [0x807060504030201]"},
		{Mode64, "67 a1 01 02 03 04", "mov eax, dword ptr [0x4030201]"},

		// Strings and REP.
		{Mode64, "f3 48 a5", "rep movsq qword ptr [rsi]"},
		{Mode64, "f2 ae", "repne scasb al, byte ptr es:[rdi]"},
		{Mode64, "f3 a6", "repe cmpsb byte ptr [rsi]"},
		{Mode64, "64 aa", "stosb byte ptr es:[rdi], al"},
		{Mode64, "65 ac", "lodsb al, byte ptr gs:[rsi]"},
		{Mode64, "f2 f3 a4", "rep movsb byte ptr [rsi]"},
		{Mode64, "f3 c3", "ret"},
		{Mode64, "67 d7", "xlat byte ptr [ebx]"},

		// Mandatory prefixes.
		{Mode64, "f3 0f bc c1", "tzcnt eax, ecx"},
		{Mode64, "66 f3 0f bc c1", "tzcnt ax, cx"},
		{Mode64, "f2 0f bc c1", "bsf eax, ecx"},
		{Mode64, "f3 0f bd c1", "lzcnt eax, ecx"},
		{Mode64, "0f bd c1", "bsr eax, ecx"},
		{Mode64, "f3 0f b8 c1", "popcnt eax, ecx"},
		{Mode64, "0f b8 c1", "#UD"},
		{Mode64, "0f 38 f0 00", "movbe eax, dword ptr [rax]"},
		{Mode64, "66 0f 38 f1 00", "movbe word ptr [rax], ax"},
		{Mode64, "0f 38 f0 c0", "#UD"},
		{Mode64, "f2 0f 38 f0 c1", "crc32 eax, cl"},
		{Mode64, "f2 48 0f 38 f0 c1", "crc32 rax, cl"},
		{Mode64, "f2 0f 38 f1 c1", "crc32 eax, ecx"},
		{Mode64, "66 f2 0f 38 f1 c1", "crc32 eax, cx"},
		{Mode64, "f2 48 0f 38 f1 c1", "crc32 rax, rcx"},
		{Mode64, "66 0f 58 c1", "addpd xmm0, xmm1"},
		{Mode64, "66 f3 0f 58 c1", "addss xmm0, xmm1"},
		{Mode64, "f3 f2 0f 58 c1", "addsd xmm0, xmm1"},
		{Mode64, "0f 6e c0", "movd mm0, eax"},
		{Mode64, "66 48 0f 6e c0", "movq xmm0, rax"},
		{Mode64, "f3 0f 6e c0", "#UD"},
		{Mode64, "44 0f 6f c1", "movq mm0, mm1"},
		{Mode64, "f3 0f 1e fa", "endbr64"},
		{Mode64, "f3 0f 1e fb", "endbr32"},
		{Mode64, "0f 1e fa", "nop edx"},
		{Mode64, "0f 18 08", "prefetcht0 [rax]"},
		{Mode64, "0f 18 c8", "nop eax"},
		{Mode64, "0f 1f 44 00 00", "nop dword ptr [rax+rax*1]"},
		{Mode64, "0f ae 38", "clflush [rax]"},
		{Mode64, "66 0f ae 38", "clflushopt [rax]"},
		{Mode64, "66 0f ae 30", "clwb [rax]"},
		{Mode64, "0f ae 30", "xsaveopt [rax]"},
		{Mode64, "48 0f ae 20", "xsave64 [rax]"},
		{Mode64, "0f ae f0", "mfence"},
		{Mode64, "f3 0f ae f0", "#UD"},
		{Mode64, "f3 48 0f ae d8", "wrgsbase rax"},
		{Mode32, "f3 0f ae d8", "#UD"},
		{Mode64, "0f c7 f0", "rdrand eax"},
		{Mode64, "66 0f c7 f8", "rdseed ax"},
		{Mode64, "f3 0f c7 f8", "rdpid rax"},
		{Mode32, "f3 0f c7 f8", "rdpid eax"},
		{Mode64, "0f c7 08", "cmpxchg8b qword ptr [rax]"},
		{Mode64, "48 0f c7 08", "cmpxchg16b xmmword ptr [rax]"},
		{Mode64, "0f c7 c8", "#UD"},

		// LOCK.
		{Mode64, "f0 01 18", "lock add dword ptr [rax], ebx"},
		{Mode64, "f0 01 d8", "#UD"},
		{Mode64, "f0 03 18", "#UD"},
		{Mode64, "f0 39 18", "#UD"},
		{Mode64, "f0 86 00", "lock xchg byte ptr [rax], al"},
		{Mode64, "f0 0f c7 08", "lock cmpxchg8b qword ptr [rax]"},
		{Mode64, "f0 0f a3 00", "#UD"},
		{Mode64, "f0 0f ab 00", "lock bts dword ptr [rax], eax"},
		{Mode64, "f0 90", "#UD"},
		{Mode64, "f0 f3 a4", "#UD"},

		// Valid in some modes only.
		{Mode64, "06", "#UD"},
		{Mode32, "06", "push es"},
		{Mode32, "0e", "push cs"},
		{Mode64, "27", "#UD"},
		{Mode64, "60", "#UD"},
		{Mode16, "60", "pusha"},
		{Mode16, "62 00", "bound ax, dword ptr [bx+si]"},
		{Mode32, "62 c0", "#UD"},
		{Mode64, "82 c0 01", "#UD"},
		{Mode32, "82 c0 01", "add al, 0x1"},
		{Mode64, "9a 00 00 00 00 00 00", "#UD"},
		{Mode32, "9a 78 56 34 12 08 00", "call far 0x8:0x12345678"},
		{Mode16, "ea 34 12 00 f0", "jmp far 0xf000:0x1234"},
		{Mode64, "ce", "#UD"},
		{Mode64, "d6", "#UD"},
		{Mode32, "d6", "salc"},
		{Mode64, "d4 0a", "#UD"},
		{Mode32, "0f 05", "#UD"},
		{Mode64, "0f 05", "syscall"},
		{Mode32, "0f 01 f8", "#UD"},
		{Mode64, "0f 01 f8", "swapgs"},

		// System.
		{Mode64, "0f 20 c0", "mov rax, cr0"},
		{Mode64, "44 0f 20 c0", "mov rax, cr8"},
		{Mode64, "0f 20 00", "mov rax, cr0"},
		{Mode64, "0f 20 c8", "#UD"},
		{Mode64, "44 0f 20 c8", "#UD"},
		{Mode64, "0f 23 f8", "mov dr7, rax"},
		{Mode64, "44 0f 23 c0", "#UD"},
		{Mode32, "0f 22 e0", "mov cr4, eax"},
		{Mode64, "8e d0", "mov ss, ax"},
		{Mode64, "8e c8", "#UD"},
		{Mode64, "8e f0", "#UD"},
		{Mode64, "8c c8", "mov eax, cs"},
		{Mode64, "8c 08", "mov word ptr [rax], cs"},
		{Mode64, "0f 01 18", "lidt tbyte ptr [rax]"},
		{Mode32, "0f 01 18", "lidt fword ptr [eax]"},
		{Mode64, "0f 01 d8", "#UD"},
		{Mode64, "0f 01 c1", "vmcall"},
		{Mode64, "0f 01 d9", "vmmcall"},
		{Mode64, "0f 01 d0", "xgetbv"},
		{Mode64, "66 0f 01 d0", "#UD"},
		{Mode64, "0f 01 ca", "clac"},
		{Mode64, "0f 01 f9", "rdtscp"},
		{Mode64, "0f 01 e0", "smsw eax"},
		{Mode64, "0f 01 38", "invlpg [rax]"},
		{Mode64, "66 0f 38 82 00", "invpcid rax, xmmword ptr [rax]"},
		{Mode64, "0f 0b", "ud2"},
		{Mode64, "0f b9 c0", "ud1 eax, eax"},
		{Mode64, "0f aa", "rsm"},
		{Mode64, "0f 0a", "#UD"},
		{Mode64, "0f 04", "#UD"},
		{Mode64, "f1", "int1"},
		{Mode64, "c8 10 00 01", "enter 0x10, 0x1"},
		{Mode64, "0f b2 00", "lss eax, fword ptr [rax]"},
		{Mode64, "48 0f b4 00", "lfs rax, tbyte ptr [rax]"},
		{Mode64, "0f b4 c0", "#UD"},

		// x87.
		{Mode64, "d9 c1", "fld st(1)"},
		{Mode64, "d9 d0", "fnop"},
		{Mode64, "d9 d1", "#UD"},
		{Mode64, "d9 e2", "#UD"},
		{Mode64, "dc e1", "fsubr st(1), st(0)"},
		{Mode64, "dc e9", "fsub st(1), st(0)"},
		{Mode64, "de e1", "fsubrp st(1), st(0)"},
		{Mode64, "de d9", "fcompp"},
		{Mode64, "de d8", "#UD"},
		{Mode64, "da e9", "fucompp"},
		{Mode64, "df e0", "fnstsw ax"},
		{Mode64, "db 28", "fld tbyte ptr [rax]"},
		{Mode64, "dd 08", "fisttp qword ptr [rax]"},
		{Mode64, "41 d9 c1", "fld st(1)"},

		// VEX, and what it shares its bytes with.
		{Mode32, "c5 00", "lds eax, fword ptr [eax]"},
		{Mode32, "c4 00", "les eax, fword ptr [eax]"},
		{Mode32, "c5 f8 58 c1", "vaddps xmm0, xmm0, xmm1"},
		{Mode64, "c5 fc 58 c1", "vaddps ymm0, ymm0, ymm1"},
		{Mode64, "c5 78 58 c1", "vaddps xmm8, xmm0, xmm1"},
		{Mode64, "c5 70 58 c1", "vaddps xmm8, xmm1, xmm1"},
		{Mode64, "66 c5 f8 58 c1", "#UD"},
		{Mode64, "f3 c5 f8 58 c1", "#UD"},
		{Mode64, "f2 c5 f8 58 c1", "#UD"},
		{Mode64, "f0 c5 f8 58 00", "#UD"},
		{Mode64, "40 c5 f8 58 c1", "#UD"},
		{Mode64, "40 64 c5 f8 58 00", "vaddps xmm0, xmm0, xmmword ptr fs:[rax]"},
		{Mode64, "67 c5 f8 58 00", "vaddps xmm0, xmm0, xmmword ptr [eax]"},
		{Mode64, "c5 f8 28 c1", "vmovaps xmm0, xmm1"},
		{Mode64, "c5 f0 28 c1", "#UD"}, // vvvv is not 1111
		{Mode64, "c4 e0 78 58 c1", "#UD"},
		{Mode64, "c4 e4 78 58 c1", "#UD"},
		{Mode64, "c5 fe 58 c1", "vaddss xmm0, xmm0, xmm1"}, // L is ignored
		{Mode64, "c5 fc 77", "vzeroall"},
		{Mode64, "c5 f8 77", "vzeroupper"},
		{Mode64, "c5 f8 12 00", "vmovlps xmm0, xmm0, qword ptr [rax]"},
		{Mode64, "c5 fc 12 00", "#UD"},
		{Mode64, "c5 fa 10 c1", "vmovss xmm0, xmm0, xmm1"},
		{Mode64, "c5 fa 10 00", "vmovss xmm0, dword ptr [rax]"},
		{Mode64, "c5 f2 10 00", "#UD"},
		{Mode64, "c5 f9 6e c0", "vmovd xmm0, eax"},
		{Mode64, "c4 e1 f9 6e c0", "vmovq xmm0, rax"},
		{Mode32, "c4 e1 f9 6e c0", "vmovd xmm0, eax"},
		{Mode64, "c4 e2 7d 19 00", "vbroadcastsd ymm0, qword ptr [rax]"},
		{Mode64, "c4 e2 79 19 00", "#UD"},
		{Mode64, "c4 e2 fd 18 c1", "#UD"}, // W must be 0
		{Mode64, "c4 e3 fd 00 c1 1b", "vpermq ymm0, ymm1, 0x1b"},
		{Mode64, "c4 e3 7d 00 c1 1b", "#UD"},
		{Mode64, "c4 e3 79 4a c1 30", "vblendvps xmm0, xmm0, xmm1, xmm3"},
		{Mode64, "c4 e3 79 4a c1 b0", "vblendvps xmm0, xmm0, xmm1, xmm11"},
		{Mode32, "c4 e3 79 4a c1 b0", "vblendvps xmm0, xmm0, xmm1, xmm3"},
		{Mode64, "c4 e2 71 90 04 10", "vpgatherdd xmm0, dword ptr [rax+xmm2*1], xmm1"},
		{Mode64, "c4 e2 75 92 04 e0", "vgatherdps ymm0, dword ptr [rax+ymm4*8], ymm1"},
		{Mode64, "c4 e2 f5 92 04 e0", "vgatherdpd ymm0, qword ptr [rax+xmm4*8], ymm1"},
		{Mode64, "c4 e2 75 93 04 e0", "vgatherqps xmm0, dword ptr [rax+ymm4*8], xmm1"},
		{Mode64, "c4 e2 79 90 04 10", "#UD"}, // mask and destination are the same
		{Mode64, "c4 e2 71 90 04 08", "#UD"}, // mask and index
		{Mode64, "c4 e2 71 90 00", "#UD"},    // no SIB
		{Mode16, "c4 e2 71 90 04", "#UD"},    // 16-bit addressing
		{Mode64, "c4 e2 70 f2 c2", "andn eax, ecx, edx"},
		{Mode64, "c4 e2 f0 f2 c2", "andn rax, rcx, rdx"},
		{Mode32, "c4 e2 f0 f2 c2", "andn eax, ecx, edx"},
		{Mode64, "c4 e2 74 f2 c2", "#UD"},
		{Mode64, "c4 e2 78 f3 c8", "blsr eax, eax"},
		{Mode64, "c4 e3 fb f0 c1 05", "rorx rax, rcx, 0x5"},
		{Mode64, "c5 f8 ae 10", "vldmxcsr dword ptr [rax]"},
		{Mode64, "c4 e2 7d dc c1", "#UD"}, // VAES
		{Mode64, "62 f1 7c 48 58 c1", "#UD"},

		// Length.
		{Mode64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", "nop"},
		{Mode64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", "#GP"},
		{Mode64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 01 d8", "#GP"},
		{Mode64, "66 66 66 66 66 66 66 66 66 66 c7 80 00 00 00 00 00 00", "#GP"},
	} {
		var in Inst
		code := unhex(t, tt.code)
		got := ""
		switch err := Decode(tt.mode, code, &in); err {
		case nil:
			if got = in.String(); int(in.Len) != len(code) {
				t.Errorf("mode %d %s: length %d, want %d", tt.mode, tt.code, in.Len, len(code))
			}
		case ErrUndefined:
			got = "#UD"
		case ErrTooLong:
			got = "#GP"
		default:
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("mode %d %s: %q, want %q", tt.mode, tt.code, got, tt.want)
		}
	}
}

// TestDecodeEnd checks that bytes after the instruction make no difference,
// and that there is no difference between the two ways into the decoder.
func TestDecodeEnd(t *testing.T) {
	eachChoice(2, func(e *Enc, c Choice, code []byte, err error) {
		var a, b Inst
		long := append(bytes.Clone(code), bytes.Repeat([]byte{0xff}, 60)...)
		if err := Decode(c.Mode, code, &a); err != nil {
			t.Fatal(err)
		}
		if err := Decode(c.Mode, long, &b); err != nil || a != b {
			t.Errorf("% x: %v and, with bytes after it, %v (%v)", code, &a, &b, err)
		}
	})
}

func TestDecodeAllocs(t *testing.T) {
	var in Inst
	code := unhex(t, "f0 65 48 81 84 98 78 56 34 12 11 22 33 44")
	if n := testing.AllocsPerRun(100, func() {
		if err := Decode(Mode64, code, &in); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"0f a2", "c4 e2 71 90 04 10", "66 2e 0f 1f 84 00 00 00 00 00", "f0 48 0f c7 08", "48 b8 01 02 03 04 05 06 07 08",
		"f3 f3 f3 f3 f3 f3 f3 f3 f3 f3 f3 f3 f3 f3 f3 f3", "9a 01 02 03 04 05 06", "d9 fe", "67 66 8b 46 00", ""} {
		for _, mode := range allModes {
			f.Add(uint8(mode), unhex(f, s))
		}
	}
	f.Fuzz(func(t *testing.T, m uint8, code []byte) {
		mode := Mode(m % 3)
		var a, b Inst
		err := Decode(mode, code, &a)
		if err2 := Decode(mode, code, &b); err2 != err || err == nil && a != b {
			t.Fatalf("% x: %v (%v), then %v (%v)", code, &a, err, &b, err2)
		}
		if err == ErrTruncated && len(code) >= MaxInstLen {
			t.Fatalf("% x: truncated", code)
		}
		if err != nil {
			return
		}
		if a.Len == 0 || a.Len > MaxInstLen || int(a.Len) > len(code) || a.Enc == nil || a.Op != a.Enc.Op || a.String() == "" {
			t.Fatalf("% x: %+v", code, a)
		}
		for n := range int(a.Len) {
			if err := Decode(mode, code[:n], &b); err != ErrTruncated {
				t.Fatalf("% x cut to %d: %v", code, n, err)
			}
		}
	})
}

// benchCode is the start of a function as a compiler makes it.
const benchCode = "55 48 89 e5 41 57 41 56 53 48 83 ec 18 48 8b 45 10 4c 8d 34 85 00 00 00 00 0f b6 04 0a " +
	"83 f8 1f 77 0a 48 8b 3d 33 12 00 00 e8 00 10 00 00 f2 0f 10 44 24 08 66 0f ef c9 c5 fd 6f 07 48 85 c0 0f 84 10 00 00 00 31 c0 5b c9 c3"

func BenchmarkDecode(b *testing.B) {
	code := append(unhex(b, benchCode), make([]byte, 64)...)
	end := len(code) - 64
	var in Inst
	n := 0
	for b.Loop() {
		for pos := 0; pos < end; pos += int(in.Len) {
			if err := Decode(Mode64, code[pos:], &in); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/inst")
}
