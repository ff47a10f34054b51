package interp

import (
	"sync/atomic"

	"dfemu/cpu/x86"
)

// A Translator turns blocks that are executed often into code of the host. It is shared by the processors of a
// machine: its methods may be called from any of their goroutines.
type Translator interface {
	// Translate returns the translation of the block that r describes, made now or earlier, or nil where it
	// has none: the mode is not provided for, or there is no room (see Full).
	Translate(r *Request) *Unit
	// Enter executes translated code from at on until it leaves, and returns with the processor's registers in
	// memory and what happened in its Hot area.
	Enter(c *CPU, at uintptr)
	// Goroutine returns the address of the descriptor of the goroutine that calls it.
	Goroutine() uintptr
	// Site returns the unit and the description of a place where code leaves.
	Site(id uint32) (*Unit, *Site)
	// Link makes the exit id, a SiteLink, go on in unit to directly.
	Link(id uint32, to *Unit)
	// Drop forgets the units that have bytes in some 64-byte lines of a page of guest-physical memory.
	Drop(page, lines uint64)
	// Dropped returns a number that changes whenever a unit is forgotten.
	Dropped() uint64
	// Simplify forgets a unit. The next translation of its block takes no accesses together.
	Simplify(u *Unit)
	// Full reports whether Recycle is called for.
	Full() bool
	// Recycle forgets everything. No processor executes translated code meanwhile.
	Recycle()
}

// A Request asks for a translation.
type Request struct {
	Phys uint64 // guest-physical address of the first byte
	// Phys2 is that of the page of the last bytes, where a single instruction crosses into another page; otherwise 0.
	Phys2 uint64
	// Runs are the bytes in the order in which they are executed; the translator keeps them. The first is at Phys, and all
	// that follow are in its page, where the branch, jump, call or return at the end of the one before leads.
	Runs []Run
	// Page is what memory has at present in the page of Phys, if that is memory.
	Page []byte
	Mode x86.Mode
	Key  uint8 // what else decoding depends on
	User bool  // executed at CPL 3
	// Flat: outside 64-bit mode, all segments but FS and GS span the 4 GiB from 0.
	Flat bool
	// Plain: accesses are not taken together.
	Plain bool
	// Features are those that the processor announces.
	Features x86.FeatureSet
}

// A Run is the bytes of some instructions one after the other.
type Run struct {
	Start uint16 // offset in the page
	Code  []byte
}

// A Unit is one translated block, or several that follow each other: control enters it at its start and leaves it at its sites.
type Unit struct {
	Phys  uint64
	Phys2 uint64
	Runs  []Run
	Mode  x86.Mode
	Key   uint8
	User  bool
	Entry uintptr // where a processor enters
	Epoch uint32  // units of earlier epochs are gone
	Dead  atomic.Bool
	Insts []Inst // in the order of execution
	Sites []Site

	splits     atomic.Uint32 // times that accesses taken together were not in one page
	splitSince atomic.Int64  // since this time
	runs       uint32        // executions in a machine that compares them
}

// An Inst is one instruction of a unit.
type Inst struct {
	Start, Next uint16 // offsets in the page
	Run         uint8  // of the unit, that it is in
	// Followed: it ends its run, and the next instruction is where it most likely leads, a conditional branch when it is taken.
	Followed bool
	op       atomic.Pointer[Op]
}

// The kinds of sites.
const (
	// SiteRIP: control goes to Hot's RIP.
	SiteRIP = iota
	// SiteLink: control goes to Target in the page; the exit can be linked.
	SiteLink
	// SiteOp: the interpreter is to execute instruction Inst and to go on at Resume, if it is not 0 and
	// the instruction does not transfer control.
	SiteOp
	// SiteInterpret: as SiteRIP, but the block there must be interpreted.
	SiteInterpret
	// SiteApart: as SiteInterpret, because accesses that the unit takes together are not in one page.
	SiteApart
	// SitePoll: control is before instruction Inst, as something is pending.
	SitePoll
)

// A Site is a place where translated code leaves.
type Site struct {
	Resume uintptr
	Patch  uintptr
	Target int32 // offset from the start of the page
	Inst   uint8
	// Of a SiteLink: HostFlags: the flags are in the host's. Back: it may close a loop.
	HostFlags, Back bool
	// Flags tells how to find the arithmetic flags before the instruction: those in Hot, or made by a
	// comparison earlier in the block whose operands are still there.
	Flags Recipe
}

// The kinds of recipes.
const (
	FlagsStored = iota // in Hot
	FlagsAdd           // of Dst = (Dst - Src) + Src
	FlagsSub           // of Dst = (Dst + Src) - Src
	FlagsCmp           // of Dst - Src
	FlagsFrom          // of Dst = Src - (Src - Dst)
	FlagsLogic         // of the logical result Dst
	FlagsTest          // of Dst & Src
	FlagsInc           // of Dst = (Dst - 1) + 1, and CF in Hot
	FlagsDec           // of Dst = (Dst + 1) - 1, and CF in Hot
)

// A Recipe computes the arithmetic flags from registers, which may be RegResult, RegDst and RegSrc.
type Recipe struct {
	Kind uint8
	Size uint8 // bytes
	Dst  uint8
	Src  uint8 // 0xff: Imm
	Imm  uint64
}

// Hot is what a processor and translated code share besides registers.
//
// Its place in CPU and the order of its fields matter. The host's processor has a load wait for an earlier store while all it knows of them is that they
// have the low 12 bits of the address in common. What is stored to by way of Slot.Delta comes from a load of Slot.Delta itself, so that a guest
// whose stack has a word that it often writes in the place in a page that the slot's Delta has in the CPU's executes one access to the stack
// after the other, at less than half of its speed. Stacks begin at the end of a page: the slots of RSP are near the start of one, and
// what translated code stores in the CPU is not in their place either. Entries of tables and slots are in one cache line each.
type Hot struct {
	Flags uint32 // as LAHF and SETO AL leave them in AX
	Kind  uint32
	Site  uint32
	_     uint32
	Page  uint64 // RIP of the start of the page that code is executed from
	RIP   uint64
	// Guard is what tells translated code to leave; see guard.go.
	Guard atomic.Uintptr
	Alarm [StackGuard/8 + 1]uint64
	// goroutine is the descriptor of the one that executes Run.
	goroutine uintptr
	// Space is where the number of the address space is for the index of the TLB's entries, in bytes. CPL 3 alone uses it.
	Space uint64
	Temp  [4]uint64
	// NoPage is in a Slot in the place of a page's address where there is none: accesses to it would reach the host's
	// memory unchecked. It is chosen at random among what is not canonical, so that no guest can form it.
	NoPage uint64
	// VecIn tells how the vector registers are in the host's: 0 not at all, 1 usable by SSE, 3 by AVX.
	VecIn uint8
	// VecOK is what VecIn may become.
	VecOK     uint8
	HostMXCSR uint32

	dropped   bool   // the slots were emptied: units that rely on them are not resumed
	from      uint32 // the exit that was taken last when something was pending
	fromEpoch uint32
	fromRIP   uint64
	entered   uint64 // times translated code was entered
	ops       uint64 // instructions executed for it

	_ [256 - 168]byte
	// Slots are what the code of CPL 0 to 2, and that of CPL 3, reached last by each way of addressing.
	Slots  [2][slotRoom]Slot
	Kernel [1 << TargetBits]Target
	User   [1 << TargetBits]Target
}

// A Slot is a page, of 4 KiB or 2 MiB, that CPL 0 to 2, or CPL 3, may access at present, whatever else the state of the processor:
// supervisor accesses that need EFLAGS.AC have none.
type Slot struct {
	R, W  uint64 // linear address of the page, for loads and for stores; NoPage: none
	Delta uint64 // what to add to a linear address of the page to get its place in the host
	Host  uint64 // the page in the host
	Next  uint64 // the page that was reached last of those it did not have, with the context
	// Last are the distances from the start of the page from which accesses of at most as many bytes as Margins say are within it.
	Last [3]uint64
}

// Margins are the sizes in bytes that slots have limits for. Those of CPL 3 have 4 KiB, and no use for limits.
var Margins = [3]int32{32, 128, 512}

// The indices of Hot.Slots behind the sixteen base registers.
const (
	SlotRIP    = 16 + iota // relative to RIP
	SlotFS                 // by segment FS
	SlotGS                 // by segment GS
	SlotNone               // without a base
	SlotHashed             // from here on: with an index or far from the base register
	SlotCount  = SlotHashed + 32

	// slotRoom is how many there is room for, which is what a page has.
	slotRoom = pageSize / 64
)

// initSlots is called once, before the slots are used.
func (c *CPU) initSlots() {
	for i := range c.hot.Slots {
		for k := range c.hot.Slots[i] {
			for m := range Margins {
				c.hot.Slots[i][k].Last[m] = uint64(pageSize - Margins[m])
			}
		}
	}
	c.dropSlots()
}

// dropSlots forgets what translated code has reached.
func (c *CPU) dropSlots() {
	h := &c.hot
	h.dropped = true
	for i := range h.Slots {
		for k := range h.Slots[i] {
			h.Slots[i][k].R, h.Slots[i][k].W = h.NoPage, h.NoPage
		}
	}
}

// TargetBits is the binary logarithm of the size of a table of targets.
const TargetBits = 14

// TargetTag is the bit that is set in Target.RIP outside 64-bit mode: such addresses are not canonical.
const TargetTag = 62

// A Target is where code at a linear address is translated. It is valid while the processor's generation is Gen. It is at its index or,
// when another one came there, at the index with the lowest bit inverted.
type Target struct {
	RIP  uint64
	Gen  uint64
	Code uintptr
	_    uint64
}

// TargetIndex returns the place of rip in a table of targets.
func TargetIndex(rip uint64) uint64 { return (rip ^ rip>>TargetBits) & (1<<TargetBits - 1) }

// hotFrom executes b and the blocks that follow, as blocksFrom does, through the translator where they
// are executed often.
func (c *CPU) hotFrom(b *block) status {
	t := c.acc.translator
	from := c.exitTo(c.rip)
	epoch := c.acc.epoch.Load()
	for {
		var st status
		u := b.unit
		if u == nil || u.Dead.Load() || u.Epoch != c.acc.epoch.Load() {
			u = c.heat(b)
		}
		if u != nil {
			if from != 0 && c.acc.epoch.Load() == epoch && !c.acc.lockstep {
				c.link(from, u)
			}
			epoch = u.Epoch
			if c.acc.lockstep && u.due() {
				if st, c.failure = c.compare(t, u); c.failure != nil {
					return stFault
				}
			} else {
				if !c.acc.lockstep {
					c.enterTarget(u)
				}
				st, from = c.execute(t, u)
			}
		} else {
			from = 0
			st = c.interpretBlock(b)
		}
		switch st {
		case stTaken, stBranch, stFall:
		default:
			return st
		}
		if c.pending.Load() != 0 {
			c.hot.from, c.hot.fromRIP, c.hot.fromEpoch = from, c.rip, epoch
			return stEnd
		}
		if b = c.lookup(); b == nil {
			return stFault
		}
	}
}

// exitTo returns the exit that was taken to rip before something was pending, or 0: some exits are never taken without, as
// those behind STI.
func (c *CPU) exitTo(rip uint64) (site uint32) {
	h := &c.hot
	if h.fromRIP == rip && h.fromEpoch == c.acc.epoch.Load() {
		site = h.from
	}
	h.from = 0
	return site
}

// interpretBlock executes one block by its handlers, with c.rip set for what follows.
func (c *CPU) interpretBlock(b *block) status {
	if b.ops == nil {
		c.handlers(b)
	}
	rip := c.rip
	c.r[regRIP] = rip
	c.last = b.last
	o := &b.ops[0]
	st := o.fn(c, o)
	for st == stNext {
		o = following(o)
		st = o.fn(c, o)
	}
	c.icount += uint64(o.count)
	switch st {
	case stTaken:
		b.vote(exit(o.next)<<1 | 1)
	case stBranch:
	case stFall:
		b.vote(exit(o.next) << 1)
		c.rip = (rip + b.size) & c.ipMask
	default:
		c.stop(st, o)
	}
	return st
}

// heat counts an execution of b and returns its translation once there have been enough.
func (c *CPU) heat(b *block) *Unit {
	limit := c.acc.heat
	if b.heat < limit {
		b.heat++
		return nil
	}
	if b.heat > limit || b.code == nil || !c.settled(b) || b.key&(keySingle|keyReal) != 0 {
		return nil
	}
	t := c.acc.translator
	if t.Full() {
		c.recycle()
	}
	r := Request{Phys: b.phys, Phys2: b.phys2, Mode: c.mode, Key: b.key, User: b.key&keyUser != 0, Flat: b.key&keyFlat != 0, Features: c.sys.features, Runs: c.path(b)}
	if page, _ := c.acc.mem.page(b.phys & pageMask); page != nil {
		r.Page = hostBytes(page, pageSize)
	}
	u := t.Translate(&r)
	if u == nil {
		b.heat = limit + 1
		return nil
	}
	if b.dead {
		return nil
	}
	b.unit, b.ops = u, nil
	if code := u.Runs[0].Code; len(code) == len(b.code) {
		b.code = code // all processors share the bytes
	}
	c.stats.Blocks++
	return u
}

// recycle empties the translator.
func (c *CPU) recycle() {
	resume := c.acc.stopOthers(c)
	defer resume()
	c.acc.epoch.Add(1)
	c.acc.translator.Recycle()
	for _, o := range c.acc.cpus {
		o.dropTargets() // they stand still
	}
}

// link connects an exit with the unit that control went to from it.
func (c *CPU) link(from uint32, to *Unit) {
	u, _ := c.acc.translator.Site(from)
	if u == nil || u.Dead.Load() || u.Phys&pageMask != to.Phys&pageMask || u.Key != to.Key || to.Phys2 != 0 {
		return
	}
	c.acc.translator.Link(from, to)
}

// enterTarget enters the present RIP into the table of jump targets.
func (c *CPU) enterTarget(u *Unit) {
	rip := c.rip
	if c.mode != x86.Mode64 {
		rip |= 1 << TargetTag
	}
	table, gen := &c.hot.Kernel, c.jgen[0]
	if u.User {
		table, gen = &c.hot.User, c.jgen[1]
	}
	i := TargetIndex(rip)
	if e := &table[i]; e.RIP != rip || e.Gen != gen || e.Code != u.Entry {
		if other := &table[i^1]; (e.RIP != rip || e.Gen != gen) && c.current(e.Gen) && !c.current(other.Gen) {
			*other = *e // what is still good, perhaps in another address space, moves where nothing is
		}
		e.RIP, e.Gen, e.Code = rip, gen, u.Entry
		c.noteCode(c.rip)
		if u.Phys2 != 0 {
			c.noteCode(c.rip + pageSize)
		}
	}
}

// current reports whether a generation of targets is that of CPL 0 to 2, or of CPL 3 in an address space that is remembered.
func (c *CPU) current(gen uint64) bool {
	return gen == c.jgen[0] || gen == c.jgen[1] || c.sys.spaces.remembers(gen)
}

// rawFlags and setRawFlags convert the arithmetic flags from and to the form that Hot.Flags has.
func (c *CPU) rawFlags() uint32 {
	f := uint32(c.arith())
	return (f&0xd5|2)<<8 | f>>11&1
}

func (c *CPU) setRawFlags(v uint32) { c.setArith(uint64(v>>8&0xd5 | v&1<<11)) }

// execute enters u at its start. The status is that of a block; site is the exit taken if it can be linked.
func (c *CPU) execute(t Translator, u *Unit) (st status, site uint32) {
	h := c.begin()
	at := u.Entry
	for {
		h.entered++
		c.enterCode(t, at)
		switch h.Kind {
		case SiteRIP:
			c.left(t)
			return stBranch, 0
		case SiteInterpret, SiteApart:
			if h.Kind == SiteApart {
				c.apart(t, h.Site)
			}
			c.left(t)
			b := c.lookup()
			if b == nil {
				return stFault, 0
			}
			return c.interpretBlock(b), 0
		case SiteLink:
			c.left(t)
			return stTaken, h.Site
		case SitePoll:
			c.left(t)
			return stBranch, 0
		}
		h.ops++
		u, s, o := c.atSite(t)
		h.dropped = false
		st = o.fn(c, o)
		switch st {
		case stNext:
			if s.Resume == 0 || h.dropped || u.Dead.Load() || c.pending.Load()&(pendStop|pendSlow|pendKick) != 0 {
				c.rip = c.nextRIP(o)
				return stBranch, 0
			}
			c.executedFor()
			at = s.Resume
		case stTaken, stBranch:
			return stBranch, 0
		case stFall:
			c.rip = c.nextRIP(o)
			return stBranch, 0
		default:
			c.icount++
			c.stop(st, o)
			return st, 0
		}
	}
}

// enterCode executes translated code from at on, with everything in Hot that does not change in it.
func (c *CPU) enterCode(t Translator, at uintptr) {
	h := &c.hot
	h.VecOK = c.vectorsUsable()
	h.Space = c.ctx & spaceMask << entryShift
	c.setGuard()
	t.Enter(c, at)
}

// A unit that is left because of accesses that are not in one page maxSplits times in splitTime ns is made again.
const (
	maxSplits = 200
	splitTime = 100e6
)

// apart counts that a unit was left with SiteApart.
func (c *CPU) apart(t Translator, site uint32) {
	u, _ := t.Site(site)
	if u == nil {
		return
	}
	if now := c.acc.cfg.Clock.Now(); now-u.splitSince.Load() > splitTime {
		u.splitSince.Store(now)
		u.splits.Store(0)
	}
	if u.splits.Add(1) == maxSplits {
		t.Simplify(u)
	}
}

// atSite makes everything as the instruction at the site where translated code was left expects it, and returns its handler.
func (c *CPU) atSite(t Translator) (*Unit, *Site, *Op) {
	h := &c.hot
	u, s := t.Site(h.Site)
	o := c.unitOp(u, int(s.Inst))
	c.r[regRIP] = h.Page
	c.last = u.last()
	c.unitFlags(&s.Flags)
	return u, s, o
}

// executedFor makes everything as translated code expects it behind an instruction that was executed for it.
func (c *CPU) executedFor() {
	c.hot.Flags = c.rawFlags()
	c.r[RegResult] = c.fres // if the instruction was a comparison
}

// begin makes everything as a unit that is entered at RIP expects it.
func (c *CPU) begin() *Hot {
	h := &c.hot
	h.Page = c.rip & pageMask
	h.Flags = c.rawFlags()
	return h
}

// left takes over where control is after translated code was left at something other than a SiteOp.
func (c *CPU) left(t Translator) {
	h := &c.hot
	if h.Kind == SitePoll {
		u, s := t.Site(h.Site)
		c.unitFlags(&s.Flags)
		c.rip = (h.Page + uint64(u.Insts[s.Inst].Start)) & c.ipMask
		return
	}
	c.setRawFlags(h.Flags)
	if h.Kind == SiteLink {
		_, s := t.Site(h.Site)
		c.rip = (h.Page + uint64(int64(s.Target))) & c.ipMask
	} else {
		c.rip = h.RIP & c.ipMask
	}
}

// unitOp returns the handler of an instruction of a unit.
func (c *CPU) unitOp(u *Unit, i int) *Op {
	n := &u.Insts[i]
	if o := n.op.Load(); o != nil {
		return o
	}
	var in x86.Inst
	o := &Op{start: n.Start, next: n.Next, width: 1, count: 1}
	if err := u.decode(i, &in); err != nil {
		o.fn = undefinedOp
		return o
	}
	c.prepare(&in, o, u.Key)
	n.op.Store(o)
	return o
}

// decode decodes an instruction of the unit.
func (u *Unit) decode(i int, in *x86.Inst) error {
	n := &u.Insts[i]
	r := &u.Runs[n.Run]
	return x86.Decode(u.Mode, r.Code[n.Start-r.Start:n.Next-r.Start], in)
}

// last is the offset of the last instruction in the page.
func (u *Unit) last() uint16 { return u.Insts[len(u.Insts)-1].Start }

// unitFlags makes the arithmetic flags those before the instruction at a site.
func (c *CPU) unitFlags(r *Recipe) {
	if r.Kind == FlagsStored {
		c.setRawFlags(c.hot.Flags)
		return
	}
	switch r.Size {
	case 1:
		recompute[uint8](c, r)
	case 2:
		recompute[uint16](c, r)
	case 4:
		recompute[uint32](c, r)
	default:
		recompute[uint64](c, r)
	}
}

func recompute[T word](c *CPU, r *Recipe) {
	d, s := T(c.r[r.Dst&31]), T(r.Imm)
	if r.Src != 0xff {
		s = T(c.r[r.Src&31])
	}
	switch r.Kind {
	case FlagsAdd:
		flagsAdd(c, d-s, s, d)
	case FlagsSub:
		flagsSub(c, d+s, s, d)
	case FlagsCmp:
		flagsSub(c, d, s, d-s)
	case FlagsFrom:
		flagsSub(c, s, s-d, d)
	case FlagsTest:
		flagsLogic(c, d&s)
	case FlagsInc, FlagsDec:
		carry := c.hot.Flags>>8&1 != 0
		if r.Kind == FlagsInc {
			flagsAdd(c, d-1, 1, d)
		} else {
			flagsSub(c, d+1, 1, d)
		}
		c.setCF(carry)
	default:
		flagsLogic(c, d)
	}
}

// vectorsUsable tells what vector instructions translated code may execute: 0 none, 1 SSE, 3 AVX too.
func (c *CPU) vectorsUsable() uint8 {
	const xcr0 = x86.XCR0_SSE | x86.XCR0_AVX
	switch {
	case c.s.CR0&(x86.CR0_EM|x86.CR0_TS) != 0 || c.s.CR4&x86.CR4_OSFXSR == 0 || c.s.MXCSR&simdMasks != simdMasks:
		return 0
	case c.s.CR4&x86.CR4_OSXSAVE == 0 || c.s.XCR0&xcr0 != xcr0:
		return 1
	}
	return 3
}
