package apic

import (
	"encoding/binary"
	"fmt"

	"dfemu/cpu/x86"
)

// State copies the APIC's state to s: APIC, CR8, MSR.APICBase and
// MSR.TSCDeadline.
func (a *APIC) State(s *x86.State) {
	// The count is read first: if the timer has expired, IRR shows it.
	now := a.currentCount()
	r := x86.APIC{ID: a.id}
	for i := range r.Regs {
		if v, ok := a.read(uint32(i)); ok {
			r.Regs[i] = v
		}
	}
	r.Regs[snapErrors] = a.errors.Load()
	if a.extMessage.Load() {
		r.Regs[snapExtINT] = 1
	}
	a.timer.mu.Lock()
	// The copy of the count decides, on the way back, whether it was running.
	r.Regs[regTCCR] = now
	if a.timer.armed && a.lvt[lvtTimer].Load()&lvtTimerMode <= timerPeriodic {
		r.TimerStart = a.timer.start
	}
	s.MSR.TSCDeadline = a.timer.deadline
	a.timer.mu.Unlock()
	s.APIC = r
	s.MSR.APICBase = a.base.Load()
	s.CR8 = uint64(a.CR8())
}

// SetState sets the APIC's state from s. A register array without a version
// stands for an APIC after power-up (and then, so does a zero APICBase). The
// task priority is that of the register array, not of CR8. Bits that registers
// do not have are dropped; an APICBase that no write could make is an error,
// and changes nothing. The guest's time-stamp count must have been set before.
func (a *APIC) SetState(s *x86.State) error {
	r := &s.APIC.Regs
	base := s.MSR.APICBase
	fresh := r[regVersion] == 0
	if fresh && base == 0 {
		base = PowerUp(a.id).MSR.APICBase
	}
	if !a.validBase(base) {
		return fmt.Errorf("cpu/apic: processor %d: IA32_APIC_BASE %#x of the state has reserved bits or no valid mode", a.id, base)
	}
	a.base.Store(base)
	a.clear()
	if fresh {
		a.lint0Changed()
		return nil
	}
	a.svr.Store(r[regSVR] & a.svrMask())
	a.ldr.Store(r[regLDR] & 0xff000000)
	a.dfr.Store(r[regDFR] | 0x0fffffff)
	a.esr = r[regESR] & 0xff
	a.errors.Store(r[snapErrors] & 0xff)
	a.extMessage.Store(r[snapExtINT]&1 != 0)
	a.icr = uint64(r[regICR2])<<32 | uint64(r[regICR]&icrWritable)
	if base&baseX2 == 0 {
		a.icr &^= 0xffffff << 32
	}
	a.tpr = uint8(r[regTPR])
	a.isr = wide(r[regISR : regISR+8])
	irr, tmr := wide(r[regIRR:regIRR+8]), wide(r[regTMR:regTMR+8])
	// Vectors below 16 cannot be requested or in service.
	irr[0] &^= 0xffff
	tmr[0] &^= 0xffff
	a.isr[0] &^= 0xffff
	for w := range irr {
		a.tmr[w].Store(tmr[w])
		a.irr[w].Store(irr[w])
		if irr[w] != 0 {
			a.some.Or(1 << w)
		}
	}
	for i := range a.lvt {
		v := r[regLVTTimer+i] & lvtWritable[i]
		if a.svr.Load()&svrEnable == 0 {
			v |= lvtMasked
		}
		if i != lvtTimer {
			a.lvt[i].Store(v)
			continue
		}
		a.restoreTimer(v, s)
	}
	a.lint0Busy.Store(r[regLVTLINT0]&lvtRemoteIRR != 0)
	a.lint0Changed()
	a.lowerPPR()
	return nil
}

// restoreTimer sets the timer and its LVT entry from a snapshot.
func (a *APIC) restoreTimer(lvt uint32, s *x86.State) {
	r := &s.APIC.Regs
	a.withTimer(func(t *timer, now int64) {
		a.lvt[lvtTimer].Store(lvt)
		t.init = r[regTICR]
		t.divide = r[regTDCR] & 0xb
		if lvt&lvtTimerMode == timerDeadline {
			t.init = 0
			t.deadline = s.MSR.TSCDeadline
			t.armed = t.deadline != 0
			t.due = a.reaches(t.deadline, now)
			return
		}
		// A count that has run out shows 0, one that runs never does.
		t.armed = t.init != 0 && r[regTCCR] != 0 && lvt&lvtTimerMode <= timerPeriodic
		t.start = min(max(s.APIC.TimerStart, now-t.period()), now)
	})
}

// wide packs eight registers of 32 bits.
func wide(r []uint32) (x [4]uint64) {
	for i, v := range r {
		x[i/2] |= uint64(v) << (i & 1 * 32)
	}
	return x
}

// PowerUp returns a state in which only what SetState looks at is set, as it is
// after power-up of processor id.
func PowerUp(id uint32) x86.State {
	var s x86.State
	s.MSR.APICBase = DefaultBase | baseEnable
	if id == 0 {
		s.MSR.APICBase |= baseBSP
	}
	s.APIC.ID = id
	r := &s.APIC.Regs
	r[regID] = id << 24
	r[regVersion] = versionValue
	r[regDFR] = 0xffffffff
	r[regSVR] = 0xff
	for i := range numLVT {
		r[regLVTTimer+i] = lvtMasked
	}
	return s
}

// Page writes the registers of s as they lie in the first kilobyte of the
// register page, which is also how KVM exchanges them.
func Page(s *x86.APIC) (page [1024]byte) {
	for i, v := range s.Regs {
		binary.LittleEndian.PutUint32(page[i*16:], v)
	}
	return page
}

// SetPage sets the registers of s from such a page. It leaves ID and TimerStart.
func SetPage(s *x86.APIC, page *[1024]byte) {
	for i := range s.Regs {
		s.Regs[i] = binary.LittleEndian.Uint32(page[i*16:])
	}
}
