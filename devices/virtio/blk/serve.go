package blk

import (
	"dfemu/devices"
	"dfemu/devices/virtio"
)

// chunk is the most bytes moved through a buffer at once.
const chunk = 1 << 20

// serve carries a request out and gives its chain back.
func (d *Device) serve(q *virtio.Queue, c *virtio.Chain) {
	r, err := parse(c)
	if err != nil {
		q.Broken(err)
		q.Push(c, 0)
		return
	}
	if p := d.Function().Probe(); p.Faulty() || p.Wants(devices.ClassCommand|devices.ClassDMA|devices.ClassStrict) {
		d.serveWatched(q, c, &r)
		return
	}
	status := d.check(&r)
	if status == statusOK {
		// One without others beside it is waited for.
		if d.under.Add(1) > 1 && d.reads != nil && d.start(q, c, &r) {
			return
		}
		status = d.do(c, &r)
		d.under.Add(-1) // before the driver hears of it and sends the next one
	}
	q.Push(c, d.finish(q, c, &r, status))
}

// finish stores the status of a request and returns the bytes stored for the
// guest.
func (d *Device) finish(q *virtio.Queue, c *virtio.Chain, r *request, status byte) uint32 {
	if err := c.Write(r.status, []byte{status}); err != nil {
		q.Broken(virtio.Rule("5.2.6", "status byte: %v", err))
		return 0
	}
	if status == statusOK && (r.kind == typeIn || r.kind == typeGetID) {
		return uint32(min(r.size+1, 1<<32-1))
	}
	// Of a failed read the guest cannot count on any byte but the status.
	return 1
}

// check looks at a request before it has any effect. It returns the status if
// the request fails.
func (d *Device) check(r *request) byte {
	switch {
	case r.transfers():
		if r.size%sectorSize != 0 || !d.inside(r.sector, r.size/sectorSize) || r.kind == typeOut && d.store.ReadOnly() {
			return statusIOErr
		}
	case r.clears():
		return d.checkRanges(r)
	case r.kind != typeFlush && r.kind != typeGetID:
		return statusUnsup
	}
	return statusOK
}

// checkRanges looks at the ranges of a request: all of them are cleared, or none
// if one is wrong.
func (d *Device) checkRanges(r *request) byte {
	if d.store.ReadOnly() || len(r.ranges) == 0 {
		return statusIOErr
	}
	for _, s := range r.ranges {
		if s.flags&^rangeUnmap != 0 || r.kind == typeDiscard && s.flags != 0 {
			return statusUnsup
		}
		if s.n > maxSectors || !d.inside(s.first, uint64(s.n)) {
			return statusIOErr
		}
	}
	return statusOK
}

// do carries out a request that was checked.
func (d *Device) do(c *virtio.Chain, r *request) (status byte) {
	switch {
	case r.transfers():
		return d.transfer(c, r)
	case r.clears():
		return d.clear(r)
	case r.kind == typeFlush:
		return result(d.store.Flush())
	}
	id := make([]byte, idSize)
	copy(id, d.o.Serial)
	id = id[:min(idSize, r.size)]
	devices.Flip(id, 0, r.flips)
	n := 0
	for _, s := range r.data {
		k := min(int(s.Len), len(id)-n)
		if err := c.Memory().Write(s.Addr, id[n:n+k]); err != nil {
			return statusIOErr
		}
		c.Memory().Written(s.Addr, k)
		n += k
	}
	return statusOK
}

func result(err error) byte {
	if err != nil {
		return statusIOErr
	}
	return statusOK
}

// inside tells whether n sectors from first on are on the disk.
func (d *Device) inside(first, n uint64) bool {
	c := d.capacity.Load()
	return first <= c && n <= c-first
}

// settle makes a change durable if the driver expects that on completion.
func (d *Device) settle() byte {
	if d.direct.Load() {
		return result(d.store.Flush())
	}
	return statusOK
}

// clear discards or zeroes the ranges of a request.
func (d *Device) clear(r *request) byte {
	for _, s := range r.ranges {
		off, n := int64(s.first)*sectorSize, int64(s.n)*sectorSize
		var err error
		if r.kind == typeDiscard {
			err = d.store.Discard(off, n)
		} else {
			err = d.store.WriteZeroes(off, n, s.flags&rangeUnmap != 0)
		}
		if err != nil {
			return statusIOErr
		}
	}
	return d.settle()
}

// transfer reads or writes the disk.
func (d *Device) transfer(c *virtio.Chain, r *request) byte {
	if r.size == 0 {
		return statusOK
	}
	write := r.kind == typeOut
	if err := d.move(c.Memory(), r, int64(r.sector)*sectorSize, write); err != nil {
		return statusIOErr
	}
	if write {
		return d.settle()
	}
	return statusOK
}

// vectored is a store that moves several pieces at once.
type vectored interface {
	ReadVAt(bufs [][]byte, off int64) error
	WriteVAt(bufs [][]byte, off int64) error
}

// move copies between the disk at off and guest memory: directly where that is
// one piece or the store takes several, else through a buffer.
func (d *Device) move(m devices.Memory, r *request, off int64, write bool) error {
	v, many := d.store.(vectored)
	if len(r.data) > 1 && !many || len(r.flips) != 0 {
		return d.moveBuffered(m, r, off, write)
	}
	bufs, ok := view(m, r.data, make([][]byte, 0, 8))
	if !ok {
		return d.moveBuffered(m, r, off, write)
	}
	var err error
	switch {
	case len(bufs) == 1 && write:
		_, err = d.store.WriteAt(bufs[0], off)
	case len(bufs) == 1:
		_, err = d.store.ReadAt(bufs[0], off)
	case write:
		err = v.WriteVAt(bufs, off)
	default:
		err = v.ReadVAt(bufs, off)
	}
	if !write {
		written(m, r.data)
	}
	return err
}

// view appends the pieces of memory of segments to bufs. It reports false if not all
// of it can be reached as it is.
func view(m devices.Memory, data []virtio.Segment, bufs [][]byte) ([][]byte, bool) {
	for _, s := range data {
		if s.Len == 0 {
			continue
		}
		b, err := m.View(s.Addr, int(s.Len))
		if err != nil {
			return bufs, false
		}
		bufs = append(bufs, b)
	}
	return bufs, true
}

// written tells the CPUs about data read into memory. Also after an error some of
// it may have changed.
func written(m devices.Memory, data []virtio.Segment) {
	for _, s := range data {
		m.Written(s.Addr, int(s.Len))
	}
}

func (d *Device) moveBuffered(m devices.Memory, r *request, off int64, write bool) error {
	p, _ := d.buffers.Get().(*[]byte)
	if p == nil {
		b := make([]byte, chunk)
		p = &b
	}
	defer d.buffers.Put(p)
	for at := uint64(0); at < r.size; {
		b := (*p)[:min(r.size-at, chunk)]
		if !write {
			if _, err := d.store.ReadAt(b, off+int64(at)); err != nil {
				return err
			}
			devices.Flip(b, at, r.flips)
		}
		segs, err := virtio.Slice(r.data, at, uint64(len(b)))
		if err != nil {
			return err
		}
		n := 0
		for _, s := range segs {
			piece := b[n : n+int(s.Len)]
			if write {
				err = m.Read(s.Addr, piece)
			} else if err = m.Write(s.Addr, piece); err == nil {
				m.Written(s.Addr, len(piece))
			}
			if err != nil {
				return err
			}
			n += len(piece)
		}
		if write {
			devices.Flip(b, at, r.flips)
			if _, err := d.store.WriteAt(b, off+int64(at)); err != nil {
				return err
			}
		}
		at += uint64(len(b))
	}
	return nil
}
