package devtest

import "dfemu/devices"

// Discard implements [devices.Discarder].
func (m *RAM) Discard(addr, n uint64) error {
	if addr%4096 != 0 || n%4096 != 0 || n > uint64(len(m.Data)) {
		return &devices.MemoryError{Addr: addr, Size: n, Why: "not whole pages of RAM"}
	}
	v, err := m.View(addr, int(n))
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(v)
	return err
}
