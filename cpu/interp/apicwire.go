package interp

import (
	"dfemu/cpu/apic"
	"dfemu/cpu/x86"
)

// connectAPICs makes the local APICs and lets them reach the processors.
func (a *Accel) connectAPICs() {
	features := x86.DefaultFeatures().With(x86.FeatArchCapabilities)
	if !a.cfg.LA57 {
		features = features.Without(x86.FeatLA57)
	}
	a.fabric = apic.New(apic.Config{
		CPUs:  len(a.cpus),
		Clock: a.cfg.Clock,
		TSCHz: a.cfg.TSCHz,
		TSC: func(id int, now int64) uint64 {
			return a.tscCount(now) + a.cpus[id].s.TSCOffset
		},
		Notify:   a.notify,
		EOI:      func(vector uint8) { a.cfg.Platform.EOI(vector) },
		PhysBits: physBits,
	})
	for i, c := range a.cpus {
		c.apic = a.fabric.APIC(i)
		c.setFeatures(features)
	}
}

// setFeatures sets what CPUID announces.
func (c *CPU) setFeatures(f x86.FeatureSet) {
	c.sys.features = f
	c.sys.cr4Mask = cr4Mask(f)
}

// notify tells a processor of what its APIC has for it. It is called on any goroutine.
func (a *Accel) notify(id int, e apic.Event, vector uint8) {
	c := a.cpus[id]
	switch e {
	case apic.Interrupt, apic.ExtINT:
		c.post(pendIntr)
	case apic.NMI:
		c.post(pendNMI)
	case apic.INIT:
		c.post(pendInit)
	case apic.SIPI:
		c.mu.Lock()
		c.sipi = vector
		c.mu.Unlock()
		c.post(pendSIPI)
	}
}

// saveAPIC copies the APIC's state to c.s.
func (c *CPU) saveAPIC() { c.apic.State(&c.s) }

// restoreAPIC sets the APIC's state from c.s.
func (c *CPU) restoreAPIC() error { return c.apic.SetState(&c.s) }
