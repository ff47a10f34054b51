package apic

import "testing"

func TestResetValues(t *testing.T) {
	r := newRig(t, 3)
	for _, c := range []struct{ reg, want uint32 }{
		{regID, 2 << 24}, {regVersion, 0x01050014}, {regTPR, 0}, {regPPR, 0}, {regLDR, 0},
		{regDFR, 0xffffffff}, {regSVR, 0xff}, {regESR, 0}, {regICR, 0}, {regICR2, 0},
		{regLVTTimer, 0x10000}, {regLVTThermal, 0x10000}, {regLVTPerf, 0x10000},
		{regLVTLINT0, 0x10000}, {regLVTLINT1, 0x10000}, {regLVTError, 0x10000},
		{regTICR, 0}, {regTCCR, 0}, {regTDCR, 0},
	} {
		r.want(2, c.reg, c.want, "reset")
	}
	for id, want := range []uint64{0xfee00900, 0xfee00800, 0xfee00800} {
		if v, ok := r.APIC(id).ReadMSR(MSRBase); !ok || v != want {
			t.Errorf("IA32_APIC_BASE of %d is %#x, want %#x", id, v, want)
		}
	}
	if r.APIC(3) != nil || r.APIC(-1) != nil {
		t.Error("there are processors that there are not")
	}
}

func TestWritableBits(t *testing.T) {
	r := newRig(t, 1).on(false)
	for _, c := range []struct{ reg, want uint32 }{
		{regID, 0}, {regVersion, 0x01050014}, {regTPR, 0xff}, {regLDR, 0xff000000}, {regDFR, 0xffffffff},
		{regSVR, 0x13ff}, {regICR2, 0xff000000},
		{regLVTTimer, 0x700ff}, {regLVTThermal, 0x107ff}, {regLVTPerf, 0x107ff},
		{regLVTLINT0, 0x1a7ff}, {regLVTLINT1, 0x1a7ff}, {regLVTError, 0x100ff}, {regTDCR, 0xb},
		{regISR, 0}, {regTMR, 0}, {regIRR, 0}, {regTCCR, 0},
	} {
		r.set(0, c.reg, 0xffffffff)
		r.want(0, c.reg, c.want, "all ones")
	}
	r.set(0, regDFR, 0)
	r.want(0, regDFR, 0x0fffffff, "DFR")
	r.set(0, regICR, 0xffffffff&^(7<<8)|3<<8) // a reserved mode: nothing is sent
	r.want(0, regICR, 0xccfff&^(7<<8)|3<<8, "ICR")
}

func TestAccessSizes(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	r.set(0, regTPR, 0x5a)
	for _, c := range []struct {
		offset uint64
		size   int
		want   uint64
	}{
		{0x30, 4, 0x01050014}, {0x30, 1, 0x14}, {0x32, 1, 0x05}, {0x32, 2, 0x0105}, {0x30, 8, 0x01050014},
		{0x33, 4, 0x01}, {0x34, 4, 0}, {0x80, 2, 0x5a}, {0xff0, 4, 0},
	} {
		if got := a.Read(c.offset, c.size); got != c.want {
			t.Errorf("Read(%#x, %d) = %#x, want %#x", c.offset, c.size, got, c.want)
		}
	}
	a.Write(0x80, 1, 0x11)
	a.Write(0x80, 2, 0x11)
	a.Write(0x81, 4, 0x11)
	a.Write(0x84, 4, 0x11)
	r.want(0, regTPR, 0x5a, "writes that are not aligned writes of four bytes")
}

func TestBaseTransitions(t *testing.T) {
	const off, x, x2 = DefaultBase, DefaultBase | baseEnable, DefaultBase | baseEnable | baseX2
	for _, c := range []struct {
		name string
		path []uint64
		to   uint64
		ok   bool
	}{
		{"xAPIC to xAPIC", nil, x, true},
		{"xAPIC to off", nil, off, true},
		{"xAPIC to x2APIC", nil, x2, true},
		{"xAPIC to invalid", nil, DefaultBase | baseX2, false},
		{"x2APIC to x2APIC", []uint64{x2}, x2, true},
		{"x2APIC to xAPIC", []uint64{x2}, x, false},
		{"x2APIC to off", []uint64{x2}, off, true},
		{"x2APIC to invalid", []uint64{x2}, DefaultBase | baseX2, false},
		{"off to xAPIC", []uint64{off}, x, true},
		{"off to x2APIC", []uint64{off}, x2, false},
		{"off to invalid", []uint64{off}, DefaultBase | baseX2, false},
		{"off by x2APIC to xAPIC", []uint64{x2, off}, x, true},
		{"reserved bit 0", nil, x | 1, false},
		{"reserved bit 9", nil, x | 1<<9, false},
		{"highest address bit", nil, x | 1<<39, true},
		{"beyond the highest address bit", nil, x | 1<<40, false},
		{"bit 12", nil, x | 1<<12, true},
	} {
		r := newRig(t, 1)
		a := r.APIC(0)
		for _, v := range c.path {
			if !a.WriteMSR(MSRBase, v) {
				t.Errorf("%s: on the way: %#x is not ok", c.name, v)
			}
		}
		before, _ := a.ReadMSR(MSRBase)
		if ok := a.WriteMSR(MSRBase, c.to); ok != c.ok {
			t.Errorf("%s: ok = %v", c.name, ok)
		}
		want := before
		if c.ok {
			want = c.to
		}
		if v, _ := a.ReadMSR(MSRBase); v != want {
			t.Errorf("%s: IA32_APIC_BASE is %#x, want %#x", c.name, v, want)
		}
	}
}

func TestModes(t *testing.T) {
	r := newRig(t, 2).on(false)
	a := r.APIC(1)
	r.set(1, regTPR, 0x20)
	a.post(0x41, false)
	a.WriteMSR(MSRBase, 0x12345000|baseEnable)
	if gpa, ok := a.Base(); !ok || gpa != 0x12345000 {
		t.Errorf("Base = %#x, %v", gpa, ok)
	}
	r.pending(1, "page moved", 0x41)

	a.WriteMSR(MSRBase, DefaultBase|baseEnable|baseX2)
	if _, ok := a.Base(); ok {
		t.Error("there is a register page in x2APIC mode")
	}
	if v := a.Read(regTPR<<4, 4); v != 0xffffffff {
		t.Errorf("register page reads %#x in x2APIC mode", v)
	}
	r.pending(1, "to x2APIC", 0x41)
	if v, ok := a.ReadMSR(MSRFirst + regTPR); !ok || v != 0x20 {
		t.Errorf("TPR is %#x, %v after the switch to x2APIC mode", v, ok)
	}
	// INIT keeps the mode.
	a.Reset(false)
	if v, _ := a.ReadMSR(MSRFirst + regSVR); v != 0xff {
		t.Errorf("SVR is %#x after INIT", v)
	}
	if v, ok := a.ReadMSR(MSRFirst + regID); !ok || v != 1 {
		t.Errorf("ID is %d, %v after INIT", v, ok)
	}
	r.pending(1, "INIT", 0)

	a.WriteMSR(MSRBase, DefaultBase)
	if a.Enabled() {
		t.Error("enabled after being turned off")
	}
	r.told()
	for _, m := range []uint32{0x41, dmNMI << 8, dmINIT << 8} {
		r.SendMSI(0xfee01000, m)
	}
	r.expect("an APIC that is off takes no messages")
	if _, ok := a.ReadMSR(MSRFirst + regTPR); ok {
		t.Error("x2APIC registers while off")
	}
	a.WriteMSR(MSRBase, DefaultBase|baseEnable)
	r.want(1, regTPR, 0, "on again")
	r.want(1, regID, 1<<24, "on again")
	a.Reset(true)
	if v, _ := a.ReadMSR(MSRBase); v != DefaultBase|baseEnable {
		t.Errorf("IA32_APIC_BASE is %#x after power-up", v)
	}
}

func TestX2APICFaults(t *testing.T) {
	r := newRig(t, 1).on(true)
	a := r.APIC(0)
	readable := map[uint32]bool{regID: true, regVersion: true, regTPR: true, regPPR: true, regLDR: true, regSVR: true,
		regESR: true, regICR: true, regLVTTimer: true, regLVTThermal: true, regLVTPerf: true, regLVTLINT0: true,
		regLVTLINT1: true, regLVTError: true, regTICR: true, regTCCR: true, regTDCR: true}
	for i := range uint32(8) {
		readable[regISR+i], readable[regTMR+i], readable[regIRR+i] = true, true, true
	}
	// The bits that may be set; a register that is absent takes no write.
	writable := map[uint32]uint64{regTPR: 0xff, regEOI: 0, regSVR: 0x13ff, regESR: 0, regICR: 0xffffffff000ccfff,
		regLVTTimer: 0x710ff, regLVTThermal: 0x117ff, regLVTPerf: 0x117ff, regLVTLINT0: 0x1f7ff, regLVTLINT1: 0x1f7ff,
		regLVTError: 0x110ff, regTICR: 0xffffffff, regTDCR: 0xb, regSelfIPI: 0xff}
	for reg := range uint32(0x100) {
		if _, ok := a.ReadMSR(MSRFirst + reg); ok != readable[reg] {
			t.Errorf("read of %#x: ok = %v", MSRFirst+reg, ok)
		}
		bits, ok := writable[reg]
		if got := a.WriteMSR(MSRFirst+reg, 0); got != ok {
			t.Errorf("write of 0 to %#x: ok = %v", MSRFirst+reg, got)
		}
		for i := range 64 {
			v := uint64(1) << i
			if got := a.WriteMSR(MSRFirst+reg, v); got != (ok && bits&v != 0) {
				t.Errorf("write of %#x to %#x: ok = %v", v, MSRFirst+reg, got)
			}
		}
	}
	for _, msr := range []uint32{0, 0x7ff, 0x900, 0xffffffff} {
		if _, ok := a.ReadMSR(msr); ok || a.WriteMSR(msr, 0) {
			t.Errorf("MSR %#x is answered", msr)
		}
	}
	x := newRig(t, 1).on(false).APIC(0)
	if _, ok := x.ReadMSR(MSRFirst + regTPR); ok || x.WriteMSR(MSRFirst+regTPR, 0) {
		t.Error("x2APIC registers in xAPIC mode")
	}
}

func TestSelfIPI(t *testing.T) {
	r := newRig(t, 2).on(true)
	a := r.APIC(1)
	a.WriteMSR(MSRFirst+regSelfIPI, 0x55)
	if got := r.got(0x55); got != "1" {
		t.Errorf("self IPI reached %q", got)
	}
	a.WriteMSR(MSRFirst+regSelfIPI, 3)
	a.WriteMSR(MSRFirst+regESR, 0)
	if v, _ := a.ReadMSR(MSRFirst + regESR); v != errSendIllegal {
		t.Errorf("ESR is %#x after a self IPI with vector 3", v)
	}
}
