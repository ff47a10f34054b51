package balloon

import (
	"slices"
	"sync"

	"dfemu/devices/virtio"
)

// What a driver must not do with the balloon. Requests are judged in the order in which the driver made them available, by what it had told
// before: at the notification if somebody wants to know promptly, otherwise when they are taken.

// told is what the driver has told, in requests that need not have been carried out.
type told struct {
	mu    sync.Mutex
	pages pageSet // in the balloon
	stats bool    // the device has a buffer for statistics
}

func (t *told) set(pages pageSet, stats bool) {
	t.mu.Lock()
	t.pages, t.stats = slices.Clone(pages), stats
	t.mu.Unlock()
}

// returned notes that the driver gets its buffer for statistics back.
func (t *told) returned() {
	t.mu.Lock()
	t.stats = false
	t.mu.Unlock()
}

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) { d.judge(queue, c) }

// judge reports what is wrong with a request, and notes what it tells.
func (d *Device) judge(queue int, c *virtio.Chain) {
	switch op := d.operation(queue); op {
	case opInflate, opDeflate:
		d.judgeMove(queue, op, c)
	case opStats:
		size := virtio.Total(c.Out)
		if !areStats(size) {
			d.Violation(queue, "5.5.6.3", "statistics of %d bytes: each has %d, and at most %d are expected", size, statSize, maxStats)
			return
		}
		d.told.mu.Lock()
		second := d.told.stats
		d.told.stats = true
		d.told.mu.Unlock()
		if second {
			d.Violation(queue, "5.5.6.3.1", "a second buffer for statistics: the device has one already")
		}
	case opReport:
		d.judgeReport(queue, c)
	}
}

// judgeMove looks at pages that go into the balloon or leave it (section 5.5.6).
func (d *Device) judgeMove(queue, op int, c *virtio.Chain) {
	size := virtio.Total(c.Out)
	if !isArray(size) {
		d.Violation(queue, "5.5.6", "an array of %d bytes: must be page numbers of 4 bytes, 1 to %d", size, maxPages)
		return
	}
	b := make([]byte, size)
	if c.Read(0, b) != nil {
		return // a buffer that is no memory, which is a breach by itself
	}
	t := &d.told
	t.mu.Lock()
	defer t.mu.Unlock()
	eachRun(b, func(first, n uint32) {
		last := first + n - 1
		if op == opDeflate {
			if !t.pages.remove(first, n) {
				d.Violation(queue, "5.5.6", "pages %#x to %#x leave the balloon, where not all of them are", first, last)
			}
			return
		}
		if t.pages.has(first, n) {
			d.Violation(queue, "5.5.6", "pages %#x to %#x go into the balloon, where some of them are already", first, last)
		}
		if err := d.reach(uint64(first)*pageSize, uint64(n)*pageSize); err != nil {
			d.Violation(queue, "5.5.6", "pages %#x to %#x go into the balloon: %v", first, last, err)
			return
		}
		t.pages.add(first, n)
	})
}

// judgeReport looks at pages that the guest does not use (section 5.5.6.7).
func (d *Device) judgeReport(queue int, c *virtio.Chain) {
	if d.Features()&featureReporting == 0 {
		d.Violation(queue, "5.5.2", "a request in a queue that does not exist without VIRTIO_BALLOON_F_PAGE_REPORTING")
		return
	}
	for _, s := range c.In {
		if !wholePages(s) {
			d.Violation(queue, "5.5.6.7", "%d bytes at %#x are reported: not whole pages", s.Len, s.Addr)
		} else if err := d.reach(s.Addr, uint64(s.Len)); err != nil {
			d.Violation(queue, "5.5.6.7", "%d bytes at %#x are reported: %v", s.Len, s.Addr, err)
		}
	}
}

// reach tells why the n bytes of whole pages at an address are not memory: the first page or the last one.
func (d *Device) reach(addr, n uint64) error {
	if n == 0 {
		return nil
	}
	mem := d.Function().DMA()
	if _, err := mem.View(addr, pageSize); err != nil {
		return err
	}
	_, err := mem.View(addr+n-pageSize, pageSize)
	return err
}
