package x86

import "testing"

// first returns the first row of an instruction.
func first(t *testing.T, op Op) *Enc {
	for _, e := range Encodings() {
		if e.Op == op {
			return &e
		}
	}
	t.Fatalf("%v has no row", op)
	return nil
}

// TestEveryOpHasRow checks that the table is complete, and the names are.
func TestEveryOpHasRow(t *testing.T) {
	var have [NumOps]bool
	for _, e := range Encodings() {
		have[e.Op] = true
	}
	for op := Op(1); int(op) < NumOps; op++ {
		if !have[op] {
			t.Errorf("%v has no row", op)
		}
	}
	for op, want := range map[Op]string{Invalid: "Invalid", ADD: "ADD", JG: "JG", FXRSTOR: "FXRSTOR", ADDPS: "ADDPS", VFNMSUB231SD: "VFNMSUB231SD", Op(NumOps): "Op(958)"} {
		if got := op.String(); got != want {
			t.Errorf("Op %d is %q, want %q", op, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		op   Op
		want Flags
	}{
		{ADD, Flags{Written: ArithFlags}},
		{ADC, Flags{Written: ArithFlags, Tested: CF}},
		{INC, Flags{Written: ArithFlags &^ CF}},
		{NOT, Flags{}},
		{MOV, Flags{}},
		{AND, Flags{Written: ArithFlags &^ AF, Undefined: AF}},
		{JO, Flags{Tested: OF}},
		{SETBE, Flags{Tested: CF | ZF}},
		{CMOVG, Flags{Tested: ZF | SF | OF}},
		{CLD, Flags{Written: DF}},
		{SHL, Flags{Written: CF | PF | ZF | SF, Undefined: OF | AF, Cond: true}},
		{VPTEST, Flags{Written: ArithFlags}},
	} {
		if got := first(t, tt.op).Flags(); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.op, got, tt.want)
		}
	}
	for _, e := range Encodings() {
		f := e.Flags()
		if f.Written&f.Undefined != 0 {
			t.Errorf("%v: flags %#x are both written and undefined", e.Op, f.Written&f.Undefined)
		}
		if e.Op == SHL && e.Args[1] == One && (f.Cond || f.Written&OF == 0 || f.Undefined != AF) {
			t.Errorf("SHL by 1: %+v", f)
		}
	}
}

func TestCtl(t *testing.T) {
	for code, want := range map[string]Ctl{
		"01 d8": CtlNone, "eb 00": CtlJump, "ff e0": CtlJump, "75 00": CtlCond, "e3 00": CtlCond, "e8 00 00 00 00": CtlCall,
		"c3": CtlRet, "cb": CtlFar, "48 cf": CtlFar, "cd 80": CtlTrap, "cc": CtlTrap, "0f 0b": CtlTrap, "0f 05": CtlSyscall,
		"fa": CtlState, "fb": CtlShadow, "8e d0": CtlShadow, "8e d8": CtlState, "8c d0": CtlNone, "0f 20 c0": CtlNone, "0f 22 c0": CtlState,
		"f4": CtlHalt, "0f 01 c1": CtlExit, "f3 a4": CtlNone, "9d": CtlState, "0f a2": CtlNone, "0f 01 38": CtlState,
	} {
		var in Inst
		if err := Decode(Mode64, unhex(t, code), &in); err != nil {
			t.Fatal(err)
		}
		if got := in.Ctl(); got != want || in.EndsBlock() != (want != CtlNone) {
			t.Errorf("%v: %d, want %d", &in, got, want)
		}
	}
}

func TestPriv(t *testing.T) {
	for op, want := range map[Op]Priv{
		ADD: PrivNone, HLT: PrivCPL0, MOVCR: PrivCPL0, CLI: PrivIOPL, STI: PrivIOPL, IN: PrivIO, OUTS: PrivIO, POPF: PrivVM,
		SGDT: PrivUMIP, SMSW: PrivUMIP, RDTSCP: PrivTSD, RDPMC: PrivPCE, STAC: PrivAC, CPUID: PrivNone, XGETBV: PrivNone, SWAPGS: PrivCPL0,
	} {
		if got := op.Priv(); got != want {
			t.Errorf("%v: %d, want %d", op, got, want)
		}
	}
	for op, want := range map[Op]bool{LTR: true, ARPL: true, VADDPS: true, ANDN: true, LGDT: false, ADDPS: false} {
		if got := first(t, op).ProtectedOnly(); got != want {
			t.Errorf("%v: ProtectedOnly is %v", op, got)
		}
	}
}

func TestAligned(t *testing.T) {
	for _, tt := range []struct {
		op     Op
		vecLen uint8
		want   uint8
	}{
		{MOVAPS, 16, 16}, {MOVUPS, 16, 0}, {ADDPS, 16, 16}, {ADDSS, 16, 0}, {PADDB, 8, 0}, {MOVNTDQ, 16, 16}, {PCMPISTRI, 16, 0},
		{LDDQU, 16, 0}, {CVTDQ2PD, 16, 0}, {MOVDDUP, 16, 0}, {SHA1MSG1, 16, 16}, {AESENC, 16, 16}, {PMOVSXBW, 16, 0}, {ADD, 0, 0},
		{VMOVAPS, 16, 16}, {VMOVAPS, 32, 32}, {VMOVUPS, 32, 0}, {VADDPS, 32, 0}, {VMOVNTPS, 32, 32}, {MASKMOVDQU, 16, 0},
	} {
		if got := first(t, tt.op).Aligned(tt.vecLen); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.op, got, tt.want)
		}
	}
	// Of a pair of MMX and SSE rows, the SSE one is aligned.
	for _, e := range Encodings() {
		if e.Op == PSHUFB && e.Prefix == P66 && e.Aligned(16) != 16 {
			t.Error("PSHUFB xmm: not aligned")
		}
	}
}
