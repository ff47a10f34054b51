package blk

import (
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// What happens to requests while somebody traces the device, checks its driver or
// injects faults.

// serveWatched is serve with an audience.
func (d *Device) serveWatched(q *virtio.Queue, c *virtio.Chain, r *request) {
	probe := d.Function().Probe()
	if probe.Wants(devices.ClassStrict) {
		d.checkDriver(q.Index(), c, r)
	}
	cmd := d.describe(q, c, r)
	probe.Command(cmd)
	if probe.Wants(devices.ClassDMA) {
		transfers(probe, c, r)
	}
	status := d.check(r)
	var e devices.Effect
	if status == statusOK && probe.Faulty() {
		e = probe.Decide(cmd)
	}
	switch {
	case status != statusOK:
		d.end(q, c, r, cmd, status, &e)
	case e.Hang:
		q.Finish(c, 0, &e)
	case e.Delay > 0 && d.o.Clock != nil:
		d.late.put(q, c, r, cmd, e, e.Delay)
	default:
		d.perform(q, c, r, cmd, &e)
	}
}

// perform carries out a request that was checked and decided about.
func (d *Device) perform(q *virtio.Queue, c *virtio.Chain, r *request, cmd *devices.Command, e *devices.Effect) {
	var status byte
	switch {
	case e.Fail && e.Status == 0:
		status = statusIOErr
	case e.Fail:
		status = byte(e.Status)
	case e.ShortOn || e.FlipData != 0 || e.FlipTable != 0:
		disturb(r, e)
		if r.clears() {
			r.readRanges(c.Memory())
		}
		// What the fault made of the ranges may not be possible.
		if status = d.check(r); status == statusOK {
			status = d.do(c, r)
		}
	default:
		status = d.do(c, r)
	}
	d.end(q, c, r, cmd, status, e)
}

// end completes a request.
func (d *Device) end(q *virtio.Queue, c *virtio.Chain, r *request, cmd *devices.Command, status byte, e *devices.Effect) {
	written := d.finish(q, c, r, status)
	d.Function().Probe().Completion(cmd, devices.Status{Code: uint32(status), Name: statusName(status)})
	q.Finish(c, written, e)
}

func statusName(s byte) string {
	switch s {
	case statusOK:
		return "OK"
	case statusIOErr:
		return "IOERR"
	case statusUnsup:
		return "UNSUPP"
	}
	return fmt.Sprintf("status %d", s)
}

// describe makes what traces and faults see of a request.
func (d *Device) describe(q *virtio.Queue, c *virtio.Chain, r *request) *devices.Command {
	cmd := &devices.Command{
		Queue: q.Index(), Tag: int(c.ID()), Opcode: r.kind, Name: typeNames[r.kind], Bytes: r.size,
		Write: r.kind == typeOut || r.clears(),
	}
	if cmd.Name == "" {
		cmd.Name = fmt.Sprintf("type %d", r.kind)
	}
	unit := uint64(d.o.BlockSize / sectorSize)
	if first, n := r.span(); n != 0 && n <= ^uint64(0)-first {
		// A request may begin and end in the middle of a block.
		cmd.LBA = first / unit
		cmd.Blocks = (first+n-1)/unit - cmd.LBA + 1
	}
	kind, sector, ranges, descs := r.kind, r.sector, r.ranges, c.Descriptors()
	cmd.Fields = func() []devices.FieldValue {
		l := []devices.FieldValue{{Name: "type", Value: uint64(kind)}, {Name: "sector", Value: sector}, {Name: "descriptors", Value: uint64(descs)}}
		for i, s := range ranges {
			l = append(l, devices.FieldValue{Name: fmt.Sprintf("range%d.sector", i), Value: s.first},
				devices.FieldValue{Name: fmt.Sprintf("range%d.num_sectors", i), Value: uint64(s.n)},
				devices.FieldValue{Name: fmt.Sprintf("range%d.flags", i), Value: uint64(s.flags)})
		}
		return l
	}
	return cmd
}

// transfers reports the accesses to guest memory that a request makes.
func transfers(p *devices.Probe, c *virtio.Chain, r *request) {
	report := func(what string, write bool, l []virtio.Segment) {
		for _, s := range l {
			p.DMA(devices.Transfer{Addr: s.Addr, Bytes: int(s.Len), Write: write, What: what})
		}
	}
	// Both are there, as parse has seen.
	head, _ := virtio.Slice(c.Out, 0, headerSize)
	status, _ := virtio.Slice(c.In, r.status, 1)
	report("header", false, head)
	report("data", r.kind == typeIn || r.kind == typeGetID, r.data)
	report("status", true, status)
}

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) {
	r, err := parse(c)
	if err != nil {
		d.Breach(queue, err)
		return
	}
	d.checkDriver(queue, c, &r)
}

// checkDriver looks at a request for what the specification does not allow
// (section 5.2.6.1).
func (d *Device) checkDriver(q int, c *virtio.Chain, r *request) {
	f := d.Features()
	bad := func(section, format string, a ...any) { d.Violation(q, section, format, a...) }
	name := typeNames[r.kind]
	if r.other != 0 {
		bad("5.2.6", "a request of type %d with %d bytes in buffers of the wrong direction", r.kind, r.other)
	}
	if n := c.Descriptors() - 2; f&featureSegMax != 0 && n > d.segMax() {
		bad("5.2.3", "%d buffers of data: seg_max is %d", n, d.segMax())
	}
	switch r.kind {
	case typeIn, typeOut:
		if r.size%sectorSize != 0 {
			bad("5.2.6.1", "%s of %d bytes: must be a multiple of %d", name, r.size, sectorSize)
		} else if !d.inside(r.sector, r.size/sectorSize) {
			bad("5.2.6.1", "%s of %d sectors from %d on: the disk has %d", name, r.size/sectorSize, r.sector, d.capacity.Load())
		}
	case typeFlush:
		if r.sector != 0 {
			bad("5.2.6.1", "FLUSH with sector %d: must be 0", r.sector)
		}
		if r.size != 0 {
			bad("5.2.6.1", "FLUSH with %d bytes of data", r.size)
		}
		if f&featureFlush == 0 {
			bad("5.2.3", "FLUSH without VIRTIO_BLK_F_FLUSH")
		}
	case typeGetID:
		if r.size != idSize {
			bad("5.2.6.1", "GET_ID of %d bytes: must be %d", r.size, idSize)
		}
	case typeDiscard, typeWriteZeroes:
		d.checkClear(bad, r, f)
	default:
		bad("5.2.6", "request of type %d, which is not offered", r.kind)
	}
	if d.store.ReadOnly() && (r.kind == typeOut || r.clears()) {
		bad("5.2.6.2", "%s on a read-only disk", name)
	}
}

func (d *Device) checkClear(bad func(section, format string, a ...any), r *request, f uint64) {
	name := typeNames[r.kind]
	if r.kind == typeDiscard && f&featureDiscard == 0 || r.kind == typeWriteZeroes && f&featureWriteZeroes == 0 {
		bad("5.2.3", "%s without VIRTIO_BLK_F_%s", name, name)
	}
	switch {
	case r.size == 0 || r.size%rangeSize != 0:
		bad("5.2.6.1", "%s with %d bytes of ranges: must be a multiple of %d", name, r.size, rangeSize)
	case r.size > maxRanges*rangeSize:
		bad("5.2.6.1", "%s with %d ranges: the device's limit is %d", name, r.size/rangeSize, maxRanges)
	}
	for _, s := range r.ranges {
		switch {
		case s.flags&^rangeUnmap != 0:
			bad("5.2.6", "%s with flags %#x: only unmap is defined", name, s.flags)
		case r.kind == typeDiscard && s.flags != 0:
			bad("5.2.6.1", "DISCARD with unmap set")
		}
		switch {
		case s.n > maxSectors:
			bad("5.2.3", "%s of %d sectors: the device's limit is %d", name, s.n, maxSectors)
		case !d.inside(s.first, uint64(s.n)):
			bad("5.2.6.1", "%s of %d sectors from %d on: the disk has %d", name, s.n, s.first, d.capacity.Load())
		}
	}
}
