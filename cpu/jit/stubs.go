//go:build amd64 && linux

package jit

import "dfemu/cpu/interp"

// bias is added to the address of a CPU to get what rBP holds, so that the guest's registers are reached with
// displacements of one byte.
const bias = 128

// pageSize is that of the unit of protection.
const pageSize = 4096

// layout tells where in the CPU things are.
var layout = interp.TheLayout()

// field is a field of the CPU.
func field(off int32) rm { return at(rBP, off-bias) }

// slot is a guest register in memory.
func slot(g uint8) rm { return at(rBP, int32(g)*8-bias) }

// hostOf tells which register of the host a guest register lives in while translated code runs. Those with noReg stay
// in memory. RCX, RDX and others that instructions name implicitly have their own. rAX, r14 and r15 are for the
// translated code's own use, rBP points to the CPU, and rSP to the stack of the goroutine.
var hostOf = [16]reg{
	r10, rCX, rDX, rBX, r11, r12, rSI, rDI,
	r8, r9, noReg, noReg, r13, noReg, noReg, noReg,
}

// The guest's registers that instructions name implicitly.
const (
	gRAX = iota
	gRCX
	gRDX
	gRBX
	gRSP
	gRBP
)

const (
	hRAX = r10 // where the guest's RAX is
	hRSP = r11
	hRBP = r12
)

// stubs are the addresses of the code that units share.
type stubs struct {
	enter     uintptr // from enter_amd64.s: rBP is set, r14 is the goroutine, rAX where to go
	rip       uintptr // leaves with SiteRIP, to r14
	interpret uintptr // leaves with SiteInterpret, to r14
	apart     uintptr // leaves with SiteApart, to r14; the site is stored
	link      uintptr // leaves with SiteLink; the site is stored
	op        uintptr // leaves with SiteOp; the site is stored
	vec1      uintptr // called: loads the vector registers for SSE; carry set: that is not possible
	vec3      uintptr // likewise for AVX
	// called with the addresses of the first byte in r14 and of the last in r15, and a slot in rAX: they fill the slot
	// and turn r14 into the host's address. Carry is set when the TLB has no such page. They destroy r15.
	read, write uintptr
}

// stackGuard is where in a goroutine's descriptor the runtime says that it wants the goroutine to stop: the stack
// limit that function prologues compare with, which is then stackPreempt.
const (
	stackGuard   = 16
	stackPreempt = -1314
)

// makeStubs assembles the common code.
func makeStubs(a *asm) (s stubs) {
	s.enter = a.here()
	a.store64(field(layout.G), r14)
	for g, h := range hostOf {
		if h != noReg {
			a.load64(h, slot(uint8(g)))
		}
	}
	a.op(0, false, false, mapOne, 0xff, 4, inReg(rAX))

	leave := a.here()
	for g, h := range hostOf {
		if h != noReg {
			a.store64(slot(uint8(g)), h)
		}
	}
	a.cmp8(field(layout.VecIn), 0)
	vec := a.jcc(ccNE)
	a.ret()
	a.land(vec)
	for i := range uint8(16) {
		a.vmovups(0x11, i, field(layout.Vec+32*int32(i)))
	}
	a.op(0, false, false, map0F, 0xae, 3, field(layout.MXCSR))
	a.op(0, false, false, map0F, 0xae, 2, field(layout.HostMXCSR))
	a.byte(0xc5, 0xf8, 0x77) // vzeroupper
	a.storeByte(field(layout.VecIn), 0)
	a.ret()

	s.rip = a.here()
	a.store64(field(layout.RIP), r14)
	a.storeImm32(field(layout.Kind), interp.SiteRIP)
	a.jumpTo(leave)
	s.interpret = a.here()
	a.store64(field(layout.RIP), r14)
	a.storeImm32(field(layout.Kind), interp.SiteInterpret)
	a.jumpTo(leave)
	s.apart = a.here()
	a.store64(field(layout.RIP), r14)
	a.storeImm32(field(layout.Kind), interp.SiteApart)
	a.jumpTo(leave)
	s.link = a.here()
	a.storeImm32(field(layout.Kind), interp.SiteLink)
	a.jumpTo(leave)
	s.op = a.here()
	a.storeImm32(field(layout.Kind), interp.SiteOp)
	a.jumpTo(leave)

	load := func(need uint8) uintptr {
		start := a.here()
		a.cmp8(field(layout.VecOK), need)
		fail := a.jcc(ccB)
		a.cmp8(field(layout.VecIn), 0)
		done := a.jcc(ccNE)
		for i := range uint8(16) {
			a.vmovups(0x10, i, field(layout.Vec+32*int32(i)))
		}
		a.op(0, false, false, map0F, 0xae, 3, field(layout.HostMXCSR))
		a.op(0, false, false, map0F, 0xae, 2, field(layout.MXCSR))
		a.op(0, false, false, mapOne, 0x8a, uint8(rAX), field(layout.VecOK))
		a.op(0, false, false, mapOne, 0x88, uint8(rAX), field(layout.VecIn))
		a.land(done)
		a.byte(0xf8) // clc
		a.ret()
		a.land(fail)
		a.byte(0xf9) // stc
		a.ret()
		return start
	}
	s.vec1, s.vec3 = load(1), load(3)

	fill := func(tag int32) uintptr {
		start := a.here()
		a.push(rCX)
		a.mov64(rCX, r14)
		a.shrImm64(rCX, 12-5)
		a.aluImm(4, false, inReg(rCX), (layout.TLBEntries-1)<<5)
		a.lea64(rCX, rm{mem: true, reg: rBP, index: rCX, disp: layout.TLB - bias})
		a.aluImm(4, true, inReg(r15), -pageSize)
		a.alu64(1, r15, field(layout.Ctx))
		a.alu64(7, r15, at(rCX, tag))
		miss := a.jcc(ccNE)
		a.op(0, false, false, mapOne, 0xf7, 0, inReg(r15))
		a.u32(interp.ContextAC)
		suspended := a.jcc(ccNE)
		a.push(rDX)
		a.push(rSI)
		a.mov64(rSI, r15)
		a.aluImm(4, true, inReg(rSI), -pageSize)
		for _, x := range [...][2]int32{{layout.TLBRead, layout.SlotR}, {layout.TLBWrite, layout.SlotW}} {
			a.load64(rDX, field(layout.NoPage))
			a.alu64(7, r15, at(rCX, x[0]))
			a.op(0, true, false, map0F, 0x44, uint8(rDX), inReg(rSI)) // cmove
			a.store64(at(rAX, x[1]), rDX)
		}
		a.load64(rDX, at(rCX, layout.TLBDelta))
		a.store64(at(rAX, layout.SlotDelta), rDX)
		a.alu64(0, rDX, inReg(rSI))
		a.store64(at(rAX, layout.SlotHost), rDX)
		a.pop(rSI)
		a.pop(rDX)
		a.land(suspended)
		a.alu64(0, r14, at(rCX, layout.TLBDelta))
		a.pop(rCX)
		a.byte(0xf8) // clc
		a.ret()
		a.land(miss)
		a.pop(rCX)
		a.byte(0xf9) // stc
		a.ret()
		return start
	}
	s.read, s.write = fill(layout.TLBRead), fill(layout.TLBWrite)
	return s
}

// vmovups moves 32 bytes: opcode 0x10 loads, 0x11 stores.
func (a *asm) vmovups(code byte, y uint8, m rm) {
	b := byte(0xfc)
	if y >= 8 {
		b = 0x7c
	}
	a.byte(0xc5, b, code)
	a.modrm(y, m)
}

func (a *asm) storeByte(m rm, v uint8) {
	a.op(0, false, false, mapOne, 0xc6, 0, m)
	a.byte(v)
}
