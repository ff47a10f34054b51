package interp

import (
	"testing"

	"dfemu/cpu/kvmclock"
	"dfemu/cpu/x86"
)

func TestControlRegisterFaults(t *testing.T) {
	const pe, pg = x86.CR0_PE, x86.CR0_PG
	movCR := func(n byte) []byte { return []byte{0x0f, 0x22, 0xc0 | n<<3} }
	for _, tt := range []struct {
		name string
		long bool
		cr   byte
		v    uint64
		vec  int
		want uint64
	}{
		{"CR0, PG without PE", false, 0, pg, 13, 0},
		{"CR0, NW without CD", false, 0, pe | x86.CR0_NW, 13, 0},
		{"CR0, undefined bits", false, 0, pe | 1<<10, -1, pe | x86.CR0_ET},
		{"CR0, upper half", true, 0, 1<<32 | pe | pg, 13, 0},
		{"CR3, reserved bits", true, 3, 1 << 46, 13, 0},
		{"CR3, bit 63 without PCIDE", true, 3, 1<<63 | rigPML4, 13, 0},
		{"CR3", true, 3, rigPML4 | 0x18, -1, rigPML4 | 0x18},
		{"CR4, reserved bit", false, 4, 1 << 15, 13, 0},
		{"CR4, PCIDE outside long mode", false, 4, x86.CR4_PCIDE, 13, 0},
		{"CR4, PAE off", true, 4, 0, 13, 0},
		{"CR4, LA57 in long mode", true, 4, x86.CR4_PAE | x86.CR4_LA57, 13, 0},
		{"CR4, PCIDE", true, 4, x86.CR4_PAE | x86.CR4_PCIDE, -1, x86.CR4_PAE | x86.CR4_PCIDE},
		{"CR2", true, 2, 1 << 60, -1, 1 << 60},
	} {
		r := newSysrig(t, 1)
		cs := uint16(selCode0)
		if tt.long {
			cs = selWide0
		}
		r.enter(tt.long, cs, selData0)
		r.c.r[x86.RAX] = tt.v
		vec, _ := r.exec(movCR(tt.cr)...)
		if vec != tt.vec {
			t.Errorf("%s: exception %d, want %d", tt.name, vec, tt.vec)
			continue
		}
		if vec >= 0 {
			continue
		}
		if vec, _ = r.exec(0x0f, 0x20, 0xc1|tt.cr<<3); vec != -1 || r.c.r[x86.RCX] != tt.want {
			t.Errorf("%s: reads %#x (%d), want %#x", tt.name, r.c.r[x86.RCX], vec, tt.want)
		}
	}

	r := newSysrig(t, 1)
	r.enter(true, selWide3, selData3)
	for _, code := range [][]byte{
		{0x0f, 0x20, 0xc0}, {0x0f, 0x22, 0xc0}, {0x0f, 0x21, 0xf8}, {0x0f, 0x06}, {0x0f, 0x01, 0x3b}, {0x0f, 0x09},
		{0x0f, 0x30}, {0x0f, 0x32}, {0xf4}, {0x0f, 0x01, 0x13}, {0x0f, 0x01, 0xf0}, {0x0f, 0x00, 0xd8}, {0x0f, 0x01, 0xf8}, {0x0f, 0x07},
		{0x0f, 0x35}, {0xfa}, {0xfb}, {0x0f, 0x33}, {0x0f, 0x01, 0xd1},
	} {
		if vec, err := r.exec(code...); vec != 13 || err != 0 {
			t.Errorf("% x at CPL 3: exception %d %#x", code, vec, err)
		}
	}
	// UMIP.
	for _, code := range [][]byte{{0x0f, 0x01, 0x03}, {0x0f, 0x01, 0x0b}, {0x0f, 0x00, 0xc0}, {0x0f, 0x00, 0xc8}, {0x0f, 0x01, 0xe0}} {
		r.enter(true, selWide3, selData3)
		r.c.r[x86.RBX] = rigData
		if vec, _ := r.exec(code...); vec != -1 {
			t.Errorf("% x at CPL 3: exception %d", code, vec)
		}
		r.c.rip = rigCode
		r.c.s.CR4 |= x86.CR4_UMIP
		if vec, _ := r.exec(code...); vec != 13 {
			t.Errorf("% x at CPL 3 with UMIP: exception %d", code, vec)
		}
	}
}

func TestPCID(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	c.s.CR4 |= x86.CR4_PCIDE
	c.r[x86.RBX] = rigData
	load := func() uint16 { // LLDT would do; MOV is not needed for a load: SMSW stores, LMSW loads
		v, ok := loadAt[uint16](c, nil, rigData)
		if !ok {
			t.Fatalf("load: exception %d %#x", c.exc.vec, c.exc.code)
		}
		return v
	}
	r.put16(rigData, 1)
	r.put16(rigData+0x1000, 2)
	load()
	r.put64(rigPML4+0x3000+rigData>>12*8, (rigData+0x1000)|pteP|pteW)
	if load() != 1 {
		t.Skip("translations are not cached")
	}
	// The same PCID, with bit 63: translations stay.
	c.r[x86.RAX] = rigPML4 | 1<<63
	if vec, _ := r.exec(0x0f, 0x22, 0xd8); vec != -1 || c.s.CR3 != rigPML4 || load() != 1 {
		t.Errorf("MOV CR3 with bit 63: exception %d, CR3 %#x, loads %d", vec, c.s.CR3, load())
	}
	// Another PCID's translations are not used.
	c.r[x86.RAX] = rigPML4 | 5 | 1<<63
	if vec, _ := r.exec(0x0f, 0x22, 0xd8); vec != -1 || load() != 2 {
		t.Errorf("MOV CR3 to another PCID: exception %d, loads %d", vec, load())
	}
	// INVPCID of an address, of the present PCID and of another.
	invpcid := []byte{0x66, 0x0f, 0x38, 0x82, 0x03}
	desc := func(pcid, addr uint64) {
		r.put64(rigData+0x2000, pcid)
		r.put64(rigData+0x2008, addr)
		c.r[x86.RBX] = rigData + 0x2000
	}
	r.put64(rigPML4+0x3000+rigData>>12*8, rigData|pteP|pteW)
	desc(6, rigData)
	c.r[x86.RAX] = 0
	if vec, _ := r.exec(invpcid...); vec != -1 || load() != 2 {
		t.Errorf("INVPCID of PCID 6: %d, loads %d", vec, load())
	}
	desc(5, rigData)
	if vec, _ := r.exec(invpcid...); vec != -1 || load() != 1 {
		t.Errorf("INVPCID: %d, loads %d", vec, load())
	}
	for _, bad := range [][3]uint64{{4, 0, 0}, {0, 1 << 12, 0}, {0, 5, 1 << 50}} {
		desc(bad[1], bad[2])
		c.r[x86.RAX] = bad[0]
		if vec, _ := r.exec(invpcid...); vec != 13 {
			t.Errorf("INVPCID %v: %d", bad, vec)
		}
	}
	// PCIDE can only be cleared, and paging not turned off.
	c.r[x86.RAX] = x86.CR0_PE
	if vec, _ := r.exec(0x0f, 0x22, 0xc0); vec != 13 {
		t.Errorf("PG off with PCIDE: %d", vec)
	}
}

func TestInvlpgLargePage(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	r.put64(rigPML4+0x2000+8, 0x200000|pteP|pteW|ptePS) // 2 MiB at 2 MiB
	c.flushTLB()
	r.mem[0x205000] = 7
	if v, _ := loadAt[uint8](c, nil, 0x205000); v != 7 {
		t.Fatalf("loaded %d", v)
	}
	r.put64(rigPML4+0x2000+8, 0x000000|pteP|pteW|ptePS)
	r.mem[0x5000] = 9
	c.r[x86.RBX] = 0x3ff000 // another piece of the same page
	if vec, _ := r.exec(0x0f, 0x01, 0x3b); vec != -1 {
		t.Fatalf("INVLPG: %d", vec)
	}
	if v, _ := loadAt[uint8](c, nil, 0x205000); v != 9 {
		t.Errorf("loaded %d after INVLPG of the page", v)
	}
}

func TestDebugRegisters(t *testing.T) {
	r := newSysrig(t, 1)
	for _, tt := range []struct {
		reg     byte
		cr4     uint64
		v, want uint64
		vec     int
	}{
		{6, 0, 0, 0xffff0ff0, -1},
		{6, 0, 0xffffffff, 0xffffefff, -1},
		{7, 0, 0xffffd3ff &^ (1 << 13), 0xffff07ff, -1},
		{4, 0, 1, 0xffff0ff1, -1},
		{5, 0, 0, 0x400, -1},
		{4, x86.CR4_DE, 0, 0, 6},
		{0, 0, 0xffff800000000000, 0xffff800000000000, -1},
		{7, 0, 1 << 32, 0, 13},
	} {
		r.enter(true, selWide0, selData0)
		r.c.s.CR4 |= tt.cr4
		r.c.r[x86.RAX] = tt.v
		vec, _ := r.exec(0x0f, 0x23, 0xc0|tt.reg<<3)
		if vec != tt.vec {
			t.Errorf("MOV DR%d, %#x: exception %d, want %d", tt.reg, tt.v, vec, tt.vec)
		}
		if vec >= 0 {
			continue
		}
		r.c.s.DR[7] &= 0x0fffffff
		n, _ := r.c.debugRegister(tt.reg)
		if n != 7 && r.c.s.DR[n] != tt.want || n == 7 && r.c.s.DR[7] != tt.want&0x0fffffff {
			t.Errorf("DR%d is %#x, want %#x", tt.reg, r.c.s.DR[n], tt.want)
		}
	}
}

func TestMSR(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	for _, tt := range []struct {
		msr  uint32
		v    uint64
		want uint64
		ok   bool
	}{
		{msrEFER, x86.EFER_LME | x86.EFER_LMA | x86.EFER_SCE, x86.EFER_LME | x86.EFER_LMA | x86.EFER_SCE, true},
		{msrEFER, x86.EFER_LME | x86.EFER_NXE, x86.EFER_LME | x86.EFER_LMA | x86.EFER_NXE, true},
		{msrEFER, x86.EFER_LMA, 0, false},         // LME cannot change while paging is on
		{msrEFER, x86.EFER_LME | 1<<12, 0, false}, // SVME
		{msrSTAR, ^uint64(0), ^uint64(0), true},   //
		{msrLSTAR, 0xffff800000001000, 0xffff800000001000, true},
		{msrLSTAR, 1 << 47, 0, false},
		{msrFMASK, 1 << 32, 0, false},
		{msrKernelGSBase, 1 << 60, 0, false},
		{msrGSBase, 0x1234, 0x1234, true},
		{msrTSCAux, 5, 5, true},
		{msrTSCAux, 1 << 32, 0, false},
		{msrPAT, 0x0007040600070406, 0x0007040600070406, true},
		{msrPAT, 2, 0, false},
		{msrPAT, 8 << 56, 0, false},
		{msrMTRRPhys, 0x80000006, 0x80000006, true},
		{msrMTRRPhys, 0x80000002, 0, false},
		{msrMTRRPhys + 1, 1<<46 - 1<<31 | 1<<11, 1<<46 - 1<<31 | 1<<11, true},
		{msrMTRRPhys + 1, 1 << 46, 0, false},
		{msrMTRRPhys + 15, 0, 0, true},
		{msrMTRRPhys + 16, 0, 0, false},
		{msrMTRRFix64K, 0x0606060606060606, 0x0606060606060606, true},
		{msrMTRRFix16K + 1, 0x0505050505050505, 0x0505050505050505, true},
		{msrMTRRFix4K + 7, 0x0303030303030303, 0, false},
		{msrMTRRDefType, 0xc06, 0xc06, true},
		{msrMTRRDefType, 0x2000, 0, false},
		{msrMTRRCap, 0, 0, false},
		{msrMiscEnable, 1 | 1<<22 | 1<<34, miscEnable, true},
		{msrMCGStatus, 0, 0, true},
		{msrMCGCap, 1, 0, false},
		{msrUpdateSig, 0, updateSig, true},
		{msrDebugCtl, 3, 3, true},
		{msrSpecCtrl, 1, 1, true},
		{msrArchCaps, 0, 0, false},
		{msrDebugCtl, 4, 0, false},
		{msrSysenterCS, 8, 8, true},
		{msrSysenterEIP, 1 << 50, 0, false},
		{msrKVMStealTime, 0, 0, true},
		{msrKVMStealTime, 1, 0, false},
		{0x808, 0, 0, false}, // x2APIC register in xAPIC mode
		{0x12345, 0, 0, false},
	} {
		c := r.c
		c.rip = rigCode
		c.r[x86.RCX], c.r[x86.RAX], c.r[x86.RDX] = uint64(tt.msr), tt.v&0xffffffff, tt.v>>32
		vec, _ := r.exec(0x0f, 0x30)
		if (vec == -1) != tt.ok || vec != -1 && vec != 13 {
			t.Errorf("WRMSR %#x, %#x: exception %d", tt.msr, tt.v, vec)
		}
		if !tt.ok {
			continue
		}
		c.rip = rigCode
		vec, _ = r.exec(0x0f, 0x32)
		if v := c.r[x86.RAX] | c.r[x86.RDX]<<32; vec != -1 || v != tt.want {
			t.Errorf("RDMSR %#x: %#x (exception %d), want %#x", tt.msr, v, vec, tt.want)
		}
	}
	if r.c.segBase[x86.GS] != 0x1234 {
		t.Errorf("GS base %#x", r.c.segBase[x86.GS])
	}
}

func TestTSC(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	r.clk.now = 3_000_000_001 // 2 GHz
	if vec, _ := r.exec(0x0f, 0x31); vec != -1 || c.r[x86.RAX]|c.r[x86.RDX]<<32 != 6_000_000_002 {
		t.Errorf("RDTSC: %#x", c.r[x86.RAX]|c.r[x86.RDX]<<32)
	}
	// Writing the count moves IA32_TSC_ADJUST, and the other way round.
	if !c.writeMSR(msrTSC, 1000) || c.tsc() != 1000 {
		t.Errorf("count %d after it was set to 1000", c.tsc())
	}
	if v, _ := c.readMSR(msrTSCAdjust); int64(v) != 1000-6_000_000_002 {
		t.Errorf("IA32_TSC_ADJUST %d", int64(v))
	}
	if !c.writeMSR(msrTSCAdjust, 8) || c.tsc() != 6_000_000_010 {
		t.Errorf("count %d after IA32_TSC_ADJUST was set to 8", c.tsc())
	}
	// CR4.TSD.
	r.enter(true, selWide3, selData3)
	c.s.CR4 |= x86.CR4_TSD
	if vec, _ := r.exec(0x0f, 0x31); vec != 13 {
		t.Errorf("RDTSC with TSD: exception %d", vec)
	}
	c.s.CR4 &^= x86.CR4_TSD
	c.s.MSR.TSCAux = 9
	if vec, _ := r.exec(0x0f, 0x01, 0xf9); vec != -1 || c.r[x86.RCX] != 9 {
		t.Errorf("RDTSCP: exception %d, RCX %d", vec, c.r[x86.RCX])
	}
}

func TestKVMClock(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	r.clk.now = 5_000_000_000
	if !c.writeMSR(kvmclock.MSRSystemTime, rigData|1) {
		t.Fatal("refused")
	}
	if v := r.get32(rigData); v == 0 || v&1 != 0 {
		t.Errorf("version %d", v)
	}
	tsc, ns := r.get64(rigData+8), r.get64(rigData+16)
	mul, shift := uint64(r.get32(rigData+24)), int8(r.mem[rigData+28])
	delta := c.tsc() - tsc
	if shift >= 0 {
		delta <<= shift
	} else {
		delta >>= -shift
	}
	if at := delta*(mul>>16)>>16 + ns; at/1000 != 5_000_000 {
		t.Errorf("the guest computes %d ns", at)
	}
	if !c.writeMSR(kvmclock.MSRWallClock, rigData+0x100) || r.get32(rigData+0x104) != 1_000_000_000 {
		t.Errorf("wall clock at power-on %d", r.get32(rigData+0x104))
	}
	if v, _ := c.readMSR(kvmclock.MSRSystemTime); v != rigData|1 {
		t.Errorf("MSR reads %#x", v)
	}
	// At addresses outside RAM nothing happens.
	c.writeMSR(kvmclock.MSRSystemTime, 1<<45|1)
	c.writeMSR(kvmclock.MSRSystemTime, sysRAM-8|1)
}

func TestHypercall(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	r.c.r[x86.RAX] = 77
	if vec, _ := r.exec(0x0f, 0x01, 0xc1); vec != -1 || int64(r.c.r[x86.RAX]) != -1000 {
		t.Errorf("VMCALL: exception %d, RAX %d", vec, int64(r.c.r[x86.RAX]))
	}
	r.c.r[x86.RAX] = 1
	if vec, _ := r.exec(0x0f, 0x01, 0xd9); vec != -1 || r.c.r[x86.RAX] != 0 {
		t.Errorf("VMMCALL: exception %d, RAX %d", vec, int64(r.c.r[x86.RAX]))
	}
}

func TestCPUID(t *testing.T) {
	r := newSysrig(t, 2)
	r.enter(true, selWide0, selData0)
	c := r.c
	c.r[x86.RAX], c.r[x86.RCX] = 1, 0
	if vec, _ := r.exec(0x0f, 0xa2); vec != -1 || c.r[x86.RCX]>>27&1 != 1 || c.r[x86.RDX]>>9&1 != 1 {
		t.Errorf("leaf 1: ECX %#x, EDX %#x", c.r[x86.RCX], c.r[x86.RDX])
	}
	c.r[x86.RAX], c.r[x86.RCX] = 0xd, 0
	if r.exec(0x0f, 0xa2); c.r[x86.RBX] != 832 {
		t.Errorf("leaf 0Dh: EBX %d", c.r[x86.RBX])
	}
	c.s.XCR0 = 3
	c.s.CR4 &^= x86.CR4_OSXSAVE
	c.apic.WriteMSR(msrAPICBase, 0xfee00100)
	c.r[x86.RAX], c.r[x86.RCX] = 1, 0
	if r.exec(0x0f, 0xa2); c.r[x86.RCX]>>27&1 != 0 || c.r[x86.RDX]>>9&1 != 0 {
		t.Errorf("leaf 1: ECX %#x, EDX %#x without OSXSAVE and APIC", c.r[x86.RCX], c.r[x86.RDX])
	}
}

func TestXSETBV(t *testing.T) {
	r := newSysrig(t, 1)
	for _, tt := range []struct {
		ecx, v uint64
		vec    int
	}{{0, 7, -1}, {0, 3, -1}, {0, 1, -1}, {0, 0, 13}, {0, 6, 13}, {0, 5, 13}, {0, 15, 13}, {1, 1, 13}, {0, 1<<32 | 7, 13}} {
		r.enter(true, selWide0, selData0)
		c := r.c
		c.r[x86.RCX], c.r[x86.RAX], c.r[x86.RDX] = tt.ecx, tt.v&0xffffffff, tt.v>>32
		if vec, _ := r.exec(0x0f, 0x01, 0xd1); vec != tt.vec {
			t.Errorf("XSETBV %d, %#x: exception %d, want %d", tt.ecx, tt.v, vec, tt.vec)
		}
		if tt.vec >= 0 {
			continue
		}
		if vec, _ := r.exec(0x0f, 0x01, 0xd0); vec != -1 || c.r[x86.RAX] != tt.v {
			t.Errorf("XGETBV: %#x, exception %d", c.r[x86.RAX], vec)
		}
	}
	r.c.s.CR4 &^= x86.CR4_OSXSAVE
	if vec, _ := r.exec(0x0f, 0x01, 0xd0); vec != 6 {
		t.Errorf("XGETBV without OSXSAVE: exception %d", vec)
	}
}

func TestIO(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	c.r[x86.RAX], c.r[x86.RDX] = 0x1122334455667788, 0xcf8
	if vec, _ := r.exec(0xef); vec != -1 || r.io != (sysBus{0xcf8, 4, 0x55667788}) {
		t.Errorf("OUT DX, EAX: %d, %+v", vec, r.io)
	}
	if vec, _ := r.exec(0xec); vec != -1 || r.io.size != 1 || c.r[x86.RAX] != 0x1122334455667707 {
		t.Errorf("IN AL, DX: %d, %+v, RAX %#x", vec, r.io, c.r[x86.RAX])
	}
	if vec, _ := r.exec(0xe5, 0x71); vec != -1 || c.r[x86.RAX] != 0xffffff8e {
		t.Errorf("IN EAX, 71h: %d, RAX %#x", vec, c.r[x86.RAX])
	}
	// The bitmap, at CPL 3.
	r.enter(true, selWide3, selData3)
	r.mem[rigTSS+104+0x80/8] = 0x08 // port 83h
	for _, tt := range []struct {
		port uint16
		op   byte
		vec  int
	}{{0x80, 0xec, -1}, {0x82, 0xec, -1}, {0x83, 0xec, 13}, {0x80, 0xed, 13}, {0x84, 0xed, -1}, {0xffff, 0xec, -1}, {0x7f, 0xed, -1}} {
		c.rip = rigCode
		c.r[x86.RDX] = uint64(tt.port)
		if vec, _ := r.exec(tt.op); vec != tt.vec {
			t.Errorf("IN (%#x) from port %#x: exception %d, want %d", tt.op, tt.port, vec, tt.vec)
		}
	}
	r.c.s.TR.Limit -= 0x100
	c.rip = rigCode
	c.r[x86.RDX] = 0xffff
	if vec, _ := r.exec(0xec); vec != 13 {
		t.Errorf("IN beyond the bitmap: exception %d", vec)
	}
	c.setRFLAGS(x86.Flag1 | x86.IOPL)
	if vec, _ := r.exec(0xec); vec != -1 {
		t.Errorf("IN with IOPL 3: exception %d", vec)
	}
}

func TestPower(t *testing.T) {
	r := newSysrig(t, 2)
	c := r.acc.cpus[1]
	if c.s.Run != x86.WaitForSIPI || r.c.s.Run != x86.Running || c.rip != 0xfff0 || c.s.Seg[x86.CS].Base != 0xffff0000 {
		t.Fatalf("power-on: %d, %d, RIP %#x", c.s.Run, r.c.s.Run, c.rip)
	}
	// INIT, SIPI through the first processor's APIC.
	c.s.CR0, c.s.CR4, c.s.MSR.PAT, c.s.MXCSR = 1, 0x20, 6, 0x1f00
	c.s.Run = x86.Running
	r.c.apic.Write(0x310, 4, 1<<24)
	r.c.apic.Write(0x300, 4, 0x4500)
	r.c.apic.Write(0x300, 4, 0x4608)
	if p := c.pending.Load(); p&(pendInit|pendSIPI) != pendInit|pendSIPI {
		t.Fatalf("pending %#x", p)
	}
	c.service(c.pending.Load())
	if c.s.Run != x86.Running || c.rip != 0 || c.segBase[x86.CS] != 0x8000 || c.s.CR4 != 0 || c.s.CR0 != x86.CR0_ET {
		t.Errorf("after SIPI: %d, CS base %#x, CR0 %#x", c.s.Run, c.segBase[x86.CS], c.s.CR0)
	}
	if c.s.MSR.PAT != 6 || c.s.MXCSR != 0x1f00 {
		t.Error("INIT has changed the PAT or MXCSR")
	}
	// A second SIPI has no effect.
	c.rip = 0x10
	r.c.apic.Write(0x300, 4, 0x4609)
	c.service(c.pending.Load())
	if c.rip != 0x10 || c.segBase[x86.CS] != 0x8000 {
		t.Error("a running processor has taken a SIPI")
	}
	// State round trip.
	s := r.state()
	r.set(&s)
	if s2 := r.state(); s2 != s {
		t.Errorf("State after SetState differs:\n%+v\n%+v", s, s2)
	}
}
