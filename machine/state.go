package machine

import (
	"dfemu/cpu/x86"
	"dfemu/firmware/boot"
)

// enter puts a boot protocol's entry state into s, which is in its power-on state.
func enter(s *x86.State, e *boot.Entry) {
	s.RIP, s.RFLAGS = e.RIP, e.RFLAGS
	g := &s.GPR
	g[x86.RAX], g[x86.RBX], g[x86.RCX], g[x86.RDX] = e.RAX, e.RBX, e.RCX, e.RDX
	g[x86.RSI], g[x86.RDI], g[x86.RBP], g[x86.RSP] = e.RSI, e.RDI, e.RBP, e.RSP
	s.Seg[x86.CS], s.Seg[x86.DS], s.Seg[x86.ES] = segment(e.CS), segment(e.DS), segment(e.ES)
	s.Seg[x86.FS], s.Seg[x86.GS], s.Seg[x86.SS] = segment(e.FS), segment(e.GS), segment(e.SS)
	s.TR, s.LDTR = segment(e.TR), segment(e.LDT)
	s.GDTR = x86.Table{Base: e.GDT.Base, Limit: e.GDT.Limit}
	s.IDTR = x86.Table{Base: e.IDT.Base, Limit: e.IDT.Limit}
	s.CR0, s.CR3, s.CR4, s.MSR.EFER = e.CR0, e.CR3, e.CR4, e.EFER
	s.Run = x86.Running
}

func segment(s boot.Segment) x86.Segment {
	return x86.Segment{Selector: s.Selector, Base: s.Base, Limit: s.Limit, Attr: x86.Attr(s.Access)}
}
