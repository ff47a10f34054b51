package pci

import (
	"encoding/binary"

	"dfemu/devices"
)

// Bits of the MSI-X message control register (PCI 3.0, section 6.8.2).
const (
	msixEnable   = 1 << 15
	msixMaskAll  = 1 << 14
	msixMasked   = 1 // vector control
	msixEntry    = 16
	msixMaxCount = 2048
)

// MSIX is a function's MSI-X table with its pending bits.
type MSIX struct {
	f       *Function
	off     int // of the capability
	count   int
	table   []byte // guarded by Function.mu, like the rest
	pending []uint64
	enabled bool
	maskAll bool
}

// MSIXSize returns the bytes that the table and the pending bits of count
// vectors take; both are multiples of 8.
func MSIXSize(count int) (table, pba uint64) {
	return uint64(count) * msixEntry, uint64(count+63) / 64 * 8
}

// AddMSIX adds the MSI-X capability with count vectors. The table is at
// tableOff and the pending bits at pbaOff (multiples of 8) of BAR n; the device
// maps [MSIX.Table] and [MSIX.PBA] there. It is a builder method.
func (f *Function) AddMSIX(count, n int, tableOff, pbaOff uint64) *MSIX {
	m := &MSIX{f: f, count: count}
	if count < 1 || count > msixMaxCount || f.msix != nil || n < 0 || n > 5 ||
		tableOff%8 != 0 || pbaOff%8 != 0 || tableOff>>32 != 0 || pbaOff>>32 != 0 {
		f.fail("MSI-X with %d vectors in BAR%d at %#x and %#x is not possible, or there twice", count, n, tableOff, pbaOff)
		m.count = 0
		return m
	}
	m.table = make([]byte, count*msixEntry)
	m.pending = make([]uint64, (count+63)/64)
	var body [10]byte
	binary.LittleEndian.PutUint16(body[0:], uint16(count-1))
	binary.LittleEndian.PutUint32(body[2:], uint32(tableOff)|uint32(n))
	binary.LittleEndian.PutUint32(body[6:], uint32(pbaOff)|uint32(n))
	m.off = f.AddCapability(CapMSIX, body[:], []byte{0, 0xc0})
	f.msix = m
	m.reset()
	return m
}

// AddMSIXBAR adds the MSI-X capability with BAR n, 32 bits wide and its own,
// for its structures: the table at 0, the pending bits in the upper half. It is
// a builder method.
func (f *Function) AddMSIXBAR(count, n int) *MSIX {
	table, pba := MSIXSize(count)
	half := uint64(2048)
	for half < table || half < pba {
		half <<= 1
	}
	m := f.AddMSIX(count, n, 0, half)
	f.AddBAR(n, BAR{Kind: BARMem32, Size: 2 * half, Region: Layout{
		{0, table, m.Table()}, {half, pba, m.PBA()},
	}})
	return m
}

// reset masks all vectors. The function's lock is held, or the function not yet
// on a bus.
func (m *MSIX) reset() {
	clear(m.table)
	clear(m.pending)
	for v := range m.count {
		m.table[v*msixEntry+12] = msixMasked
	}
}

// Vectors is the size of the table.
func (m *MSIX) Vectors() int { return m.count }

// Notify sends message number vector; masked ones are left pending. Numbers
// outside the table, and any while MSI-X is disabled, are ignored.
func (m *MSIX) Notify(vector int) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if !m.enabled || vector < 0 || vector >= m.count {
		return
	}
	if m.masked(vector) {
		m.pending[vector/64] |= 1 << (vector % 64)
		return
	}
	m.send(vector)
}

func (m *MSIX) masked(v int) bool { return m.maskAll || m.table[v*msixEntry+12]&msixMasked != 0 }

func (m *MSIX) send(v int) {
	e := m.table[v*msixEntry:]
	m.pending[v/64] &^= 1 << (v % 64)
	m.f.reportMessage(v)
	m.f.sendMSI(binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint32(e[8:]))
}

// follow takes over the control register and sends what is pending and no
// longer masked. The function's lock is held.
func (m *MSIX) follow() {
	c := m.f.get(m.off+2, 2)
	m.enabled, m.maskAll = c&msixEnable != 0, c&msixMaskAll != 0
	if !m.enabled || m.maskAll {
		return
	}
	for v := range m.count {
		m.checkReady(v)
	}
	for i, w := range m.pending {
		if w == 0 {
			continue
		}
		for b := range 64 {
			if v := i*64 + b; w>>b&1 != 0 && v < m.count && !m.masked(v) {
				m.send(v)
			}
		}
	}
}

// Table is the region of the vector table: aligned accesses of 4 and 8 bytes.
func (m *MSIX) Table() devices.Region {
	return devices.WatchRegion(&m.f.probe, msixTableBank(m.count), msixTable{m})
}

// PBA is the region of the pending bits: reads of 4 and 8 bytes.
func (m *MSIX) PBA() devices.Region {
	return devices.WatchRegion(&m.f.probe, msixPBABank(len(m.pending)), msixPBA{m})
}

type msixTable struct{ m *MSIX }

func (t msixTable) check(off uint64, size int) error {
	switch {
	case size != 4 && size != 8:
		return devices.ErrSize
	case off%uint64(size) != 0:
		return devices.ErrAlign
	case off+uint64(size) > uint64(t.m.count)*msixEntry:
		return devices.ErrNoRegister
	}
	return nil
}

// Read implements devices.Region.
func (t msixTable) Read(off uint64, size int) (uint64, error) {
	if err := t.check(off, size); err != nil {
		return 0, err
	}
	t.m.f.mu.Lock()
	defer t.m.f.mu.Unlock()
	if size == 4 {
		return uint64(binary.LittleEndian.Uint32(t.m.table[off:])), nil
	}
	return binary.LittleEndian.Uint64(t.m.table[off:]), nil
}

// Write implements devices.Region.
func (t msixTable) Write(off uint64, size int, v uint64) error {
	if err := t.check(off, size); err != nil {
		return err
	}
	m := t.m
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.checkWrite(off, size, v)
	if size == 4 {
		binary.LittleEndian.PutUint32(m.table[off:], uint32(v))
	} else {
		binary.LittleEndian.PutUint64(m.table[off:], v)
	}
	n := int(off / msixEntry)
	e := m.table[n*msixEntry : (n+1)*msixEntry]
	e[0] &^= 3 // the message address is a multiple of 4
	binary.LittleEndian.PutUint32(e[12:], uint32(e[12]&msixMasked))
	if m.enabled && !m.maskAll && off%msixEntry+uint64(size) > 12 {
		m.checkReady(n)
	}
	if m.enabled && m.pending[n/64]>>(n%64)&1 != 0 && !m.masked(n) {
		m.send(n)
	}
	return nil
}

type msixPBA struct{ m *MSIX }

// Read implements devices.Region.
func (p msixPBA) Read(off uint64, size int) (uint64, error) {
	switch {
	case size != 4 && size != 8:
		return 0, devices.ErrSize
	case off%uint64(size) != 0:
		return 0, devices.ErrAlign
	case off/8 >= uint64(len(p.m.pending)):
		return 0, devices.ErrNoRegister
	}
	p.m.f.mu.Lock()
	defer p.m.f.mu.Unlock()
	return p.m.pending[off/8] >> (8 * (off % 8)) & devices.Ones(size), nil
}

// Write implements devices.Region.
func (p msixPBA) Write(uint64, int, uint64) error { return devices.ErrReadOnly }
