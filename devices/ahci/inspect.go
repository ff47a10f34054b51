package ahci

import (
	"fmt"

	"dfemu/devices"
)

// Inspect implements devices.Inspector. queue is the number of a port, whose registers are shown with the commands
// that it has.
func (d *Device) Inspect(queue int) (regs, state []devices.Inspected) {
	all := d.bank.Inspect(d, func(r devices.Reg) bool { return r.Count > 0 })
	if queue < 0 || queue >= len(d.ports) {
		return all, nil
	}
	state = d.bank.Inspect(d, func(r devices.Reg) bool { return r.Count == 0 || r.Index != queue })
	p := d.ports[queue]
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		r := &p.slots[i]
		if p.ci.Load()>>i&1 == 0 && p.sact.Load()>>i&1 == 0 {
			continue
		}
		state = append(state,
			devices.Inspected{Name: fmt.Sprintf("slot %d command header", i), Value: uint64(r.header)},
			devices.Inspected{Name: fmt.Sprintf("slot %d command table", i), Value: r.table},
			devices.Inspected{Name: fmt.Sprintf("slot %d command", i), Value: uint64(r.fis[2])})
	}
	return all, state
}
