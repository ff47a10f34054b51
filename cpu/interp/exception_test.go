package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

var ud2 = []byte{0x0f, 0x0b}

func TestDeliverReal(t *testing.T) {
	r := newSysrig(t, 1)
	s := r.state()
	s.Seg[x86.CS] = x86.Segment{Selector: 0x900, Base: 0x9000, Limit: 0xffff, Attr: 0x9b}
	s.Seg[x86.SS].Base, s.Seg[x86.SS].Selector = 0x5000, 0x500
	s.RIP, s.GPR[x86.RSP] = 0x10, 0xabcd0000|0x100
	s.RFLAGS = x86.Flag1 | x86.IF | x86.TF | x86.AC | x86.CF
	r.set(&s)
	r.put32(6*4, 0x1234_5678)
	if !r.run(1, ud2...) {
		t.Fatal("shut down")
	}
	r.at(0x1234, 0x5678, 0, 0xabcd00fa)
	r.stack(2, 0x10, 0x900, x86.Flag1|x86.IF|x86.TF|x86.CF)
	if f := r.c.rflags(); f != x86.Flag1|x86.CF {
		t.Errorf("RFLAGS %#x", f)
	}
	if b := r.c.s.Seg[x86.CS].Base; b != 0x12340 {
		t.Errorf("CS base %#x", b)
	}

	// INT n pushes the address after it; IRET comes back.
	r.put32(0x21*4, 0x0900_0200)
	r.c.rip = 0
	if !r.run(1, 0xcd, 0x21) {
		t.Fatal("shut down")
	}
	r.at(0x900, 0x200, 0, 0xabcd00f4)
	r.stack(2, 2, 0x1234)
	r.run(1, 0xcf)
	r.at(0x1234, 2, 0, 0xabcd00fa)

	// Beyond the limit of the table: #GP, beyond it too: #DF, shutdown.
	r.c.s.IDTR.Limit = 0x1f
	if r.run(1, 0xcd, 0x21) {
		t.Error("no shutdown")
	}
}

func TestDeliverProtected(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cs, ss  uint16
		prepare func(r *sysrig)
		code    []byte
		vec     int    // handler that is entered
		rsp     uint64 // there
		size    int
		want    []uint64
	}{
		{"fault, same level", selCode0, selData0, nil, ud2, 6, rigStack0 - 12, 4,
			[]uint64{rigCode, selCode0, 0x10002}},
		{"fault, inner", selCode3, selData3, nil, ud2, 6, rigStackI - 20, 4,
			[]uint64{rigCode, selCode3, 0x10002, rigStack0, selData3}},
		{"error code", selCode3, selData3, nil, []byte{0xf4}, 13, rigStackI - 24, 4,
			[]uint64{0, rigCode, selCode3, 0x10002, rigStack0, selData3}},
		{"16-bit gate", selCode0, selData0, func(r *sysrig) {
			r.gate(6, mkgate(selCode0, uint32(handlerOf(6)), typeInt16, 0, 0))
		}, ud2, 6, rigStack0 - 6, 2, []uint64{rigCode, selCode0, 2}},
		{"INT n", selCode3, selData3, func(r *sysrig) {
			r.gate(30, mkgate(selCode0, uint32(handlerOf(30)), typeTrap, 3, 0))
		}, []byte{0xcd, 30}, 30, rigStackI - 20, 4, []uint64{rigCode + 2, selCode3, 2, rigStack0, selData3}},
		{"INT n, DPL", selCode3, selData3, nil, []byte{0xcd, 30}, 13, rigStackI - 24, 4,
			[]uint64{30*8 + 2, rigCode, selCode3, 0x10002, rigStack0, selData3}},
		{"INT3", selCode0, selData0, nil, []byte{0xcc}, 3, rigStack0 - 12, 4,
			[]uint64{rigCode + 1, selCode0, 2}},
		{"ICEBP ignores DPL", selCode3, selData3, nil, []byte{0xf1}, 1, rigStackI - 20, 4,
			[]uint64{rigCode + 1, selCode3, 2, rigStack0, selData3}},
		{"gate not present", selCode0, selData0, func(r *sysrig) {
			r.gate(6, mkgate(selCode0, 0, typeInt, 0, 0)&^(1<<47))
		}, ud2, 11, rigStack0 - 16, 4, []uint64{6*8 + 3, rigCode, selCode0, 0x10002}},
		{"gate of another kind", selCode0, selData0, func(r *sysrig) { r.gate(6, mkgate(selCode0, 0, typeCallGate2, 0, 0)) },
			ud2, 13, rigStack0 - 16, 4, []uint64{6*8 + 3, rigCode, selCode0, 0x10002}},
		{"beyond the IDT", selCode0, selData0, nil, []byte{0xcd, 40}, 13, rigStack0 - 16, 4,
			[]uint64{40*8 + 2, rigCode, selCode0, 0x10002}},
		{"null selector", selCode0, selData0, func(r *sysrig) { r.gate(6, mkgate(0, 0, typeInt, 0, 0)) },
			ud2, 13, rigStack0 - 16, 4, []uint64{1, rigCode, selCode0, 0x10002}},
		{"data selector", selCode0, selData0, func(r *sysrig) { r.gate(6, mkgate(selData0, 0, typeInt, 0, 0)) },
			ud2, 13, rigStack0 - 16, 4, []uint64{selData0 + 1, rigCode, selCode0, 0x10002}},
		{"less privileged handler", selCode0, selData0, func(r *sysrig) { r.gate(6, mkgate(selCode3, 0, typeInt, 0, 0)) },
			ud2, 13, rigStack0 - 16, 4, []uint64{selCode3&^3 + 1, rigCode, selCode0, 0x10002}},
		{"conforming handler", selCode3, selData3, func(r *sysrig) { r.gate(6, mkgate(selConf, uint32(handlerOf(6)), typeInt, 0, 0)) },
			ud2, 6, rigStack0 - 12, 4, []uint64{rigCode, selCode3, 0x10002}},
		{"double fault", selCode0, selData0, func(r *sysrig) {
			r.gate(13, mkgate(selCode0, 0, typeInt, 0, 0)&^(1<<47))
		}, []byte{0x8e, 0xd8}, 8, rigStack0 - 16, 4, []uint64{0, rigCode, selCode0, 0x10002}},
		{"bad inner stack", selCode3, selData3, func(r *sysrig) {
			r.put16(rigTSS+8, selData3)
			r.gate(10, mkgate(selConf, uint32(handlerOf(10)), typeInt, 0, 0))
		}, ud2, 10, rigStack0 - 16, 4, []uint64{selData3&^3 + 1, rigCode, selCode3, 0x10002}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.enter(false, tt.cs, tt.ss)
			r.c.r[x86.RAX] = 0xfff8 // for MOV DS, AX
			if tt.prepare != nil {
				tt.prepare(r)
			}
			if !r.run(1, tt.code...) {
				t.Fatal("shut down")
			}
			if r.c.rip != handlerOf(tt.vec) || r.c.r[x86.RSP] != tt.rsp {
				t.Fatalf("RIP %#x, RSP %#x; want the handler of %d and %#x (last exception %d, %#x)",
					r.c.rip, r.c.r[x86.RSP], tt.vec, tt.rsp, r.c.exc.vec, r.c.exc.code)
			}
			r.stack(tt.size, tt.want...)
		})
	}
}

func TestTripleFault(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(false, selCode0, selData0)
	r.c.s.IDTR.Limit = 0
	if r.run(1, ud2...) {
		t.Error("the processor has not shut down")
	}
	// A page fault while #DF is delivered.
	r = newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	r.c.r[x86.RSP] = 0x40_0000 // not mapped
	if r.run(1, ud2...) {
		t.Error("the processor has not shut down")
	}
	if r.c.s.CR2 != 0x3ffff8 {
		t.Errorf("CR2 %#x", r.c.s.CR2)
	}
}

func TestDeliverLong(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cs, ss  uint16
		prepare func(r *sysrig)
		code    []byte
		vec     int
		cpl     uint8
		rsp     uint64
		want    []uint64
	}{
		{"same level aligns", selWide0, selData0, func(r *sysrig) { r.c.r[x86.RSP] -= 4 }, ud2, 6, 0, rigStack0 - 56,
			[]uint64{rigCode, selWide0, 0x10002, rigStack0 - 4, selData0}},
		{"from user", selWide3, selData3, nil, ud2, 6, 0, rigStackI - 40,
			[]uint64{rigCode, selWide3, 0x10002, rigStack0, selData3}},
		{"from compatibility mode", selCode3, selData3, nil, ud2, 6, 0, rigStackI - 40,
			[]uint64{rigCode, selCode3, 0x10002, rigStack0, selData3}},
		{"IST", selWide0, selData0, func(r *sysrig) { r.wideGate(6, selWide0, handlerOf(6), typeInt, 0, 3) },
			ud2, 6, 0, 0x6200 - 40, []uint64{rigCode, selWide0, 0x10002, rigStack0, selData0}},
		{"32-bit handler", selWide0, selData0, func(r *sysrig) { r.wideGate(6, selCode0, handlerOf(6), typeInt, 0, 0) },
			ud2, 13, 0, rigStack0 - 48, []uint64{selCode0 + 1, rigCode, selWide0, 0x10002, rigStack0, selData0}},
		{"page fault", selWide3, selData3, func(r *sysrig) { r.pte(rigCode, rigCode|pteP) }, ud2, 14, 0, rigStackI - 48,
			[]uint64{x86.PFP | x86.PFU | x86.PFI, rigCode, selWide3, 0x10002, rigStack0, selData3}},
		{"page fault for #UD's gate", selWide0, selData0, func(r *sysrig) {
			r.put64(rigIDT+6*16, mkgate(selWide0, uint32(handlerOf(6)), typeInt, 0, 1))
			r.put64(rigTSS+36, 0x200000+0x1000)
		}, ud2, 14, 0, rigStack0 - 48, []uint64{x86.PFW, rigCode, selWide0, 0x10002, rigStack0, selData0}},
		{"handler not canonical", selWide0, selData0, func(r *sysrig) { r.wideGate(6, selWide0, 1<<50, typeInt, 0, 0) },
			ud2, 13, 0, rigStack0 - 48, []uint64{1, rigCode, selWide0, 0x10002, rigStack0, selData0}},
		{"stack pointer of the TSS not canonical", selWide3, selData3, func(r *sysrig) {
			r.put64(rigTSS+4, 1<<50)
			r.wideGate(12, selWide0, handlerOf(12), typeInt, 0, 1)
		}, ud2, 12, 0, 0x6000 - 48, []uint64{1, rigCode, selWide3, 0x10002, rigStack0, selData3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.enter(true, tt.cs, tt.ss)
			if tt.prepare != nil {
				tt.prepare(r)
			}
			if !r.run(1, tt.code...) {
				t.Fatal("shut down")
			}
			r.at(selWide0, handlerOf(tt.vec), tt.cpl, tt.rsp)
			r.stack(8, tt.want...)
			if r.c.mode != x86.Mode64 {
				t.Error("not in 64-bit mode")
			}
			if tt.cs&3 == 3 && r.c.s.Seg[x86.SS].Selector != 0 {
				t.Errorf("SS %#x, want null", r.c.s.Seg[x86.SS].Selector)
			}
			// IRETQ, past the error code, undoes it.
			want := tt.want[len(tt.want)-5:]
			r.c.r[x86.RSP] += uint64(8 * (len(tt.want) - 5))
			if !r.run(1, 0x48, 0xcf) {
				t.Fatal("shut down in IRETQ")
			}
			r.at(uint16(want[1]), want[0], uint8(want[1]&3), want[3])
			if r.c.s.Seg[x86.SS].Selector != tt.ss {
				t.Errorf("SS %#x after IRETQ", r.c.s.Seg[x86.SS].Selector)
			}
		})
	}
}

func TestExternalInterrupt(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide3, selData3)
	s := r.state()
	s.RFLAGS |= x86.IF
	r.set(&s)
	if ok := r.c.apic.WriteMSR(msrAPICBase, 0xfee00d00); !ok {
		t.Fatal("x2APIC")
	}
	r.c.apic.WriteMSR(0x80f, 0x1ff)
	r.acc.SendMSI(0xfee00000, 0x1c)
	// It is taken before the next instruction, and IF is cleared.
	r.c.service(r.c.pending.Load())
	r.at(selWide0, handlerOf(0x1c), 0, rigStackI-40)
	if r.c.flags&x86.IF != 0 || r.c.cpl != 0 {
		t.Errorf("flags %#x, CPL %d in the handler", r.c.flags, r.c.cpl)
	}
	r.stack(8, rigCode, selWide3, x86.Flag1|x86.IF, rigStack0, selData3)

	// NMI: blocked from delivery to IRET.
	r.enter(true, selWide3, selData3)
	r.put(handlerOf(2), 0x48, 0xcf)
	r.c.post(pendNMI)
	r.c.service(r.c.pending.Load())
	r.at(selWide0, handlerOf(2), 0, rigStackI-40)
	r.c.post(pendNMI)
	r.c.service(r.c.pending.Load())
	r.at(selWide0, handlerOf(2), 0, rigStackI-40)
	r.run(1, 0x48, 0xcf)
	r.at(selWide3, rigCode, 3, rigStack0)
	r.c.service(r.c.pending.Load())
	r.at(selWide0, handlerOf(2), 0, rigStackI-40)
}

func TestInterruptShadow(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	r.c.apic.WriteMSR(msrAPICBase, 0xfee00d00)
	r.c.apic.WriteMSR(0x80f, 0x1ff)
	r.acc.SendMSI(0xfee00000, 0x1c)
	sti := []byte{0xfb, 0xfa, 0x0f, 0x0b} // STI; CLI; UD2
	// CLI right after STI: the interrupt does not get through.
	r.code(sti...)
	r.step()
	r.step()
	r.at(selWide0, rigCode+2, 0, rigStack0)
	if r.c.flags&x86.IF != 0 {
		t.Error("IF is set")
	}
	// The same in a block.
	r.c.rip = rigCode
	b := r.c.lookup()
	if n := len(b.ops); n != 2 {
		t.Fatalf("a block with STI has %d instructions, want 2", n)
	}
	r.c.blocksFrom(b)
	r.at(selWide0, rigCode+2, 0, rigStack0)
	// STI; HLT: the interrupt wakes it.
	r.c.rip = rigCode
	r.code(0xfb, 0xf4)
	r.step()
	r.step()
	r.at(selWide0, rigCode+2, 0, rigStack0)
	r.c.service(r.c.pending.Load())
	r.at(selWide0, handlerOf(0x1c), 0, rigStack0-40)
	r.stack(8, rigCode+2)
}

func TestDebug(t *testing.T) {
	r := newSysrig(t, 1)
	// Single step: a trap after the instruction, BS.
	r.enter(true, selWide0, selData0)
	r.c.setRFLAGS(x86.Flag1 | x86.TF)
	r.run(1, 0x0f, 0x08) // INVD
	r.at(selWide0, handlerOf(1), 0, rigStack0-40)
	r.stack(8, rigCode+2, selWide0, x86.Flag1|x86.TF)
	if r.c.s.DR[6] != 0xffff4ff0 || r.c.flags&x86.TF != 0 {
		t.Errorf("DR6 %#x, flags %#x", r.c.s.DR[6], r.c.flags)
	}
	// Not after MOV SS, nor INT n.
	r.enter(true, selWide0, selData0)
	r.c.setRFLAGS(x86.Flag1 | x86.TF)
	r.c.r[x86.RAX] = selData0
	r.run(1, 0x8e, 0xd0)
	r.at(selWide0, rigCode+2, 0, rigStack0)
	r.enter(true, selWide0, selData0)
	r.c.setRFLAGS(x86.Flag1 | x86.TF)
	r.run(1, 0xcd, 30)
	r.at(selWide0, handlerOf(30), 0, rigStack0-40)
	// IRET with TF: the first step is after the instruction returned to.
	r.stack(8, rigCode+2, selWide0, x86.Flag1|x86.TF)
	r.put(rigCode+2, 0x0f, 0x08)
	r.run(2, 0x48, 0xcf)
	r.at(selWide0, handlerOf(1), 0, rigStack0-40)
	r.stack(8, rigCode+4)

	// Instruction breakpoint: a fault before, RF makes it pass.
	r.enter(true, selWide0, selData0)
	r.c.s.DR[0], r.c.s.DR[7] = rigCode, 0x402
	r.c.modeChanged()
	r.put(rigCode, 0x0f, 0x08)
	r.c.dropAll()
	r.step()
	r.at(selWide0, handlerOf(1), 0, rigStack0-40)
	r.stack(8, rigCode, selWide0, x86.Flag1)
	if r.c.s.DR[6] != 0xffff0ff1 {
		t.Errorf("DR6 %#x", r.c.s.DR[6])
	}
	r.put64(r.c.r[x86.RSP]+16, x86.Flag1|x86.RF)
	r.run(2, 0x48, 0xcf)
	r.at(selWide0, rigCode+2, 0, rigStack0)
	if r.c.flags&x86.RF != 0 {
		t.Error("RF is still set")
	}

	// Data breakpoint on a write: a trap after it.
	r.enter(true, selWide0, selData0)
	r.c.s.DR[1], r.c.s.DR[7] = rigData, 0x400|1<<2|0xd<<20
	r.c.r[x86.RBX] = rigData
	r.c.modeChanged()
	r.run(1, 0x0f, 0x01, 0x03) // SGDT [RBX]
	r.at(selWide0, handlerOf(1), 0, rigStack0-40)
	r.stack(8, rigCode+3)
	if r.c.s.DR[6] != 0xffff0ff2 {
		t.Errorf("DR6 %#x", r.c.s.DR[6])
	}

	// Not for the bytes beside it.
	r.enter(true, selWide0, selData0)
	r.c.s.DR[1], r.c.s.DR[7] = rigData+12, 0x400|1<<2|0xd<<20
	r.c.r[x86.RBX] = rigData
	r.c.modeChanged()
	r.run(1, 0x0f, 0x01, 0x03)
	r.at(selWide0, rigCode+3, 0, rigStack0)

	// General detect.
	r.enter(true, selWide0, selData0)
	r.c.s.DR[7] = 1<<13 | 0x400
	r.run(1, 0x0f, 0x21, 0xf8) // MOV RAX, DR7
	r.at(selWide0, handlerOf(1), 0, rigStack0-40)
	r.stack(8, rigCode)
	if r.c.s.DR[6] != 0xffff2ff0 || r.c.s.DR[7] != 0x400 {
		t.Errorf("DR6 %#x, DR7 %#x", r.c.s.DR[6], r.c.s.DR[7])
	}
}
