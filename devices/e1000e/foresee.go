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

// fromHead is no position in a ring.
const fromHead = 1<<32 - 1

// foreseeReceive looks at the descriptors that a receive ring has between a position and its tail: they must be in memory, and so must
// their buffers begin. It is called by the processor that wrote the tail, or turned the receiver on.
func (d *Device) foreseeReceive(q int, from uint32) {
	var c setup
	d.mu.Lock()
	on := d.get(0x100)&rctlEN != 0
	c.read(d)
	r := d.ringAt(0x2800, q)
	r.n = uint32(uint64(d.get(queueReg(0x2808, q))) / c.descSize)
	d.mu.Unlock()
	if from == fromHead {
		from = r.head
	}
	if !on || !d.fn.BusMaster() || from >= r.n || r.tail >= r.n {
		return
	}
	mem := d.fn.DMA()
	var raw [2 * descSize]byte
	for i := from; i != r.tail; i = (i + 1) % r.n {
		if err := mem.Read(r.base+uint64(i)*c.descSize, raw[:c.descSize]); err != nil {
			d.misuse(q, "7.1.4", "receive descriptor %d: %v", i, err)
			return
		}
		for k, size := range c.sizes[:c.buffers] {
			if _, err := mem.View(le.Uint64(raw[8*k:]), 1); err != nil && size != 0 {
				d.misuse(q, "7.1.4", "the buffer of receive descriptor %d: %v", i, err)
				return
			}
		}
	}
}
