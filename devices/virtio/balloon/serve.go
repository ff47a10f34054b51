package balloon

import (
	"encoding/binary"
	"slices"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

var (
	statusOK     = devices.Status{Name: "OK"}
	statusFailed = devices.Status{Code: 1, Name: "without effect"}
)

// operation says what a queue is for, as the features that were negotiated have it.
func (d *Device) operation(queue int) int {
	switch {
	case queue == queueInflate:
		return opInflate
	case queue == queueDeflate:
		return opDeflate
	case queue == queueStats && d.Features()&featureStats != 0:
		return opStats
	}
	return opReport
}

// serve handles a request.
func (d *Device) serve(r *requests.Request) {
	op := d.operation(r.Queue.Index())
	if !d.Prompt() {
		d.judge(r.Queue.Index(), r.Chain)
	}
	bytes := virtio.Total(r.Chain.Out)
	if op == opReport {
		bytes = virtio.Total(r.Chain.In)
	}
	r.Run(func() *devices.Command {
		return &devices.Command{
			Queue: r.Queue.Index(), Tag: int(r.Chain.ID()), Opcode: uint32(op), Name: opNames[op], Bytes: bytes, Write: op != opReport,
			Fields: func() []devices.FieldValue {
				if op == opInflate || op == opDeflate {
					return []devices.FieldValue{{Name: "pages", Value: bytes / 4}}
				}
				return nil
			},
		}
	}, func() {
		if r.Effect.Fail {
			if op == opStats && !d.holds() {
				d.told.returned()
			}
			r.Complete(0, statusFailed)
			return
		}
		ok := true
		switch op {
		case opInflate, opDeflate:
			ok = d.move(r, op)
		case opStats:
			if ok = d.readStats(r); ok {
				d.hold(r)
				return
			}
		case opReport:
			ok = d.report(r)
		}
		if ok {
			r.Complete(0, statusOK)
		} else {
			r.Complete(0, statusFailed)
		}
	})
}

// move takes pages into the balloon, or lets them out of it (section 5.5.6).
func (d *Device) move(r *requests.Request, op int) bool {
	size := virtio.Total(r.Chain.Out)
	if !isArray(size) {
		return false
	}
	b := make([]byte, size)
	if err := r.Chain.Read(0, b); err != nil {
		r.Queue.Broken(err)
		return false
	}
	b = b[:r.Limit(len(b))&^3]
	r.Flip(b)
	ok := true
	eachRun(b, func(first, n uint32) {
		if op == opInflate {
			ok = d.take(first, n) && ok
		} else {
			ok = d.giveBack(first, n) && ok
		}
	})
	return ok
}

// isArray tells whether so many bytes can be an array of page numbers.
func isArray(size uint64) bool { return size != 0 && size%4 == 0 && size <= 4*maxPages }

// eachRun calls f for the runs of pages that an array names, from the lowest on.
func eachRun(b []byte, f func(first, n uint32)) {
	pages := make([]uint32, len(b)/4)
	for i := range pages {
		pages[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	slices.Sort(pages)
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n] == pages[0]+uint32(n) {
			n++
		}
		f(pages[0], uint32(n))
		pages = pages[n:]
	}
}

// take gives pages to the host.
func (d *Device) take(first, n uint32) bool {
	if d.discard(uint64(first)*pageSize, uint64(n)*pageSize) != nil {
		return false
	}
	d.mu.Lock()
	d.pages.add(first, n)
	d.mu.Unlock()
	return true
}

// giveBack lets the guest use pages again. The host needs to do nothing: they come back when they are touched.
func (d *Device) giveBack(first, n uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pages.remove(first, n)
}

// discard drops the content of pages.
func (d *Device) discard(addr, n uint64) error {
	m, ok := d.Function().DMA().(devices.Discarder)
	if !ok {
		return &devices.MemoryError{Addr: addr, Size: n, Why: "this memory cannot be given back"}
	}
	if p := d.Function().Probe(); p.Wants(devices.ClassDMA) {
		p.DMA(devices.Transfer{Addr: addr, Bytes: int(n), Write: true, Discard: true, What: "discard"})
	}
	return m.Discard(addr, n)
}

// report drops the content of pages that the guest does not use (section 5.5.6.7).
func (d *Device) report(r *requests.Request) bool {
	if d.Features()&featureReporting == 0 {
		return false
	}
	d.mu.Lock()
	poison := d.state.Poison
	d.mu.Unlock()
	if poison != 0 {
		return true // the pages have to keep what they are filled with
	}
	ok := true
	left := uint64(r.Limit(int(virtio.Total(r.Chain.In))))
	for _, s := range r.Chain.In {
		if !wholePages(s) {
			ok = false
			continue
		}
		n := min(uint64(s.Len), left/pageSize*pageSize)
		if left -= n; n == 0 {
			continue
		}
		if d.discard(s.Addr, n) != nil {
			ok = false
		}
	}
	return ok
}

func wholePages(s virtio.Segment) bool { return s.Addr%pageSize == 0 && s.Len%pageSize == 0 }

// readStats takes statistics over (section 5.5.6.3).
func (d *Device) readStats(r *requests.Request) bool {
	size := virtio.Total(r.Chain.Out)
	if !areStats(size) {
		return false
	}
	b := make([]byte, size)
	if err := r.Chain.Read(0, b); err != nil {
		r.Queue.Broken(err)
		return false
	}
	b = b[:r.Limit(len(b))]
	r.Flip(b)
	stats := map[string]uint64{}
	for ; len(b) >= statSize; b = b[statSize:] {
		// Statistics that nobody knows are to be passed over.
		if tag := binary.LittleEndian.Uint16(b); tag < statKinds && statNames[tag] != "" {
			stats[statNames[tag]] = binary.LittleEndian.Uint64(b[2:])
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats = stats
	close(d.changed)
	d.changed = make(chan struct{})
	return true
}

// areStats tells whether so many bytes can be statistics.
func areStats(size uint64) bool { return size%statSize == 0 && size <= statSize*maxStats }

// holds tells whether the device has a buffer for statistics.
func (d *Device) holds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.holding
}

// hold keeps the buffer until new statistics are wanted. The driver has one of them.
func (d *Device) hold(r *requests.Request) {
	d.mu.Lock()
	if d.holding {
		d.mu.Unlock()
		r.Complete(0, statusFailed)
		return
	}
	d.held, d.holding = r.Keep(statusOK), true
	d.mu.Unlock()
}
