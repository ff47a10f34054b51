package pci

import (
	"fmt"

	"dfemu/kernel/kern"
)

// Message control bits.
const (
	msiEnable   = 1 << 0
	msi64       = 1 << 7
	msixMask    = 1 << 14
	msixEnable  = 1 << 15
	msixEntry   = 16
	vectorMaskd = 1
)

// msixAt and msiAt are where the capabilities are, 0 for none and for what the bus may not use.
func (d *Device) msixAt() uint64 {
	if d.bus != nil && d.bus.ints.NoMSIX {
		return 0
	}
	return d.Capability(CapMSIX, 0)
}

func (d *Device) msiAt() uint64 {
	if d.bus != nil && d.bus.ints.NoMSI {
		return 0
	}
	return d.Capability(CapMSI, 0)
}

// MaxInterrupts is how many interrupts the function can have, 0 for none.
func (d *Device) MaxInterrupts() int {
	if at := d.msixAt(); at != 0 {
		return int(d.conf.Read16(at+2)&0x7ff) + 1
	}
	if d.msiAt() != 0 {
		return 1
	}
	if _, err := d.pin(); err == nil {
		return 1
	}
	return 0
}

// Interrupts allocates n interrupts by MSI-X, or one by MSI, or the function's pin, on the CPUs named (-1: any; those that
// are not named: any), and turns them on. There may be less than n where the
// function, or the machine, has no more. Their handlers are set by [kern.Kernel.Handle].
func (d *Device) Interrupts(n int, cpus ...int) ([]*kern.Interrupt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ints) > 0 {
		return nil, fmt.Errorf("pci %v: the interrupts are in use", d.Address)
	}
	cpu := func(i int) int {
		if i < len(cpus) {
			return cpus[i]
		}
		return -1
	}
	var err error
	if at := d.msixAt(); at != 0 {
		err = d.startMSIX(at, n, cpu)
	} else if at := d.msiAt(); at != 0 {
		err = d.startMSI(at, cpu(0))
	} else if err = d.startPin(); err != nil {
		err = fmt.Errorf("it has neither MSI-X nor MSI, and %w", err)
	}
	if err != nil {
		d.release()
		return nil, fmt.Errorf("pci %v: interrupts: %w", d.Address, err)
	}
	if !d.ints[0].Shared() {
		d.conf.Write16(regCommand, d.conf.Read16(regCommand)|cmdNoINTx)
	}
	for _, i := range d.ints {
		i.Failed = d.Failed
	}
	return append([]*kern.Interrupt(nil), d.ints...), nil
}

func (d *Device) startMSIX(at uint64, n int, cpu func(int) int) error {
	size := int(d.conf.Read16(at+2)&0x7ff) + 1
	where := d.conf.Read32(at + 4)
	bar, off := int(where&7), uint64(where&^7)
	if bar >= len(d.BARs) || off+uint64(size)*msixEntry > d.BARs[bar].Size || d.BARs[bar].IO || d.BARs[bar].Addr == 0 {
		return fmt.Errorf("the MSI-X table of %d entries at %#x is outside BAR %d", size, off, bar)
	}
	d.conf.Write16(regCommand, d.conf.Read16(regCommand)|cmdMemory)
	table, err := d.k.MapRegisters(d.BARs[bar].Addr, d.BARs[bar].Size)
	if err != nil {
		return err
	}
	d.msix = table
	d.conf.Write16(at+2, d.conf.Read16(at+2)|msixEnable|msixMask)
	for i := range size {
		table.Write32(off+uint64(i)*msixEntry+12, vectorMaskd)
	}
	for i := range min(n, size) {
		in, err := d.k.NewInterrupt(cpu(i))
		if err != nil && i > 0 {
			d.k.Printf("pci %v: %d of %d interrupts: %v", d.Address, i, n, err)
			break
		}
		if err != nil {
			return err
		}
		d.ints = append(d.ints, in)
		e := off + uint64(i)*msixEntry
		table.Write32(e, uint32(in.Addr))
		table.Write32(e+4, uint32(in.Addr>>32))
		table.Write32(e+8, in.Data)
		table.Write32(e+12, 0)
		in.Mask = func(on bool) {
			if on {
				table.Write32(e+12, vectorMaskd)
			} else {
				table.Write32(e+12, 0)
			}
		}
	}
	d.conf.Write16(at+2, d.conf.Read16(at+2)&^msixMask|msixEnable)
	return nil
}

func (d *Device) startMSI(at uint64, cpu int) error {
	in, err := d.k.NewInterrupt(cpu)
	if err != nil {
		return err
	}
	d.ints = append(d.ints, in)
	ctl := d.conf.Read16(at + 2)
	d.conf.Write32(at+4, uint32(in.Addr))
	data := at + 8
	if ctl&msi64 != 0 {
		d.conf.Write32(at+8, uint32(in.Addr>>32))
		data = at + 12
	}
	d.conf.Write16(data, uint16(in.Data))
	d.conf.Write16(at+2, ctl&^(7<<4)|msiEnable) // one message
	return nil
}

// Crash has the handler of the function's first interrupt use a nil pointer, as a driver with a mistake would. It returns false if nobody handles interrupts of the function.
func (d *Device) Crash() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ints) == 0 {
		return false
	}
	d.ints[0].Crash(d.k)
	return true
}

// StopInterrupts turns the function's interrupts off, waits for their handlers and gives them back.
func (d *Device) StopInterrupts() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.Capability(CapMSIX, 0); at != 0 {
		d.conf.Write16(at+2, d.conf.Read16(at+2)&^msixEnable)
	}
	if at := d.Capability(CapMSI, 0); at != 0 {
		d.conf.Write16(at+2, d.conf.Read16(at+2)&^msiEnable)
	}
	d.conf.Write16(regCommand, d.conf.Read16(regCommand)|cmdNoINTx)
	d.release()
}

func (d *Device) release() {
	for _, i := range d.ints {
		i.Close()
	}
	d.ints, d.msix = nil, nil
}
