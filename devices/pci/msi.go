package pci

import "math/bits"

// Bits of the MSI message control register (PCI 3.0, section 6.8.1).
const (
	msiEnable    = 1 << 0
	msi64        = 1 << 7
	msiMasking   = 1 << 8
	msiGrantMask = 7 << 4
)

// MSI is a function's message-signalled interrupts.
type MSI struct {
	f       *Function
	off     int // of the capability
	wide    bool
	masking bool
	vectors int
}

// AddMSI adds the MSI capability for vectors messages (1, 2, 4 … 32), with
// 64-bit addresses if wide, with mask and pending bits per vector if masking.
// It is a builder method.
func (f *Function) AddMSI(vectors int, wide, masking bool) *MSI {
	m := &MSI{f: f, wide: wide, masking: masking, vectors: vectors}
	if vectors < 1 || vectors > 32 || bits.OnesCount(uint(vectors)) != 1 || f.msi != nil {
		f.fail("MSI with %d vectors is not possible, or there twice", vectors)
		return m
	}
	n := 8 // control, address, data
	control := uint16(bits.TrailingZeros(uint(vectors))) << 1
	if wide {
		n += 4
		control |= msi64
	}
	if masking {
		n += 10 // the reserved half of the data word, mask and pending bits
		control |= msiMasking
	}
	m.off = f.AddCapability(CapMSI, make([]byte, n), nil)
	if f.err != nil {
		return m
	}
	f.Preset(m.off+2, 2, uint32(control), msiEnable|msiGrantMask)
	f.writable32(m.off+4, 0xfffffffc)
	if wide {
		f.writable32(m.off+8, 0xffffffff)
	}
	f.writable16(m.data(), 0xffff)
	if masking {
		f.writable32(m.data()+4, uint32(1<<vectors-1))
	}
	f.msi = m
	return m
}

// data is the offset of the data register; mask and pending bits follow it.
func (m *MSI) data() int {
	if m.wide {
		return m.off + 12
	}
	return m.off + 8
}

// enabled is asked with the function's lock held.
func (m *MSI) enabled() bool { return m.f.get(m.off+2, 2)&msiEnable != 0 }

// granted is the number of messages the guest gave the function.
func (m *MSI) granted() int {
	return min(1<<(m.f.get(m.off+2, 2)>>4&7), m.vectors)
}

// Vectors is the number of messages the guest has granted, or 0 while MSI is
// disabled.
func (m *MSI) Vectors() int {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if !m.enabled() {
		return 0
	}
	return m.granted()
}

// Notify sends message number vector, or the last granted one if there are
// fewer. A masked message is left pending. While MSI is disabled nothing
// happens.
func (m *MSI) Notify(vector int) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if !m.enabled() || vector < 0 {
		return
	}
	vector = min(vector, m.granted()-1)
	if m.masking && m.f.get(m.data()+4, 4)>>vector&1 != 0 {
		m.f.put(m.data()+8, 4, m.f.get(m.data()+8, 4)|1<<vector)
		return
	}
	m.send(vector)
}

func (m *MSI) send(vector int) {
	addr := uint64(m.f.get(m.off+4, 4))
	if m.wide {
		addr |= uint64(m.f.get(m.off+8, 4)) << 32
	}
	data := m.f.get(m.data(), 2)
	// The function varies the low bits that the guest granted.
	data = data&^uint32(m.granted()-1) | uint32(vector)
	m.f.reportMessage(vector)
	m.f.sendMSI(addr, data)
}

// follow sends what is pending and no longer masked. The function's lock is
// held.
func (m *MSI) follow() {
	if !m.masking || !m.enabled() {
		return
	}
	pending := m.f.get(m.data()+8, 4)
	ready := pending &^ m.f.get(m.data()+4, 4)
	if ready == 0 {
		return
	}
	m.f.put(m.data()+8, 4, pending&^ready)
	for v := range m.vectors {
		if ready>>v&1 != 0 {
			m.send(min(v, m.granted()-1))
		}
	}
}
