package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// farPtr is an instruction with an immediate far pointer: EA (JMP) or 9A (CALL).
func farPtr(op byte, sel uint16, off uint32) []byte {
	return []byte{op, byte(off), byte(off >> 8), byte(off >> 16), byte(off >> 24), byte(sel), byte(sel >> 8)}
}

func TestModeSwitch(t *testing.T) {
	// From reset through protected mode to 64-bit mode and back.
	r := newSysrig(t, 1)
	r.tables(true)
	r.identity(pteP | pteW | pteU)
	s := r.state()
	s.Seg[x86.CS] = x86.Segment{Selector: 0x900, Base: 0x9000, Limit: 0xffff, Attr: 0x9b}
	s.RIP = 0
	s.GPR[x86.RSP] = rigStack0
	r.set(&s)
	r.put16(0x9f00, gdtLimit)
	r.put32(0x9f02, rigGDT)
	c := r.c
	c.r[x86.RBX] = 0x9f00
	ok := func(vec int, _ uint32) {
		t.Helper()
		if vec != -1 {
			t.Fatalf("exception %d at %#x:%#x", vec, c.s.Seg[x86.CS].Selector, c.rip)
		}
	}
	ok(r.exec(0x66, 0x67, 0x0f, 0x01, 0x13)) // LGDT [EBX]
	if c.s.GDTR != (x86.Table{Base: rigGDT, Limit: gdtLimit}) {
		t.Fatalf("GDTR %+v", c.s.GDTR)
	}
	c.r[x86.RAX] = x86.CR0_PE
	ok(r.exec(0x0f, 0x22, 0xc0)) // MOV CR0, EAX
	if c.mode != x86.Mode16 {
		t.Fatal("not in 16-bit protected mode")
	}
	ok(r.exec(append([]byte{0x66}, farPtr(0xea, selCode0, 0x9100)...)...))
	if c.mode != x86.Mode32 || c.rip != 0x9100 {
		t.Fatalf("mode %d, EIP %#x", c.mode, c.rip)
	}
	c.r[x86.RAX] = selData0
	for _, m := range []byte{0xd8, 0xc0, 0xd0} { // MOV DS, ES, SS
		ok(r.exec(0x8e, m))
	}
	ok(r.exec(0x0f, 0x08))
	if c.key>>2&1 == 0 {
		t.Error("flat segments are not recognised")
	}
	c.r[x86.RAX] = x86.CR4_PAE
	ok(r.exec(0x0f, 0x22, 0xe0)) // MOV CR4
	c.r[x86.RAX] = rigPML4
	ok(r.exec(0x0f, 0x22, 0xd8)) // MOV CR3
	c.r[x86.RCX], c.r[x86.RAX], c.r[x86.RDX] = msrEFER, x86.EFER_LME, 0
	ok(r.exec(0x0f, 0x30)) // WRMSR
	c.r[x86.RAX] = x86.CR0_PE | x86.CR0_PG
	ok(r.exec(0x0f, 0x22, 0xc0))
	if c.mode != x86.Mode32 || !c.long || c.s.MSR.EFER != x86.EFER_LME|x86.EFER_LMA {
		t.Fatalf("not in compatibility mode: mode %d, EFER %#x", c.mode, c.s.MSR.EFER)
	}
	ok(r.exec(farPtr(0xea, selWide0, 0x9200)...))
	if c.mode != x86.Mode64 || c.rip != 0x9200 || c.cpl != 0 {
		t.Fatalf("not in 64-bit mode: mode %d, RIP %#x", c.mode, c.rip)
	}
	// Paging cannot be turned off in 64-bit mode, PAE not in long mode.
	c.r[x86.RAX] = x86.CR0_PE
	if vec, _ := r.exec(0x0f, 0x22, 0xc0); vec != x86.VecGP {
		t.Errorf("MOV CR0 without PG: %d", vec)
	}
	c.r[x86.RAX] = 0
	if vec, _ := r.exec(0x0f, 0x22, 0xe0); vec != x86.VecGP {
		t.Errorf("MOV CR4 without PAE: %d", vec)
	}
	// RETF to compatibility mode, paging off.
	c.r[x86.RSP] = rigStack0 - 8
	r.put32(rigStack0-8, 0x9300)
	r.put32(rigStack0-4, selCode0)
	ok(r.exec(0xcb))
	if c.mode != x86.Mode32 || c.rip != 0x9300 || c.r[x86.RSP] != rigStack0 {
		t.Fatalf("not in compatibility mode: mode %d, RIP %#x, RSP %#x", c.mode, c.rip, c.r[x86.RSP])
	}
	c.r[x86.RAX] = x86.CR0_PE
	ok(r.exec(0x0f, 0x22, 0xc0))
	if c.long || c.s.MSR.EFER != x86.EFER_LME {
		t.Errorf("EFER %#x after paging was turned off", c.s.MSR.EFER)
	}
	ok(r.exec(farPtr(0xea, selCode16, 0x9400)...))
	c.r[x86.RAX] = 0
	ok(r.exec(0x0f, 0x22, 0xc0))
	ok(r.exec(0xea, 0x00, 0x01, 0x00, 0x09)) // JMP 0900:0100
	if c.mode != x86.Mode16 || c.segBase[x86.CS] != 0x9000 || c.rip != 0x100 {
		t.Errorf("not back in real mode")
	}
}

func TestFar(t *testing.T) {
	const target = 0x9800
	for _, tt := range []struct {
		name    string
		long    bool
		cs, ss  uint16
		prepare func(r *sysrig)
		code    []byte
		vec     int // -1: none
		err     uint32
		toCS    uint16
		rip     uint64
		rsp     uint64
		size    int
		stack   []uint64
	}{
		{"JMP", false, selCode0, selData0, nil, farPtr(0xea, selCode0, target), -1, 0, selCode0, target, rigStack0, 4, nil},
		{"JMP, RPL of CS is CPL", false, selCode3, selData3, nil, farPtr(0xea, selCode3&^3, target), -1, 0, selCode3, target, rigStack0, 4, nil},
		{"CALL", false, selCode0, selData0, nil, farPtr(0x9a, selCode0, target), -1, 0, selCode0, target, rigStack0 - 8, 4,
			[]uint64{rigCode + 7, selCode0}},
		{"conforming", false, selCode3, selData3, nil, farPtr(0x9a, selConf, target), -1, 0, selConf | 3, target, rigStack0 - 8, 4,
			[]uint64{rigCode + 7, selCode3}},
		{"null", false, selCode0, selData0, nil, farPtr(0xea, 3, target), 13, 0, 0, 0, 0, 0, nil},
		{"data", false, selCode0, selData0, nil, farPtr(0xea, selData0, target), 13, selData0, 0, 0, 0, 0, nil},
		{"privilege", false, selCode3, selData3, nil, farPtr(0xea, selCode0, target), 13, selCode0, 0, 0, 0, 0, nil},
		{"beyond the table", false, selCode0, selData0, nil, farPtr(0xea, 0x200, target), 13, 0x200, 0, 0, 0, 0, nil},
		{"beyond the limit", false, selCode0, selData0, nil, farPtr(0xea, selCode16, 0x10000), 13, 0, 0, 0, 0, 0, nil},
		{"gate, same level", false, selCode0, selData0, func(r *sysrig) { r.desc(selGate, mkgate(selCode0, target, typeCallGate2, 3, 2)) },
			farPtr(0x9a, selGate, 0), -1, 0, selCode0, target, rigStack0 - 8, 4, []uint64{rigCode + 7, selCode0}},
		{"gate, inner, parameters", false, selCode3, selData3, func(r *sysrig) {
			r.desc(selGate, mkgate(selCode0, target, typeCallGate2, 3, 2))
			r.put32(rigStack0, 0x1111)
			r.put32(rigStack0+4, 0x2222)
		}, farPtr(0x9a, selGate|3, 0), -1, 0, selCode0, target, rigStackI - 24, 4,
			[]uint64{rigCode + 7, selCode3, 0x1111, 0x2222, rigStack0, selData3}},
		{"16-bit gate, inner", false, selCode3, selData3, func(r *sysrig) {
			r.desc(selGate, mkgate(selCode0, target, typeCallGate, 3, 1))
			r.put32(rigStack0, 0x22221111)
		}, farPtr(0x9a, selGate|3, 0), -1, 0, selCode0, target, rigStackI - 10, 2,
			[]uint64{rigCode + 7, selCode3, 0x1111, rigStack0, selData3}},
		{"gate, JMP inner", false, selCode3, selData3, func(r *sysrig) { r.desc(selGate, mkgate(selCode0, target, typeCallGate2, 3, 0)) },
			farPtr(0xea, selGate|3, 0), 13, selCode0, 0, 0, 0, 0, nil},
		{"gate, DPL", false, selCode3, selData3, func(r *sysrig) { r.desc(selGate, mkgate(selCode0, target, typeCallGate2, 0, 0)) },
			farPtr(0x9a, selGate|3, 0), 13, selGate, 0, 0, 0, 0, nil},
		{"gate, not present", false, selCode0, selData0, func(r *sysrig) { r.desc(selGate, mkgate(selCode0, target, typeCallGate2, 3, 0)&^(1<<47)) },
			farPtr(0x9a, selGate, 0), 11, selGate, 0, 0, 0, 0, nil},
		{"64-bit gate", true, selCode3, selData3, func(r *sysrig) {
			r.desc(selGate, mkgate(selWide0, target, typeCallGate2, 3, 0))
			r.put64(rigGDT+selGate+8, 0)
		}, farPtr(0x9a, selGate|3, 0), -1, 0, selWide0, target, rigStackI - 32, 8,
			[]uint64{rigCode + 7, selCode3, rigStack0, selData3}},
		{"64-bit gate to 32-bit code", true, selCode3, selData3, func(r *sysrig) {
			r.desc(selGate, mkgate(selCode0, target, typeCallGate2, 3, 0))
			r.put64(rigGDT+selGate+8, 0)
		}, farPtr(0x9a, selGate|3, 0), 13, selCode0, 0, 0, 0, 0, nil},
		{"TSS in long mode", true, selCode0, selData0, nil, farPtr(0xea, selTSS2, 0), 13, selTSS2, 0, 0, 0, 0, nil},
		{"m16:32 in 64-bit mode", true, selWide0, selData0, func(r *sysrig) {
			r.put32(rigData, target)
			r.put16(rigData+4, selCode0)
			r.c.r[x86.RBX] = rigData
		}, []byte{0xff, 0x2b}, -1, 0, selCode0, target, rigStack0, 8, nil},
		{"CALL m16:64", true, selWide0, selData0, func(r *sysrig) {
			r.put64(rigData, target)
			r.put16(rigData+8, selWide0)
			r.c.r[x86.RBX] = rigData
		}, []byte{0x48, 0xff, 0x1b}, -1, 0, selWide0, target, rigStack0 - 16, 8, []uint64{rigCode + 3, selWide0}},
		{"not canonical", true, selWide0, selData0, func(r *sysrig) {
			r.put64(rigData, 1<<47)
			r.put16(rigData+8, selWide0)
			r.c.r[x86.RBX] = rigData
		}, []byte{0x48, 0xff, 0x1b}, 13, 0, 0, 0, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.enter(tt.long, tt.cs, tt.ss)
			if tt.prepare != nil {
				tt.prepare(r)
			}
			vec, err := r.exec(tt.code...)
			if vec != tt.vec || vec >= 0 && err != tt.err {
				t.Fatalf("exception %d %#x, want %d %#x", vec, err, tt.vec, tt.err)
			}
			if vec >= 0 {
				r.at(tt.cs, rigCode, uint8(tt.cs&3), rigStack0)
				return
			}
			r.at(tt.toCS, tt.rip, uint8(tt.toCS&3), tt.rsp)
			r.stack(tt.size, tt.stack...)
		})
	}
}

func TestReturn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		long  bool
		cs    uint16
		ss    uint16
		code  []byte
		size  int
		words []uint64
		vec   int
		err   uint32
		toCS  uint16
		rsp   uint64
		toSS  uint16
	}{
		{"RETF", false, selCode0, selData0, []byte{0xcb}, 4, []uint64{0x9800, selCode0}, -1, 0, selCode0, rigStack0 + 8, selData0},
		{"RETF n", false, selCode0, selData0, []byte{0xca, 4, 0}, 4, []uint64{0x9800, selCode0}, -1, 0, selCode0, rigStack0 + 12, selData0},
		{"RETF outer", false, selCode0, selData0, []byte{0xca, 4, 0}, 4, []uint64{0x9800, selCode3, 0, 0x5000, selData3}, -1, 0, selCode3, 0x5004, selData3},
		{"RETF inner", false, selCode3, selData3, []byte{0xcb}, 4, []uint64{0x9800, selCode0}, 13, selCode0, 0, 0, 0},
		{"RETF null", false, selCode0, selData0, []byte{0xcb}, 4, []uint64{0x9800, 0}, 13, 0, 0, 0, 0},
		{"RETF outer, SS", false, selCode0, selData0, []byte{0xcb}, 4, []uint64{0x9800, selCode3, 0x5000, selData0}, 13, selData0, 0, 0, 0},
		{"IRETD", false, selCode0, selData0, []byte{0xcf}, 4, []uint64{0x9800, selCode0, 2}, -1, 0, selCode0, rigStack0 + 12, selData0},
		{"IRETD outer", false, selCode0, selData0, []byte{0xcf}, 4, []uint64{0x9800, selCode3, 2, 0x5000, selData3}, -1, 0, selCode3, 0x5000, selData3},
		{"IRETD outer, null SS", false, selCode0, selData0, []byte{0xcf}, 4, []uint64{0x9800, selCode3, 2, 0x5000, 3}, 13, 0, 0, 0, 0},
		{"IRETQ", true, selWide0, selData0, []byte{0x48, 0xcf}, 8, []uint64{0x9800, selWide0, 2, 0x5000, 0}, -1, 0, selWide0, 0x5000, 0},
		{"IRETQ outer", true, selWide0, selData0, []byte{0x48, 0xcf}, 8, []uint64{0x9800, selWide3, 2, 0x5000, selData3}, -1, 0, selWide3, 0x5000, selData3},
		{"IRETQ to compatibility mode", true, selWide0, selData0, []byte{0x48, 0xcf}, 8, []uint64{0x9800, selCode3, 2, 0x5000, selData3}, -1, 0, selCode3, 0x5000, selData3},
		{"IRETQ outer, null SS", true, selWide0, selData0, []byte{0x48, 0xcf}, 8, []uint64{0x9800, selWide3, 2, 0x5000, 3}, 13, 0, 0, 0, 0},
		{"IRETQ, not canonical", true, selWide0, selData0, []byte{0x48, 0xcf}, 8, []uint64{1 << 50, selWide3, 2, 0x5000, selData3}, 13, 0, 0, 0, 0},
		{"IRETQ, NT", true, selWide0, selData0, []byte{0x48, 0xcf}, 8, []uint64{0x9800, selWide0, 2, 0x5000, 0}, 13, 0, 0, 0, 0},
		{"RETFQ outer", true, selWide0, selData0, []byte{0x48, 0xcb}, 8, []uint64{0x9800, selWide3, 0x5000, selData3}, -1, 0, selWide3, 0x5000, selData3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.enter(tt.long, tt.cs, tt.ss)
			if tt.name == "IRETQ, NT" {
				r.c.flags |= x86.NT
			}
			for i, w := range tt.words {
				at := uint64(rigStack0 + i*tt.size)
				if tt.size == 8 {
					r.put64(at, w)
				} else {
					r.put32(at, uint32(w))
				}
			}
			d := r.descOf(selData0)
			r.c.s.Seg[x86.FS] = d.segment(selData0)
			vec, err := r.exec(tt.code...)
			if vec != tt.vec || vec >= 0 && err != tt.err {
				t.Fatalf("exception %d %#x, want %d %#x", vec, err, tt.vec, tt.err)
			}
			if vec >= 0 {
				r.at(tt.cs, rigCode, uint8(tt.cs&3), rigStack0)
				return
			}
			r.at(tt.toCS, 0x9800, uint8(tt.toCS&3), tt.rsp)
			if ss := r.c.s.Seg[x86.SS].Selector; ss != tt.toSS {
				t.Errorf("SS %#x, want %#x", ss, tt.toSS)
			}
			// What the outer level could not have loaded becomes null.
			fs, gs := r.c.s.Seg[x86.FS], r.c.s.Seg[x86.GS]
			if gone := fs.Attr&x86.AttrUnusable != 0; gone != (r.c.cpl == 3 && tt.cs&3 == 0) {
				t.Errorf("FS is %+v at CPL %d", fs, r.c.cpl)
			}
			if gs.Selector != selData3 {
				t.Errorf("GS is %+v", gs)
			}
		})
	}
}

func TestIretFlags(t *testing.T) {
	const all = 0x3fffd7
	for _, tt := range []struct {
		cs, ss uint16
		iopl   uint64
		want   uint64 // of all, what is loaded
	}{
		{selCode0, selData0, 0, all &^ (x86.VM | x86.RF | x86.NT | 1<<15 | 1<<5 | 1<<3)},
		{selCode3, selData3, 0, all &^ (x86.VM | x86.RF | x86.NT | 1<<15 | x86.IF | x86.IOPL | x86.VIF | x86.VIP)},
		{selCode3, selData3, 3, all &^ (x86.VM | x86.RF | x86.NT | 1<<15 | x86.VIF | x86.VIP)},
	} {
		r := newSysrig(t, 1)
		r.enter(false, tt.cs, tt.ss)
		r.c.setRFLAGS(x86.Flag1 | tt.iopl<<12)
		r.put32(rigStack0, 0x9800)
		r.put32(rigStack0+4, uint32(tt.cs))
		r.put32(rigStack0+8, all&^(x86.VM|x86.RF|x86.NT))
		if vec, err := r.exec(0xcf); vec != -1 {
			t.Fatalf("exception %d %#x", vec, err)
		}
		if f := r.c.rflags(); f != tt.want {
			t.Errorf("CPL %d, IOPL %d: flags %#x, want %#x", r.c.cpl, tt.iopl, f, tt.want)
		}
	}
}

func TestTaskSwitch(t *testing.T) {
	newTask := func(r *sysrig) {
		l := layoutOf(typeTSS)
		r.put32(rigTSS2+4, rigStackI)
		r.put16(rigTSS2+8, selData0)
		r.put32(rigTSS2+l.eip, 0x9900)
		r.put32(rigTSS2+l.eip+4, x86.Flag1|x86.CF)
		for i := range uint64(8) {
			r.put32(rigTSS2+l.gpr+4*i, uint32(0x100+i))
		}
		r.put32(rigTSS2+l.gpr+4*x86.RSP, 0x5000)
		for i, sel := range []uint16{selData3, selCode3, selData3, selData3, 0, selData3} {
			r.put32(rigTSS2+l.seg+4*uint64(i), uint32(sel))
		}
		r.put32(rigTSS2+l.ldt, selLDT)
	}
	check := func(r *sysrig, nested bool) {
		r.t.Helper()
		c := r.c
		r.at(selCode3, 0x9900, 3, 0x5000)
		if c.s.TR.Selector != selTSS2 || c.s.CR0&x86.CR0_TS == 0 || c.r[x86.RBX] != 0x103 || !c.cf() {
			r.t.Errorf("TR %#x, CR0 %#x, RBX %#x", c.s.TR.Selector, c.s.CR0, c.r[x86.RBX])
		}
		if c.s.LDTR.Base != rigGDT || c.s.Seg[x86.FS].Attr&x86.AttrUnusable == 0 || c.s.Seg[x86.GS].Selector != selData3 {
			r.t.Errorf("LDTR %+v, FS %+v", c.s.LDTR, c.s.Seg[x86.FS])
		}
		if nt := c.flags&x86.NT != 0; nt != nested {
			r.t.Errorf("NT is %v", nt)
		}
		if nested && r.get16(rigTSS2) != selTSS {
			r.t.Errorf("link %#x", r.get16(rigTSS2))
		}
		old, now := r.descOf(selTSS), r.descOf(selTSS2)
		if busy := old.attr&sysType == typeTSSBusy; busy != nested {
			r.t.Errorf("the old task is busy: %v", busy)
		}
		if now.attr&sysType != typeTSSBusy {
			r.t.Error("the new task is not busy")
		}
	}
	r := newSysrig(t, 1)
	r.enter(false, selCode0, selData0)
	newTask(r)
	if vec, err := r.exec(farPtr(0xea, selTSS2, 0)...); vec != -1 {
		t.Fatalf("JMP: exception %d %#x", vec, err)
	}
	check(r, false)
	if eip := r.get32(rigTSS + 32); eip != rigCode+7 {
		t.Errorf("saved EIP %#x", eip)
	}

	// CALL through a task gate, IRET back.
	r.enter(false, selCode0, selData0)
	newTask(r)
	r.c.r[x86.RSI] = 0x77
	if vec, err := r.exec(farPtr(0x9a, selTask, 0)...); vec != -1 {
		t.Fatalf("CALL: exception %d %#x", vec, err)
	}
	check(r, true)
	if vec, err := r.exec(0xcf); vec != -1 {
		t.Fatalf("IRET: exception %d %#x", vec, err)
	}
	r.at(selCode0, rigCode+7, 0, rigStack0)
	if r.c.r[x86.RSI] != 0x77 || r.c.flags&x86.NT != 0 || r.descOf(selTSS2).attr&sysType != typeTSS {
		t.Errorf("after IRET: RSI %#x, flags %#x", r.c.r[x86.RSI], r.c.flags)
	}

	// A fault through a task gate pushes its error code on the new task's stack.
	r.enter(false, selCode0, selData0)
	newTask(r)
	r.gate(13, mkgate(selTSS2, 0, typeTaskGate, 0, 0))
	r.c.r[x86.RAX] = 0xfff0
	if !r.run(1, 0x8e, 0xd8) {
		t.Fatal("shut down")
	}
	if r.c.r[x86.RSP] != 0x4ffc || r.get32(0x4ffc) != 0xfff0 || r.get32(rigTSS+32) != rigCode {
		t.Errorf("RSP %#x, error code %#x, saved EIP %#x", r.c.r[x86.RSP], r.get32(0x4ffc), r.get32(rigTSS+32))
	}

	// A bad selector in the new task is a fault of the new task.
	r.enter(false, selCode0, selData0)
	newTask(r)
	r.put32(rigTSS2+72+4*x86.SS, selData0)
	if !r.run(1, farPtr(0xea, selTSS2, 0)...) {
		t.Fatal("shut down")
	}
	if r.c.s.TR.Selector != selTSS2 || r.c.rip != handlerOf(10) || r.c.cpl != 0 {
		t.Errorf("TR %#x, RIP %#x", r.c.s.TR.Selector, r.c.rip)
	}
	// Busy.
	r.enter(false, selCode0, selData0)
	if vec, err := r.exec(farPtr(0xea, selTSS, 0)...); vec != 13 || err != selTSS {
		t.Errorf("JMP to a busy TSS: %d %#x", vec, err)
	}
}

func TestVM86(t *testing.T) {
	r := newSysrig(t, 1)
	// From protected mode by IRET.
	r.enter(false, selCode0, selData0)
	for i, w := range []uint32{0x10, 0x900, x86.Flag1 | x86.VM | x86.IF, 0x1000, 0x500, 1, 2, 3, 4} {
		r.put32(rigStack0+uint64(4*i), w)
	}
	if vec, err := r.exec(0xcf); vec != -1 {
		t.Fatalf("IRET: exception %d %#x", vec, err)
	}
	c := r.c
	r.at(0x900, 0x10, 3, 0x1000)
	if c.mode != x86.Mode16 || c.segBase[x86.CS] != 0x9000 || c.segBase[x86.GS] != 0x40 || c.flags&x86.VM == 0 {
		t.Errorf("mode %d, CS base %#x, GS base %#x, flags %#x", c.mode, c.segBase[x86.CS], c.segBase[x86.GS], c.flags)
	}
	// A fault goes to ring 0, with the segment registers on its stack.
	if !r.run(1, ud2...) {
		t.Fatal("shut down")
	}
	r.at(selCode0, handlerOf(6), 0, rigStackI-36)
	r.stack(4, 0x10, 0x900, 0x10000|x86.Flag1|x86.VM|x86.IF, 0x1000, 0x500, 1, 2, 3, 4)
	if c.flags&x86.VM != 0 || c.s.Seg[x86.DS].Attr&x86.AttrUnusable == 0 || c.mode != x86.Mode32 {
		t.Errorf("flags %#x, DS %+v", c.flags, c.s.Seg[x86.DS])
	}
	// And back.
	if vec, err := r.exec(0xcf); vec != -1 {
		t.Fatalf("IRET: exception %d %#x", vec, err)
	}
	r.at(0x900, 0x10, 3, 0x1000)

	for _, tt := range []struct {
		name string
		iopl uint64
		cr4  uint64
		code []byte
		vec  int
	}{
		{"CLI", 0, 0, []byte{0xfa}, 13},
		{"CLI, IOPL", 3, 0, []byte{0xfa}, -1},
		{"CLI, VME", 0, x86.CR4_VME, []byte{0xfa}, -1},
		{"PUSHF", 0, 0, []byte{0x9c}, 13},
		{"PUSHF, VME", 0, x86.CR4_VME, []byte{0x9c}, -1},
		{"PUSHFD, VME", 0, x86.CR4_VME, []byte{0x66, 0x9c}, 13},
		{"INT n", 0, 0, []byte{0xcd, 0x20}, 13},
		{"INT n, VME, not redirected", 0, x86.CR4_VME, []byte{0xcd, 0x21}, 13},
		{"IRET", 0, 0, []byte{0xcf}, 13},
		{"IRET, IOPL", 3, 0, []byte{0xcf}, -1},
		{"HLT", 3, 0, []byte{0xf4}, 13},
		{"LLDT", 3, 0, []byte{0x0f, 0x00, 0xd0}, 6},
		{"MOV CR0", 3, 0, []byte{0x0f, 0x20, 0xc0}, 13},
		{"IN, not in the bitmap", 3, 0, []byte{0xe4, 0x50}, 13},
		{"IN, in the bitmap", 0, 0, []byte{0xe4, 0x51}, -1},
	} {
		r.enterVM(tt.iopl, tt.cr4)
		// Interrupt redirection: 20h to the program, 21h not.
		r.put16(rigTSS+102, 104+32)
		for i := range uint64(32) {
			r.mem[rigTSS+104+i] = 0xff
		}
		r.mem[rigTSS+104+4] = 0xfe
		r.mem[rigTSS+136+0x50/8] = 1
		if vec, _ := r.exec(tt.code...); vec != tt.vec {
			t.Errorf("%s: exception %d, want %d", tt.name, vec, tt.vec)
		}
	}
	// Redirected.
	r.enterVM(0, x86.CR4_VME)
	r.c.setRFLAGS(x86.Flag1 | x86.VM | x86.VIF | x86.CF)
	r.put32(0x20*4, 0x0900_0123)
	if vec, _ := r.exec(0xcd, 0x20); vec != -1 {
		t.Fatalf("INT 20h: exception %d", vec)
	}
	r.at(0x900, 0x123, 3, 0xffa)
	r.stack(2, 2, rigCode>>4, x86.Flag1|x86.CF|x86.IF|x86.IOPL)
	if c.flags&x86.VIF != 0 {
		t.Error("VIF is still set")
	}
	if vec, _ := r.exec(0xcf); vec != -1 {
		t.Fatalf("IRET: exception %d", vec)
	}
	r.at(rigCode>>4, 2, 3, 0x1000)
	if c.flags&(x86.VIF|x86.IF|x86.IOPL) != x86.VIF {
		t.Errorf("flags %#x after IRET", c.flags)
	}
}
