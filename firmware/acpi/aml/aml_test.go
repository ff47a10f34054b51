package aml

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestEncoding(t *testing.T) {
	for _, tc := range []struct {
		name string
		term Term
		want string
	}{
		{"zero", Int(0), "00"},
		{"one", Int(1), "01"},
		{"byte", Int(0xff), "0a ff"},
		{"word", Int(0x100), "0b 00 01"},
		{"dword", Int(0x10000), "0c 00 00 01 00"},
		{"qword", Int(1 << 32), "0e 00 00 00 00 01 00 00 00"},
		{"ones", Int(^uint64(0)), "ff"},
		{"string", String("AB"), "0d 41 42 00"},
		{"short name", Ref("A"), "41 5f 5f 5f"},
		{"root", Ref(`\`), "5c 00"},
		{"parent", Ref("^^AB"), "5e 5e 41 42 5f 5f"},
		{"two segments", Ref(`\_SB.PCI0`), "5c 2e 5f 53 42 5f 50 43 49 30"},
		{"three segments", Ref("A.B.C"), "2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f"},
		{"eisa", EISAID("PNP0A08"), "0c 41 d0 0a 08"},
		{"name", Name("_ADR", Int(0)), "08 5f 41 44 52 00"},
		{"buffer", Buffer([]byte{1, 2}), "11 05 0a 02 01 02"},
		{"package", Package(Int(0), Int(5)), "12 05 02 00 0a 05"},
		{"method", MethodSerialized("M", 3), "14 06 4d 5f 5f 5f 0b"},
		{"call", Call("M", Arg(0), Local(7)), "4d 5f 5f 5f 68 67"},
		{"if", If(LNotEqual(Arg(0), Int(1)), Return(Int(0))), "a0 07 92 93 68 01 a4 00"},
		{"while", While(Int(1), Break()), "a2 03 01 a5"},
		{"field", Field("R", ByteAcc|WriteAsZeroes, Skip(32), Bits("AB", 1), Bits("CD", 64)),
			"5b 81 13 52 5f 5f 5f 41 00 20 41 42 5f 5f 01 43 44 5f 5f 40 04"},
		{"region", OperationRegion("R", SystemIO, Int(0x600), Int(4)), "5b 80 52 5f 5f 5f 01 0b 00 06 0a 04"},
		{"divide", Divide(Local(0), Int(1), Nothing(), Local(1)), "78 60 01 00 61"},
		{"acquire", Acquire(Ref("M"), 0xffff), "5b 23 4d 5f 5f 5f ff ff"},
		{"io", ResourceTemplate(FixedIO(0x3f8, 8), IRQNoFlags(4)),
			"11 10 0a 0d 47 01 f8 03 f8 03 01 08 22 10 00 79 00"},
		{"memory32", ResourceTemplate(Memory32Fixed(0xfed00000, 0x400, true)),
			"11 11 0a 0e 86 09 00 01 00 00 d0 fe 00 04 00 00 79 00"},
		{"interrupt", ResourceTemplate(Interrupt(IRQConsumer|IRQShared, 16)),
			"11 0e 0a 0b 89 06 00 09 01 10 00 00 00 79 00"},
		{"word io", ResourceTemplate(WordIO(0, 0xcf7)),
			"11 15 0a 12 88 0d 00 01 0c 03 00 00 00 00 f7 0c 00 00 f8 0c 79 00"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(tc.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(tc.term)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: % x, %v, want % x", tc.name, got, err, want)
		}
	}
}

// TestPkgLength checks both sides of each step of the encoding.
func TestPkgLength(t *testing.T) {
	for _, tc := range []struct {
		body int
		want string
	}{
		{0x3e, "3f"}, {0x3f, "41 04"}, {0xffd, "4f ff"}, {0xffe, "81 00 01"},
		{0xffffc, "8f ff ff"}, {0xffffd, "c1 00 00 01"},
	} {
		var e Encoder
		e.pkg(nil, func(in *Encoder) { in.put(make([]byte, tc.body)) })
		want, _ := hex.DecodeString(strings.ReplaceAll(tc.want, " ", ""))
		if !bytes.HasPrefix(e.buf, want) || len(e.buf) != len(want)+tc.body {
			t.Errorf("body %#x: % x..., want % x", tc.body, e.buf[:4], want)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, term := range map[string]Term{
		"empty":        Ref(""),
		"empty seg":    Ref("A..B"),
		"long seg":     Ref("ABCDE"),
		"lower case":   Ref("abc"),
		"digit first":  Ref("1ABC"),
		"local":        Local(8),
		"arg":          Arg(7),
		"eisa":         EISAID("PNP0G08"),
		"eisa short":   EISAID("PNP08"),
		"uuid":         UUID("33db4d5b"),
		"string":       String("a\x00b"),
		"method args":  Method("M", 8),
		"mutex":        Mutex("M", 16),
		"irq":          ResourceTemplate(IRQNoFlags(16)),
		"dma":          ResourceTemplate(DMA(8)),
		"interrupt":    ResourceTemplate(Interrupt(0)),
		"range":        ResourceTemplate(DWordMemory(NonCacheable, 2, 1)),
		"whole":        ResourceTemplate(WordIO(0, 0xffff)),
		"field":        Field("R", 0, Bits("A", MaxPackage+1)),
		"nested error": Scope(`\_SB`, Device("A", If(Local(9)))),
	} {
		if b, err := Encode(term); err == nil {
			t.Errorf("%s: % x, want an error", name, b)
		}
	}
}

// FuzzName has names as the only text that decides the encoding.
func FuzzName(f *testing.F) {
	for _, s := range []string{"", `\`, "^^", `\_SB.PCI0.LPCB`, "A.B.", "_OSC", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Encode(Ref(s))
		if err != nil {
			return
		}
		if n := strings.Count(s, ".") + 1; len(b) > 4*n+len(s)+2 {
			t.Errorf("%q: % x", s, b)
		}
	})
}
