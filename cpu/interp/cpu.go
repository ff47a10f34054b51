package interp

import (
	"sync"
	"sync/atomic"

	"dfemu/cpu"
	"dfemu/cpu/apic"
	"dfemu/cpu/x86"
)

// CPU is one logical processor. All fields but those marked otherwise belong
// to the goroutine that executes Run.
type CPU struct {
	// r holds the sixteen registers, then those of op.go.
	r       [32]uint64
	hot     Hot // see hot.go, also for why it is here
	tlb     [tlbSize]tlbEntry
	itlb    [itlbSize]itlbEntry
	tlbWide [wideSize]wideEntry
	jcache  [jcacheSize]jcacheEntry

	segBase [8]uint64 // ES … GS, then segNone
	fres    uint64    // see flags.go
	fcarry  uint64
	rip     uint64 // of the next block; inside a block r[regRIP] counts
	ctx     uint64 // the low bits of the tags that TLB entries must have
	ipMask  uint64 // what bits of RIP there are
	spMask  uint64 // what bits of RSP address the stack
	icount  uint64
	// pending has a bit for each thing to look at between two blocks. Any
	// goroutine may set bits; see signal.
	pending atomic.Uint32

	flags  uint64  // RFLAGS without the arithmetic flags
	dryRun *dryRun // see lockstep.go
	// failure is why Run cannot go on.
	failure error
	// held: there may be an interrupt that was passed over because IF was 0.
	held bool
	cpl  uint8
	mode x86.Mode
	// key tells apart blocks whose bytes are the same but which were decoded
	// differently; see modeChanged.
	key uint8
	// long: EFER.LMA, that is 64-bit or compatibility mode.
	long bool
	// ready has bits for the vector instructions known to be available; see fpuready.go.
	ready uint8
	exc   exception
	last  uint16 // offset of the last op of the block being executed
	// dbHit has a bit for each data breakpoint that the present instruction hit.
	dbHit uint8
	// keepRF: the present instruction has loaded RF itself (IRET, POPF).
	keepRF bool
	dec    decoder
	pauses uint32 // PAUSE instructions executed

	sys sysState  // see system.go
	fp  simdState // see vector_float.go

	// s holds all state that is not in the fields above; its GPR, RIP, RFLAGS
	// and APIC are only valid while Run is not executing.
	s x86.State

	second secondTLB
	// tlbGlobal has a bit for each entry of tlb that is of a global page.
	tlbGlobal [tlbSize / 64]uint64
	// local are the entries of tlb that are neither global nor of CPL 3, and perhaps others, if localCount is at most maxLocal.
	local      [maxLocal]uint16
	localCount int
	// jgen are the generations of what is remembered of code at linear addresses (jcache, Hot), for CPL 0 to 2 and for CPL 3.
	jgen        [2]uint64
	generations uint64 // the last value of jgen given out
	// codePages have bits for the pages, by a hash of their linear addresses, that something is remembered of, likewise.
	codePages [2][codePageBits / 64]uint64
	strays    strays
	// dropped is what the translator's Dropped returned when the targets were last in accordance with it.
	dropped uint64
	// kernelLocal: some of what is remembered for CPL 0 to 2 is in a page that is not global.
	kernelLocal bool
	blocks      blockTable
	decoded     uint64 // blocks, ever

	id   int
	acc  *Accel
	bus  cpu.Bus
	apic *apic.APIC

	wake    chan struct{} // capacity 1: wakes a halted processor
	stats   cpu.Stats
	curRIP  atomic.Uint64 // RIP for other goroutines, updated at slow events
	mu      sync.Mutex    // guards inval and sipi
	inval   []lineSet     // code lines that others have written
	sipi    uint8         // vector of the last SIPI
	waiting bool          // in HLT, MWAIT or wait-for-SIPI
	quiet   atomic.Bool   // not executing: sees all invalidations before it does
	acked   atomic.Uint64 // the last code-page event that this CPU's TLB reflects
}

// Bits of pending.
const (
	pendKick   = 1 << iota // Kick was called
	pendIntr               // the APIC or the 8259 may have an interrupt
	pendNMI                // an NMI has arrived
	pendInit               // INIT has arrived
	pendSIPI               // a start-up IPI has arrived
	pendInval              // code lines were invalidated, or the write TLB must be emptied
	pendStop               // another processor needs all others to stand still
	pendSample             // the profile wants to know where this processor is
	pendSlow               // execute one instruction at a time: single step, breakpoints, interrupt shadow
)

// exception is an event to be delivered at the present RIP.
type exception struct {
	vec     uint8
	hasCode bool
	// soft: INT n, INT3, INTO: the gate's DPL is checked.
	soft bool
	code uint32
	// db holds the DR6 bits of a debug exception.
	db uint64
}

// hasErrorCode tells which exceptions push an error code (Intel SDM vol. 3, 6.3).
const hasErrorCode = 1<<x86.VecDF | 1<<x86.VecTS | 1<<x86.VecNP | 1<<x86.VecSS |
	1<<x86.VecGP | 1<<x86.VecPF | 1<<x86.VecAC

// fault makes an exception pending and returns the status to leave with.
func (c *CPU) fault(vec uint8, code uint32) status {
	c.exc = exception{vec: vec, code: code, hasCode: hasErrorCode>>vec&1 != 0}
	return stFault
}

// gp raises #GP with an error code, ud raises #UD.
func (c *CPU) gp(code uint32) status { return c.fault(x86.VecGP, code) }
func (c *CPU) ud() status            { return c.fault(x86.VecUD, 0) }

// post sets bits of pending and wakes the processor. Any goroutine may call it.
func (c *CPU) post(bits uint32) {
	c.signal(bits)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// modeChanged recomputes what is derived from CR0, CR4, EFER, RFLAGS, CS and
// CPL. Whoever changes one of them calls it, and ends the block.
func (c *CPU) modeChanged() {
	s := &c.s
	c.ready = 0
	c.long = s.MSR.EFER&x86.EFER_LMA != 0
	cs := &s.Seg[x86.CS]
	real := s.CR0&x86.CR0_PE == 0
	vm := c.flags&x86.VM != 0
	switch {
	case real:
		c.cpl = 0
	case vm:
		c.cpl = 3
	default:
		c.cpl = uint8(s.Seg[x86.SS].Attr.DPL())
	}
	flat := uint8(0)
	switch {
	case c.long && cs.Attr&x86.AttrL != 0:
		c.mode = x86.Mode64
	case cs.Attr&x86.AttrDB != 0 && !real && !vm:
		c.mode = x86.Mode32
		if c.flatSegments() {
			flat = 1
		}
	default:
		c.mode = x86.Mode16
		if cs.Attr&x86.AttrDB != 0 {
			c.mode = x86.Mode32 // "unreal": a 32-bit code segment kept after leaving protected mode
		}
	}
	for i := range s.Seg {
		c.segBase[i] = s.Seg[i].Base
	}
	if c.mode == x86.Mode64 {
		for i := x86.ES; i <= x86.DS; i++ {
			c.segBase[i] = 0
		}
	}
	c.key = uint8(c.mode) | flat<<2
	if c.cpl == 3 {
		c.key |= keyUser
	}
	if real || vm {
		c.key |= keyReal
	}
	c.spMask, c.ipMask = c.stackMask(), c.ripMask()

	ctx := uint64(ctxValid)
	switch {
	case c.cpl == 3:
		ctx |= ctxUser | c.sys.spaces.tag()
		if c.flags&x86.AC != 0 && s.CR0&x86.CR0_AM != 0 {
			ctx |= ctxSlow
		}
	case c.flags&x86.AC != 0:
		ctx |= ctxAC
	}
	slow := c.flags&x86.TF != 0 || s.IntrShadow || c.sys.trapDB != 0
	if dr7 := s.DR[7]; dr7&0xff != 0 {
		for i := range 4 {
			if dr7>>(2*i)&3 == 0 {
				continue
			}
			if dr7>>(16+4*i)&3 == 0 {
				slow = true
			} else {
				ctx |= ctxSlow
				slow = true
			}
		}
	}
	if ctx&ctxSlow != 0 && c.ctx&ctxSlow == 0 {
		c.dropSlots()
	}
	c.ctx = ctx
	if slow {
		c.pending.Or(pendSlow)
	} else {
		c.pending.And(^uint32(pendSlow))
	}
	c.pending.Or(pendIntr)
}

// flatSegments reports whether ES, SS and DS all span the 4 GiB from 0 and may
// be read and written, so that their checks can be left out.
func (c *CPU) flatSegments() bool {
	for _, i := range [...]int{x86.ES, x86.SS, x86.DS} {
		g := &c.s.Seg[i]
		const want = x86.AttrP | x86.AttrS | x86.AttrRW
		if g.Base != 0 || g.Limit != 0xffffffff ||
			g.Attr&(want|x86.AttrCode|x86.AttrDC|x86.AttrUnusable) != want {
			return false
		}
	}
	g := &c.s.Seg[x86.CS]
	return g.Base == 0 && g.Limit == 0xffffffff
}

// ripMask is what bits of RIP exist in the present mode.
func (c *CPU) ripMask() uint64 {
	if c.mode == x86.Mode64 {
		return ^uint64(0)
	}
	return 0xffffffff
}

// ripOf is the RIP of an op of the block being executed.
func (c *CPU) ripOf(o *Op) uint64 { return (c.r[regRIP] + uint64(o.start)) & c.ripMask() }

// nextRIP is the RIP of the instruction after an op of the block being executed.
func (c *CPU) nextRIP(o *Op) uint64 { return (c.r[regRIP] + uint64(o.next)) & c.ripMask() }
