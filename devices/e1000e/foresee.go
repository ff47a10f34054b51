package e1000e

import "slices"

// foresee looks at the descriptors that a transmit ring has up to its tail for breaches of the data sheet. It is called by the
// processor that wrote the tail, when a breach is to halt it there; whoever sends the packets looks at them again.
func (d *Device) foresee(q int) {
	d.txMu.Lock()
	defer d.txMu.Unlock()
	s := &d.sender
	d.mu.Lock()
	r, on := d.sending(q)
	st := d.s.Tx[q]
	st.Segs = slices.Clone(st.Segs)
	d.mu.Unlock()
	if !on || s.hung[q] || !d.fn.BusMaster() {
		return
	}
	mem := d.fn.DMA()
	var raw [descSize]byte
	for i := r.head; i != r.tail; i = (i + 1) % r.n {
		if err := mem.Read(r.base+uint64(i)*descSize, raw[:]); err != nil {
			d.violation(q, "7.2.9", "transmit descriptors cannot be read: %v", err)
			return
		}
		x, err := parseTx(raw[:])
		if err != nil {
			d.violation(q, "7.2.10", "%v", err)
			continue
		}
		if c, ok := x.(contextDesc); ok {
			st.Context = c
			continue
		}
		if !st.add(x) {
			continue
		}
		st.Open = false
		// The packet itself is of no use here; what building it leaves behind the next batch begins without.
		d.build(q, &st, mem, false, 0, false)
		clear(s.pieces)
		s.pieces, s.counts = s.pieces[:0], s.counts[:0]
	}
}
