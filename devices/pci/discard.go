package pci

import "dfemu/devices"

// Discard implements devices.Discarder where the machine's memory does.
func (d dma) Discard(addr, n uint64) error {
	m, err := d.memory(addr, 0)
	if err != nil {
		return err
	}
	if m, ok := m.(devices.Discarder); ok {
		return m.Discard(addr, n)
	}
	return &devices.MemoryError{Addr: addr, Size: n, Why: "this memory cannot be given back"}
}
