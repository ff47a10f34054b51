package x86

import "math"

// DefaultFeatures returns the features that the software processors have: all
// that the opcode table has rows for, and what the system needs besides.
//
// Not among them are VME; MONITOR, as an idle loop that waits for a store
// needs no interrupt to go on, and a halted processor does; and
// ARCH_CAPABILITIES, which promises an MSR.
func DefaultFeatures() FeatureSet {
	var s FeatureSet
	for f := Feature(1); int(f) < NumFeatures; f++ {
		s = s.With(f)
	}
	return s.Without(FeatVME, FeatMONITOR, FeatArchCapabilities)
}

// CPUIDConfig is what a processor's CPUID instruction reports (Intel SDM vol. 2,
// CPUID). It is plain data; Leaf may be called by several goroutines.
type CPUIDConfig struct {
	Features FeatureSet

	CPUs    int    // logical processors of the machine, each a core of its own in one package
	APICID  uint32 // this processor's
	TSCHz   uint64 // time-stamp counter
	APICHz  uint64 // local APIC timer before division, and the "core crystal clock"
	Brand   string // at most 47 bytes; empty: DefaultBrand
	PhysMax uint8  // physical address bits; 0: 46

	// What software has set: CR4.OSXSAVE, and XCR0.
	OSXSAVE bool
	XCR0    uint64
}

// Regs are the results of CPUID.
type Regs struct{ EAX, EBX, ECX, EDX uint32 }

// Leaf is one entry of CPUID's output.
type Leaf struct {
	Leaf, Subleaf uint32
	HasSubleaf    bool // the result depends on the subleaf
	Regs          Regs
}

// What CPUID reports in every configuration.
const (
	// DefaultBrand is the processor brand string.
	DefaultBrand = "dfemu virtual CPU @ x86-64-v3"

	signature   = 0x506e3 // family 6, model 5Eh (Skylake), stepping 3
	maxBasic    = 0x16
	maxExtended = 0x80000008
	kvmBase     = 0x40000000
	kvmMax      = 0x40000010
	lineSize    = 64

	// KVM's paravirtual features (Linux, Documentation/virt/kvm/x86/cpuid.rst).
	kvmNopIODelay        = 1 << 1
	kvmClockSource2      = 1 << 3
	kvmClockSourceStable = 1 << 24

	legacyXSAVE = 576 // the legacy region and the header
	avxSize     = 256 // the high halves of the YMM registers, at offset 576 in both formats
)

// caches are leaf 4's entries.
var caches = [...]struct {
	kind, level, ways, sets uint32 // kind: 1 data, 2 instructions, 3 unified
	shared                  bool
}{
	{1, 1, 8, 64, false},   // 32 KiB
	{2, 1, 8, 64, false},   // 32 KiB
	{3, 2, 4, 1024, false}, // 256 KiB
	{3, 3, 16, 8192, true}, // 8 MiB
}

// Leaf returns what CPUID returns for a leaf (EAX) and subleaf (ECX). Leaves
// beyond the last are all zero.
func (c *CPUIDConfig) Leaf(leaf, sub uint32) Regs {
	if leaf > maxBasic && leaf < kvmBase || leaf > maxExtended || leaf > kvmMax && leaf < 0x80000000 {
		return Regs{}
	}
	if leaf >= kvmBase && leaf < 0x80000000 && !c.Features.Has(FeatHypervisor) {
		return Regs{}
	}
	r := c.featureBits(leaf, sub)
	switch leaf {
	case 0:
		return Regs{maxBasic, word("Genu"), word("ntel"), word("ineI")}
	case 1:
		r.EAX = signature
		r.EBX = lineSize/8<<8 | uint32(min(max(c.CPUs, 1), 255))<<16 | c.APICID<<24
		if c.OSXSAVE {
			r.ECX |= 1 << 27
		}
		if c.CPUs > 1 {
			r.EDX |= 1 << 28 // HTT: the count in EBX is valid
		}
	case 2:
		r.EAX = 0xff01 // see leaf 4
	case 4:
		return c.cacheLeaf(sub)
	case 5:
		if c.Features.Has(FeatMONITOR) {
			r = Regs{lineSize, lineSize, 3, 0}
		}
	case 0xb:
		return c.topologyLeaf(sub)
	case 0xd:
		return c.xsaveLeaf(sub)
	case 0x15:
		return c.clockLeaf()
	case 0x16:
		mhz := uint32(min(c.TSCHz/1e6, math.MaxUint16))
		return Regs{mhz, mhz, 100, 0}
	case kvmBase:
		return Regs{kvmMax, word("KVMK"), word("VMKV"), word("M\x00\x00\x00")}
	case kvmBase + 1:
		r.EAX = kvmNopIODelay | kvmClockSource2 | kvmClockSourceStable
	case kvmMax:
		r.EAX, r.EBX = khz(c.TSCHz), khz(c.APICHz)
	case 0x80000000:
		r.EAX = maxExtended
	case 0x80000002, 0x80000003, 0x80000004:
		return c.brandLeaf(int(leaf - 0x80000002))
	case 0x80000006:
		r.ECX = 256<<16 | 4<<12 | lineSize // L2: KiB, 4 ways
	case 0x80000008:
		r.EAX = uint32(c.PhysBits()) | uint32(c.LinearBits())<<8
	}
	return r
}

// featureBits returns the bits of c.Features that belong to a leaf.
func (c *CPUIDConfig) featureBits(leaf, sub uint32) (r Regs) {
	for f := Feature(1); int(f) < NumFeatures; f++ {
		b := &featureBits[f]
		if b.Leaf != leaf || b.Subleaf != sub && (leaf == 7 || leaf == 0xd) || !c.Features.Has(f) {
			continue
		}
		switch b.Reg {
		case EAX:
			r.EAX |= 1 << b.Bit
		case EBX:
			r.EBX |= 1 << b.Bit
		case ECX:
			r.ECX |= 1 << b.Bit
		case EDX:
			r.EDX |= 1 << b.Bit
		}
	}
	return r
}

// PhysBits returns the number of physical address bits.
func (c *CPUIDConfig) PhysBits() uint8 {
	if c.PhysMax == 0 {
		return 46
	}
	return c.PhysMax
}

// LinearBits returns the greatest number of linear address bits: 48 or 57.
func (c *CPUIDConfig) LinearBits() uint8 {
	if c.Features.Has(FeatLA57) {
		return 57
	}
	return 48
}

// idBits returns how many low bits of the APIC ID number the cores.
func (c *CPUIDConfig) idBits() uint32 {
	n := uint32(0)
	for n < 31 && 1<<n < max(c.CPUs, 1) {
		n++
	}
	return n
}

// cacheLeaf is leaf 4: deterministic cache parameters.
func (c *CPUIDConfig) cacheLeaf(sub uint32) Regs {
	if sub >= uint32(len(caches)) {
		return Regs{}
	}
	k := caches[sub]
	ids := uint32(1)<<c.idBits() - 1
	r := Regs{
		EAX: k.kind | k.level<<5 | 1<<8 | min(ids, 63)<<26,
		EBX: lineSize - 1 | (k.ways-1)<<22,
		ECX: k.sets - 1,
	}
	if k.shared {
		r.EAX |= min(ids, 0xfff) << 14
		r.EDX = 1 << 1 // inclusive
	}
	return r
}

// topologyLeaf is leaf 0Bh: one thread a core, all cores in one package.
func (c *CPUIDConfig) topologyLeaf(sub uint32) Regs {
	r := Regs{ECX: sub & 0xff, EDX: c.APICID}
	switch sub {
	case 0:
		r.EBX = 1
		r.ECX |= 1 << 8 // SMT
	case 1:
		r.EAX = c.idBits()
		r.EBX = uint32(max(c.CPUs, 1))
		r.ECX |= 2 << 8 // core
	}
	return r
}

// XCR0Mask returns the bits of XCR0 that software may set.
func (c *CPUIDConfig) XCR0Mask() uint64 {
	switch {
	case !c.Features.Has(FeatXSAVE):
		return 0
	case c.Features.Has(FeatAVX):
		return XCR0_X87 | XCR0_SSE | XCR0_AVX
	}
	return XCR0_X87 | XCR0_SSE
}

// XSAVESize returns the size in bytes of an XSAVE area, in either format, with
// the components xcr0.
func XSAVESize(xcr0 uint64) uint32 {
	if xcr0&XCR0_AVX != 0 {
		return legacyXSAVE + avxSize
	}
	return legacyXSAVE
}

// xsaveLeaf is leaf 0Dh: processor extended state.
func (c *CPUIDConfig) xsaveLeaf(sub uint32) Regs {
	mask := c.XCR0Mask()
	switch {
	case mask == 0:
	case sub == 0:
		return Regs{uint32(mask), XSAVESize(c.XCR0), XSAVESize(mask), 0}
	case sub == 1:
		r := c.featureBits(0xd, 1)
		if c.Features.Has(FeatXSAVEC) {
			r.EBX = XSAVESize(c.XCR0)
		}
		return r
	case sub == 2 && mask&XCR0_AVX != 0:
		return Regs{avxSize, legacyXSAVE, 0, 0}
	}
	return Regs{}
}

// clockLeaf is leaf 15h: the TSC's frequency as a ratio to the crystal's. It
// is left out where the numbers are such that systems that multiply kHz in 32
// bits would get it wrong.
func (c *CPUIDConfig) clockLeaf() Regs {
	tsc, crystal := c.TSCHz, c.APICHz
	if tsc == 0 || crystal == 0 || crystal > math.MaxUint32 {
		return Regs{}
	}
	a, b := tsc, crystal
	for b != 0 {
		a, b = b, a%b
	}
	num, den := tsc/a, crystal/a
	if num > math.MaxUint32 || (crystal/1000)*num > math.MaxUint32 {
		return Regs{}
	}
	return Regs{uint32(den), uint32(num), uint32(crystal), 0}
}

// brandLeaf returns a third of the brand string.
func (c *CPUIDConfig) brandLeaf(i int) Regs {
	brand := c.Brand
	if brand == "" {
		brand = DefaultBrand
	}
	var b [48]byte
	copy(b[:47], brand)
	p := string(b[16*i:])
	return Regs{word(p), word(p[4:]), word(p[8:]), word(p[12:])}
}

// Leaves returns all leaves and subleaves that are not zero, in order.
func (c *CPUIDConfig) Leaves() []Leaf {
	var all []Leaf
	ranges := [][2]uint32{{0, maxBasic}, {kvmBase, kvmMax}, {0x80000000, maxExtended}}
	for _, r := range ranges {
		for leaf := r[0]; leaf <= r[1]; leaf++ {
			subs := map[uint32]uint32{4: uint32(len(caches)), 7: 1, 0xb: 2, 0xd: 3}[leaf]
			for sub := range max(subs, 1) {
				if regs := c.Leaf(leaf, sub); regs != (Regs{}) {
					all = append(all, Leaf{leaf, sub, subs > 0, regs})
				}
			}
		}
	}
	return all
}

// word returns the first four bytes of s, low byte first.
func word(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// khz converts a frequency.
func khz(hz uint64) uint32 { return uint32(min(hz/1000, math.MaxUint32)) }
