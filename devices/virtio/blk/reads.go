package blk

import (
	"dfemu/devices/internal/aio"
	"dfemu/devices/virtio"
)

// A flight is a read of a file that is under way, and that nobody waits for.
type flight struct {
	op   aio.Op
	q    *virtio.Queue
	c    *virtio.Chain
	r    request
	bufs [][]byte
}

// start begins a read that was checked, if it is one that has not to be waited for.
func (d *Device) start(q *virtio.Queue, c *virtio.Chain, r *request) bool {
	if r.kind != typeIn || r.size == 0 || r.size > aio.MaxBytes {
		return false
	}
	f, _ := d.flights.Get().(*flight)
	if f == nil {
		f = &flight{}
	}
	var ok bool
	if f.bufs, ok = view(c.Memory(), r.data, f.bufs[:0]); ok {
		off := int64(r.sector) * sectorSize
		if f.op.FD, ok = aio.Descriptor(d.store, f.bufs, off); ok {
			f.q, f.c, f.r = q, c, *r
			f.op.Off, f.op.Bufs, f.op.Owner = off, f.bufs, f
			d.reads.Start([]*aio.Op{&f.op})
			return true
		}
	}
	d.flights.Put(f)
	return false
}

// land gives chains whose reads have ended back, those of a queue in one step.
func (d *Device) land(ops []*aio.Op) {
	var done []*virtio.Chain
	for i, o := range ops {
		f := o.Owner.(*flight)
		q := f.q
		written(f.c.Memory(), f.r.data)
		f.c.SetWritten(d.finish(q, f.c, &f.r, result(o.Err)))
		done = append(done, f.c)
		d.under.Add(-1)
		clear(f.bufs)
		f.q, f.c, f.r = nil, nil, request{}
		d.flights.Put(f)
		if i+1 == len(ops) || ops[i+1].Owner.(*flight).q != q {
			q.PushAll(done, false)
			done = done[:0]
		}
	}
}
