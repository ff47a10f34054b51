package interp

import (
	"dfemu/cpu/x86"
)

// apicHz is the frequency that drives the APIC timer, before its divider.
const apicHz = 1_000_000_000

// cpuidConfig is what CPUID reports at the moment.
func (c *CPU) cpuidConfig() x86.CPUIDConfig {
	f := c.sys.features
	if !c.apic.Enabled() {
		f = f.Without(x86.FeatAPIC)
	}
	return x86.CPUIDConfig{
		Features: f,
		CPUs:     len(c.acc.cpus),
		APICID:   uint32(c.id),
		TSCHz:    c.acc.cfg.TSCHz,
		APICHz:   apicHz,
		PhysMax:  physBits,
		OSXSAVE:  c.s.CR4&x86.CR4_OSXSAVE != 0,
		XCR0:     c.s.XCR0,
	}
}

func cpuid(c *CPU, _ *Op) status {
	cfg := c.cpuidConfig()
	r := cfg.Leaf(uint32(c.r[x86.RAX]), uint32(c.r[x86.RCX]))
	c.r[x86.RAX], c.r[x86.RBX] = uint64(r.EAX), uint64(r.EBX)
	c.r[x86.RCX], c.r[x86.RDX] = uint64(r.ECX), uint64(r.EDX)
	return stNext
}
