package x86

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// asmNames are the mnemonics that x86asm spells otherwise.
var asmNames = map[Op]string{
	XLAT: "XLATB", JMPFAR: "LJMP", CALLFAR: "LCALL", RETFAR: "LRET",
	MOVSD: "MOVSD_XMM", CMPSD: "CMPSD_XMM", INT3: "INT", INT1: "ICEBP",
	CLWB: "XSAVEOPT", CLFLUSHOPT: "CLFLUSH", // without their prefixes
}

// asmUnlike are the instructions whose operands x86asm shows otherwise.
var asmUnlike = map[Op]string{
	MOVS: "both memory operands", CMPS: "both memory operands",
	MASKMOVQ: "no implied memory operand", MASKMOVDQU: "no implied memory operand",
	JMPFAR: "selector and offset apart", CALLFAR: "selector and offset apart",
	FADD: "no ST(0)", FMUL: "no ST(0)", FSUB: "no ST(0)", FSUBR: "no ST(0)", FDIV: "no ST(0)", FDIVR: "no ST(0)",
	RDRAND: "none shown", INT3: "the vector",
	MOVSEG: "32- and 64-bit registers", LSL: "16-bit registers", MOVSXD: "AMD's size with prefix 66",
}

// asmReg returns the number of a register as x86asm names it.
func asmReg(r x86asm.Reg) (kind Kind, reg uint16, size uint8, high bool) {
	switch {
	case r >= x86asm.AH && r <= x86asm.BH:
		return KindReg, uint16(r - x86asm.AH), 1, true
	case r >= x86asm.AL && r <= x86asm.BL:
		return KindReg, uint16(r - x86asm.AL), 1, false
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return KindReg, uint16(r-x86asm.SPB) + 4, 1, false
	case r >= x86asm.AX && r <= x86asm.R15W:
		return KindReg, uint16(r - x86asm.AX), 2, false
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return KindReg, uint16(r - x86asm.EAX), 4, false
	case r >= x86asm.RAX && r <= x86asm.R15:
		return KindReg, uint16(r - x86asm.RAX), 8, false
	case r >= x86asm.F0 && r <= x86asm.F7:
		return KindX87, uint16(r - x86asm.F0), 0, false
	case r >= x86asm.M0 && r <= x86asm.M7:
		return KindMMX, uint16(r - x86asm.M0), 0, false
	case r >= x86asm.X0 && r <= x86asm.X15:
		return KindVec, uint16(r - x86asm.X0), 0, false
	case r >= x86asm.ES && r <= x86asm.GS:
		return KindSeg, uint16(r - x86asm.ES), 0, false
	case r >= x86asm.CR0 && r <= x86asm.CR15:
		return KindCR, uint16(r - x86asm.CR0), 0, false
	case r >= x86asm.DR0 && r <= x86asm.DR15:
		return KindDR, uint16(r - x86asm.DR0), 0, false
	}
	return KindNone, 0, 0, false
}

// asmMemReg returns a base or index register of x86asm as in Mem.
func asmMemReg(r x86asm.Reg) uint8 {
	switch r {
	case 0:
		return NoReg
	case x86asm.IP, x86asm.EIP, x86asm.RIP:
		return RIPBase
	}
	_, n, _, _ := asmReg(r)
	return uint8(n)
}

// sameArg compares an operand with x86asm's.
func sameArg(in *Inst, a *Arg, arg x86asm.Arg) bool {
	switch x := arg.(type) {
	case x86asm.Reg:
		k, reg, size, high := asmReg(x)
		return k == a.Kind && reg == a.Reg && high == a.High && (size == 0 || size == a.Size)
	case x86asm.Imm:
		bits := 8 * max(in.OpSize, a.Size)
		mask := uint64(1)<<bits - 1
		return a.Kind == KindImm && (uint64(x)^uint64(a.Imm))&mask == 0
	case x86asm.Rel:
		return a.Kind == KindRel && int64(x) == a.Imm
	case x86asm.Mem:
		m := &in.Mem
		if a.Kind != KindMem || asmMemReg(x.Base) != m.Base || asmMemReg(x.Index) != m.Index && in.AddrSize != 2 {
			return false
		}
		mask := uint64(1)<<(8*min(in.AddrSize, 4)) - 1 // displacements are not sign-extended
		return (uint64(x.Disp)^uint64(m.Disp))&mask == 0 && (x.Index == 0 || x.Scale == 1<<m.Scale)
	}
	return false
}

// TestX86asm compares the decoder with golang.org/x/arch/x86/x86asm, which
// knows the legacy instructions up to SSE4.
func TestX86asm(t *testing.T) {
	unknown := map[Op]bool{}
	compared, bad := 0, 0
	eachChoice(6, func(e *Enc, c Choice, code []byte, _ error) {
		if e.Map.IsVEX() {
			return
		}
		want, err := x86asm.Decode(code, [3]int{16, 32, 64}[c.Mode])
		if err != nil || want.Op == 0 {
			unknown[e.Op] = true
			return
		}
		var in Inst
		if err := Decode(c.Mode, code, &in); err != nil {
			t.Fatal(err)
		}
		var diff string
		name := strings.ToUpper(in.Mnemonic())
		if n, ok := asmNames[in.Op]; ok {
			name = n
		}
		if strings.TrimSuffix(name, "64") != strings.TrimSuffix(want.Op.String(), "64") {
			diff = " name"
		}
		if want.Len != int(in.Len) {
			diff += " length"
		}
		n := 0
		_, unlike := asmUnlike[in.Op]
		for n < len(want.Args) && want.Args[n] != nil {
			n++
		}
		switch {
		case unlike:
		case n != int(in.NArgs):
			diff += " number of operands"
		default:
			for i := range n {
				if !sameArg(&in, &in.Args[i], want.Args[i]) {
					diff += fmt.Sprint(" operand ", i)
				}
			}
		}
		compared++
		if diff != "" {
			if bad++; bad < 20 {
				t.Errorf("mode %d % x: %v; x86asm: %v (%d): %s", c.Mode, code, &in, want, want.Len, diff)
			}
		}
	})
	if compared < 15000 || len(unknown) > 40 {
		t.Errorf("only %d instructions compared; x86asm does not know forms of %v", compared, unknown)
	}
}
