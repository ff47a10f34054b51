//go:build amd64 && linux

package jit

import "dfemu/cpu/interp"

// bias is added to the address of a CPU to get what rBP holds, so that the guest's registers are reached with
// displacements of one byte.
const bias = 128

// The sizes of pages in bytes: that of the unit of protection, and of those that are known as a whole.
const (
	pageSize = 4096
	widePage = 2 << 20
)

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
	gRSI
	gRDI
)

const (
	hRAX = r10 // where the guest's RAX is
	hRSP = r11
	hRBP = r12
)

// stubs are the addresses of the code that units share.
type stubs struct {
	enter     uintptr // from enter_amd64.s: rBP is set, rAX where to go
	rip       uintptr // leaves with SiteRIP, to r14
	interpret uintptr // leaves with SiteInterpret, to r14
	apart     uintptr // leaves with SiteApart, to r14; the site is stored
	link      uintptr // leaves with SiteLink; the site is stored
	op        uintptr // leaves with SiteOp; the site is stored
	poll      uintptr // leaves with SitePoll; the site is stored
	vec1      uintptr // called: loads the vector registers for SSE; carry set: that is not possible
	vec3      uintptr // likewise for AVX
	// called with a target in r14, and in r15 the place in the table where it is not: it looks in the other one. Carry is set when it is not
	// there either. It destroys rAX. There is one for each privilege.
	second [2]uintptr
	// called with the addresses of the first byte in r14 and of the last in r15, and a slot in rAX: they fill the slot
	// and turn r14 into the host's address. Carry is set when the TLB has no such page. They destroy r15. There is one for each privilege.
	read, write [2]uintptr
}

// makeStubs assembles the common code.
func makeStubs(a *asm) (s stubs) {
	s.enter = a.here()
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

	s.poll = a.here()
	a.storeImm32(field(layout.Kind), interp.SitePoll)
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
		a.done()
		a.land(fail)
		a.failed()
		return start
	}
	s.vec1, s.vec3 = load(1), load(3)

	for user := range 2 {
		s.second[user] = makeSecond(a, user == 1)
		s.read[user], s.write[user] = makeFill(a, layout.TLBRead, user == 1), makeFill(a, layout.TLBWrite, user == 1)
	}
	return s
}

// makeSecond assembles the stub that looks for a target in its second place.
func makeSecond(a *asm, user bool) uintptr {
	table, gen := targets(user)
	start := a.here()
	a.aluImm(6, false, inReg(r15), 1<<5)
	a.alu64(7, r14, rm{mem: true, reg: rBP, index: r15, disp: table})
	rip := a.jccShort(ccNE)
	a.load64(rAX, rm{mem: true, reg: rBP, index: r15, disp: table + 8})
	a.alu64(7, rAX, field(gen))
	old := a.jccShort(ccNE)
	a.done()
	a.landShort(rip)
	a.landShort(old)
	a.failed()
	return start
}

// makeFill assembles a stub that fills a slot for loads or stores, as tag says, from the TLB. A slot of CPL 3 has 4 KiB: few programs
// have larger pages, and a limit that is a constant is one load less for each access.
func makeFill(a *asm, tag int32, user bool) uintptr {
	// leave puts the host's address into r14.
	leave := func(delta int32) {
		a.alu64(0, r14, at(rCX, delta))
		a.pop(rDX)
		a.pop(rCX)
		a.done()
	}
	// limits says how large the slot's page is.
	limits := func(page int32) {
		if user {
			return
		}
		for i, m := range interp.Margins {
			a.op(0, true, false, mapOne, 0xc7, 0, at(rAX, layout.SlotLast+8*int32(i)))
			a.u32(uint32(page - m))
		}
	}
	// host says where the page in r15 is.
	host := func(delta int32) {
		a.load64(rDX, at(rCX, delta))
		a.store64(at(rAX, layout.SlotDelta), rDX)
		a.alu64(0, rDX, inReg(r15))
		a.store64(at(rAX, layout.SlotHost), rDX)
	}
	// suspended jumps where SMAP is suspended for the context in rDX: slots are for all times.
	suspended := func() int {
		a.op(0, false, false, mapOne, 0xf7, 0, inReg(rDX))
		a.u32(interp.ContextAC)
		return a.jcc(ccNE)
	}
	// entry leaves in rCX the entry of a table for the address in r14; spaced: the place depends on the address space.
	entry := func(shift uint8, entries, table int32, spaced bool) {
		a.rotate(rCX, r14, shift-5)
		if spaced {
			a.alu64(6, rCX, field(layout.Space))
		}
		a.aluImm(4, false, inReg(rCX), (entries-1)<<5)
		a.lea64(rCX, rm{mem: true, reg: rBP, index: rCX, disp: table - bias})
	}

	start := a.here()
	a.push(rCX)
	a.push(rDX)
	// 2 MiB, for loads and stores.
	entry(21, layout.WideEntries, layout.Wide, false)
	a.mov64(rDX, r15)
	a.aluImm(4, true, inReg(rDX), -widePage)
	a.alu64(1, rDX, field(layout.Ctx))
	a.alu64(7, rDX, at(rCX, layout.WideTag))
	narrow := a.jcc(ccNE)
	s := suspended()
	if user {
		a.aluImm(4, true, inReg(r15), -pageSize)
	} else {
		a.aluImm(4, true, inReg(r15), -widePage)
	}
	a.store64(at(rAX, layout.SlotR), r15)
	a.store64(at(rAX, layout.SlotW), r15)
	limits(widePage)
	host(layout.WideDelta)
	a.land(s)
	leave(layout.WideDelta)

	// 4 KiB. An access that crosses into the next page finds the entry of the first and has the tag of the second.
	a.land(narrow)
	entry(12, layout.TLBEntries, layout.TLB, user)
	a.aluImm(4, true, inReg(r15), -pageSize)
	a.mov64(rDX, r15)
	a.alu64(1, rDX, field(layout.Ctx))
	a.alu64(7, rDX, at(rCX, tag))
	miss := a.jcc(ccNE)
	hit := a.here()
	s = suspended()
	a.store64(at(rAX, layout.SlotR), r15)
	a.store64(at(rAX, layout.SlotW), r15)
	for _, x := range [...][2]int32{{layout.TLBRead, layout.SlotR}, {layout.TLBWrite, layout.SlotW}} {
		if x[0] == tag {
			continue
		}
		a.alu64(7, rDX, at(rCX, x[0]))
		same := a.jccShort(ccE)
		a.load64(rDX, field(layout.NoPage))
		a.store64(at(rAX, x[1]), rDX)
		a.landShort(same)
	}
	limits(pageSize)
	host(layout.TLBDelta)
	a.land(s)
	leave(layout.TLBDelta)

	a.land(miss)
	if user {
		a.push(rBX)
		a.rotate(rBX, r14, 12-5)
		a.alu64(6, rBX, field(layout.Space))
		a.alu64(4, rBX, field(layout.SecondMask))
		a.alu64(0, rBX, field(layout.Second))
		second := layout.SecondRead
		if tag == layout.TLBWrite {
			second = layout.SecondWrite
		}
		a.alu64(7, rDX, at(rBX, second))
		other := a.jccShort(ccNE)
		a.load64(rDX, at(rBX, layout.SecondEntryGen))
		a.alu64(7, rDX, field(layout.SecondGen))
		gone := a.jccShort(ccNE)
		// What is stored as a pointer is none into the Go heap: guest memory.
		for _, x := range [...][2]int32{{layout.SecondRead, layout.TLBRead}, {layout.SecondWrite, layout.TLBWrite}, {layout.SecondHost, layout.TLBHost}} {
			a.load64(rDX, at(rBX, x[0]))
			a.store64(at(rCX, x[1]), rDX)
		}
		a.alu64(5, rDX, inReg(r15))
		a.store64(at(rCX, layout.TLBDelta), rDX)
		a.load64(rDX, at(rCX, tag))
		a.pop(rBX)
		a.jumpTo(hit)
		a.landShort(other)
		a.landShort(gone)
		a.pop(rBX)
	}
	a.pop(rDX)
	a.pop(rCX)
	a.failed()
	return start
}

// done ends a stub that has done what its caller wants: CF is clear.
func (a *asm) done() {
	a.byte(0xf8) // clc
	a.ret()
}

// failed ends a stub that has not: CF is set.
func (a *asm) failed() {
	a.byte(0xf9) // stc
	a.ret()
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
