package interp

import "unsafe"

// Layout is where a CPU keeps what translated code works on: offsets in bytes from its registers, which are at
// its start.
//
// Invariant: a CPU never moves, since it is on the heap, and is reachable while it runs.
type Layout struct {
	SegBase, Ctx                     int32
	TLB, TLBRead, TLBWrite, TLBDelta int32
	TLBHost, TLBEntries              int32
	// Second is a pointer to the entries of the second TLB.
	Second, SecondMask, SecondGen                       int32
	SecondRead, SecondWrite, SecondHost, SecondEntryGen int32
	Wide, WideTag, WideDelta                            int32
	WideEntries                                         int32
	Vec, MXCSR                                          int32
	Flags, Kind, Site, Page, RIP, Guard, Space          int32
	Temp, VecIn, VecOK, HostMXCSR                       int32
	Kernel, User                                        int32 // of Target
	Generation                                          int32 // of the kernel's targets, then of the user's
	Slots                                               [2]int32
	SlotSize                                            int32
	SlotR, SlotW, SlotDelta, SlotHost, SlotNext         int32
	SlotLast                                            int32
	NoPage                                              int32
	RFLAGS, Held                                        int32
	Selector                                            [6]int32
	Base                                                [6]int32
	KernelGSBase, CR4                                   int32
}

// The entries of all TLBs have the size that translated code takes them for.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(tlbEntry{})-1<<entryShift]
	_ = [1]struct{}{}[unsafe.Sizeof(wideEntry{})-1<<entryShift]
	_ = [1]struct{}{}[unsafe.Sizeof(secondEntry{})-1<<entryShift]
)

// The slots, and all tables behind them, are where Hot says that they should be: CPUs are at the start of a page.
var (
	_ = [1]struct{}{}[unsafe.Offsetof(CPU{}.hot)+unsafe.Offsetof(Hot{}.Slots)-0x200]
	_ = [1]struct{}{}[unsafe.Sizeof(Slot{})-64]
	_ = [1]struct{}{}[unsafe.Sizeof(Target{})-32]
)

// ContextAC is the bit of the context by which supervisor accesses to user pages are allowed although SMAP is on.
const ContextAC = ctxAC

// TheLayout returns the layout of every CPU.
func TheLayout() Layout {
	var c *CPU
	hot := int32(unsafe.Offsetof(c.hot))
	segment := func(i int32) int32 {
		return int32(unsafe.Offsetof(c.s)+unsafe.Offsetof(c.s.Seg)) + i*int32(unsafe.Sizeof(c.s.Seg[0]))
	}
	base := func(i int32) int32 { return segment(i) + int32(unsafe.Offsetof(c.s.Seg[0].Base)) }
	return Layout{
		SegBase: int32(unsafe.Offsetof(c.segBase)), Ctx: int32(unsafe.Offsetof(c.ctx)),
		TLB:     int32(unsafe.Offsetof(c.tlb)),
		TLBRead: int32(unsafe.Offsetof(c.tlb[0].r)), TLBWrite: int32(unsafe.Offsetof(c.tlb[0].w)), TLBDelta: int32(unsafe.Offsetof(c.tlb[0].delta)),
		TLBHost:    int32(unsafe.Offsetof(c.tlb[0].host)),
		Second:     int32(unsafe.Offsetof(c.second) + unsafe.Offsetof(c.second.entries)), // a slice begins with the pointer
		SecondMask: int32(unsafe.Offsetof(c.second) + unsafe.Offsetof(c.second.mask)), SecondGen: int32(unsafe.Offsetof(c.second) + unsafe.Offsetof(c.second.gen)),
		SecondRead: int32(unsafe.Offsetof(secondEntry{}.r)), SecondWrite: int32(unsafe.Offsetof(secondEntry{}.w)),
		SecondHost: int32(unsafe.Offsetof(secondEntry{}.host)), SecondEntryGen: int32(unsafe.Offsetof(secondEntry{}.gen)),
		TLBEntries: tlbSize,
		Wide:       int32(unsafe.Offsetof(c.tlbWide)), WideTag: int32(unsafe.Offsetof(c.tlbWide[0].tag)), WideDelta: int32(unsafe.Offsetof(c.tlbWide[0].delta)),
		WideEntries: wideSize,
		Vec:         int32(unsafe.Offsetof(c.s) + unsafe.Offsetof(c.s.Vec)), MXCSR: int32(unsafe.Offsetof(c.s) + unsafe.Offsetof(c.s.MXCSR)),
		Flags: hot + int32(unsafe.Offsetof(c.hot.Flags)), Kind: hot + int32(unsafe.Offsetof(c.hot.Kind)), Site: hot + int32(unsafe.Offsetof(c.hot.Site)),
		Page: hot + int32(unsafe.Offsetof(c.hot.Page)), RIP: hot + int32(unsafe.Offsetof(c.hot.RIP)), Guard: hot + int32(unsafe.Offsetof(c.hot.Guard)), Space: hot + int32(unsafe.Offsetof(c.hot.Space)),
		Temp: hot + int32(unsafe.Offsetof(c.hot.Temp)), VecIn: hot + int32(unsafe.Offsetof(c.hot.VecIn)), VecOK: hot + int32(unsafe.Offsetof(c.hot.VecOK)),
		HostMXCSR: hot + int32(unsafe.Offsetof(c.hot.HostMXCSR)),
		Kernel:    hot + int32(unsafe.Offsetof(c.hot.Kernel)), User: hot + int32(unsafe.Offsetof(c.hot.User)),
		Generation: int32(unsafe.Offsetof(c.jgen)),
		Slots:      [2]int32{hot + int32(unsafe.Offsetof(c.hot.Slots)), hot + int32(unsafe.Offsetof(c.hot.Slots)+unsafe.Sizeof(c.hot.Slots[0]))},
		SlotSize:   int32(unsafe.Sizeof(Slot{})),
		SlotR:      int32(unsafe.Offsetof(Slot{}.R)), SlotW: int32(unsafe.Offsetof(Slot{}.W)), SlotNext: int32(unsafe.Offsetof(Slot{}.Next)), SlotDelta: int32(unsafe.Offsetof(Slot{}.Delta)), SlotHost: int32(unsafe.Offsetof(Slot{}.Host)),
		SlotLast: int32(unsafe.Offsetof(Slot{}.Last)),
		NoPage:   hot + int32(unsafe.Offsetof(c.hot.NoPage)),
		RFLAGS:   int32(unsafe.Offsetof(c.flags)), Held: int32(unsafe.Offsetof(c.held)),
		Selector: [6]int32{segment(0), segment(1), segment(2), segment(3), segment(4), segment(5)},
		Base:     [6]int32{base(0), base(1), base(2), base(3), base(4), base(5)}, CR4: int32(unsafe.Offsetof(c.s) + unsafe.Offsetof(c.s.CR4)), KernelGSBase: int32(unsafe.Offsetof(c.s) + unsafe.Offsetof(c.s.MSR) + unsafe.Offsetof(c.s.MSR.KernelGSBase)),
	}
}

// alarm is the address of Alarm.
//
// Invariant: as for Layout.
func (h *Hot) alarm() uintptr { return uintptr(unsafe.Pointer(&h.Alarm)) }
