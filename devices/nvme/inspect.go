package nvme

import "dfemu/devices"

// Inspect implements devices.Inspector. queue is the number of a submission queue; its completion queue is
// shown with it.
func (d *Device) Inspect(queue int) (regs, state []devices.Inspected) {
	regs = bank.Inspect(registers{d}, func(r devices.Reg) bool {
		return r.ID == regINTMS || r.ID == regINTMC // reading them may be a breach
	})
	if queue < 0 || queue >= len(d.sqs) {
		return regs, nil
	}
	add := func(name string, v uint64) { state = append(state, devices.Inspected{Name: name, Value: v}) }
	cq := d.cqs[queue].Load()
	if q := d.sqs[queue].Load(); q != nil {
		add("submission queue base", q.base)
		add("submission queue size", uint64(q.size))
		add("head", uint64(q.head.Load()))
		add("tail", uint64(q.tail.Load()))
		cq = q.cq
		q.mu.Lock()
		for _, r := range q.active {
			add("outstanding command", uint64(r.e.cid))
		}
		q.mu.Unlock()
	}
	if cq != nil {
		add("completion queue", uint64(cq.id))
		add("completion queue base", cq.base)
		add("completion queue size", uint64(cq.size))
		add("vector", uint64(cq.vector))
		cq.mu.Lock()
		add("completion queue head", uint64(cq.head))
		add("completion queue tail", uint64(cq.tail))
		add("phase", uint64(cq.phase))
		add("completions without room", uint64(len(cq.backlog)))
		cq.mu.Unlock()
	}
	return regs, state
}
