package interp

import (
	"dfemu/cpu/apic"
	"dfemu/cpu/x86"
)

// powerOn sets s to the state of the processor after power-up (Intel SDM vol. 3, table 10-1).
func (c *CPU) powerOn(s *x86.State) {
	*s = apic.PowerUp(uint32(c.id))
	c.reset(s)
	s.CR0 = x86.CR0_CD | x86.CR0_NW | x86.CR0_ET
	s.XCR0 = x86.XCR0_X87
	s.FPU = x86.FPU{CW: 0x40, Tag: 0xff}
	s.MXCSR = 0x1f80
	s.MSR.PAT = 0x0007040600070406
	s.MSR.MiscEnable = miscEnable
	if c.id != 0 {
		s.Run = x86.WaitForSIPI
	}
}

// reset sets what power-up and INIT have in common.
func (c *CPU) reset(s *x86.State) {
	s.GPR = [16]uint64{x86.RDX: uint64(c.cpuSignature())}
	s.RIP = 0xfff0
	s.RFLAGS = x86.Flag1
	const data = x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed
	for i := range s.Seg {
		s.Seg[i] = x86.Segment{Limit: 0xffff, Attr: data}
	}
	s.Seg[x86.CS] = x86.Segment{Selector: 0xf000, Base: 0xffff0000, Limit: 0xffff, Attr: data | x86.AttrCode}
	s.LDTR = x86.Segment{Limit: 0xffff, Attr: x86.AttrP | typeLDT}
	s.TR = x86.Segment{Limit: 0xffff, Attr: x86.AttrP | typeTSSBusy}
	s.GDTR = x86.Table{Limit: 0xffff}
	s.IDTR = x86.Table{Limit: 0xffff}
	s.CR2, s.CR3, s.CR4, s.CR8 = 0, 0, 0, 0
	s.DR = [8]uint64{6: dr6Fixed, 7: 1 << 10}
	s.MSR.EFER = 0
	s.Run = x86.Running
	s.IntrShadow, s.NMIBlocked, s.NMIPending = false, false, false
}

// cpuSignature is what CPUID leaf 1 returns in EAX, and RDX holds after reset.
func (c *CPU) cpuSignature() uint32 {
	cfg := x86.CPUIDConfig{Features: c.sys.features}
	return cfg.Leaf(1, 0).EAX
}

// initialize is INIT: the state of power-up, but for the x87 and vector registers, XCR0, most MSRs
// and the caches. The bootstrap processor goes to the reset vector, the others wait for a SIPI.
func (c *CPU) initialize() {
	s := &c.s
	c.apic.Reset(false)
	c.reset(s)
	s.CR0 = s.CR0&(x86.CR0_CD|x86.CR0_NW) | x86.CR0_ET
	copy(c.r[:16], s.GPR[:])
	c.rip = s.RIP
	c.sys.trapDB = 0
	c.pending.And(^uint32(pendNMI))
	if base, _ := c.apic.ReadMSR(msrAPICBase); base>>8&1 == 0 {
		s.Run = x86.WaitForSIPI
	}
	c.setRFLAGS(s.RFLAGS)
	c.flushTLB()
}

// startup is the start-up IPI: a processor that waits for it starts in real-address mode at the
// page that the vector names.
func (c *CPU) startup() {
	if c.s.Run != x86.WaitForSIPI {
		return
	}
	c.mu.Lock()
	vec := c.sipi
	c.mu.Unlock()
	c.s.Run = x86.Running
	cs := &c.s.Seg[x86.CS]
	cs.Selector, cs.Base = uint16(vec)<<8, uint64(vec)<<12
	c.rip = 0
	c.modeChanged()
}
