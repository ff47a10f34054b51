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
	d.Num(" resets ", uint64(c.resets))
	d.Line()
	c.admin.show(d)
	for _, s := range c.sqs {
		s.show(d)
	}
	for _, q := range c.cqs {
		d.Num("  cq ", uint64(q.id))
		d.Num(": head ", uint64(q.head))
		d.Num(" phase ", uint64(q.phase))
		d.Num(" completions ", q.count.Load())
		d.Num(" not ours ", uint64(q.bad.Load()))
		d.Line()
	}
}

func (s *sq) show(d *ddb.Debugger) {
	d.Num("  sq ", uint64(s.id))
	d.Num(" cq ", uint64(s.cq.id))
	d.Num(": depth ", uint64(s.depth))
	d.Num(" tail ", uint64(s.tail))
	d.Num(" under way ", uint64(len(s.slots)-len(s.free)))
	d.Num(" waiting ", uint64(len(s.waiting)))
	d.Line()
}
