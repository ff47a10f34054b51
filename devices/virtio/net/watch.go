package net

import (
	"dfemu/devices"
	"dfemu/devices/virtio"
)

// What happens to frames while somebody traces the device or injects faults.

var (
	statusSent     = devices.Status{Code: 0, Name: "sent"}
	statusReceived = devices.Status{Code: 0, Name: "received"}
	statusLost     = devices.Status{Code: 1, Name: "lost"}
	statusDelayed  = devices.Status{Code: 2, Name: "delayed"}
)

// command describes a frame.
func command(q, tag int, f *devices.Frame, write bool) *devices.Command {
	c := &devices.Command{Queue: q, Tag: tag, Opcode: OpReceive, Name: "RECEIVE", Bytes: uint64(f.Len()), Write: write}
	if write {
		c.Opcode, c.Name = OpTransmit, "TRANSMIT"
	}
	o := f.Offload
	var b [18]byte
	h := append([]byte(nil), head(f, &b)...)
	c.Fields = func() []devices.FieldValue {
		l := []devices.FieldValue{
			{Name: "flags", Value: uint64(o.Flags)}, {Name: "gso_type", Value: uint64(o.GSO)}, {Name: "gso_size", Value: uint64(o.SegmentSize)},
			{Name: "csum_start", Value: uint64(o.ChecksumStart)}, {Name: "csum_offset", Value: uint64(o.ChecksumOffset)},
		}
		if len(h) >= minFrame {
			l = append(l, devices.FieldValue{Name: "destination", Value: bigEndian(h[:6])},
				devices.FieldValue{Name: "source", Value: bigEndian(h[6:12])}, devices.FieldValue{Name: "ethertype", Value: bigEndian(h[12:14])})
		}
		return l
	}
	return c
}

func bigEndian(p []byte) uint64 {
	var v uint64
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}

// watchTransmit reports a frame and applies a fault to it. i is its chain in the
// batch, which it follows when the chain is taken out. It returns whether the frame
// is to be sent with the others.
func (p *pair) watchTransmit(post *posting, i *int, c *virtio.Chain, f *devices.Frame, ok, up bool) bool {
	probe := p.d.Function().Probe()
	cmd := command(p.txq.Index(), int(c.ID()), f, true)
	probe.Command(cmd)
	if probe.Wants(devices.ClassDMA) {
		for _, s := range c.Out {
			probe.DMA(devices.Transfer{Addr: s.Addr, Bytes: int(s.Len), What: "frame"})
		}
	}
	end := func(s devices.Status) { post.finished = append(post.finished, finished{cmd, s}) }
	if !ok || !up {
		end(statusLost)
		return false
	}
	if !probe.Faulty() {
		end(statusSent)
		return true
	}
	e := probe.Decide(cmd)
	if e == (devices.Effect{}) {
		end(statusSent)
		return true
	}
	if disturbed(&e) {
		post.divert(*i, e)
		*i--
	}
	if e.Fail || e.Hang || !p.damage(&e, f, c) {
		end(statusLost)
		return false
	}
	if e.Delay > 0 && p.d.o.Clock != nil {
		end(statusDelayed)
		g, n := copyFrame(f), 1
		if e.Duplicate {
			n = 2
		}
		p.d.delayed.after(e.Delay, func() {
			p.txMu.Lock()
			defer p.txMu.Unlock()
			for range n {
				p.d.net.Send(p.n%p.d.props.Queues, []devices.Frame{g})
			}
		})
		return false
	}
	if e.Duplicate {
		p.frames = append(p.frames, *f)
	}
	end(statusSent)
	return true
}

// damage applies what a fault does to a frame's data. False means that the
// frame is lost by it. c is nil for a frame that arrives.
func (p *pair) damage(e *devices.Effect, f *devices.Frame, c *virtio.Chain) bool {
	if e.FlipTable && c != nil && len(c.Out) != 0 {
		s := c.Out[len(c.Out)-1]
		b, err := c.Memory().View(s.Addr^1<<(e.Seed%32), int(s.Len))
		if err != nil {
			return false
		}
		if n := len(f.Pieces) - 1; n >= 0 && len(f.Pieces[n]) <= len(b) {
			f.Pieces[n] = b[len(b)-len(f.Pieces[n]):]
		}
	}
	if e.ShortOn || e.FlipData != 0 {
		*f = copyFrame(f)
	}
	if e.ShortOn {
		n := min(max(e.Short, 0), int64(len(f.Pieces[0])))
		f.Pieces[0] = f.Pieces[0][:n]
		f.Offload = devices.Offload{} // its positions may be outside now
	}
	if b := f.Pieces[0]; e.FlipData != 0 && len(b) != 0 {
		r := e.Seed
		for range min(e.FlipData, uint64(8*len(b))) {
			bit := next(&r) % uint64(8*len(b))
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	return f.Len() >= minFrame
}

// next is a step of the SplitMix64 generator.
func next(s *uint64) uint64 {
	*s += 0x9e3779b97f4a7c15
	z := *s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// copyFrame returns a frame with one piece of its own.
func copyFrame(f *devices.Frame) devices.Frame {
	b := make([]byte, f.Len())
	return devices.Frame{Offload: f.Offload, Pieces: [][]byte{b[:f.CopyTo(b, 0)]}}
}

// watchReceive reports a frame that arrived and applies a fault to it. It
// returns the frame to store, and how often.
func (p *pair) watchReceive(post *posting, f *devices.Frame) (devices.Frame, int) {
	probe := p.d.Function().Probe()
	g := *f
	e := devices.Effect{}
	if p.retry != nil {
		// Reported and decided when it was offered before.
		e, p.retry = *p.retry, nil
	} else {
		cmd := command(p.rxq.Index(), 0, f, false)
		probe.Command(cmd)
		if probe.Faulty() {
			e = probe.Decide(cmd)
		}
		s := statusReceived
		if e.Fail {
			s = statusLost
		} else if e.Delay > 0 {
			s = statusDelayed
		}
		post.finished = append(post.finished, finished{cmd, s})
	}
	post.effect = e
	if e == (devices.Effect{}) {
		return g, 1
	}
	if e.Fail || !p.damage(&e, &g, nil) {
		return g, 0
	}
	n := 1
	if e.Duplicate {
		n = 2
	}
	if e.Delay > 0 && p.d.o.Clock != nil {
		late := copyFrame(&g)
		p.d.delayed.after(e.Delay, func() { p.inject(late, n) })
		return g, 0
	}
	return g, n
}

// inject stores a frame that a fault held up. Without room it is lost.
func (p *pair) inject(f devices.Frame, copies int) {
	a := p.d.active.Load()
	if a == nil || !p.d.Active() || !p.d.Function().BusMaster() || f.Needs()&^a.accept != 0 {
		return
	}
	p.rxMu.Lock()
	defer p.rxMu.Unlock()
	var post posting
	for range copies {
		p.store(a, &post, &f, f.Len())
	}
	p.settleSpare()
	post.finish(p.rxq, &p.rxHeld)
}
