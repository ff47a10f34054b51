package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"dfemu/kernel/subr/disk"
)

// Strategy implements disk.Driver: each CPU has its queues.
func (n *namespace) Strategy(b *disk.Bio) {
	c := n.c
	m := &command{nsid: n.id, bio: b, space: n}
	block, count := uint64(b.Offset)>>n.shift, uint32(b.Length>>n.shift)
	cpu := c.k.CPU()
	s := c.write[cpu%len(c.write)]
	switch b.Cmd {
	case disk.Read:
		m.op = ioRead
		s = c.read[cpu%len(c.read)]
	case disk.Write:
		m.op = ioWrite
	case disk.Flush:
		if !c.cache {
			b.Done(nil)
			return
		}
		m.op = ioFlush
	default:
		m.op = ioDataset
		m.dw10 = [6]uint32{0, attrDeallocate}
	}
	if m.op == ioRead || m.op == ioWrite {
		m.dw10 = [6]uint32{uint32(block), uint32(block >> 32), count - 1}
	}
	if c.gone.Load() {
		b.Done(disk.ErrGone)
		return
	}
	s.submit(m)
	if c.gone.Load() { // fail may have been there before
		for _, m := range s.drain() {
			m.err = disk.ErrGone
			c.finish(m)
		}
		return
	}
	c.look()
}

// look tells the controller's thread that there are commands to look after.
func (c *controller) look() {
	if !c.watched.Load() && !c.watched.Swap(true) {
		c.signals.Raise(sigBusy)
	}
}

// complete is called with what the controller answered.
func (c *controller) complete(m *command) {
	if m.bio != nil && m.status == 0 {
		c.alive.Store(true)
	} else if m.bio != nil {
		m.tries++
		if m.status.retry() && m.tries < maxTries && !c.gone.Load() {
			c.mu.Lock()
			c.retry = append(c.retry, m)
			c.mu.Unlock()
			c.signals.Raise(sigRetry)
			return
		}
	}
	c.finish(m)
}

// finish gives a command back.
func (c *controller) finish(m *command) {
	switch {
	case m.forever:
		c.mu.Lock()
		c.events = append(c.events, m.result)
		c.mu.Unlock()
		if m.err == nil && m.status == 0 {
			c.signals.Raise(sigEvent)
		}
	case m.bio != nil:
		m.bio.Done(m.failure())
	case m.done != nil:
		m.done.Set()
	}
}

// failure is a command's result as an error.
func (m *command) failure() error {
	s := m.status
	switch {
	case m.err != nil:
		return m.err
	case s == 0:
		return nil
	case s.kind() == typeMedia:
		return fmt.Errorf("%w: status type 2 code %#02x", disk.ErrMedium, s.code())
	case s.kind() == typeGeneric:
		switch s.code() {
		case codeInvalidNS, codeNotReady:
			return fmt.Errorf("%w: status code %#02x", disk.ErrGone, s.code())
		case codeAborted, codeAbortedSQ:
			return disk.ErrAborted
		case codeLBARange:
			return disk.ErrRange
		case codeReadOnly:
			return disk.ErrReadOnly
		case codeUnsupported:
			return disk.ErrSupported
		}
	}
	return fmt.Errorf("%w: status type %d code %#02x", disk.ErrIO, s.kind(), s.code())
}

// again sends commands again that the controller could not do the first time.
func (c *controller) again() {
	time.Sleep(10 * time.Millisecond)
	c.mu.Lock()
	list := c.retry
	c.retry = nil
	c.mu.Unlock()
	for _, m := range list {
		m.status = 0
		c.sqs[0].submit(m)
	}
}

// busy tells whether commands are under way.
func (c *controller) busy() bool {
	for _, s := range c.sqs {
		if s.oldest().m != nil {
			return true
		}
	}
	return false
}

// abort is a command that the controller was asked to abort, and when.
type abort struct {
	of underWay
	at time.Duration
}

// check looks after commands that take too long, and tells whether any are under way.
func (c *controller) check() bool {
	csts := c.regs.Read32(regCSTS)
	switch {
	case csts == allOnes:
		c.k.Printf("%s: it is gone", c.name)
		c.fail()
		return false
	case csts&cstsFatal != 0 || csts&cstsReady == 0:
		c.reset(fmt.Sprintf("it reports a fatal error, status %#x", csts))
		return true
	}
	any := false
	for _, s := range c.sqs {
		u := s.oldest()
		if u.m == nil {
			continue
		}
		any = true
		age := c.k.Now() - u.since
		if age > c.times.tick && s.cq.waits() {
			time.Sleep(c.times.irq) // an interrupt may be on its way
			if s.oldestIs(u) && s.cq.waits() {
				c.k.Printf("%s: an interrupt of completion queue %d was lost", c.name, s.cq.id)
				s.cq.process()
			}
			continue
		}
		switch a := c.aborting[s.id]; {
		case a.of == u && c.k.Now()-a.at > c.times.io/2:
			c.reset(fmt.Sprintf("command %#x (%#02x) on queue %d is not answered for %v", u.id, u.op, s.id, age.Round(time.Millisecond)))
			return true
		case age > c.times.io && a.of != u:
			if c.aborting == nil {
				c.aborting = map[int]abort{}
			}
			c.aborting[s.id] = abort{u, c.k.Now()}
			c.k.Printf("%s: command %#x (%#02x) on queue %d is not answered: abort", c.name, u.id, u.op, s.id)
			if _, err := c.do(command{op: admAbort, dw10: [6]uint32{uint32(s.id) | uint32(u.id)<<16}}); err != nil {
				c.reset(fmt.Sprintf("abort: %v", err))
				return true
			}
		}
	}
	return any
}

// reset brings the controller up again. What it had is sent again, or fails when that was tried before.
func (c *controller) reset(why string) {
	c.k.Printf("%s: %s: reset", c.name, why)
	if c.alive.Swap(false) {
		c.resets = 0
	}
	// Once it is reset it knows no queues: nobody may write their doorbells.
	for _, s := range append([]*sq{c.admin}, c.sqs...) {
		s.hold()
	}
	c.quiet(true)
	for _, q := range append([]*cq{c.acq}, c.cqs...) {
		q.stop()
	}
	c.regs.Write32(regCC, 0)
	stopped := c.waitReady(false)
	if c.resets++; c.resets > maxResets && stopped == nil {
		stopped = fmt.Errorf("%d resets have not helped", maxResets)
	}
	var lost []*command
	for _, s := range append([]*sq{c.admin}, c.sqs...) {
		lost = append(lost, s.stop()...)
	}
	if stopped != nil {
		// It may still write to memory; without being a bus master it cannot.
		c.pci.SetMaster(false)
		c.k.Printf("%s: %v: out of use", c.name, stopped)
	}
	c.mu.Lock()
	c.events = nil
	c.mu.Unlock()
	var again []*command
	for _, m := range lost {
		m.tries++
		if m.bio != nil && stopped == nil && m.tries < maxTries {
			again = append(again, m)
			continue
		}
		if m.err = disk.ErrTimeout; m.bio != nil || m.done != nil {
			c.finish(m)
		}
	}
	c.mu.Lock()
	c.retry = append(c.retry, again...)
	c.mu.Unlock()
	if stopped != nil {
		c.fail()
		return
	}
	err := c.enable()
	if err == nil {
		err = c.queues()
	}
	if err != nil {
		c.k.Printf("%s: %v: out of use", c.name, err)
		c.fail()
		return
	}
	c.listen()
	c.signals.Raise(sigRetry | sigRescan)
}

// queues asks for the queues again, after a reset.
func (c *controller) queues() error {
	want := uint32(max(len(c.sqs), len(c.cqs)) - 1)
	if _, err := c.do(command{op: admSetFeatures, dw10: [6]uint32{featQueues, want | want<<16}}); err != nil {
		return fmt.Errorf("number of queues: %w", err)
	}
	return c.createQueues()
}

// listen asks to be told of events.
func (c *controller) listen() {
	if _, err := c.do(command{op: admSetFeatures, dw10: [6]uint32{featEvents, 0x11f}}); err != nil {
		c.k.Printf("%s: asynchronous events: %v", c.name, err)
	}
	c.admin.submit(&command{op: admAsyncEvent, forever: true})
}

// event handles events the controller has told.
func (c *controller) event() {
	c.mu.Lock()
	list := c.events
	c.events = nil
	c.mu.Unlock()
	for _, e := range list {
		kind, info, log := e&7, e>>8&0xff, e>>16&0xff
		// Reading the log page that belongs to it lets the next event come.
		if _, err := c.page(command{op: admGetLog, nsid: allOnes, dw10: [6]uint32{log | 1023<<16}}); err != nil {
			c.k.Printf("%s: log page %#x: %v", c.name, log, err)
		}
		if kind == 2 && info == 0 {
			c.rescan()
		} else {
			c.k.Printf("%s: asynchronous event: type %d, information %#x, log page %#x", c.name, kind, info, log)
		}
	}
	if len(list) > 0 {
		// A controller that tells events without end gets ten a second.
		time.Sleep(100 * time.Millisecond)
		c.admin.submit(&command{op: admAsyncEvent, forever: true})
	}
}

// rescan looks which namespaces are active: disks come and go.
func (c *controller) rescan() {
	active, err := c.active()
	if err != nil {
		c.k.Printf("%s: list of namespaces: %v", c.name, err)
		return
	}
	c.mu.Lock()
	var old []*namespace
	for id, n := range c.spaces {
		if !slices.Contains(active, id) {
			old = append(old, n)
			delete(c.spaces, id)
		}
	}
	c.mu.Unlock()
	for _, n := range old {
		c.layer.Destroy(n.disk)
	}
	for _, id := range active {
		if err := c.space(id); err != nil {
			c.k.Printf("%s: namespace %d: %v", c.name, id, err)
		}
	}
}

// active lists the active namespaces.
func (c *controller) active() ([]uint32, error) {
	if c.version >= 0x10100 {
		b, err := c.page(command{op: admIdentify, dw10: [6]uint32{cnsActive}})
		if err == nil {
			var out []uint32
			for i := 0; i < maxSpaces; i++ {
				id := binary.LittleEndian.Uint32(b[4*i:])
				if id == 0 || len(out) > 0 && id <= out[len(out)-1] {
					break
				}
				out = append(out, id)
			}
			return out, nil
		}
		if !errors.As(err, new(refusal)) {
			return nil, err
		}
	}
	var out []uint32
	for id := range min(c.count, maxSpaces) {
		out = append(out, id+1)
	}
	return out, nil
}

// commandSet tells which commands a namespace knows: 0 is those for blocks, which it does not need to say (NVMe base 2.0, figure 277).
func (c *controller) commandSet(id uint32) (byte, error) {
	const header, kindSet = 4, 4
	if c.version < 0x10300 {
		return 0, nil
	}
	b, err := c.page(command{op: admIdentify, nsid: id, dw10: [6]uint32{cnsDescriptor}})
	if errors.As(err, new(refusal)) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	for len(b) > header && b[1] != 0 && int(b[1]) < len(b)-header {
		if b[0] == kindSet {
			return b[header], nil
		}
		b = b[header+int(b[1]):]
	}
	return 0, nil
}

// space makes a namespace a disk, if it is not one yet.
func (c *controller) space(id uint32) error {
	b, err := c.page(command{op: admIdentify, nsid: id, dw10: [6]uint32{cnsNamespace}})
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	size := le.Uint64(b)
	format := le.Uint32(b[128+4*int(b[26]&15):])
	shift := uint(format >> 16 & 0xff)
	c.mu.Lock()
	was := c.spaces[id]
	if was != nil && was.size == size && was.shift == shift {
		c.mu.Unlock()
		return nil
	}
	delete(c.spaces, id)
	c.mu.Unlock()
	if was != nil {
		c.layer.Destroy(was.disk)
	}
	switch {
	case size == 0:
		return nil // not active
	case shift < 9 || shift > 12:
		return fmt.Errorf("blocks of 2^%d bytes are not supported", shift)
	case format&0xffff != 0:
		return fmt.Errorf("blocks with %d bytes of metadata are not supported", format&0xffff)
	}
	if set, err := c.commandSet(id); err != nil {
		return err
	} else if set != 0 {
		return fmt.Errorf("its command set, %d, is not supported", set)
	}
	n := &namespace{c: c, id: id, shift: shift, size: size}
	n.disk, err = c.layer.Create(disk.Info{
		Name: fmt.Sprintf("%sns%d", c.name, id), Model: c.model, Firmware: c.firmware,
		Serial: fmt.Sprintf("%s-%d", c.serial, id), Where: fmt.Sprintf("%s.ns%d", c.name, id),
		SectorSize: 1 << shift, Sectors: size, MaxTransfer: c.maxLen, CanDelete: c.dsm,
		Detail: fmt.Sprintf("%d queues", len(c.sqs)), Owner: c.pci,
	}, n)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.spaces[id] = n
	c.mu.Unlock()
	return nil
}
