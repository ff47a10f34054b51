package interp

import "unsafe"

// Layout is where a CPU keeps what translated code works on: offsets in bytes from its registers, which are at
// its start.
//
// Invariant: a CPU never moves, since it is on the heap, and is reachable while it runs.
type Layout struct {
	SegBase, Ctx, Pending             int32
	TLB, TLBRead, TLBWrite, TLBDelta  int32
	TLBEntries, TLBEntrySize          int32
	Vec, MXCSR                        int32
	Flags, Kind, Site, Page, RIP, G   int32
	Temp, VecIn, VecOK, HostMXCSR     int32
	Kernel, User, Targets, TargetSize int32
	RFLAGS, CPL                       int32
}

// TheLayout returns the layout of every CPU.
func TheLayout() Layout {
	var c *CPU
	hot := int32(unsafe.Offsetof(c.hot))
	return Layout{
		SegBase: int32(unsafe.Offsetof(c.segBase)), Ctx: int32(unsafe.Offsetof(c.ctx)), Pending: int32(unsafe.Offsetof(c.pending)),
		TLB:     int32(unsafe.Offsetof(c.tlb)),
		TLBRead: int32(unsafe.Offsetof(c.tlb[0].r)), TLBWrite: int32(unsafe.Offsetof(c.tlb[0].w)), TLBDelta: int32(unsafe.Offsetof(c.tlb[0].delta)),
		TLBEntries: tlbSize, TLBEntrySize: int32(unsafe.Sizeof(c.tlb[0])),
		Vec: int32(unsafe.Offsetof(c.s) + unsafe.Offsetof(c.s.Vec)), MXCSR: int32(unsafe.Offsetof(c.s) + unsafe.Offsetof(c.s.MXCSR)),
		Flags: hot + int32(unsafe.Offsetof(c.hot.Flags)), Kind: hot + int32(unsafe.Offsetof(c.hot.Kind)), Site: hot + int32(unsafe.Offsetof(c.hot.Site)),
		Page: hot + int32(unsafe.Offsetof(c.hot.Page)), RIP: hot + int32(unsafe.Offsetof(c.hot.RIP)), G: hot + int32(unsafe.Offsetof(c.hot.G)),
		Temp: hot + int32(unsafe.Offsetof(c.hot.Temp)), VecIn: hot + int32(unsafe.Offsetof(c.hot.VecIn)), VecOK: hot + int32(unsafe.Offsetof(c.hot.VecOK)),
		HostMXCSR: hot + int32(unsafe.Offsetof(c.hot.HostMXCSR)),
		Kernel:    hot + int32(unsafe.Offsetof(c.hot.Kernel)), User: hot + int32(unsafe.Offsetof(c.hot.User)),
		Targets: targetSize, TargetSize: int32(unsafe.Sizeof(Target{})),
		RFLAGS: int32(unsafe.Offsetof(c.flags)), CPL: int32(unsafe.Offsetof(c.cpl)),
	}
}
