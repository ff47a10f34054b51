package x86

import (
	"testing"
)

func testCPUID() *CPUIDConfig {
	return &CPUIDConfig{
		Features: DefaultFeatures(), CPUs: 3, APICID: 2, TSCHz: 2_500_000_000, APICHz: 1_000_000_000,
		OSXSAVE: true, XCR0: XCR0_X87 | XCR0_SSE | XCR0_AVX,
	}
}

// TestFeaturesHaveRows checks that what is announced is what the opcode table has.
func TestFeaturesHaveRows(t *testing.T) {
	announced := DefaultFeatures()
	var used FeatureSet
	for _, e := range Encodings() {
		used = used.With(e.Feat)
		if !announced.Has(e.Feat) && e.Feat != FeatMONITOR {
			t.Errorf("%v needs %v, which is not announced", e.Op, e.Feat)
		}
	}
	// These have no instructions of their own.
	var other FeatureSet
	other = other.With(FeatDE, FeatPSE, FeatPAE, FeatMCE, FeatAPIC, FeatMTRR, FeatPGE, FeatMCA, FeatPAT, FeatPSE36,
		FeatPCID, FeatX2APIC, FeatTSCDeadline, FeatHypervisor, FeatTSCAdjust, FeatSMEP, FeatERMS, FeatUMIP, FeatLA57,
		FeatFSRM, FeatARAT, FeatLAHF64, FeatNX, FeatPage1GB, FeatLM, FeatInvariantTSC)
	for f := Feature(1); int(f) < NumFeatures; f++ {
		if announced.Has(f) && used.Has(f) == other.Has(f) {
			t.Errorf("%v: used by a row: %v, without rows: %v", f, used.Has(f), other.Has(f))
		}
		for g := Feature(1); g < f; g++ {
			a, b := f.Bit(), g.Bit()
			if a.Name == b.Name || a.Leaf == b.Leaf && a.Subleaf == b.Subleaf && a.Reg == b.Reg && a.Bit == b.Bit {
				t.Errorf("%v and %v are in the same place or have the same name", f, g)
			}
		}
	}
}

func TestCPUIDLeaves(t *testing.T) {
	c := testCPUID()
	for _, tt := range []struct {
		leaf, sub uint32
		want      Regs
	}{
		{0, 0, Regs{0x16, 0x756e6547, 0x6c65746e, 0x49656e69}},
		// fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 htt;
		// sse3 pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt deadline aes xsave osxsave avx f16c rdrand hypervisor.
		{1, 0, Regs{0x506e3, 0x02030800, 0xfffa3203, 0x178bfbfd}},
		{4, 0, Regs{0x0c000121, 0x01c0003f, 63, 0}},
		{4, 3, Regs{0x0c00c163, 0x03c0003f, 8191, 2}},
		{4, 4, Regs{}},
		{5, 0, Regs{}},
		{6, 0, Regs{EAX: 4}},
		{7, 0, Regs{0, 0x219c07ab, 0x00410004, 0x10}},
		{7, 1, Regs{}},
		{0xb, 0, Regs{0, 1, 0x100, 2}},
		{0xb, 1, Regs{2, 3, 0x201, 2}},
		{0xb, 2, Regs{0, 0, 2, 2}},
		{0xd, 0, Regs{7, 832, 832, 0}},
		{0xd, 1, Regs{3, 832, 0, 0}},
		{0xd, 2, Regs{256, 576, 0, 0}},
		{0xd, 3, Regs{}},
		{0x15, 0, Regs{2, 5, 1_000_000_000, 0}},
		{0x16, 0, Regs{2500, 2500, 100, 0}},
		{0x17, 0, Regs{}},
		{0x40000000, 0, Regs{0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d}},
		{0x40000001, 0, Regs{EAX: 0x0100000a}},
		{0x40000010, 0, Regs{2_500_000, 1_000_000, 0, 0}},
		{0x40000011, 0, Regs{}},
		{0x80000000, 0, Regs{EAX: 0x80000008}},
		{0x80000001, 0, Regs{0, 0, 0x121, 0x2c100800}},
		{0x80000002, 0, Regs{word("dfem"), word("u vi"), word("rtua"), word("l CP")}},
		{0x80000007, 0, Regs{EDX: 0x100}},
		{0x80000008, 0, Regs{EAX: 46 | 57<<8}},
		{0x80000009, 0, Regs{}},
	} {
		if got := c.Leaf(tt.leaf, tt.sub); got != tt.want {
			t.Errorf("leaf %#x/%d: %#x, want %#x", tt.leaf, tt.sub, got, tt.want)
		}
	}
}

func TestCPUIDDepends(t *testing.T) {
	c := testCPUID()
	c.OSXSAVE = false
	c.XCR0 = XCR0_X87
	if c.Leaf(1, 0).ECX>>27&1 != 0 {
		t.Error("OSXSAVE is announced without CR4.OSXSAVE")
	}
	if r := c.Leaf(0xd, 0); r.EBX != 576 || r.ECX != 832 {
		t.Errorf("leaf 0xd with XCR0 1: %+v", r)
	}
	c.Features = c.Features.Without(FeatAVX, FeatLA57, FeatHypervisor)
	if r := c.Leaf(0xd, 0); r.EAX != 3 || r.ECX != 576 || c.Leaf(0xd, 2) != (Regs{}) {
		t.Errorf("leaf 0xd without AVX: %+v", r)
	}
	if c.Leaf(0x40000000, 0) != (Regs{}) || c.Leaf(1, 0).ECX>>31 != 0 {
		t.Error("a hypervisor is announced without FeatHypervisor")
	}
	if r := c.Leaf(0x80000008, 0); r.EAX != 46|48<<8 {
		t.Errorf("address sizes without LA57: %#x", r.EAX)
	}
	c.Features = c.Features.Without(FeatXSAVE)
	if c.Leaf(0xd, 0) != (Regs{}) {
		t.Error("leaf 0xd without XSAVE")
	}
	c.CPUs = 1
	if c.Leaf(1, 0).EDX>>28&1 != 0 {
		t.Error("HTT with one processor")
	}
	c.TSCHz = 2_494_133_337
	if c.Leaf(0x15, 0) != (Regs{}) {
		t.Error("leaf 0x15 with a ratio that overflows")
	}
	for _, n := range []int{1, 2, 3, 4, 5, 255, 256, 1 << 20} {
		c.CPUs = n
		if b := c.idBits(); 1<<b < n || b > 0 && 1<<(b-1) >= n {
			t.Errorf("%d bits for %d processors", b, n)
		}
	}
}

func TestCPUIDList(t *testing.T) {
	c := testCPUID()
	seen := map[[2]uint32]bool{}
	for _, l := range c.Leaves() {
		if l.Regs != c.Leaf(l.Leaf, l.Subleaf) || seen[[2]uint32{l.Leaf, l.Subleaf}] {
			t.Errorf("leaf %#x/%d: listed with %+v", l.Leaf, l.Subleaf, l.Regs)
		}
		seen[[2]uint32{l.Leaf, l.Subleaf}] = true
	}
	for _, want := range [][2]uint32{{0, 0}, {4, 3}, {7, 0}, {0xb, 1}, {0xd, 2}, {0x40000001, 0}, {0x80000008, 0}} {
		if !seen[want] {
			t.Errorf("leaf %#x is not listed", want)
		}
	}
}

func FuzzCPUID(f *testing.F) {
	f.Add(uint32(1), uint32(0), 1, "")
	f.Add(uint32(0x80000004), uint32(9), 300, "a brand string that is longer than forty-seven bytes")
	f.Fuzz(func(t *testing.T, leaf, sub uint32, cpus int, brand string) {
		c := testCPUID()
		c.CPUs, c.Brand = cpus, brand
		if a, b := c.Leaf(leaf, sub), c.Leaf(leaf, sub); a != b {
			t.Error("two answers")
		}
	})
}
