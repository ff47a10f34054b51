package vsock

import (
	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// send handles a packet of the guest.
func (d *Device) send(r *requests.Request) {
	c := r.Chain
	size := virtio.Total(c.Out)
	var b [headerSize]byte
	if !d.Prompt() {
		d.judge(queueTx, c)
	}
	if size < headerSize {
		r.Complete(0, statusBad)
		return
	}
	if err := c.Read(0, b[:]); err != nil {
		r.Queue.Broken(err)
		r.Complete(0, statusBad)
		return
	}
	h := parse(&b)
	r.Run(func() *devices.Command { return h.command(queueTx, int(c.ID())) }, func() {
		switch {
		case r.Effect.Fail:
			d.lose(&h, size)
			r.Complete(0, statusLost)
			return
		case !h.fits(size):
			d.reset(&h)
			r.Complete(0, statusBad)
			return
		}
		var data []byte
		if h.op == opRW && h.len > 0 {
			data = make([]byte, r.Limit(int(h.len)))
			if err := r.Chain.Read(headerSize, data); err != nil {
				r.Queue.Broken(err)
				r.Complete(0, statusBad)
				return
			}
			r.Flip(data)
		}
		status := statusDone
		if !d.receive(&h, data) {
			status = statusBad
		}
		r.Complete(0, status)
	})
}

// reset answers a packet of no connection.
func (d *Device) reset(h *header) {
	if h.op == opRst {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.conns[key{h.srcPort, h.dstPort}]; c != nil {
		d.tell(c, sayRst)
		d.fillLocked()
		return
	}
	d.refuse(h)
}

// refuse answers a packet without regard to connections. The caller holds mu.
func (d *Device) refuse(h *header) {
	if len(d.resets) < maxResets {
		d.resets = append(d.resets, stray{key{h.srcPort, h.dstPort}, h.kind})
		d.fillLocked()
	}
}

// speaksOf tells whether there are sockets of a type: a driver that accepts no feature gets streams.
func (d *Device) speaksOf(kind uint16) bool {
	return kind == typeStream || kind == typeSeqpacket && d.Features()&featureSeqpacket != 0
}

// receive does what a packet of the guest says. It reports whether that was in order.
func (d *Device) receive(h *header, data []byte) bool {
	if !d.concerns(h) {
		if h.srcCID == uint64(d.o.CID) {
			d.reset(h)
		}
		return false
	}
	d.mu.Lock()
	d.told.settle(h)
	c := d.conns[key{h.srcPort, h.dstPort}]
	if c != nil && c.kind != h.kind {
		if h.op != opRst {
			d.refuse(h)
		}
		d.mu.Unlock()
		return false
	}
	if c == nil && h.op == opRequest {
		d.connect(h)
		d.mu.Unlock()
		return true
	}
	if c == nil || !c.open && h.op != opResponse && h.op != opRst {
		d.mu.Unlock()
		d.reset(h)
		return h.op == opRst
	}
	defer d.mu.Unlock()
	if h.op != opRst {
		c.peerAlloc, c.peerFwd = h.bufAlloc, h.fwdCnt
	}
	ok := d.act(c, h, data)
	if !c.gone {
		d.enqueue(c)
		wake(c.reader)
	}
	d.fillLocked()
	return ok
}

// connect begins a connection that the guest asks for. The caller holds mu.
func (d *Device) connect(h *header) {
	k := key{h.srcPort, h.dstPort}
	if len(d.conns) >= maxConns || !d.active {
		d.refuse(h)
		return
	}
	c := newConn(k, h.kind)
	c.peerAlloc, c.peerFwd = h.bufAlloc, h.fwdCnt
	d.conns[k] = c
	if d.o.Path == "" {
		d.tell(c, sayRst)
		d.fillLocked()
		return
	}
	d.spawn(func() { d.dial(c) })
}

// act does what a packet on a connection says. The caller holds mu.
func (d *Device) act(c *conn, h *header, data []byte) bool {
	switch h.op {
	case opRequest:
		d.tell(c, sayRst)
		return false
	case opResponse:
		if !c.asks() {
			d.tell(c, sayRst)
			return false
		}
		d.accepted(c)
	case opRst:
		d.remove(c)
	case opShutdown:
		if h.flags&shutdownReceive != 0 && !c.noReceive {
			c.noReceive, c.in = true, nil
			c.say &^= sayShutdown
			if s, ok := c.sock.(interface{ CloseRead() error }); ok {
				_ = s.CloseRead() // so that the reader ends; the host may have closed
			}
		}
		c.noSend = c.noSend || h.flags&shutdownSend != 0
		if c.noSend && len(c.part) != 0 {
			c.outBytes -= len(c.part)
			c.part = nil
		}
		wake(c.writer)
	case opRW:
		switch {
		case c.noSend:
			return false
		case c.outBytes+len(data) > bufferSize:
			d.tell(c, sayRst)
			return false
		default:
			c.outBytes += len(data)
			c.take(h, data)
		}
	case opCreditRequest:
		d.tell(c, sayCreditUpdate)
	}
	return true
}

// take has data of the guest written to the host: at once on a stream, and on a seqpacket socket when the message that
// they are part of is whole. The caller holds Device.mu.
func (c *conn) take(h *header, data []byte) {
	if c.kind == typeSeqpacket {
		// Records end with a message; their end is not passed on.
		c.part = append(c.part, data...)
		if h.flags&seqEOM == 0 {
			return
		}
		data, c.part = c.part, nil
	}
	if len(data) != 0 {
		c.out = append(c.out, data)
		wake(c.writer)
	}
}
