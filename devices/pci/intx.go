package pci

import "dfemu/devices"

// InterruptMode is the form in which a function may signal interrupts.
type InterruptMode uint8

// The interrupt modes.
const (
	ModeINTx InterruptMode = iota
	ModeMSI
	ModeMSIX
)

// Mode returns the form of interrupts that the guest has chosen.
func (f *Function) Mode() InterruptMode {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mode()
}

func (f *Function) mode() InterruptMode {
	switch {
	case f.msix != nil && f.msix.enabled:
		return ModeMSIX
	case f.msi != nil && f.msi.enabled():
		return ModeMSI
	}
	return ModeINTx
}

// INTx is the function's interrupt pin. Its level shows in the Interrupt Status
// bit; it reaches the bus unless Interrupt Disable is set or the guest has
// enabled MSI or MSI-X. A device that drives it in any mode needs to send
// messages besides ([Function.Message]) when the level rises.
func (f *Function) INTx() devices.Line { return intxLine{f} }

type intxLine struct{ f *Function }

// Set implements devices.Line.
func (l intxLine) Set(level bool) {
	f := l.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.level = level
	f.setStatusInterrupt()
	f.driveINTx()
}

func (f *Function) setStatusInterrupt() {
	f.cfg[RegStatus] &^= StatusInterrupt
	if f.level && f.pin != 0 {
		f.cfg[RegStatus] |= StatusInterrupt
	}
}

// driveINTx carries the pin's level to the bus. The caller holds mu.
func (f *Function) driveINTx() {
	at := f.at.Load()
	out := f.level && f.pin != 0 && at != nil &&
		f.get(RegCommand, 2)&CommandINTxDisable == 0 && f.mode() == ModeINTx
	if out == f.out || at == nil {
		return
	}
	f.out = out
	if f.probe.Wants(devices.ClassInterrupt) {
		f.probe.Interrupt(devices.Interrupt{Vector: -1, Level: out})
	}
	at.bus.setINTx(int(at.devfn>>3), int(f.pin-1), out)
}

// Message sends interrupt message number vector if MSI-X or MSI is enabled and
// reports whether that is so. With MSI the guest may have granted fewer vectors
// than the function asked for: numbers beyond share the last one.
func (f *Function) Message(vector int) bool {
	switch f.Mode() {
	case ModeMSIX:
		f.msix.Notify(vector)
	case ModeMSI:
		f.msi.Notify(vector)
	default:
		return false
	}
	return true
}

// Raise signals an interrupt in whichever mode is enabled: message number
// vector, or the INTx pin, which stays asserted until [Function.Lower].
func (f *Function) Raise(vector int) {
	if !f.Message(vector) {
		f.INTx().Set(true)
	}
}

// Lower releases the INTx pin.
func (f *Function) Lower() { f.INTx().Set(false) }

func (f *Function) reportMessage(vector int) {
	if f.probe.Wants(devices.ClassInterrupt) {
		f.probe.Interrupt(devices.Interrupt{Vector: vector})
	}
}

// sendMSI issues the memory write that is an interrupt message. The caller may
// hold mu.
func (f *Function) sendMSI(addr uint64, data uint32) {
	at := f.at.Load()
	if at == nil || !f.BusMaster() {
		return
	}
	env := &at.bus.host.env
	if addr>>20 == 0xfee {
		env.MSI.SendMSI(addr, data)
		return
	}
	// Anywhere else it is what it looks like: a write to memory. If that is no
	// RAM the message is lost.
	if devices.WriteU32(env.Memory, addr, data) == nil {
		env.Memory.Written(addr, 4)
	}
}
