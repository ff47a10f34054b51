package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

func TestLoadSegment(t *testing.T) {
	const ds, ss = 0xd8, 0xd0 // ModRM: MOV DS, AX and MOV SS, AX
	for _, tt := range []struct {
		name   string
		long   bool
		cs, st uint16
		reg    byte
		sel    uint16
		vec    int
		err    uint32
	}{
		{"data", false, selCode0, selData0, ds, selData0, -1, 0},
		{"data, RPL above DPL", false, selCode0, selData0, ds, selData0 | 3, 13, selData0},
		{"data, CPL above DPL", false, selCode3, selData3, ds, selData0, 13, selData0},
		{"null", false, selCode0, selData0, ds, 3, -1, 0},
		{"read-only data", false, selCode0, selData0, ds, selRO, -1, 0},
		{"readable code", false, selCode0, selData0, ds, selCode0, -1, 0},
		{"conforming code", false, selCode3, selData3, ds, selConf | 3, -1, 0},
		{"execute-only code", false, selCode0, selData0, ds, selExec, 13, selExec},
		{"not present", false, selCode0, selData0, ds, selGone, 11, selGone},
		{"system", false, selCode0, selData0, ds, selTSS, 13, selTSS},
		{"beyond the table", false, selCode0, selData0, ds, gdtLimit&^7 + 8, 13, gdtLimit&^7 + 8},
		{"no LDT", false, selCode0, selData0, ds, selData0 | 4, 13, selData0 | 4},
		{"SS", false, selCode0, selData0, ss, selData16, -1, 0},
		{"SS null", false, selCode0, selData0, ss, 0, 13, 0},
		{"SS not present", false, selCode0, selData0, ss, selGone, 12, selGone},
		{"SS read-only", false, selCode0, selData0, ss, selRO, 13, selRO},
		{"SS, RPL", false, selCode0, selData0, ss, selData0 | 1, 13, selData0},
		{"SS, DPL", false, selCode0, selData0, ss, selData3 &^ 3, 13, selData3 &^ 3},
		{"SS null, 64-bit", true, selWide0, selData0, ss, 0, -1, 0},
		{"SS null, 64-bit, RPL", true, selWide0, selData0, ss, 1, 13, 0},
		{"SS null, CPL 3", true, selWide3, selData3, ss, 3, 13, 0},
	} {
		r := newSysrig(t, 1)
		r.enter(tt.long, tt.cs, tt.st)
		r.c.r[x86.RAX] = uint64(tt.sel)
		vec, err := r.exec(0x8e, tt.reg)
		if vec != tt.vec || vec >= 0 && err != tt.err {
			t.Errorf("%s: exception %d %#x, want %d %#x", tt.name, vec, err, tt.vec, tt.err)
			continue
		}
		seg := x86.DS
		if tt.reg == ss {
			seg = x86.SS
		}
		g := r.c.s.Seg[seg]
		if vec >= 0 {
			if g.Selector == tt.sel && tt.sel != tt.st {
				t.Errorf("%s: loaded in spite of the exception", tt.name)
			}
			continue
		}
		if g.Selector != tt.sel || r.c.cpl != uint8(tt.cs&3) {
			t.Errorf("%s: %+v, CPL %d", tt.name, g, r.c.cpl)
		}
		if null := tt.sel&^3 == 0; null != (g.Attr&x86.AttrUnusable != 0) {
			t.Errorf("%s: %+v", tt.name, g)
		} else if d := r.descOf(tt.sel); !null && d.attr&x86.AttrAccessed == 0 {
			t.Errorf("%s: descriptor not marked as accessed", tt.name)
		}
		if (seg == x86.SS) != r.c.s.IntrShadow {
			t.Errorf("%s: interrupt shadow is %v", tt.name, r.c.s.IntrShadow)
		}
	}
}

func TestSegmentInstructions(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	// LFS RAX, [RBX] with an operand of 6 bytes.
	r.put32(rigData, 0x89abcdef)
	r.put16(rigData+4, selData3)
	c.r[x86.RBX] = rigData
	if vec, _ := r.exec(0x0f, 0xb4, 0x03); vec != -1 || c.r[x86.RAX] != 0x89abcdef || c.s.Seg[x86.FS].Selector != selData3 {
		t.Errorf("LFS: %d, RAX %#x, FS %#x", vec, c.r[x86.RAX], c.s.Seg[x86.FS].Selector)
	}
	// PUSH FS, POP GS; a faulting POP leaves RSP.
	if vec, _ := r.exec(0x0f, 0xa0); vec != -1 || c.r[x86.RSP] != rigStack0-8 || r.get64(rigStack0-8) != selData3 {
		t.Errorf("PUSH FS: %d", vec)
	}
	if vec, _ := r.exec(0x0f, 0xa9); vec != -1 || c.r[x86.RSP] != rigStack0 || c.s.Seg[x86.GS].Selector != selData3 {
		t.Errorf("POP GS: %d", vec)
	}
	r.put64(rigStack0, selCode16|1)
	if vec, err := r.exec(0x0f, 0xa9); vec != 13 || err != selCode16 || c.r[x86.RSP] != rigStack0 {
		t.Errorf("POP GS: %d %#x, RSP %#x", vec, err, c.r[x86.RSP])
	}
	// MOV r/m, Sreg.
	c.r[x86.RAX] = ^uint64(0)
	if vec, _ := r.exec(0x8c, 0xc8); vec != -1 || c.r[x86.RAX] != selWide0 {
		t.Errorf("MOV EAX, CS: %d, RAX %#x", vec, c.r[x86.RAX])
	}
	c.r[x86.RAX] = ^uint64(0)
	if vec, _ := r.exec(0x66, 0x8c, 0xc8); vec != -1 || c.r[x86.RAX] != 0xffffffffffff0000|selWide0 {
		t.Errorf("MOV AX, CS: %d, RAX %#x", vec, c.r[x86.RAX])
	}
	// LLDT and a selector in the LDT.
	r.desc(selLDT+8, 0)
	c.r[x86.RAX] = selLDT
	if vec, _ := r.exec(0x0f, 0x00, 0xd0); vec != -1 || c.s.LDTR.Base != rigGDT {
		t.Errorf("LLDT: %d, %+v", vec, c.s.LDTR)
	}
	c.r[x86.RAX] = selData0 | 4
	if vec, _ := r.exec(0x8e, 0xd8); vec != -1 || c.s.Seg[x86.DS].Selector != selData0|4 {
		t.Errorf("MOV DS from the LDT: %d", vec)
	}
	c.r[x86.RAX] = selData0
	if vec, err := r.exec(0x0f, 0x00, 0xd0); vec != 13 || err != selData0 {
		t.Errorf("LLDT of a data segment: %d %#x", vec, err)
	}
	// LTR marks the TSS busy; a busy one is refused.
	r.desc(selTSS2, mkdesc(rigTSS2, 0x67, x86.AttrP|typeTSS))
	r.desc(selTSS2+8, 0xffff8000)
	c.r[x86.RAX] = selTSS2
	if vec, _ := r.exec(0x0f, 0x00, 0xd8); vec != -1 || c.s.TR.Base != 0xffff8000<<32|rigTSS2 {
		t.Errorf("LTR: %d, %+v", vec, c.s.TR)
	}
	if d := r.descOf(selTSS2); d.attr&sysType != typeTSSBusy {
		t.Error("LTR has not marked the TSS busy")
	}
	if vec, err := r.exec(0x0f, 0x00, 0xd8); vec != 13 || err != selTSS2 {
		t.Errorf("LTR of a busy TSS: %d %#x", vec, err)
	}
	// LGDT, 10 bytes, canonical.
	r.put16(rigData, 0x77)
	r.put64(rigData+2, 1<<55)
	if vec, _ := r.exec(0x0f, 0x01, 0x13); vec != 13 {
		t.Errorf("LGDT of a base that is not canonical: %d", vec)
	}
	r.put64(rigData+2, 0xffff800000001234)
	if vec, _ := r.exec(0x0f, 0x01, 0x1b); vec != -1 || c.s.IDTR != (x86.Table{Base: 0xffff800000001234, Limit: 0x77}) {
		t.Errorf("LIDT: %d, %+v", vec, c.s.IDTR)
	}
	c.r[x86.RBX] += 0x10
	if vec, _ := r.exec(0x0f, 0x01, 0x0b); vec != -1 || r.get64(rigData+0x12) != 0xffff800000001234 || r.get16(rigData+0x10) != 0x77 {
		t.Errorf("SIDT: %d", vec)
	}
}

func TestDescriptorQueries(t *testing.T) {
	lar, lsl := []byte{0x0f, 0x02, 0xc3}, []byte{0x0f, 0x03, 0xc3} // EAX, EBX
	verr, verw := []byte{0x0f, 0x00, 0xe3}, []byte{0x0f, 0x00, 0xeb}
	const flat = 0xffffffff
	for _, tt := range []struct {
		name string
		long bool
		cs   uint16
		code []byte
		sel  uint16
		zf   bool
		want uint64
	}{
		{"LAR", false, selCode0, lar, selData0, true, 0xcf9200},
		{"LAR, null", false, selCode0, lar, 0, false, 0},
		{"LAR, CPL", false, selCode3, lar, selData0, false, 0},
		{"LAR, conforming", false, selCode3, lar, selConf, true, 0xcf9e00},
		{"LAR, task gate", false, selCode0, lar, selTask, true, 0xe500},
		{"LAR, task gate, long mode", true, selCode0, lar, selTask, false, 0},
		{"LAR, beyond", false, selCode0, lar, 0x300, false, 0},
		{"LSL", false, selCode0, lsl, selData0, true, flat},
		{"LSL, bytes", false, selCode0, lsl, selCode16, true, 0xffff},
		{"LSL, TSS", false, selCode0, lsl, selTSS, true, 0x2068},
		{"LSL, task gate", false, selCode0, lsl, selTask, false, 0},
		{"VERR", false, selCode3, verr, selData3, true, 0},
		{"VERR, execute-only", false, selCode0, verr, selExec, false, 0},
		{"VERR, DPL", false, selCode3, verr, selData0, false, 0},
		{"VERW", false, selCode3, verw, selData3, true, 0},
		{"VERW, read-only", false, selCode0, verw, selRO, false, 0},
		{"VERW, code", false, selCode0, verw, selCode0, false, 0},
		{"VERR, system", false, selCode0, verr, selTSS, false, 0},
	} {
		r := newSysrig(t, 1)
		st := uint16(selData0)
		if tt.cs&3 == 3 {
			st = selData3
		}
		r.enter(tt.long, tt.cs, st)
		c := r.c
		d := r.descOf(selData0)
		c.r[x86.RAX], c.r[x86.RBX] = 0x5555, uint64(tt.sel)
		c.setArith(x86.CF | x86.PF)
		vec, _ := r.exec(tt.code...)
		want := tt.want
		if !tt.zf || tt.code[1] == 0 {
			want = 0x5555
		}
		if vec != -1 || c.zf() != tt.zf || c.r[x86.RAX] != want || !c.cf() || !c.pf() || c.of() {
			t.Errorf("%s: exception %d, ZF %v, EAX %#x; want %v, %#x", tt.name, vec, c.zf(), c.r[x86.RAX], tt.zf, want)
		}
		if r.descOf(selData0) != d {
			t.Errorf("%s: descriptor changed", tt.name)
		}
	}
	// ARPL; not in real mode.
	r := newSysrig(t, 1)
	r.enter(false, selCode0, selData0)
	r.c.r[x86.RAX], r.c.r[x86.RBX] = 0x12340010, 3
	if vec, _ := r.exec(0x63, 0xd8); vec != -1 || r.c.r[x86.RAX] != 0x12340013 || !r.c.zf() {
		t.Errorf("ARPL: %d, EAX %#x", vec, r.c.r[x86.RAX])
	}
	if vec, _ := r.exec(0x63, 0xd8); vec != -1 || r.c.zf() {
		t.Errorf("ARPL of equal RPLs: %d", vec)
	}
	r.c.s.CR0 &^= x86.CR0_PE
	r.c.modeChanged()
	if vec, _ := r.exec(0x63, 0xd8); vec != 6 {
		t.Errorf("ARPL in real mode: %d", vec)
	}
}

func TestSystemCalls(t *testing.T) {
	r := newSysrig(t, 1)
	c := r.c
	setup := func(cs, ss uint16) {
		r.enter(true, cs, ss)
		m := &c.s.MSR
		m.STAR = 0x0023_0050 << 32
		m.LSTAR = 0x9a00
		m.FMASK = x86.IF | x86.TF | x86.DF
		m.SysenterCS, m.SysenterESP, m.SysenterEIP = 0x50, 0x5800, 0x9b00
	}
	setup(selWide3, selData3)
	c.setRFLAGS(x86.Flag1 | x86.IF | x86.CF | x86.RF)
	if vec, _ := r.exec(0x0f, 0x05); vec != -1 || c.rip != 0x9a00 || c.cpl != 0 || c.mode != x86.Mode64 {
		t.Fatalf("SYSCALL: %d, RIP %#x, CPL %d", vec, c.rip, c.cpl)
	}
	if c.r[x86.RCX] != rigCode+2 || c.r[x86.R11] != x86.Flag1|x86.IF|x86.CF || c.rflags() != x86.Flag1|x86.CF {
		t.Errorf("SYSCALL: RCX %#x, R11 %#x, RFLAGS %#x", c.r[x86.RCX], c.r[x86.R11], c.rflags())
	}
	if c.s.Seg[x86.CS].Selector != 0x50 || c.s.Seg[x86.SS].Selector != 0x58 {
		t.Errorf("SYSCALL: CS %#x, SS %#x", c.s.Seg[x86.CS].Selector, c.s.Seg[x86.SS].Selector)
	}
	if vec, _ := r.exec(0x48, 0x0f, 0x07); vec != -1 || c.rip != rigCode+2 || c.cpl != 3 || c.mode != x86.Mode64 || c.rflags() != x86.Flag1|x86.IF|x86.CF {
		t.Errorf("SYSRET: %d, RIP %#x, CPL %d, RFLAGS %#x", vec, c.rip, c.cpl, c.rflags())
	}
	if c.s.Seg[x86.CS].Selector != 0x33 || c.s.Seg[x86.SS].Selector != 0x2b {
		t.Errorf("SYSRET: CS %#x, SS %#x", c.s.Seg[x86.CS].Selector, c.s.Seg[x86.SS].Selector)
	}
	setup(selWide0, selData0)
	c.r[x86.RCX], c.r[x86.R11] = 0x1_0000_9c00, 2
	if vec, _ := r.exec(0x0f, 0x07); vec != -1 || c.rip != 0x9c00 || c.mode != x86.Mode32 || c.s.Seg[x86.CS].Selector != 0x23 {
		t.Errorf("SYSRET to compatibility mode: %d, RIP %#x, mode %d", vec, c.rip, c.mode)
	}
	setup(selWide0, selData0)
	c.r[x86.RCX] = 1 << 47
	if vec, _ := r.exec(0x48, 0x0f, 0x07); vec != 13 || c.cpl != 0 {
		t.Errorf("SYSRET to an address that is not canonical: %d, CPL %d", vec, c.cpl)
	}
	c.s.MSR.EFER &^= x86.EFER_SCE
	if vec, _ := r.exec(0x0f, 0x05); vec != 6 {
		t.Errorf("SYSCALL without SCE: %d", vec)
	}
	// SYSENTER from compatibility mode, SYSEXIT to both.
	setup(selCode3, selData3)
	c.setRFLAGS(x86.Flag1 | x86.IF)
	if vec, _ := r.exec(0x0f, 0x34); vec != -1 || c.rip != 0x9b00 || c.r[x86.RSP] != 0x5800 || c.cpl != 0 || c.mode != x86.Mode64 || c.flags&x86.IF != 0 {
		t.Errorf("SYSENTER: %d, RIP %#x, CPL %d", vec, c.rip, c.cpl)
	}
	c.r[x86.RDX], c.r[x86.RCX] = 0x9d00, 0x5900
	if vec, _ := r.exec(0x0f, 0x35); vec != -1 || c.rip != 0x9d00 || c.r[x86.RSP] != 0x5900 || c.cpl != 3 || c.mode != x86.Mode32 || c.s.Seg[x86.CS].Selector != 0x63 {
		t.Errorf("SYSEXIT: %d, RIP %#x, CPL %d, CS %#x", vec, c.rip, c.cpl, c.s.Seg[x86.CS].Selector)
	}
	setup(selWide0, selData0)
	c.r[x86.RDX], c.r[x86.RCX] = 0x9d00, 0x5900
	if vec, _ := r.exec(0x48, 0x0f, 0x35); vec != -1 || c.mode != x86.Mode64 || c.s.Seg[x86.CS].Selector != 0x73 || c.s.Seg[x86.SS].Selector != 0x7b {
		t.Errorf("SYSEXIT, 64-bit: %d, CS %#x", vec, c.s.Seg[x86.CS].Selector)
	}
	setup(selWide0, selData0)
	c.s.MSR.SysenterCS = 3
	if vec, _ := r.exec(0x0f, 0x34); vec != 13 {
		t.Errorf("SYSENTER without a segment: %d", vec)
	}
	// SWAPGS and the base instructions.
	setup(selWide0, selData0)
	c.s.MSR.KernelGSBase = 0x1234
	if vec, _ := r.exec(0x0f, 0x01, 0xf8); vec != -1 || c.segBase[x86.GS] != 0x1234 || c.s.MSR.KernelGSBase != 0 {
		t.Errorf("SWAPGS: %d, %#x", vec, c.segBase[x86.GS])
	}
	if vec, _ := r.exec(0xf3, 0x48, 0x0f, 0xae, 0xc8); vec != 6 {
		t.Errorf("RDGSBASE without CR4.FSGSBASE: %d", vec)
	}
	c.s.CR4 |= x86.CR4_FSGSBASE
	if vec, _ := r.exec(0xf3, 0x48, 0x0f, 0xae, 0xc8); vec != -1 || c.r[x86.RAX] != 0x1234 {
		t.Errorf("RDGSBASE: %d, %#x", vec, c.r[x86.RAX])
	}
	c.r[x86.RAX] = 0x5_0000_0001
	if vec, _ := r.exec(0xf3, 0x0f, 0xae, 0xd0); vec != -1 || c.segBase[x86.FS] != 1 {
		t.Errorf("WRFSBASE EAX: %d, %#x", vec, c.segBase[x86.FS])
	}
	c.r[x86.RAX] = 1 << 47
	if vec, _ := r.exec(0xf3, 0x48, 0x0f, 0xae, 0xd0); vec != 13 {
		t.Errorf("WRFSBASE of an address that is not canonical: %d", vec)
	}
}

func TestPopf(t *testing.T) {
	const all = 0x3f7fd7
	for _, tt := range []struct {
		cs, ss uint16
		iopl   uint64
		want   uint64
	}{
		{selCode0, selData0, 0, all &^ (x86.VM | x86.RF | x86.VIF | x86.VIP)},
		{selCode3, selData3, 0, all &^ (x86.VM | x86.RF | x86.VIF | x86.VIP | x86.IF | x86.IOPL)},
		{selCode3, selData3, 3, all &^ (x86.VM | x86.RF | x86.VIF | x86.VIP)},
	} {
		r := newSysrig(t, 1)
		r.enter(false, tt.cs, tt.ss)
		r.c.setRFLAGS(x86.Flag1 | tt.iopl<<12)
		r.put32(rigStack0, all)
		if vec, _ := r.exec(0x9d); vec != -1 || r.c.rflags() != tt.want|x86.Flag1 || r.c.r[x86.RSP] != rigStack0+4 {
			t.Errorf("POPFD, CPL %d, IOPL %d: exception %d, flags %#x, want %#x", r.c.cpl, tt.iopl, vec, r.c.rflags(), tt.want)
		}
		r.c.flags &^= x86.TF
		if vec, _ := r.exec(0x9c); vec != -1 || uint64(r.get32(rigStack0)) != tt.want&^x86.TF|x86.Flag1 {
			t.Errorf("PUSHFD: exception %d, %#x", vec, r.get32(rigStack0))
		}
		// Only the low 16 bits.
		r.c.setRFLAGS(x86.Flag1 | x86.ID)
		r.put16(rigStack0, x86.CF)
		if vec, _ := r.exec(0x66, 0x9d); vec != -1 || r.c.rflags() != x86.Flag1|x86.ID|x86.CF {
			t.Errorf("POPF: exception %d, flags %#x", vec, r.c.rflags())
		}
	}
}
