package interp

import "dfemu/cpu/x86"

func fwait(c *CPU, _ *Op) status {
	if !c.fwaitReady() {
		return stFault
	}
	return stNext
}

// fnop leaves C1.
func fnop(c *CPU, o *Op) status {
	c1 := c.s.FPU.SW & swC1
	if !c.x87Begin(o) {
		return stFault
	}
	c.s.FPU.SW |= c1
	return stNext
}

// fincstp is FINCSTP and FDECSTP: aux is what is added to TOP.
func fincstp(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	c.turn(uint16(o.aux))
	return stNext
}

// ffree is FFREE and FFREEP.
func ffree(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	c.s.FPU.Tag &^= 1 << c.phys(o.dst)
	c.popIf(o)
	return stNext
}

// fninit puts the x87 into its initial state; the registers are empty but not cleared.
func fninit(c *CPU, _ *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	c.s.FPU = x86.FPU{CW: 0x37f, R: c.s.FPU.R}
	return stNext
}

func fnclex(c *CPU, _ *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	c.s.FPU.SW &^= swExc | swSF | swES | swB
	return stNext
}

// fneni is FNENI, FNDISI and FNSETPM, which do nothing.
func fneni(c *CPU, _ *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	return stNext
}

// fldcw may unmask an exception that is flagged already: it is then pending.
func fldcw(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	v, ok := load[uint16](c, o)
	if !ok {
		return stFault
	}
	c.s.FPU.CW = v
	fixSW(&c.s.FPU)
	return stNext
}

func fnstcw(c *CPU, o *Op) status {
	if !c.x87Ready(false) || !store(c, o, c.s.FPU.CW) {
		return stFault
	}
	return stNext
}

func fnstsw(c *CPU, o *Op) status {
	if !c.x87Ready(false) || !store(c, o, c.s.FPU.SW) {
		return stFault
	}
	return stNext
}

func fnstswAX(c *CPU, _ *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	setReg(c, x86.RAX, c.s.FPU.SW)
	return stNext
}
