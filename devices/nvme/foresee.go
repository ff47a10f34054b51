package nvme

// foresee looks at the commands between two tails for breaches of the specification that show without executing them. It is
// called by the processor that rang the doorbell, when a breach is to halt it there; whoever takes the commands looks at them
// again.
func (q *subQueue) foresee(from, to uint32) {
	d := q.d
	if !d.fn.BusMaster() {
		return
	}
	r := &request{q: q}
	r.shape.d, r.shape.queue, r.shape.page, r.shape.quiet = d, int(q.id), d.pageSize, true
	var b [sqeSize]byte
	for i := from; i != to; i = (i + 1) % q.size {
		if d.mem.Read(q.base+uint64(i)*sqeSize, b[:]) != nil {
			return
		}
		r.reset()
		r.e = parseEntry(&b)
		// Of a fused operation the partner counts, too.
		if r.e.fuse != 0 || d.check(r) != success {
			continue
		}
		if moves, write := r.io.data(); moves && r.ns != nil {
			// The status is for whoever executes it.
			_ = r.shape.parse(&r.e, r.io.blocks<<r.ns.geometry().shift, write)
		}
	}
}
