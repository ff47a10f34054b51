package apic

// command sends the interprocessor interrupt that the low half of the ICR
// describes to dest (SDM 11.6.1). dest is of 32 bits where wide is set, else of 8.
func (a *APIC) command(lo, dest uint32, wide bool) {
	m := message{
		mode:    uint8(lo >> 8 & 7),
		vector:  uint8(lo),
		dest:    dest,
		wide:    wide,
		logical: lo&icrLogical != 0,
	}
	switch m.mode {
	case dmFixed, dmLowest:
		// IPIs are edge-triggered whatever bit 15 says.
		m.lowest = m.mode == dmLowest
		if m.vector < 16 {
			a.raise(errSendIllegal)
			return
		}
	case dmINIT:
		if lo&icrLevel != 0 && lo&icrAssert == 0 {
			// INIT level de-assert: not on processors since the Pentium 4.
			return
		}
	case dmNMI, dmSIPI:
	default: // SMI and reserved
		return
	}
	switch lo >> icrShorthand & 3 {
	case destNone:
		a.f.send(&m)
	case destSelf:
		if a.enabled() {
			a.deliver(&m)
		}
	case destAll:
		a.f.sendTo(&m, func(*APIC) bool { return true })
	case destOthers:
		a.f.sendTo(&m, func(b *APIC) bool { return b != a })
	}
}

// selfIPI is a write of the SELF IPI register (SDM 11.12.11).
func (a *APIC) selfIPI(v uint8) {
	if v < 16 {
		a.raise(errSendIllegal)
		return
	}
	a.post(v, false)
}
