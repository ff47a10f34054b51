package apic

import (
	"slices"
	"testing"
)

func TestPriority(t *testing.T) {
	for _, c := range []struct {
		name    string
		tpr     uint32
		service []uint8 // accepted, in this order
		request []uint8
		ppr     uint32
		pending uint8
	}{
		{"nothing", 0, nil, nil, 0, 0},
		{"lowest vector", 0, nil, []uint8{16}, 0, 16},
		{"highest of several", 0, nil, []uint8{0x31, 0xef, 0x40}, 0, 0xef},
		{"highest across words", 0, nil, []uint8{0x3f, 0x40}, 0, 0x40},
		{"same class as the task", 0x30, nil, []uint8{0x3f}, 0x30, 0},
		{"class above the task", 0x3f, nil, []uint8{0x40}, 0x3f, 0x40},
		{"sub-class of the task does not count", 0x31, nil, []uint8{0x30}, 0x31, 0},
		{"same class as in service", 0, []uint8{0x51}, []uint8{0x5f}, 0x50, 0},
		{"class above in service", 0, []uint8{0x51}, []uint8{0x60}, 0x50, 0x60},
		{"highest in service counts", 0, []uint8{0x51, 0x82}, []uint8{0x70}, 0x80, 0},
		{"task above in service", 0x90, []uint8{0x51}, []uint8{0x9f}, 0x90, 0},
		{"task equal to in service keeps its sub-class", 0x57, []uint8{0x51}, nil, 0x57, 0},
		{"highest task priority masks all", 0xf0, nil, []uint8{0xff}, 0xf0, 0},
		{"vector being serviced may wait again", 0, []uint8{0x51}, []uint8{0x51}, 0x50, 0},
	} {
		r := newRig(t, 1).on(false)
		a := r.APIC(0)
		for _, v := range c.service {
			a.post(v, false)
			r.take(0, v)
		}
		r.set(0, regTPR, c.tpr)
		for _, v := range c.request {
			a.post(v, false)
		}
		r.want(0, regPPR, c.ppr, c.name)
		r.pending(0, c.name, c.pending)
	}
}

func TestEOIOrder(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	for _, v := range []uint8{0x31, 0x51, 0xa1} {
		a.post(v, false)
		r.take(0, v)
	}
	a.post(0x41, false)
	a.post(0x52, false)
	r.told()
	r.set(0, regEOI, 0) // ends 0xa1
	r.want(0, regPPR, 0x50, "after the first EOI")
	r.expect("0x52 is of the class in service")
	r.set(0, regEOI, 0) // ends 0x51
	r.expect("0x52 became deliverable", "0:interrupt")
	r.take(0, 0x52)
	r.set(0, regEOI, 0)
	r.take(0, 0x41)
	r.set(0, regEOI, 0)
	r.set(0, regEOI, 0) // ends 0x31
	r.want(0, regPPR, 0, "after the last EOI")
	r.set(0, regEOI, 0) // of nothing
	for i := range uint32(8) {
		r.want(0, regISR+i, 0, "after the last EOI")
	}
	if len(r.eois) != 0 {
		t.Errorf("EOI of edge-triggered interrupts broadcast: %x", r.eois)
	}
}

func TestNotifyOnlyWhenNeeded(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	a.post(0x41, false)
	r.expect("new vector", "0:interrupt")
	a.post(0x41, false)
	r.expect("vector already requested")
	r.set(0, regTPR, 0x50)
	a.post(0x51, false)
	r.expect("blocked by the task priority")
	a.SetCR8(6)
	r.expect("still blocked")
	a.SetCR8(4)
	r.expect("unblocked", "0:interrupt")
	if a.CR8() != 4 || r.reg(0, regTPR) != 0x40 {
		t.Errorf("CR8 %d, TPR %#x; want 4, 0x40", a.CR8(), r.reg(0, regTPR))
	}
	r.set(0, regTPR, 0x7b)
	if a.CR8() != 7 {
		t.Errorf("CR8 is %d after TPR 0x7b", a.CR8())
	}
}

func TestLevelEOIBroadcast(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	level := func(v uint32) {
		r.SendMSI(0xfee00000, icrLevel|icrAssert|v)
		r.take(0, uint8(v))
	}
	level(0x61)
	if r.reg(0, regTMR+3) != 1<<1 {
		t.Errorf("TMR is %#x", r.reg(0, regTMR+3))
	}
	r.set(0, regEOI, 0)
	if !slices.Equal(r.eois, []uint8{0x61}) {
		t.Errorf("broadcast %x, want [61]", r.eois)
	}
	// The same vector by an edge clears its trigger mode.
	a.post(0x61, false)
	r.take(0, 0x61)
	r.set(0, regEOI, 0)
	// Suppressed by software.
	r.set(0, regSVR, 0x11ff)
	level(0x62)
	r.set(0, regEOI, 0)
	if !slices.Equal(r.eois, []uint8{0x61}) {
		t.Errorf("broadcast %x, want no more than [61]", r.eois)
	}
	// A de-asserted level is no interrupt.
	r.SendMSI(0xfee00000, icrLevel|0x63)
	r.pending(0, "level de-asserted", 0)
}

// A still asserted line is sent again from inside the EOI broadcast.
func TestEOIResends(t *testing.T) {
	clock := &fakeClock{}
	var f *Fabric
	notified := 0
	f = New(Config{CPUs: 1, Clock: clock,
		EOI:    func(v uint8) { f.SendMSI(0xfee00000, icrLevel|icrAssert|uint32(v)) },
		Notify: func(int, Event, uint8) { notified++ },
	})
	a := f.APIC(0)
	a.Write(regSVR<<4, 4, 0x1ff)
	f.SendMSI(0xfee00000, icrLevel|icrAssert|0x71)
	for range 3 {
		if v, ok := a.Pending(); !ok || v != 0x71 {
			t.Fatalf("pending %#x, %v", v, ok)
		}
		a.Accept(0x71)
		n := notified
		a.Write(regEOI<<4, 4, 0)
		if notified == n {
			t.Fatal("not notified of the interrupt that was sent again")
		}
	}
}

func TestAcceptSpurious(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regSVR, 0x1e7)
	if v := r.APIC(0).Accept(0x55); v != 0xe7 {
		t.Errorf("Accept of a vector not requested = %#x, want the spurious vector 0xe7", v)
	}
	r.want(0, regISR+2, 0, "spurious interrupt")
	r.want(0, regPPR, 0, "spurious interrupt")
}

func TestSoftwareDisable(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	a.post(0x41, false)
	r.set(0, regLVTError, 0xfe)
	r.set(0, regSVR, 0xff)
	r.want(0, regLVTError, lvtMasked|0xfe, "turned off")
	r.set(0, regLVTError, 0xfd)
	r.want(0, regLVTError, lvtMasked|0xfd, "mask cannot be cleared while off")
	a.post(0x51, false)
	r.pending(0, "held while off, nothing new", 0x41)
	r.told()
	r.SendMSI(0xfee00000, dmNMI<<8)
	r.SendMSI(0xfee00000, dmINIT<<8)
	r.expect("NMI and INIT are taken while off", "0:NMI", "0:INIT")
}

func TestErrors(t *testing.T) {
	r := newRig(t, 2).on(false)
	r.set(0, regLVTError, 0xe5)
	latch := func(what string, want uint32) {
		t.Helper()
		r.want(0, regESR, 0, what+": before the write")
		r.set(0, regESR, 0)
		r.want(0, regESR, want, what)
		if r.got(0xe5) != "0" {
			t.Errorf("%s: no error interrupt", what)
		}
		r.set(0, regESR, 0) // back to 0
	}
	latchNone := func(what string) {
		t.Helper()
		r.set(0, regESR, 0)
		r.want(0, regESR, 0, what)
		r.pending(0, what, 0)
	}
	r.set(0, regICR2, 1<<24)
	r.set(0, regICR, 0x0f)
	latch("IPI with vector 15", errSendIllegal)
	r.pending(1, "IPI with vector 15", 0)
	r.SendMSI(0xfee00000, 0x00)
	latch("MSI with vector 0", errReceiveIllegal)
	r.reg(0, 0x3f)
	latch("read of a reserved register", errRegister)
	r.set(0, 0x04, 1)
	latch("write of a reserved register", errRegister)
	r.set(0, regSVR, 0x1ff)
	latchNone("a good write")
	// An illegal error vector is an error too, and the end of it.
	r.set(0, regLVTError, 0x05)
	r.reg(0, 0x00)
	r.set(0, regESR, 0)
	r.want(0, regESR, errRegister|errReceiveIllegal, "illegal error vector")
}

// The summary of IRR may be set for an empty word, and is never left clear for
// one that a sender has filled between the two looks at it.
func TestSummary(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	a.some.Store(0xf)
	r.pending(0, "all words empty", 0)
	if s := a.some.Load(); s != 0 {
		t.Errorf("summary of empty words is %#x", s)
	}
	a.irr[1].Store(1 << 5)
	a.settle(1)
	r.pending(0, "word filled meanwhile", 0x45)
	// Accepting one vector of a word keeps the others.
	a.post(0x46, false)
	r.take(0, 0x46)
	a.eoi()
	r.take(0, 0x45)
	if s := a.some.Load(); s != 0 {
		t.Errorf("summary is %#x after the last vector was taken", s)
	}
}
