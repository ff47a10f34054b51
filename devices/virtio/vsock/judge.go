package vsock

import (
	"dfemu/devices"
	"dfemu/devices/virtio"
)

// What a driver must not do. A packet is judged by what the guest has told before, in packets that need not have been carried out: at
// the notification if somebody wants to know promptly, otherwise when it is taken.

// told is what packets have told of connections that have been judged and not been carried out.
type told map[key]*end

// An end is the guest's end of a connection, as those packets leave it.
type end struct {
	packets   int // judged, and not carried out
	requests  int // REQUESTs of them
	kind      uint16
	there     bool // it is a connection: REQUEST came, or the host's, and no RST
	responded bool // RESPONSE is one of the packets
	noSend    bool
	part      int // bytes of a message without an end yet
	data      int // bytes of data in the packets
}

// of returns the guest's end of the connection between a packet's ports.
func (t told) of(k key, c *conn) *end {
	e := t[k]
	if e == nil {
		e = &end{}
		if c != nil {
			e.kind, e.there, e.noSend, e.part = c.kind, true, c.noSend, len(c.part)
		}
		t[k] = e
	}
	return e
}

// settle notes that a packet is carried out now, or never. The caller holds Device.mu.
func (t told) settle(h *header) {
	k := key{h.srcPort, h.dstPort}
	e := t[k]
	if e == nil {
		return
	}
	switch h.op {
	case opRequest:
		e.requests--
	case opRW:
		e.data -= int(h.len)
	}
	if e.packets--; e.packets <= 0 {
		delete(t, k)
	}
}

// lose settles a packet of size bytes that a fault takes.
func (d *Device) lose(h *header, size uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.fits(size) && d.concerns(h) {
		d.told.settle(h)
	}
}

// concerns tells whether a packet is about a connection that is possible.
func (d *Device) concerns(h *header) bool {
	return h.srcCID == uint64(d.o.CID) && h.dstCID == HostCID && d.speaksOf(h.kind) && h.exists()
}

// asks tells whether the connection is the host's, and the guest has not answered. The caller holds Device.mu.
func (c *conn) asks() bool { return !c.open && c.sock != nil && c.host >= firstPort }

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) { d.judge(queue, c) }

// judge reports what is wrong with a packet of the guest or a buffer for one, and notes what it tells.
func (d *Device) judge(queue int, c *virtio.Chain) {
	if !d.Function().Probe().Wants(devices.ClassStrict) {
		return
	}
	out, in := virtio.Total(c.Out), virtio.Total(c.In)
	switch {
	case queue == queueTx:
		d.judgePacket(c, out)
	case queue == queueEvent:
		if in < eventSize {
			d.Violation(queue, "5.10.6.7", "a buffer of %d bytes for events, which have %d", in, eventSize)
		}
	case in < headerSize:
		d.Violation(queue, "5.10.6.4", "a receive buffer of %d bytes: the header alone has %d", in, headerSize)
	case in == headerSize:
		d.Violation(queue, "5.10.6.4", "a receive buffer without room for data")
	}
}

// judgePacket looks at a packet of size bytes.
func (d *Device) judgePacket(c *virtio.Chain, size uint64) {
	bad := func(section, format string, a ...any) { d.Violation(queueTx, section, format, a...) }
	if size < headerSize {
		bad("5.10.6", "a packet of %d bytes: the header alone has %d", size, headerSize)
		return
	}
	var b [headerSize]byte
	if c.Read(0, b[:]) != nil {
		return // a buffer that is no memory, which is a breach by itself
	}
	h := parse(&b)
	switch {
	case !h.fits(size):
		bad("5.10.6", "len is %d in a buffer of %d bytes", h.len, size)
	case d.concerns(&h):
		d.judgeConn(&h, bad)
	case h.srcCID != uint64(d.o.CID):
		bad("5.10.6.4.1", "src_cid is %d: the guest's is %d", h.srcCID, d.o.CID)
	case !h.exists():
		bad("5.10.6", "op is %d, which does not exist", h.op)
	}
}

// judgeConn looks at what a packet says of a connection.
func (d *Device) judgeConn(h *header, bad func(section, format string, a ...any)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := key{h.srcPort, h.dstPort}
	c := d.conns[k]
	e := d.told.of(k, c)
	e.packets++
	if h.op == opRW {
		defer func() { e.data += int(h.len) }()
	}
	if h.op == opRequest {
		defer func() { e.requests++ }()
	}
	// The host may have ended it, of which the guest need not know.
	there := e.there && (c != nil || e.requests > 0)
	open := e.responded || e.requests == 0 && c != nil && c.open
	asks := e.requests == 0 && !e.responded && c != nil && c.asks()
	switch {
	case there && e.kind != h.kind:
		bad("5.10.6.2", "type %d on a connection of type %d: ports %d and %d", h.kind, e.kind, k.guest, k.host)
		return
	case !there:
		if h.op == opRequest {
			*e = end{packets: e.packets, requests: e.requests, data: e.data, kind: h.kind, there: true}
		}
		return
	case !open && h.op != opResponse && h.op != opRst:
		if h.op == opRequest {
			bad("5.10.6.5", "REQUEST on a connection that exists: ports %d and %d", k.guest, k.host)
		} else {
			bad("5.10.6.5", "%s on a connection that was not accepted", opName(h.op))
		}
		return
	case h.op != opRst && c != nil && int32(c.txCnt-h.fwdCnt) < 0:
		bad("5.10.6.3.1", "fwd_cnt is %d after %d bytes were sent: ports %d and %d", h.fwdCnt, c.txCnt, k.guest, k.host)
	}
	switch h.op {
	case opRequest:
		bad("5.10.6.5", "REQUEST on a connection that exists: ports %d and %d", k.guest, k.host)
	case opResponse:
		if !asks {
			bad("5.10.6.5", "RESPONSE to no request: ports %d and %d", k.guest, k.host)
		}
		e.responded = true
	case opRst:
		e.there, e.responded = false, false
	case opShutdown:
		if h.flags&^(shutdownReceive|shutdownSend) != 0 {
			bad("5.10.6.5", "SHUTDOWN with flags %#x: only bits 0 and 1 exist", h.flags)
		}
		e.noSend = e.noSend || h.flags&shutdownSend != 0
		if e.noSend && e.part != 0 {
			bad("5.10.6.6.1", "SHUTDOWN after %d bytes of a message without an end: ports %d and %d", e.part, k.guest, k.host)
			e.part = 0
		}
	case opRW:
		e.judgeData(c, h, bad)
	}
}

// judgeData looks at data on a connection, which is no longer in the table if c is nil.
func (e *end) judgeData(c *conn, h *header, bad func(section, format string, a ...any)) {
	buffered := e.data
	if c != nil {
		buffered += c.outBytes
	}
	switch f := h.flags; {
	case e.noSend:
		bad("5.10.6.5", "data after SHUTDOWN: ports %d and %d", h.srcPort, h.dstPort)
	case buffered+int(h.len) > bufferSize:
		bad("5.10.6.3.1", "%d bytes of data without credit: %d are buffered of %d", h.len, buffered, bufferSize)
	case e.kind == typeSeqpacket:
		if f&^(seqEOM|seqEOR) != 0 || f == seqEOR {
			bad("5.10.6.6.1", "RW with flags %#x: only bits 0 and 1 exist, and a record ends where a message does", f)
		}
		if e.part += int(h.len); f&seqEOM != 0 {
			e.part = 0
		}
	}
}
