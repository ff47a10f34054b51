package pci

import "dfemu/devices"

// DMA is guest memory as this function reaches it. Every access fails with a
// *devices.MemoryError while the function, or a bridge above it, is no bus
// master. Views taken earlier stay usable; a device asks [Function.BusMaster]
// before it goes on using one.
func (f *Function) DMA() devices.Memory { return dma{f} }

// BusMaster tells whether the function may access memory: its own Bus Master
// Enable and those of the bridges above it are set.
func (f *Function) BusMaster() bool {
	at := f.at.Load()
	if at == nil || !f.master.Load() {
		return false
	}
	for p := at.bus.port; p != nil; {
		at = p.at.Load()
		if at == nil || !p.master.Load() {
			return false
		}
		p = at.bus.port
	}
	return true
}

type dma struct{ f *Function }

func (d dma) memory(addr uint64, n int) (devices.Memory, error) {
	at := d.f.at.Load()
	switch {
	case at == nil:
		return nil, &devices.MemoryError{Addr: addr, Size: uint64(n), Why: d.f.name + " is not on a bus"}
	case !d.f.BusMaster():
		return nil, &devices.MemoryError{Addr: addr, Size: uint64(n), Why: "bus mastering is off"}
	}
	return at.bus.host.env.Memory, nil
}

// Read implements devices.Memory.
func (d dma) Read(addr uint64, p []byte) error {
	m, err := d.memory(addr, len(p))
	if err != nil {
		return err
	}
	return m.Read(addr, p)
}

// Write implements devices.Memory.
func (d dma) Write(addr uint64, p []byte) error {
	m, err := d.memory(addr, len(p))
	if err != nil {
		return err
	}
	return m.Write(addr, p)
}

// View implements devices.Memory.
func (d dma) View(addr uint64, n int) ([]byte, error) {
	m, err := d.memory(addr, n)
	if err != nil {
		return nil, err
	}
	return m.View(addr, n)
}

// Written implements devices.Memory. It works also when bus mastering went off
// since the view was taken: the bytes did change.
func (d dma) Written(addr uint64, n int) {
	if at := d.f.at.Load(); at != nil {
		at.bus.host.env.Memory.Written(addr, n)
	}
}
