package apic

// ReadMSR reads IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC register
// ([MSRFirst] … [MSRLast]). ok is false where RDMSR raises #GP(0): outside
// x2APIC mode, and for reserved and write-only registers (SDM 11.12.1.2).
func (a *APIC) ReadMSR(msr uint32) (v uint64, ok bool) {
	switch {
	case msr == MSRBase:
		return a.base.Load(), true
	case msr == MSRDeadline:
		return a.deadline(), true
	case msr < MSRFirst || msr > MSRLast || a.base.Load()&baseX2 == 0:
		return 0, false
	}
	switch reg := msr - MSRFirst; reg {
	case regICR:
		return a.icr, true
	case regAPR, regEOI, regRRD, regDFR, regICR2, regSelfIPI:
		return 0, false
	default:
		r, ok := a.read(reg)
		return uint64(r), ok
	}
}

// WriteMSR writes one of the same registers. ok is false where WRMSR raises
// #GP(0): also for read-only registers, reserved bits, and changes of
// IA32_APIC_BASE that are not allowed; nothing has changed then.
func (a *APIC) WriteMSR(msr uint32, v uint64) (ok bool) {
	switch {
	case msr == MSRBase:
		return a.setBase(v)
	case msr == MSRDeadline:
		a.setDeadline(v)
		return true
	case msr < MSRFirst || msr > MSRLast || a.base.Load()&baseX2 == 0:
		return false
	}
	reg := msr - MSRFirst
	if v&^a.x2Defined(reg) != 0 {
		return false
	}
	switch reg {
	case regICR:
		a.icr = v
		a.command(uint32(v), uint32(v>>32), true)
	case regSelfIPI:
		a.selfIPI(uint8(v))
	case regTPR, regEOI, regSVR, regESR, regTICR, regTDCR,
		regLVTTimer, regLVTThermal, regLVTPerf, regLVTLINT0, regLVTLINT1, regLVTError:
		a.write(reg, uint32(v))
	default:
		return false
	}
	return true
}

// x2Defined has the bits of a register that may be set in a write in x2APIC mode.
func (a *APIC) x2Defined(reg uint32) uint64 {
	switch reg {
	case regTPR, regSelfIPI:
		return 0xff
	case regSVR:
		return uint64(a.svrMask())
	case regICR:
		return 0xffffffff<<32 | icrWritable
	case regTICR:
		return 0xffffffff
	case regTDCR:
		return 0xb
	case regLVTTimer, regLVTThermal, regLVTPerf, regLVTLINT0, regLVTLINT1, regLVTError:
		i := reg - regLVTTimer
		return uint64(lvtWritable[i] | lvtReadOnly[i])
	}
	return 0 // EOI and ESR take only 0
}

// validBase reports whether v has no reserved bits and names a mode.
func (a *APIC) validBase(v uint64) bool {
	address := (uint64(1)<<a.f.cfg.PhysBits - 1) &^ 0xfff
	defined := address | baseEnable | baseX2 | baseBSP
	return v&^defined == 0 && v&(baseEnable|baseX2) != baseX2
}

// setBase writes IA32_APIC_BASE (SDM 11.4.3, 11.4.4, 11.12.5). Of the changes
// of mode, off to x2APIC and x2APIC to xAPIC are not allowed. Turning the APIC
// off loses its state.
func (a *APIC) setBase(v uint64) bool {
	if !a.validBase(v) {
		return false
	}
	const mode = baseEnable | baseX2
	old := a.base.Load()
	switch from, to := old&mode, v&mode; {
	case from == to:
		a.base.Store(v)
	case from == 0 && to == mode, from == mode && to == baseEnable:
		return false
	case to == mode:
		// All registers keep their values; ID and LDR change their form.
		a.base.Store(v)
	default:
		// Off first when turning off, last when turning on, so that what
		// arrives meanwhile is refused.
		if to == 0 {
			a.base.Store(v)
		}
		a.clear()
		a.base.Store(v)
	}
	if a.ExtINT() {
		a.notify(ExtINT, 0)
	}
	return true
}
