package vsock

import (
	"slices"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// fill moves packets into the receive queue, on a goroutine of its own.
func (d *Device) fill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fillLocked()
}

// fillLocked is fill with mu held.
func (d *Device) fillLocked() {
	if d.filling {
		d.again = true
		return
	}
	if d.closed || len(d.ready) == 0 && len(d.resets) == 0 && !d.event {
		return
	}
	d.filling = true
	d.spawn(d.filler)
}

// filler works until there are no packets or no buffers for them.
func (d *Device) filler() {
	for {
		d.sendEvent()
		for d.deliver() {
		}
		d.mu.Lock()
		if !d.again || d.closed {
			d.filling, d.again = false, false
			d.mu.Unlock()
			return
		}
		d.again = false
		d.mu.Unlock()
	}
}

// sendEvent tells the guest that its connections are lost.
func (d *Device) sendEvent() {
	d.mu.Lock()
	want := d.event
	d.mu.Unlock()
	if !want {
		return
	}
	q := d.Queue(queueEvent)
	c := q.Pop()
	if c == nil {
		return // its kick brings us back
	}
	if !d.Prompt() {
		d.judge(queueEvent, c)
	}
	d.mu.Lock()
	d.event = false
	d.mu.Unlock()
	var b [eventSize]byte
	le.PutUint32(b[:], eventTransportReset)
	if err := c.Write(0, b[:]); err != nil {
		q.Push(c, 0)
		q.Broken(err)
		return
	}
	q.Push(c, eventSize)
}

// deliver gives the guest one packet. It reports false when it has to wait for packets or buffers.
func (d *Device) deliver() bool {
	d.mu.Lock()
	idle := d.stalled || len(d.ready) == 0 && len(d.resets) == 0
	d.mu.Unlock()
	if idle {
		return false
	}
	q := d.Queue(queueRx)
	c := q.Pop()
	if c == nil {
		return q.SetNotify(true)
	}
	if !d.Prompt() {
		d.judge(queueRx, c)
	}
	room := virtio.Total(c.In)
	if room < headerSize {
		q.Push(c, 0)
		return true
	}
	h, data, ok := d.next(room - headerSize)
	if !ok {
		q.Unpop([]*virtio.Chain{c})
		return false
	}
	return d.post(q, c, h, data)
}

// post stores a packet in a buffer, with what faults do to it.
func (d *Device) post(q *virtio.Queue, c *virtio.Chain, h header, data []byte) bool {
	probe := d.Function().Probe()
	var e devices.Effect
	var cmd *devices.Command
	if probe.Wants(devices.ClassCommand) || probe.Faulty() {
		cmd = h.command(queueRx, int(c.ID()))
		probe.Command(cmd)
		if probe.Faulty() {
			e = probe.Decide(cmd)
		}
	}
	end := func(s devices.Status) {
		if cmd != nil {
			probe.Completion(cmd, s)
		}
	}
	if e.Fail || e.Hang {
		q.Unpop([]*virtio.Chain{c})
		end(statusLost)
		return true
	}
	disturb(&e, &h, &data, c)
	b := h.encode()
	err := c.Write(0, b[:])
	if err == nil {
		err = c.Write(headerSize, data)
	}
	if err != nil {
		q.Push(c, 0)
		q.Broken(err)
		end(statusLost)
		return false
	}
	if probe.Wants(devices.ClassDMA) {
		for _, s := range c.In {
			probe.DMA(devices.Transfer{Addr: s.Addr, Bytes: int(s.Len), Write: true, What: "packet"})
		}
	}
	q.Finish(c, uint32(headerSize+len(data)), &e)
	end(statusDone)
	if e.Delay > 0 && d.timer != nil {
		// Packets keep their order: those behind it wait too.
		d.mu.Lock()
		d.stalled = !d.closed
		d.timer.Set(d.o.Clock.Now() + e.Delay)
		d.mu.Unlock()
	}
	return true
}

// disturb applies what a fault does to the content of a packet.
func disturb(e *devices.Effect, h *header, data *[]byte, c *virtio.Chain) {
	if e.ShortOn {
		*data = (*data)[:min(max(e.Short, 0), int64(len(*data)))]
		h.len = uint32(len(*data))
	}
	if e.FlipTable != 0 && len(c.In) > 0 {
		c.In[e.Seed%uint64(len(c.In))].Addr ^= e.FlipTable
	}
	if e.FlipData != 0 {
		*data = slices.Clone(*data)
		devices.Flip(*data, 0, e.Flips(uint64(len(*data))))
	}
}

// next takes the next packet for the guest, with at most room bytes of data.
func (d *Device) next(room uint64) (h header, data []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h = header{srcCID: HostCID, dstCID: uint64(d.o.CID)}
	if len(d.resets) > 0 {
		k := d.resets[0]
		d.resets = d.resets[1:]
		h.op, h.kind, h.srcPort, h.dstPort = opRst, k.kind, k.host, k.guest
		return h, nil, true
	}
	for len(d.ready) > 0 {
		c := d.ready[0]
		d.ready = d.ready[1:]
		c.queued = false
		if c.gone || !c.speaks() {
			continue
		}
		h.kind, h.srcPort, h.dstPort = c.kind, c.host, c.guest
		switch {
		case c.say&sayRequest != 0:
			h.op = opRequest
			c.say &^= sayRequest
		case c.say&sayResponse != 0:
			h.op = opResponse
			c.say &^= sayResponse
		case c.say&sayCreditUpdate != 0:
			h.op = opCreditUpdate
			c.say &^= sayCreditUpdate
		case c.say&sayCreditRequest != 0:
			h.op = opCreditRequest
			c.say &^= sayCreditRequest
		case len(c.in) != 0:
			n := min(uint64(len(c.in)), uint64(c.credit()), room)
			if n == 0 {
				c.queued = true
				d.ready = append(d.ready, c)
				return h, nil, false
			}
			h.op, h.len = opRW, uint32(n)
			// The reader may fill its buffer again once all is taken.
			data = append([]byte(nil), c.in[:n]...)
			c.in = c.in[n:]
			c.txCnt += uint32(n)
			if len(c.in) == 0 && c.kind == typeSeqpacket {
				h.flags = seqEOM
			}
			if len(c.in) == 0 || c.credit() == 0 {
				wake(c.reader)
			}
		case c.say&sayShutdown != 0:
			h.op, h.flags = opShutdown, shutdownSend
			c.say &^= sayShutdown
		default:
			h.op = opRst
			d.remove(c)
		}
		h.bufAlloc, h.fwdCnt = bufferSize, c.fwdCnt
		c.told = c.fwdCnt
		if !c.gone {
			d.enqueue(c)
		}
		return h, data, true
	}
	return h, nil, false
}
