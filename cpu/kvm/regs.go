//go:build linux && amd64

package kvm

import (
	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu/x86"
)

// gprs are the general registers of r in the order of x86.State.
func gprs(r *gokvm.Regs) [16]*uint64 {
	return [16]*uint64{
		&r.RAX, &r.RCX, &r.RDX, &r.RBX, &r.RSP, &r.RBP, &r.RSI, &r.RDI,
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15,
	}
}

func getRegs(s *x86.State, r *gokvm.Regs) {
	for i, p := range gprs(r) {
		s.GPR[i] = *p
	}
	s.RIP, s.RFLAGS = r.RIP, r.RFLAGS
}

func setRegs(r *gokvm.Regs, s *x86.State) {
	for i, p := range gprs(r) {
		*p = s.GPR[i]
	}
	r.RIP, r.RFLAGS = s.RIP, s.RFLAGS
}

// segments are the segment registers of r in the order of x86.State.
func segments(r *gokvm.Sregs) [6]*gokvm.Segment {
	return [6]*gokvm.Segment{&r.ES, &r.CS, &r.SS, &r.DS, &r.FS, &r.GS}
}

func getSregs(s *x86.State, r *gokvm.Sregs) {
	for i, g := range segments(r) {
		s.Seg[i] = getSegment(g)
	}
	s.LDTR, s.TR = getSegment(&r.LDT), getSegment(&r.TR)
	s.GDTR = x86.Table{Base: r.GDT.Base, Limit: r.GDT.Limit}
	s.IDTR = x86.Table{Base: r.IDT.Base, Limit: r.IDT.Limit}
	s.CR0, s.CR2, s.CR3, s.CR4, s.CR8 = r.CR0, r.CR2, r.CR3, r.CR4, r.CR8
	s.MSR.EFER, s.MSR.APICBase = r.EFER, r.ApicBase
}

func setSregs(r *gokvm.Sregs, s *x86.State) {
	*r = gokvm.Sregs{}
	for i, g := range segments(r) {
		setSegment(g, &s.Seg[i])
	}
	if s.MSR.EFER&x86.EFER_LMA == 0 {
		r.CS.L = 0 // outside IA-32e mode the bit means nothing, and KVM refuses it
	}
	setSegment(&r.LDT, &s.LDTR)
	setSegment(&r.TR, &s.TR)
	r.GDT.Base, r.GDT.Limit = s.GDTR.Base, s.GDTR.Limit
	r.IDT.Base, r.IDT.Limit = s.IDTR.Base, s.IDTR.Limit
	r.CR0, r.CR2, r.CR3, r.CR4, r.CR8 = s.CR0, s.CR2, s.CR3, s.CR4, s.CR8
	r.EFER, r.ApicBase = s.MSR.EFER, s.MSR.APICBase
}

func getSegment(g *gokvm.Segment) x86.Segment {
	attr := x86.Attr(g.Typ&0xf) | flag(g.S, x86.AttrS) | x86.Attr(g.DPL&3)<<5 | flag(g.Present, x86.AttrP) |
		flag(g.AVL, x86.AttrAVL) | flag(g.L, x86.AttrL) | flag(g.DB, x86.AttrDB) | flag(g.G, x86.AttrG) |
		flag(g.Unusable, x86.AttrUnusable)
	return x86.Segment{Selector: g.Selector, Base: g.Base, Limit: g.Limit, Attr: attr}
}

func flag(b uint8, a x86.Attr) x86.Attr {
	if b != 0 {
		return a
	}
	return 0
}

func setSegment(g *gokvm.Segment, s *x86.Segment) {
	bit := func(a x86.Attr) uint8 {
		if s.Attr&a != 0 {
			return 1
		}
		return 0
	}
	*g = gokvm.Segment{
		Base: s.Base, Limit: s.Limit, Selector: s.Selector,
		Typ: uint8(s.Attr & x86.AttrType), DPL: uint8(s.Attr.DPL()),
		Present: bit(x86.AttrP), DB: bit(x86.AttrDB), S: bit(x86.AttrS), L: bit(x86.AttrL),
		G: bit(x86.AttrG), AVL: bit(x86.AttrAVL), Unusable: bit(x86.AttrUnusable),
	}
}
