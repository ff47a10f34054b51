package msgport

// Depth counts the messages that wait in the port, without its lock: for debuggers, while all else
// stands still, and at other times an estimate.
func (p *Port) Depth() (priority, normal, transit int) {
	count := func(m *Msg) (n int) {
		for ; m != nil && n < 10000; m = m.next {
			n++
		}
		return n
	}
	return count(p.prio.head), count(p.norm.head), count(p.transit.Load())
}
