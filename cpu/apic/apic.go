package apic

import (
	"math/bits"
	"sync/atomic"
)

// An APIC is the local APIC of one processor. See the package comment for who
// may call its methods.
type APIC struct {
	f  *Fabric
	id uint32

	// What senders read and write. A bit of some is set for each word of irr
	// that may be non-zero; it is set after and cleared before the word, so
	// that a set bit of irr is never overlooked.
	some atomic.Uint32
	irr  [4]atomic.Uint64
	tmr  [4]atomic.Uint64
	ppr  atomic.Uint32
	base atomic.Uint64 // IA32_APIC_BASE
	svr  atomic.Uint32
	ldr  atomic.Uint32
	dfr  atomic.Uint32
	lvt  [numLVT]atomic.Uint32
	// errors has been detected since the last write of the ESR.
	errors atomic.Uint32
	// extMessage is an ExtINT that came as a message or on LINT1.
	extMessage atomic.Bool
	// lint0Busy is Remote IRR of LVT LINT0.
	lint0Busy atomic.Bool

	timer timer

	// What only the processor's own goroutine touches.
	isr [4]uint64
	tpr uint8
	esr uint32
	icr uint64
}

// ID returns the APIC ID. It may be called from any goroutine.
func (a *APIC) ID() uint32 { return a.id }

// enabled is the global enable of IA32_APIC_BASE.
func (a *APIC) enabled() bool { return a.base.Load()&baseEnable != 0 }

// accepting reports whether fixed interrupts are accepted: a globally and by
// software enabled APIC.
func (a *APIC) accepting() bool { return a.enabled() && a.svr.Load()&svrEnable != 0 }

func (a *APIC) notify(e Event, vector uint8) {
	if a.f.cfg.Notify != nil {
		a.f.cfg.Notify(int(a.id), e, vector)
	}
}

// outcome is what is left to do after a vector was latched, once no lock is held.
type outcome uint8

const (
	nothing outcome = iota
	tell            // Notify the processor
	illegal         // report a vector below 16
)

// latch puts a vector into IRR. It calls nothing, so it may be used under a lock.
func (a *APIC) latch(v uint8, level bool) outcome {
	if !a.accepting() {
		return nothing
	}
	if v < 16 {
		return illegal
	}
	w, bit := v>>6, uint64(1)<<(v&63)
	// TMR is written first: it must be right when the interrupt is accepted.
	if level {
		a.tmr[w].Or(bit)
	} else if a.tmr[w].Load()&bit != 0 {
		a.tmr[w].And(^bit)
	}
	old := a.irr[w].Or(bit)
	a.some.Or(1 << w)
	// Whoever lowers PPR looks at IRR afterwards; and whoever posted a bit
	// that was set already has notified, or left it to that look.
	if old&bit == 0 && uint32(v>>4) > a.ppr.Load()>>4 {
		return tell
	}
	return nothing
}

// finish does what latch left to do.
func (a *APIC) finish(o outcome) {
	switch o {
	case tell:
		a.notify(Interrupt, 0)
	case illegal:
		a.raise(errReceiveIllegal)
	}
}

// post accepts a fixed interrupt, from any goroutine.
func (a *APIC) post(v uint8, level bool) { a.finish(a.latch(v, level)) }

// raise records an error, and interrupts when it is one that has not been
// recorded since the ESR was last written. From any goroutine.
func (a *APIC) raise(e uint32) {
	if a.errors.Or(e)&e != 0 {
		return
	}
	if l := a.lvt[lvtError].Load(); l&lvtMasked == 0 {
		a.post(uint8(l), false)
	}
}

// Pending returns the highest vector in IRR whose priority class is above the
// processor's (SDM 11.8.3, 11.8.4). It costs one atomic load where IRR is empty.
func (a *APIC) Pending() (vector uint8, ok bool) {
	if a.some.Load() == 0 {
		return 0, false
	}
	return a.pending()
}

func (a *APIC) pending() (uint8, bool) {
	if !a.enabled() {
		return 0, false
	}
	for {
		s := a.some.Load()
		if s == 0 {
			return 0, false
		}
		w := bits.Len32(s) - 1
		x := a.irr[w].Load()
		if x == 0 {
			a.settle(w)
			continue
		}
		v := w<<6 + bits.Len64(x) - 1
		if uint32(v>>4) <= a.ppr.Load()>>4 {
			return 0, false
		}
		return uint8(v), true
	}
}

// settle clears the summary bit of a word of IRR that was found empty, and sets
// it again if a sender filled the word meanwhile.
func (a *APIC) settle(w int) {
	a.some.And(^uint32(1 << w))
	if a.irr[w].Load() != 0 {
		a.some.Or(1 << w)
	}
}

// Accept is the interrupt acknowledge cycle for a vector that Pending returned:
// it moves the vector from IRR to ISR and returns the vector to deliver. That
// is the spurious-interrupt vector, with ISR unchanged, if the interrupt is no
// longer requested (SDM 11.9).
func (a *APIC) Accept(vector uint8) uint8 {
	w, bit := vector>>6, uint64(1)<<(vector&63)
	old := a.irr[w].And(^bit)
	if old&bit == 0 {
		return uint8(a.svr.Load())
	}
	if old == bit {
		a.settle(int(w))
	}
	a.isr[w] |= bit
	a.setPPR()
	return vector
}

// highest returns the highest set bit of a 256-bit register, -1 if none is set.
func highest(r *[4]uint64) int {
	for w := 3; w >= 0; w-- {
		if r[w] != 0 {
			return w<<6 + bits.Len64(r[w]) - 1
		}
	}
	return -1
}

// setPPR computes the processor-priority register (SDM 11.8.3.1).
func (a *APIC) setPPR() {
	p := uint32(a.tpr)
	if v := highest(&a.isr); v >= 0 && uint32(v)>>4 > p>>4 {
		p = uint32(v) & 0xf0
	}
	a.ppr.Store(p)
}

// lowerPPR computes the processor priority after something that may have
// lowered it, and tells the processor of what is deliverable now.
func (a *APIC) lowerPPR() {
	a.setPPR()
	if _, ok := a.Pending(); ok {
		a.notify(Interrupt, 0)
	}
}

// arbitration is the priority with which a competes for lowest-priority
// interrupts: that of what it is doing or is about to do.
func (a *APIC) arbitration() uint8 {
	p := uint8(a.ppr.Load())
	for w := 3; w >= 0; w-- {
		if x := a.irr[w].Load(); x != 0 {
			return max(p, uint8(w<<6+bits.Len64(x)-1)&0xf0)
		}
	}
	return p
}

// eoi ends the interrupt of the highest priority in service (SDM 11.8.5).
func (a *APIC) eoi() {
	v := highest(&a.isr)
	if v < 0 {
		return
	}
	w, bit := v>>6, uint64(1)<<(v&63)
	a.isr[w] &^= bit
	a.setPPR()
	if a.tmr[w].Load()&bit != 0 {
		l := a.lvt[lvtLINT0].Load()
		if l&lvtLevel != 0 && uint8(l) == uint8(v) {
			a.lint0Busy.Store(false)
			a.lint0Assert()
		}
		if a.svr.Load()&svrSuppressEOI == 0 && a.f.cfg.EOI != nil {
			a.f.cfg.EOI(uint8(v))
		}
	}
	if _, ok := a.Pending(); ok {
		a.notify(Interrupt, 0)
	}
}

// CR8 returns the task priority class, 0–15 (SDM 11.8.6).
func (a *APIC) CR8() uint8 { return a.tpr >> 4 }

// SetCR8 sets the task priority class, 0–15.
func (a *APIC) SetCR8(v uint8) { a.setTPR(v & 0xf << 4) }

func (a *APIC) setTPR(v uint8) {
	if a.tpr == v {
		return
	}
	a.tpr = v
	a.lowerPPR()
}

// Base returns the physical address of the register page; ok is false where
// there is none, because the APIC is off or in x2APIC mode. It may be called
// from any goroutine.
func (a *APIC) Base() (gpa uint64, ok bool) {
	b := a.base.Load()
	return b &^ 0xfff, b&(baseEnable|baseX2) == baseEnable
}

// Enabled reports whether the APIC is globally enabled, which
// CPUID.1:EDX[9] shows. It may be called from any goroutine.
func (a *APIC) Enabled() bool { return a.enabled() }

// Reset puts the APIC into its state after power-up or, where powerUp is false,
// after INIT, which leaves IA32_APIC_BASE and so the mode (SDM 11.4.7,
// 11.12.5.1).
func (a *APIC) Reset(powerUp bool) {
	if powerUp {
		base := uint64(DefaultBase | baseEnable)
		if a.id == 0 {
			base |= baseBSP
		}
		a.base.Store(base)
	}
	a.clear()
	if a.ExtINT() {
		a.notify(ExtINT, 0)
	}
}

// clear gives all registers but IA32_APIC_BASE and the ID their reset values.
func (a *APIC) clear() {
	a.svr.Store(0xff)
	a.timerReset()
	for i := range a.lvt {
		a.lvt[i].Store(lvtMasked)
	}
	for w := range a.irr {
		a.irr[w].Store(0)
		a.settle(w)
		a.tmr[w].Store(0)
	}
	a.isr = [4]uint64{}
	a.tpr = 0
	a.setPPR()
	a.ldr.Store(0)
	a.dfr.Store(0xffffffff)
	a.errors.Store(0)
	a.extMessage.Store(false)
	a.lint0Busy.Store(false)
	a.esr = 0
	a.icr = 0
}
