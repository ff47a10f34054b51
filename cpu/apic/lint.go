package apic

// direct reports whether LINT0 and LINT1 act as the INTR and NMI pins of a
// processor without an APIC: on every processor whose APIC is globally off
// (SDM 11.4.3), and on the bootstrap processor until software turns its APIC
// on. The SDM has firmware set up the latter (virtual wire mode); kernels that
// are booted directly come without firmware and rely on it all the same.
func (a *APIC) direct() bool {
	base := a.base.Load()
	return base&baseEnable == 0 ||
		base&baseBSP != 0 && a.svr.Load()&svrEnable == 0
}

// ExtINT reports whether the 8259 pair's interrupt is to be taken through this
// processor now: the line is high and LINT0 passes it on, or an ExtINT message
// has arrived. Such an interrupt is not subject to the processor priority. It
// may be called from any goroutine.
func (a *APIC) ExtINT() bool {
	if a.extMessage.Load() {
		return true
	}
	if !a.f.intr.Load() {
		return false
	}
	if a.direct() {
		return true
	}
	l := a.lvt[lvtLINT0].Load()
	return l&lvtMasked == 0 && l>>8&7 == dmExtINT
}

// AcceptExtINT is called after ExtINT held, before the interrupt acknowledge
// cycle to the 8259 pair.
func (a *APIC) AcceptExtINT() { a.extMessage.Store(false) }

// lint0 passes on a change of the LINT0 pin. Polarity is not looked at: level
// says whether the pin is asserted, not its voltage.
func (a *APIC) lint0(level bool) {
	if !level {
		return
	}
	if a.direct() {
		a.notify(ExtINT, 0)
		return
	}
	l := a.lvt[lvtLINT0].Load()
	if l&(lvtMasked|lvtLevel) == lvtLevel && l>>8&7 == dmFixed {
		a.lint0Assert()
		return
	}
	a.local(l)
}

// lint0Assert posts LINT0's level-triggered interrupt if the pin is asserted
// and the previous one has ended.
func (a *APIC) lint0Assert() {
	l := a.lvt[lvtLINT0].Load()
	if l&(lvtMasked|lvtLevel) != lvtLevel || l>>8&7 != dmFixed || !a.accepting() {
		return
	}
	if !a.f.intr.Load() || !a.lint0Busy.CompareAndSwap(false, true) {
		return
	}
	if uint8(l) < 16 {
		a.lint0Busy.Store(false)
	}
	a.post(uint8(l), true)
}

// lint0Changed follows a write that may have connected LINT0 to an asserted pin.
func (a *APIC) lint0Changed() {
	if l := a.lvt[lvtLINT0].Load(); l&lvtLevel == 0 {
		a.lint0Busy.Store(false)
	}
	if a.ExtINT() {
		a.notify(ExtINT, 0)
		return
	}
	a.lint0Assert()
}

// lint1 is a pulse on the LINT1 pin, the NMI of processors without an APIC.
func (a *APIC) lint1() {
	if a.direct() {
		a.notify(NMI, 0)
		return
	}
	l := a.lvt[lvtLINT1].Load()
	if l&lvtMasked == 0 && l>>8&7 == dmExtINT {
		// LINT1 has no level to look at later, so it is kept as a message.
		a.extMessage.Store(true)
	}
	a.local(l)
}

// local delivers the edge of a local interrupt as its LVT entry l says
// (SDM 11.5.1). SMI and reserved modes are ignored.
func (a *APIC) local(l uint32) {
	if l&lvtMasked != 0 {
		return
	}
	switch l >> 8 & 7 {
	case dmFixed:
		a.post(uint8(l), false)
	case dmNMI:
		a.notify(NMI, 0)
	case dmINIT:
		a.notify(INIT, 0)
	case dmExtINT:
		a.notify(ExtINT, 0)
	}
}

// PerfMon delivers a performance-monitoring interrupt through its LVT entry and,
// as the hardware does, masks the entry. Only from the processor's goroutine.
func (a *APIC) PerfMon() {
	l := a.lvt[lvtPerf].Load()
	a.lvt[lvtPerf].Store(l | lvtMasked)
	if a.enabled() {
		a.local(l)
	}
}

// Thermal delivers a thermal-monitor interrupt through its LVT entry. It may be
// called from any goroutine.
func (a *APIC) Thermal() {
	if a.enabled() {
		a.local(a.lvt[lvtThermal].Load())
	}
}
