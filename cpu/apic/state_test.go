package apic

import (
	"testing"

	"dfemu/cpu/x86"
)

func TestStateRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name string
		x2   bool
		lvt  uint32
	}{
		{"one-shot", false, 0xec},
		{"periodic", false, timerPeriodic | 0xec},
		{"deadline", false, timerDeadline | 0xec},
		{"x2APIC, periodic", true, timerPeriodic | 0xec},
		{"x2APIC, deadline", true, timerDeadline | 0xec},
	} {
		r := newRig(t, 2).on(c.x2)
		a := r.APIC(1)
		set := func(reg, v uint32) {
			if c.x2 {
				a.WriteMSR(MSRFirst+reg, uint64(v))
			} else {
				r.set(1, reg, v)
			}
		}
		r.clock.jump(1_000_000)
		set(regTDCR, 0xb)
		set(regLVTTimer, c.lvt)
		set(regTICR, 100_000)
		a.WriteMSR(MSRDeadline, 2_200_000) // at 1.1 ms
		set(regLVTLINT0, lvtLevel|0x62)
		set(regLVTLINT1, dmNMI<<8)
		if !c.x2 {
			set(regLDR, 0x02000000)
			set(regDFR, 0x0fffffff)
		}
		a.post(0x51, true)
		a.Accept(0x51)
		a.post(0x52, true)
		a.post(0x91, false)
		a.SetCR8(3)
		a.raise(errRegister)
		r.SendMSI(0xfee01000, dmExtINT<<8)
		r.clock.advance(60_000)

		var s, back x86.State
		a.State(&s)
		q := newRig(t, 2)
		q.clock.jump(r.clock.Now())
		b := q.APIC(1)
		if err := b.SetState(&s); err != nil {
			t.Fatal(err)
		}
		b.State(&back)
		if back != s {
			t.Errorf("%s: not the same state:\n%+v\n%+v", c.name, s.APIC, back.APIC)
		}
		if s.CR8 != 3 || s.APIC.ID != 1 {
			t.Errorf("%s: CR8 %d, ID %d", c.name, s.CR8, s.APIC.ID)
		}
		q.pending(1, c.name, 0x91)
		if !b.ExtINT() {
			t.Errorf("%s: ExtINT message lost", c.name)
		}
		q.clock.advance(39_999)
		q.pending(1, c.name+": timer early", 0x91)
		q.clock.advance(1)
		q.pending(1, c.name+": timer", 0xec)
		// The page that KVM takes holds the same.
		page := Page(&s.APIC)
		p := x86.APIC{ID: s.APIC.ID, TimerStart: s.APIC.TimerStart}
		if SetPage(&p, &page); p != s.APIC {
			t.Errorf("%s: page does not give back the registers", c.name)
		}
		if page[regTPR<<4] != 0x30 {
			t.Errorf("%s: TPR in the page is %#x", c.name, page[regTPR<<4])
		}
	}
}

// A one-shot count that has run out stays so.
func TestStateExpired(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regLVTTimer, 0xec)
	r.set(0, regTICR, 1000)
	r.clock.advance(1e6)
	r.take(0, 0xec)
	var s x86.State
	r.APIC(0).State(&s)
	if err := r.APIC(0).SetState(&s); err != nil {
		t.Fatal(err)
	}
	if n := r.clock.advance(1e9); n != 0 {
		t.Errorf("%d expiries", n)
	}
}

func TestSetStateFresh(t *testing.T) {
	r := newRig(t, 2)
	var s, want x86.State
	r.APIC(1).State(&want)
	r.on(true)
	r.APIC(1).post(0x41, false)
	if err := r.APIC(1).SetState(&s); err != nil {
		t.Fatal(err)
	}
	var got x86.State
	r.APIC(1).State(&got)
	if got != want {
		t.Errorf("a state without registers gives %+v, want %+v", got.APIC, want.APIC)
	}
	p := PowerUp(1)
	if err := r.APIC(1).SetState(&p); err != nil {
		t.Fatal(err)
	}
	if r.APIC(1).State(&got); got != want {
		t.Errorf("PowerUp gives %+v, want %+v", got.APIC, want.APIC)
	}
}

func TestSetStateHostile(t *testing.T) {
	r := newRig(t, 1)
	a := r.APIC(0)
	for _, base := range []uint64{DefaultBase | baseX2, DefaultBase | baseEnable | 1, 1<<40 | baseEnable} {
		s := PowerUp(0)
		s.MSR.APICBase = base
		if a.SetState(&s) == nil {
			t.Errorf("IA32_APIC_BASE %#x is taken", base)
		}
	}
	for _, start := range []int64{-1 << 63, -1, 1<<63 - 1} {
		s := PowerUp(0)
		for i := range s.APIC.Regs {
			s.APIC.Regs[i] = 0xffffffff
		}
		s.APIC.Regs[regLVTTimer] = timerPeriodic | 0x20
		s.APIC.TimerStart = start
		if err := a.SetState(&s); err != nil {
			t.Fatal(err)
		}
		if n := r.clock.advance(2e12); n < 1 || n > 2e12/minHostPeriod {
			t.Errorf("start %d: %d expiries", start, n)
		}
		if v := r.reg(0, regISR); v != 0xffff0000 {
			t.Errorf("ISR is %#x", v)
		}
		for range 300 {
			a.eoi()
		}
		if _, ok := a.Pending(); ok {
			t.Error("pending above the highest task priority")
		}
	}
}
