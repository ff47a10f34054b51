package interp

import "dfemu/cpu/x86"

// swES is the exception summary of the x87 status word: some exception that the
// control word does not mask is pending.
const swES = 1 << 7

// x87Ready reports whether an x87 instruction may execute; if not, #NM or, for
// an instruction that waits for pending exceptions (all but FN…), #MF is
// pending (Intel SDM vol. 3, 2.5 and 9.6.2). While CR0.NE is 0 exceptions are
// passed over, as with IGNNE# asserted.
func (c *CPU) x87Ready(wait bool) bool {
	if c.s.CR0&(x86.CR0_EM|x86.CR0_TS) == 0 && (!wait || c.s.FPU.SW&swES == 0) {
		return true
	}
	return c.x87NotReady(wait)
}

func (c *CPU) x87NotReady(wait bool) bool {
	if c.s.CR0&(x86.CR0_EM|x86.CR0_TS) != 0 {
		c.fault(x86.VecNM, 0)
		return false
	}
	return !wait || c.noPendingMF()
}

// noPendingMF raises #MF for a pending x87 exception.
func (c *CPU) noPendingMF() bool {
	if c.s.FPU.SW&swES != 0 && c.s.CR0&x86.CR0_NE != 0 {
		c.fault(x86.VecMF, 0)
		return false
	}
	return true
}

// fwaitReady is x87Ready for FWAIT, which looks at CR0.MP with CR0.TS and not at CR0.EM.
func (c *CPU) fwaitReady() bool {
	const mpts = x86.CR0_MP | x86.CR0_TS
	if c.s.CR0&mpts == mpts {
		c.fault(x86.VecNM, 0)
		return false
	}
	return c.noPendingMF()
}

// mmxReady reports whether an MMX instruction may execute; if not, #UD, #NM or #MF is
// pending (Intel SDM vol. 3, 13.1).
func (c *CPU) mmxReady() bool {
	if c.s.CR0&(x86.CR0_EM|x86.CR0_TS) == 0 && c.s.FPU.SW&swES == 0 {
		return true
	}
	return c.mmxNotReady()
}

func (c *CPU) mmxNotReady() bool {
	switch {
	case c.s.CR0&x86.CR0_EM != 0:
		c.ud()
		return false
	case c.s.CR0&x86.CR0_TS != 0:
		c.fault(x86.VecNM, 0)
		return false
	}
	return c.noPendingMF()
}

// Bits of CPU.ready. A bit is set by the first instruction of its kind that
// passes the checks, and cleared by whatever may make one fail: modeChanged, for CR0,
// CR4 and EFLAGS.VM, and XSETBV.
const (
	readySSE = 1 << iota
	readyAVX
)

// sseReady reports whether a legacy SSE instruction may execute; if not, #UD or #NM is
// pending (Intel SDM vol. 3, 14.1).
func (c *CPU) sseReady() bool { return c.ready&readySSE != 0 || c.checkSSE() }

func (c *CPU) checkSSE() bool {
	switch {
	case c.s.CR0&x86.CR0_EM != 0 || c.s.CR4&x86.CR4_OSFXSR == 0:
		c.ud()
		return false
	case c.s.CR0&x86.CR0_TS != 0:
		c.fault(x86.VecNM, 0)
		return false
	}
	c.ready |= readySSE
	return true
}

// avxReady reports whether a VEX-encoded vector instruction may execute; if not, #UD
// or #NM is pending (Intel SDM vol. 1, 14.3; vol. 2, 2.4).
func (c *CPU) avxReady() bool { return c.ready&readyAVX != 0 || c.checkAVX() }

func (c *CPU) checkAVX() bool {
	const xcr0 = x86.XCR0_SSE | x86.XCR0_AVX
	switch {
	case !c.protected() || c.s.CR4&x86.CR4_OSXSAVE == 0 || c.s.XCR0&xcr0 != xcr0:
		c.ud()
		return false
	case c.s.CR0&x86.CR0_TS != 0:
		c.fault(x86.VecNM, 0)
		return false
	}
	c.ready |= readyAVX
	return true
}

// vexReady reports whether a VEX-encoded instruction on general-purpose registers
// may execute: not in real-address and virtual-8086 mode (#UD).
func (c *CPU) vexReady() bool {
	if !c.protected() {
		c.ud()
		return false
	}
	return true
}

// protected reports whether the processor is in protected mode and not in
// virtual-8086 mode.
func (c *CPU) protected() bool {
	return c.s.CR0&x86.CR0_PE != 0 && c.flags&x86.VM == 0
}
