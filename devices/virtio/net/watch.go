package net

import (
	"dfemu/devices"
	"dfemu/devices/internal/nic"
	"dfemu/devices/virtio"
)

// What happens to frames while somebody traces the device or injects faults.

// frames is how frames look in traces.
var frames = nic.Kind{Transmit: OpTransmit, Receive: OpReceive, Fields: func(o devices.Offload) []devices.FieldValue {
	return []devices.FieldValue{
		{Name: "flags", Value: uint64(o.Flags)}, {Name: "gso_type", Value: uint64(o.GSO)}, {Name: "gso_size", Value: uint64(o.SegmentSize)},
		{Name: "csum_start", Value: uint64(o.ChecksumStart)}, {Name: "csum_offset", Value: uint64(o.ChecksumOffset)},
	}
}}

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) {
	a := d.active.Load()
	switch {
	case a == nil:
	case a.features&featureCtrlVQ != 0 && queue == d.controlQueue(a.features):
		k, err := readControl(c)
		if err != nil {
			d.violation(queue, "5.1.6.5", "%v", err)
		} else if err = d.foreseeControl(a, k); err != nil {
			d.violation(queue, "5.1.6.5", "%s: %v", k.name(), err)
		}
	case queue%2 == 1:
		p := pair{d: d, txq: d.Queue(queue)}
		p.parse(a, c)
	case queue < 2*d.o.Pairs:
		d.checkBuffer(a, queue, c)
	}
}

// checkBuffer looks at a receive buffer.
func (d *Device) checkBuffer(a *agreed, queue int, c *virtio.Chain) {
	if room, need := virtio.Total(c.In), d.bufferSize(a); room < need {
		d.violation(queue, "5.1.6.3.1", "a receive buffer of %d bytes: at least %d are needed with the features negotiated", room, need)
	}
}

// bufferSize is the least size of a receive buffer (sections 5.1.6.3.1 and 5.1.4.2).
func (d *Device) bufferSize(a *agreed) uint64 {
	switch {
	case a.merge:
		return hdrSize
	case a.accept&(devices.OffloadTSO4|devices.OffloadTSO6|devices.OffloadUSO) != 0:
		return minFrame + 1<<16 + hdrSize
	case a.features&featureMTU != 0 && d.o.MTU > ethernetMTU:
		return minFrame + uint64(d.o.MTU) + hdrSize
	}
	return minFrame + ethernetMTU + hdrSize
}

// watchTransmit reports a frame and applies a fault to it. i is its chain in the
// batch, which it follows when the chain is taken out. It returns whether the frame
// is to be sent with the others.
func (p *pair) watchTransmit(post *posting, i *int, c *virtio.Chain, f *devices.Frame, ok, up bool) bool {
	probe := p.d.Function().Probe()
	cmd := frames.Command(p.txq.Index(), int(c.ID()), f, true)
	probe.Command(cmd)
	if probe.Wants(devices.ClassDMA) {
		for _, s := range c.Out {
			probe.DMA(devices.Transfer{Addr: s.Addr, Bytes: int(s.Len), What: "frame"})
		}
	}
	end := func(s devices.Status) { post.finished = append(post.finished, finished{cmd, s}) }
	if !ok || !up {
		end(nic.StatusLost)
		return false
	}
	if !probe.Faulty() {
		end(nic.StatusSent)
		return true
	}
	e := probe.Decide(cmd)
	if e == (devices.Effect{}) {
		end(nic.StatusSent)
		return true
	}
	if disturbed(&e) {
		post.divert(*i, e)
		*i--
	}
	if e.Fail || e.Hang || !p.damage(&e, f, c) {
		end(nic.StatusLost)
		return false
	}
	if e.Delay > 0 && p.d.delayed.Works() {
		end(nic.StatusDelayed)
		g, n := nic.Copy(f), nic.Copies(&e)
		p.d.delayed.After(e.Delay, func() {
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
	end(nic.StatusSent)
	return true
}

// damage applies what a fault does to a frame's data. False means that the
// frame is lost by it. c is nil for a frame that arrives.
func (p *pair) damage(e *devices.Effect, f *devices.Frame, c *virtio.Chain) bool {
	if e.FlipTable != 0 && c != nil && len(c.Out) != 0 {
		s := c.Out[len(c.Out)-1]
		b, err := c.Memory().View(s.Addr^e.FlipTable, int(s.Len))
		if err != nil {
			return false
		}
		if n := len(f.Pieces) - 1; n >= 0 && len(f.Pieces[n]) <= len(b) {
			f.Pieces[n] = b[len(b)-len(f.Pieces[n]):]
		}
	}
	return nic.Damage(e, f)
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
		cmd := frames.Command(p.rxq.Index(), 0, f, false)
		probe.Command(cmd)
		if probe.Faulty() {
			e = probe.Decide(cmd)
		}
		s := nic.StatusReceived
		if e.Fail {
			s = nic.StatusLost
		} else if e.Delay > 0 {
			s = nic.StatusDelayed
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
	n := nic.Copies(&e)
	if e.Delay > 0 && p.d.delayed.Works() {
		late := nic.Copy(&g)
		p.d.delayed.After(e.Delay, func() { p.inject(late, n) })
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
	post.finish(p.rxq)
}
