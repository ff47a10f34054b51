package pci

import (
	"encoding/binary"
	"fmt"
)

// Saved state starts with one byte, the version of its format.
const saveVersion = 1

// SaveState implements devices.Saver: configuration space, the level of the
// pin, and the MSI-X table. A device model saves it along with its own state.
func (f *Function) SaveState() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := append([]byte{saveVersion, bit(f.level)}, f.cfg[:]...)
	if f.msix != nil {
		p = append(p, f.msix.table...)
		for _, w := range f.msix.pending {
			p = binary.LittleEndian.AppendUint64(p, w)
		}
	}
	return p, nil
}

// RestoreState implements devices.Saver. The function must be described like
// the one whose state was saved; otherwise nothing is changed.
func (f *Function) RestoreState(p []byte) error {
	if err := f.restore(p); err != nil {
		return err
	}
	f.remap()
	return nil
}

func (f *Function) restore(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	want := 2 + ConfigSize
	if f.msix != nil {
		want += len(f.msix.table) + 8*len(f.msix.pending)
	}
	if len(p) != want || p[0] != saveVersion {
		return fmt.Errorf("pci: state of %s: %d bytes, want %d of version %d; it was saved by another version or for another device", f.name, len(p), want, saveVersion)
	}
	level, cfg := p[1] != 0, p[2:2+ConfigSize]
	for i, b := range cfg {
		// What neither the guest nor the device can change identifies the
		// function.
		if i < RegCommand && b != f.power[i] || i >= RegRevision && i < RegCacheLine && b != f.power[i] {
			return fmt.Errorf("pci: state of %s is that of another kind of device: byte %#x of its header is %#02x, not %#02x", f.name, i, b, f.power[i])
		}
	}
	f.level = level
	copy(f.cfg[:], cfg)
	if m := f.msix; m != nil {
		rest := p[2+ConfigSize:]
		n := copy(m.table, rest)
		for i := range m.pending {
			m.pending[i] = binary.LittleEndian.Uint64(rest[n+8*i:])
		}
		if tail := uint(m.count) % 64; tail != 0 {
			m.pending[len(m.pending)-1] &= 1<<tail - 1
		}
	}
	// Header bytes that say how the function is built come from its
	// description.
	for _, r := range []int{RegHeaderType, RegCapPtr, RegIntPin} {
		f.cfg[r] = f.power[r]
	}
	f.setStatusInterrupt()
	f.follow()
	return nil
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// RestoreState implements devices.Saver. The slot's device must be in place
// already.
func (p *RootPort) RestoreState(b []byte) error {
	if err := p.restore(b); err != nil {
		return err
	}
	present := len(p.secondary.Functions()) != 0
	p.mu.Lock()
	x := p.express
	status := p.get(x+expSlotSta, 2) &^ slotStaPDS
	if present {
		status |= slotStaPDS
	}
	p.put(x+expSlotSta, 2, status)
	p.control = p.get(x+expSlotCtl, 2)
	p.inReset = p.get(RegBridgeControl, 2)&bridgeControlReset != 0
	p.signaled = p.level
	p.trainLink()
	p.event(0)
	p.mu.Unlock()
	p.remap()
	return nil
}

// RestoreState implements devices.Saver.
func (m *MCH) RestoreState(b []byte) error {
	m.mu.Lock()
	m.unlockSMRAM()
	m.mu.Unlock()
	if err := m.Function.RestoreState(b); err != nil {
		return err
	}
	m.mu.Lock()
	m.lockSMRAM()
	m.mu.Unlock()
	m.placeECAM()
	m.tellPAM()
	m.tellSMRAM()
	return nil
}

// SaveState implements devices.Saver.
func (l *LPC) SaveState() ([]byte, error) {
	p, err := l.Function.SaveState()
	l.chip.mu.Lock()
	defer l.chip.mu.Unlock()
	for _, w := range l.chip.val {
		p = binary.LittleEndian.AppendUint64(p, w)
	}
	for _, w := range l.chip.ip {
		p = binary.LittleEndian.AppendUint64(p, w)
	}
	return p, err
}

// RestoreState implements devices.Saver.
func (l *LPC) RestoreState(p []byte) error {
	n := len(p) - 8*(ccCount+7)
	if n < 0 {
		return fmt.Errorf("pci: state of %s is cut off after %d bytes", l.name, len(p))
	}
	if err := l.Function.RestoreState(p[:n]); err != nil {
		return err
	}
	l.chip.mu.Lock()
	for i := range l.chip.val {
		l.chip.val[i] = binary.LittleEndian.Uint64(p[n+8*i:])
	}
	for i := range l.chip.ip {
		l.chip.ip[i] = binary.LittleEndian.Uint64(p[n+8*(ccCount+i):])
	}
	l.chip.mu.Unlock()
	l.chip.routeAll()
	l.routePIC()
	l.placeRCBA()
	l.tellPM()
	l.tellHPET()
	return nil
}

// SaveState implements devices.Saver for the configuration address register.
// The functions save their own state.
func (h *Host) SaveState() ([]byte, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return binary.LittleEndian.AppendUint32([]byte{saveVersion}, h.address), nil
}

// RestoreState implements devices.Saver.
func (h *Host) RestoreState(p []byte) error {
	if len(p) != 5 || p[0] != saveVersion {
		return fmt.Errorf("pci: state of the host bridge: %d bytes, want 5 of version %d", len(p), saveVersion)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.address = binary.LittleEndian.Uint32(p[1:]) & 0x80fffffc
	return nil
}
