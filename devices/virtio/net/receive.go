package net

import (
	"encoding/binary"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// Receive implements devices.FrameReceiver.
func (d *Device) Receive(queue int, frames []devices.Frame) int {
	a := d.active.Load()
	if a == nil || !d.Active() || !d.Function().BusMaster() || queue < 0 {
		return len(frames) // nobody listens
	}
	if a.pairs <= d.props.Queues || a.pairs == 1 {
		return d.pairs[queue%a.pairs].receive(a, frames)
	}
	// The back end has fewer queues than the driver: frames go where the
	// flow's other direction came from, run by run.
	for n := 0; n < len(frames); {
		to := d.steer(&frames[n], a.pairs)
		k := n + 1
		for k < len(frames) && d.steer(&frames[k], a.pairs) == to {
			k++
		}
		took := d.pairs[to].receive(a, frames[n:k])
		if n += took; n < k {
			return n
		}
	}
	return len(frames)
}

// receive stores frames for the driver and returns how many are done with.
func (p *pair) receive(a *agreed, frames []devices.Frame) int {
	p.rxMu.Lock()
	defer p.rxMu.Unlock()
	probe := p.d.Function().Probe()
	watched := probe.Faulty() || probe.Wants(devices.ClassCommand|devices.ClassDMA)
	flt := p.d.filter.Load()
	post := posting{chains: p.filled[:0]}
	n := 0
	p.rxq.SetNotify(false)
	for ; n < len(frames); n++ {
		f := &frames[n]
		var b [18]byte
		size := f.Len()
		if !flt.pass(head(f, &b)) || size > maxFrame || f.Needs()&^a.accept != 0 {
			continue
		}
		copies := 1
		if watched {
			var g devices.Frame
			if g, copies = p.watchReceive(&post, f); copies == 0 {
				continue
			}
			f, size = &g, g.Len()
		}
		if !p.store(a, &post, f, size) {
			if watched {
				// It is offered again, and the decision about it stands.
				e := post.effect
				p.retry = &e
			}
			break
		}
		if copies > 1 {
			p.store(a, &post, f, size) // if there is room
		}
		if len(post.chains)+len(post.special) >= batchSize {
			post.finish(p.rxq)
		}
	}
	p.settleSpare()
	post.finish(p.rxq)
	p.filled = post.chains[:0]
	return n
}

// settleSpare puts chains that were not needed back.
func (p *pair) settleSpare() {
	if len(p.spare) != 0 {
		p.rxq.Unpop(p.spare)
		p.spare = p.spare[:0]
	}
}

// store puts one frame into buffers of the driver. False means that there are
// not enough.
func (p *pair) store(a *agreed, post *posting, f *devices.Frame, size int) bool {
	need := uint64(size) + hdrSize
	count, room := 0, uint64(0)
	for {
		for count < len(p.spare) && room < need {
			room += virtio.Total(p.spare[count].In)
			count++
			if !a.merge {
				break
			}
		}
		if room >= need || count > 0 && !a.merge {
			break
		}
		before := len(p.spare)
		p.spare = p.rxq.PopN(p.spare, min(int((need-room)/1024)+2, batchSize))
		if len(p.spare) != before {
			if !p.d.Prompt() && p.d.Function().Probe().Wants(devices.ClassStrict) {
				for _, c := range p.spare[before:] {
					p.d.checkBuffer(a, p.rxq.Index(), c)
				}
			}
			continue
		}
		// None left. Ask to be told, unless there are some by now.
		p.starved.Store(true)
		if !p.rxq.SetNotify(true) {
			return false
		}
		p.starved.Store(false)
		p.rxq.SetNotify(false)
	}
	chains := p.spare[:count]
	if room < need {
		if room >= p.d.bufferSize(a) { // otherwise that has been said of the buffer
			p.d.violation(p.rxq.Index(), "5.1.6.3.1", "a receive buffer of %d bytes; the frame and its header have %d", room, need)
		}
		p.refuse(post, chains)
		return true
	}
	var h [hdrSize]byte
	encode(&h, f.Offload, count)
	w := writer{p: p, f: f, h: h[:]}
	for _, c := range chains {
		if !w.fill(c) {
			p.refuse(post, chains)
			return true
		}
	}
	post.add(chains)
	p.take(count)
	return true
}

// refuse gives chains that cannot hold a frame back empty.
func (p *pair) refuse(post *posting, chains []*virtio.Chain) {
	for _, c := range chains {
		c.SetWritten(0)
	}
	post.add(chains)
	p.take(len(chains))
}

// take removes the first chains from those at hand.
func (p *pair) take(n int) {
	p.spare = p.spare[:copy(p.spare, p.spare[n:])]
}

// encode makes a header for a received frame (section 5.1.6.4.1).
func encode(h *[hdrSize]byte, o devices.Offload, buffers int) {
	le := binary.LittleEndian
	h[hdrFlags], h[hdrGSOType] = o.Flags&(devices.FlagNeedsChecksum|devices.FlagDataValid), o.GSO
	le.PutUint16(h[hdrHdrLen:], o.HeaderLen)
	le.PutUint16(h[hdrGSOSize:], o.SegmentSize)
	le.PutUint16(h[hdrCsumStart:], o.ChecksumStart)
	le.PutUint16(h[hdrCsumOffset:], o.ChecksumOffset)
	le.PutUint16(h[hdrNumBuffers:], uint16(buffers))
}

// writer lays a header and a frame's pieces out over chains.
type writer struct {
	p     *pair
	f     *devices.Frame
	h     []byte // what is left of the header
	piece int
	at    int // in the piece
}

// fill stores as much as the chain holds.
func (w *writer) fill(c *virtio.Chain) bool {
	mem := c.Memory()
	written := 0
	probe := w.p.d.Function().Probe()
	trace := probe.Wants(devices.ClassDMA)
	for _, s := range c.In {
		if s.Len == 0 {
			continue
		}
		if len(w.h) == 0 && w.piece == len(w.f.Pieces) {
			break
		}
		b, err := mem.View(s.Addr, int(s.Len))
		if err != nil {
			return false
		}
		n := w.copy(b)
		mem.Written(s.Addr, n)
		written += n
		if trace {
			probe.DMA(devices.Transfer{Addr: s.Addr, Bytes: n, Write: true, What: "frame"})
		}
	}
	c.SetWritten(uint32(written))
	return true
}

func (w *writer) copy(b []byte) int {
	n := copy(b, w.h)
	w.h = w.h[n:]
	for n < len(b) && w.piece < len(w.f.Pieces) {
		src := w.f.Pieces[w.piece][w.at:]
		k := copy(b[n:], src)
		n += k
		if w.at += k; k == len(src) {
			w.piece, w.at = w.piece+1, 0
		}
	}
	return n
}
