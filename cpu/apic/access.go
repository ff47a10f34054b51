package apic

// read returns a register as both modes show it; ok is false for offsets that
// are reserved in xAPIC mode. Registers that can only be written read as 0.
func (a *APIC) read(reg uint32) (v uint32, ok bool) {
	switch {
	case reg >= regISR && reg < regISR+8:
		return half(a.isr[(reg-regISR)/2], reg), true
	case reg >= regTMR && reg < regTMR+8:
		return half(a.tmr[(reg-regTMR)/2].Load(), reg), true
	case reg >= regIRR && reg < regIRR+8:
		return half(a.irr[(reg-regIRR)/2].Load(), reg), true
	case reg >= regLVTTimer && reg <= regLVTError:
		v = a.lvt[reg-regLVTTimer].Load()
		if reg == regLVTLINT0 && a.lint0Busy.Load() {
			v |= lvtRemoteIRR
		}
		return v, true
	}
	switch reg {
	case regID:
		if a.base.Load()&baseX2 != 0 {
			return a.id, true
		}
		return a.id << 24, true
	case regVersion:
		if a.f.cfg.SuppressEOI {
			return versionValue | versionSuppressEOI, true
		}
		return versionValue, true
	case regTPR:
		return uint32(a.tpr), true
	case regAPR:
		return uint32(a.arbitration()), true
	case regPPR:
		return a.ppr.Load(), true
	case regEOI, regRRD:
		return 0, true
	case regLDR:
		if a.base.Load()&baseX2 != 0 {
			return logicalID(a.id), true
		}
		return a.ldr.Load(), true
	case regDFR:
		return a.dfr.Load(), true
	case regSVR:
		return a.svr.Load(), true
	case regESR:
		return a.esr, true
	case regICR:
		return uint32(a.icr), true
	case regICR2:
		return uint32(a.icr >> 32), true
	case regTICR:
		a.timer.mu.Lock()
		defer a.timer.mu.Unlock()
		return a.timer.init, true
	case regTCCR:
		return a.currentCount(), true
	case regTDCR:
		a.timer.mu.Lock()
		defer a.timer.mu.Unlock()
		return a.timer.divide, true
	}
	return 0, false
}

// half picks the 32 bits of a 64-bit word of ISR, TMR or IRR that a register shows.
func half(x uint64, reg uint32) uint32 { return uint32(x >> (reg & 1 * 32)) }

// write sets a register that both modes have. Reserved bits are dropped.
func (a *APIC) write(reg, v uint32) {
	switch reg {
	case regTPR:
		a.setTPR(uint8(v))
	case regEOI:
		a.eoi()
	case regSVR:
		a.setSVR(v)
	case regESR:
		// The write shows what was detected up to now (SDM 11.5.3).
		a.esr = a.errors.Swap(0)
	case regLVTTimer, regLVTThermal, regLVTPerf, regLVTLINT0, regLVTLINT1, regLVTError:
		a.setLVT(int(reg-regLVTTimer), v)
	case regTICR:
		a.setInitialCount(v)
	case regTDCR:
		a.setDivide(v & 0xb)
	}
}

// svrMask has the bits of SVR that software sets.
func (a *APIC) svrMask() uint32 {
	if a.f.cfg.SuppressEOI {
		return 0xff | svrEnable | svrFocus | svrSuppressEOI
	}
	return 0xff | svrEnable | svrFocus
}

// setSVR writes the spurious-interrupt vector register. Turning the APIC off
// masks all local interrupts; what is in IRR and ISR stays (SDM 11.4.7.2).
func (a *APIC) setSVR(v uint32) {
	v &= a.svrMask()
	a.svr.Store(v)
	if v&svrEnable == 0 {
		for i := range a.lvt {
			a.setLVT(i, a.lvt[i].Load())
		}
		return
	}
	a.lint0Changed()
}

// setLVT writes an entry of the local vector table.
func (a *APIC) setLVT(i int, v uint32) {
	v &= lvtWritable[i]
	if a.svr.Load()&svrEnable == 0 {
		v |= lvtMasked
	}
	if i == lvtTimer {
		a.setTimerLVT(v)
		return
	}
	a.lvt[i].Store(v)
	if i == lvtLINT0 {
		a.lint0Changed()
	}
}

// Read serves a read of size bytes at an offset into the register page, in
// xAPIC mode. Registers are the first four bytes of each sixteen; an access
// that reaches beyond those reads zeros there, and one of an offset without a
// register is an illegal register access (SDM 11.4.1, 11.5.3).
func (a *APIC) Read(offset uint64, size int) uint64 {
	if _, ok := a.Base(); !ok {
		return ^uint64(0) >> (64 - 8*uint(min(max(size, 1), 8)))
	}
	reg, in := uint32(offset>>4&0xff), offset&0xf
	if in >= 4 {
		a.raise(errRegister)
		return 0
	}
	v, ok := a.read(reg)
	if !ok {
		a.raise(errRegister)
		return 0
	}
	r := uint64(v) >> (8 * in)
	if size < 8 {
		r &= 1<<(8*uint(max(size, 1))) - 1
	}
	return r
}

// Write serves a write of size bytes at an offset into the register page, in
// xAPIC mode. Only aligned writes of four bytes reach a register: the SDM leaves
// the others undefined. Writes of read-only registers are ignored.
func (a *APIC) Write(offset uint64, size int, value uint64) {
	if _, ok := a.Base(); !ok {
		return
	}
	reg, v := uint32(offset>>4&0xff), uint32(value)
	if offset&0xf >= 4 {
		a.raise(errRegister)
		return
	}
	if offset&0xf != 0 || size != 4 {
		return
	}
	switch reg {
	case regLDR:
		a.ldr.Store(v & 0xff000000)
	case regDFR:
		a.dfr.Store(v | 0x0fffffff)
	case regICR:
		a.icr = a.icr&^0xffffffff | uint64(v&icrWritable)
		a.command(v, uint32(a.icr>>56), false)
	case regICR2:
		a.icr = a.icr&0xffffffff | uint64(v&0xff000000)<<32
	default:
		if _, ok := a.read(reg); !ok {
			a.raise(errRegister)
			return
		}
		a.write(reg, v)
	}
}
