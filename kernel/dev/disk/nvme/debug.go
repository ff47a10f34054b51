package nvme

import "dfemu/kernel/ddb"

// show prints the queues for the debugger.
func (c *controller) show(d *ddb.Debugger) {
	d.Str(c.name)
	d.Str(": CSTS ")
	d.Hex(uint64(c.regs.Read32(regCSTS)))
	d.Str(" CC ")
	d.Hex(uint64(c.regs.Read32(regCC)))
	d.Str(" mapping ")
	d.Str(c.mode)
	d.Str(" resets ")
	d.Dec(uint64(c.resets))
	d.Line()
	c.admin.show(d)
	for _, s := range c.sqs {
		s.show(d)
	}
	for _, q := range c.cqs {
		d.Str("  cq ")
		d.Dec(uint64(q.id))
		d.Str(": head ")
		d.Dec(uint64(q.head))
		d.Str(" phase ")
		d.Dec(uint64(q.phase))
		d.Str(" completions ")
		d.Dec(q.count.Load())
		d.Str(" not ours ")
		d.Dec(uint64(q.bad.Load()))
		d.Line()
	}
}

func (s *sq) show(d *ddb.Debugger) {
	d.Str("  sq ")
	d.Dec(uint64(s.id))
	d.Str(" cq ")
	d.Dec(uint64(s.cq.id))
	d.Str(": depth ")
	d.Dec(uint64(s.depth))
	d.Str(" tail ")
	d.Dec(uint64(s.tail))
	d.Str(" under way ")
	d.Dec(uint64(len(s.slots) - len(s.free)))
	d.Str(" waiting ")
	d.Dec(uint64(len(s.waiting)))
	d.Line()
}
