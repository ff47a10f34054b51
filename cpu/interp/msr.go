package interp

import "dfemu/cpu/x86"

// Numbers of MSRs (Intel SDM vol. 4).
const (
	msrTSC          = 0x10
	msrPlatformID   = 0x17
	msrAPICBase     = 0x1b
	msrFeatureCtl   = 0x3a
	msrTSCAdjust    = 0x3b
	msrSpecCtrl     = 0x48
	msrPredCmd      = 0x49
	msrUpdateTrig   = 0x79
	msrUpdateSig    = 0x8b
	msrMTRRCap      = 0xfe
	msrArchCaps     = 0x10a
	msrSysenterCS   = 0x174
	msrSysenterESP  = 0x175
	msrSysenterEIP  = 0x176
	msrMCGCap       = 0x179
	msrMCGStatus    = 0x17a
	msrMiscEnable   = 0x1a0
	msrDebugCtl     = 0x1d9
	msrMTRRPhys     = 0x200 // … 0x20f
	msrMTRRFix64K   = 0x250
	msrMTRRFix16K   = 0x258 // and 0x259
	msrMTRRFix4K    = 0x268 // … 0x26f
	msrPAT          = 0x277
	msrMTRRDefType  = 0x2ff
	msrTSCDeadline  = 0x6e0
	msrX2APIC       = 0x800 // … 0x8ff
	msrEFER         = 0xc0000080
	msrSTAR         = 0xc0000081
	msrLSTAR        = 0xc0000082
	msrCSTAR        = 0xc0000083
	msrFMASK        = 0xc0000084
	msrFSBase       = 0xc0000100
	msrGSBase       = 0xc0000101
	msrKernelGSBase = 0xc0000102
	msrTSCAux       = 0xc0000103

	// mtrrCap: 8 variable ranges, fixed ranges, write-combining.
	mtrrCap = 8 | 1<<8 | 1<<10
	// miscEnable is IA32_MISC_ENABLE after reset: fast strings; no branch
	// trace store, no precise event based sampling. The latter two are read-only.
	miscEnable      = 1<<0 | miscEnableFixed
	miscEnableFixed = 1<<11 | 1<<12
	// archCaps is IA32_ARCH_CAPABILITIES: this processor does not speculate, so it has none of
	// the weaknesses that the register tells of, and guests need not work around them. The bits:
	// RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
	// FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
	archCaps = 1<<0 | 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<8 | 1<<13 |
		1<<14 | 1<<15 | 1<<20 | 1<<24 | 1<<26 | 1<<27 | 1<<62
	// updateSig is the microcode revision, in the upper half.
	updateSig = 0x100 << 32
)

func rdmsr(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	c.leave(o)
	n := uint32(c.r[x86.RCX])
	v, ok := c.readMSR(n)
	if !ok {
		c.logMSR(n, "read of")
		return c.gp(0)
	}
	c.r[x86.RAX], c.r[x86.RDX] = v&0xffffffff, v>>32
	return stNext
}

func wrmsr(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	c.leave(o)
	n := uint32(c.r[x86.RCX])
	v := c.r[x86.RAX]&0xffffffff | c.r[x86.RDX]<<32
	if !c.writeMSR(n, v) {
		c.logMSR(n, "write to")
		return c.gp(0)
	}
	return stEnd
}

// logMSR tells, once for each MSR, that an access was refused.
func (c *CPU) logMSR(n uint32, what string) {
	if c.sys.logged[n] {
		return
	}
	if c.sys.logged == nil {
		c.sys.logged = map[uint32]bool{}
	}
	if len(c.sys.logged) < 1024 {
		c.sys.logged[n] = true
		c.logf("%s MSR %#x at %#x refused", what, n, c.curRIP.Load())
	}
}

// plainMSR returns the MSR that is only stored, and the bits of it that may be set.
func (c *CPU) plainMSR(n uint32) (p *uint64, mask uint64) {
	m := &c.s.MSR
	switch n {
	case msrSysenterCS:
		return &m.SysenterCS, 0xffffffff
	case msrMCGStatus:
		return &m.MCGStatus, 7
	case msrSTAR:
		return &m.STAR, ^uint64(0)
	case msrFMASK:
		return &m.FMASK, 0xffffffff
	case msrTSCAux:
		return &m.TSCAux, 0xffffffff
	case msrDebugCtl:
		return &m.DebugCtl, 3 // LBR, BTF
	case msrSpecCtrl:
		if c.sys.features.Has(x86.FeatArchCapabilities) {
			return &m.SpecCtrl, 7 // IBRS, STIBP, SSBD
		}
	}
	return nil, 0
}

// addressMSR returns the MSR that holds a linear address, which must be canonical.
func (c *CPU) addressMSR(n uint32) *uint64 {
	m := &c.s.MSR
	switch n {
	case msrSysenterESP:
		return &m.SysenterESP
	case msrSysenterEIP:
		return &m.SysenterEIP
	case msrLSTAR:
		return &m.LSTAR
	case msrCSTAR:
		return &m.CSTAR
	case msrFSBase:
		return &c.s.Seg[x86.FS].Base
	case msrGSBase:
		return &c.s.Seg[x86.GS].Base
	case msrKernelGSBase:
		return &m.KernelGSBase
	}
	return nil
}

// readMSR reads an MSR. ok is false where RDMSR raises #GP(0).
func (c *CPU) readMSR(n uint32) (v uint64, ok bool) {
	m := &c.s.MSR
	if p := c.addressMSR(n); p != nil {
		return *p, true
	}
	if p, _ := c.plainMSR(n); p != nil {
		return *p, true
	}
	if p, _ := c.mtrr(n); p != nil {
		return *p, true
	}
	switch n {
	case msrEFER:
		return m.EFER, true
	case msrTSC:
		return c.tsc(), true
	case msrTSCAdjust:
		return m.TSCAdjust, true
	case msrTSCDeadline, msrAPICBase:
		return c.apic.ReadMSR(n)
	case msrPAT:
		return m.PAT, true
	case msrMTRRCap:
		return mtrrCap, true
	case msrMiscEnable:
		return m.MiscEnable, true
	case msrUpdateSig:
		return updateSig, true
	case msrArchCaps:
		return archCaps, c.sys.features.Has(x86.FeatArchCapabilities)
	case msrPlatformID, msrMCGCap:
		return 0, true
	case msrFeatureCtl:
		return 1, true // locked, nothing enabled
	}
	if n&^0xff == msrX2APIC {
		return c.apic.ReadMSR(n)
	}
	return c.readKVM(n)
}

// writeMSR writes an MSR. ok is false where WRMSR raises #GP(0).
func (c *CPU) writeMSR(n uint32, v uint64) (ok bool) {
	m := &c.s.MSR
	if p := c.addressMSR(n); p != nil {
		if !c.canonical(v) {
			return false
		}
		*p = v
		c.segBase[x86.FS] = c.s.Seg[x86.FS].Base
		c.segBase[x86.GS] = c.s.Seg[x86.GS].Base
		return true
	}
	if p, mask := c.plainMSR(n); p != nil {
		if v&^mask != 0 {
			return false
		}
		*p = v
		return true
	}
	if p, kind := c.mtrr(n); p != nil {
		if !validMTRR(kind, v) {
			return false
		}
		*p = v
		return true
	}
	switch n {
	case msrEFER:
		return c.setEFER(v)
	case msrTSC:
		old := c.s.TSCOffset
		c.setTSCOffset(v - c.acc.tscCount(c.acc.cfg.Clock.Now()))
		m.TSCAdjust += c.s.TSCOffset - old
		return true
	case msrTSCAdjust:
		c.setTSCOffset(c.s.TSCOffset + v - m.TSCAdjust)
		m.TSCAdjust = v
		return true
	case msrTSCDeadline, msrAPICBase:
		return c.apic.WriteMSR(n, v)
	case msrPAT:
		for i := range 8 {
			if t := v >> (8 * i) & 0xff; t > 7 || t == 2 || t == 3 {
				return false
			}
		}
		m.PAT = v
		return true
	case msrMiscEnable:
		// Limiting CPUID and disabling NX (bits 22 and 34) are not offered.
		m.MiscEnable = v&^(1<<22|1<<34) | miscEnableFixed
		return true
	case msrPredCmd:
		return v&^1 == 0 && c.sys.features.Has(x86.FeatArchCapabilities)
	case msrUpdateSig, msrUpdateTrig:
		return true // no microcode to load
	}
	if n&^0xff == msrX2APIC {
		return c.apic.WriteMSR(n, v)
	}
	return c.writeKVM(n, v)
}

// setEFER writes IA32_EFER (SDM vol. 3, 2.2.1). LMA is read-only and ignored.
func (c *CPU) setEFER(v uint64) bool {
	m := &c.s.MSR
	defined := uint64(x86.EFER_LMA)
	if c.sys.features.Has(x86.FeatSYSCALL) {
		defined |= x86.EFER_SCE
	}
	if c.sys.features.Has(x86.FeatLM) {
		defined |= x86.EFER_LME
	}
	if c.sys.features.Has(x86.FeatNX) {
		defined |= x86.EFER_NXE
	}
	v = v&^x86.EFER_LMA | m.EFER&x86.EFER_LMA
	changed := v ^ m.EFER
	if v&^defined != 0 || changed&x86.EFER_LME != 0 && c.s.CR0&x86.CR0_PG != 0 {
		return false
	}
	m.EFER = v
	if changed&x86.EFER_NXE != 0 {
		c.flushTLB()
	}
	c.modeChanged()
	return true
}

// mtrrKind tells what values an MTRR takes.
type mtrrKind uint8

const (
	mtrrBase mtrrKind = iota
	mtrrMask
	mtrrFixed
	mtrrDefault
)

// mtrr returns a memory type range register (SDM vol. 3, 12.11.2), or nil.
func (c *CPU) mtrr(n uint32) (*uint64, mtrrKind) {
	m := &c.s.MSR
	switch {
	case n >= msrMTRRPhys && n < msrMTRRPhys+uint32(len(m.MTRRPhys)):
		return &m.MTRRPhys[n-msrMTRRPhys], mtrrKind(n & 1)
	case n == msrMTRRFix64K:
		return &m.MTRRFixed[0], mtrrFixed
	case n&^1 == msrMTRRFix16K:
		return &m.MTRRFixed[1+n&1], mtrrFixed
	case n&^7 == msrMTRRFix4K:
		return &m.MTRRFixed[3+n&7], mtrrFixed
	case n == msrMTRRDefType:
		return &m.MTRRDefType, mtrrDefault
	}
	return nil, 0
}

// validMTRR checks a value for reserved bits and memory types.
func validMTRR(kind mtrrKind, v uint64) bool {
	validType := func(t uint64) bool { return t < 2 || t >= 4 && t <= 6 }
	switch kind {
	case mtrrBase:
		return v&^uint64(physMask&^0xfff|0xff) == 0 && validType(v&0xff)
	case mtrrMask:
		return v&^uint64(physMask&^0xfff|1<<11) == 0
	case mtrrDefault:
		return v&^uint64(3<<10|0xff) == 0 && validType(v&0xff)
	}
	for i := range 8 {
		if !validType(v >> (8 * i) & 0xff) {
			return false
		}
	}
	return true
}
