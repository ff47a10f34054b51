package e1000e

import (
	"dfemu/devices"
	"dfemu/devices/internal/nic"
)

// What happens to packets while somebody traces the device or injects faults.

// effects is what faults do to the write-back of a batch.
type effects struct {
	skipped     []int // descriptors that are not written back now
	lose, extra bool
}

func (e *effects) skip(i int) bool {
	for _, x := range e.skipped {
		if x == i {
			return true
		}
	}
	return false
}

// held is a write-back that a fault put off.
type held struct {
	addr  uint64
	after int // packets that go first
}

// release writes those back that are due.
func (s *sender) release(q int, mem devices.Memory) bool {
	any := false
	rest := s.held[q][:0]
	for _, h := range s.held[q] {
		if h.after -= len(s.backs); h.after > 0 {
			rest = append(rest, h)
			continue
		}
		if mem.Write(h.addr, []byte{txDD}) == nil {
			mem.Written(h.addr, 1)
		}
		any = true
	}
	s.held[q] = rest
	return any
}

// frames is how packets look in traces.
var frames = nic.Kind{Transmit: OpTransmit, Receive: OpReceive, Fields: func(o devices.Offload) []devices.FieldValue {
	return []devices.FieldValue{{Name: "MSS", Value: uint64(o.SegmentSize)}, {Name: "TUCSS", Value: uint64(o.ChecksumStart)}}
}}

// watchTransmit reports a packet and applies a fault to it. i is its last descriptor in
// the batch. It returns whether the packet is to be sent with the others.
func (d *Device) watchTransmit(q, i int, f *devices.Frame, ok, up bool) bool {
	probe := d.fn.Probe()
	s := &d.sender
	cmd := frames.Command(q, i, f, true)
	probe.Command(cmd)
	if !ok || !up {
		probe.Completion(cmd, nic.StatusLost)
		return false
	}
	e := devices.Effect{}
	if probe.Faulty() {
		e = probe.Decide(cmd)
	}
	s.effect.lose = s.effect.lose || e.LoseInterrupt
	s.effect.extra = s.effect.extra || e.ExtraInterrupt
	if e.Hang {
		// The unit stops at this packet until it is reset.
		s.hung[q] = true
	}
	if e.Hang || e.Drop || e.Hold > 0 {
		s.effect.skipped = append(s.effect.skipped, i)
	}
	if e.Hold > 0 {
		d.mu.Lock()
		r := d.ringAt(0x3800, q)
		d.mu.Unlock()
		at := r.base + uint64((r.head+uint32(i))%max(r.n, 1))*descSize + 12
		s.held[q] = append(s.held[q], held{at, e.Hold + len(s.backs)})
	}
	if e.Fail || e.Hang || !damage(&e, f) {
		probe.Completion(cmd, nic.StatusLost)
		return false
	}
	if e.Delay > 0 {
		g, n := nic.Copy(f), nic.Copies(&e)
		d.late.After(e.Delay, func() {
			d.txMu.Lock()
			defer d.txMu.Unlock()
			for range n {
				d.net.Send(q%d.props.Queues, []devices.Frame{g})
			}
		})
		probe.Completion(cmd, nic.StatusDelayed)
		return false
	}
	if e.Duplicate {
		s.frames = append(s.frames, *f)
	}
	probe.Completion(cmd, nic.StatusSent)
	return true
}

// damage applies what a fault does to a packet's data. False means that the
// packet is lost by it.
func damage(e *devices.Effect, f *devices.Frame) bool {
	// With a wrong address of a buffer, the packet's FCS would be wrong.
	return e.FlipTable == 0 && nic.Damage(e, f)
}

// watchReceive reports a packet that arrived and applies a fault to it. It
// returns the packet to store, and how often.
func (d *Device) watchReceive(f *devices.Frame) (devices.Frame, int) {
	probe := d.fn.Probe()
	g := *f
	t := &d.taker
	var e devices.Effect
	if t.retry != nil {
		// Reported and decided when it was offered before.
		e, t.retry = *t.retry, nil
	} else {
		cmd := frames.Command(0, 0, f, false)
		probe.Command(cmd)
		if probe.Faulty() {
			e = probe.Decide(cmd)
		}
		s := nic.StatusReceived
		switch {
		case e.Fail || e.Hang || e.Drop:
			s = nic.StatusLost
		case e.Delay > 0:
			s = nic.StatusDelayed
		}
		probe.Completion(cmd, s)
	}
	t.effect = e
	if e == (devices.Effect{}) {
		return g, 1
	}
	if e.Fail || e.Hang || e.Drop || !damage(&e, &g) {
		return g, 0
	}
	n := nic.Copies(&e)
	if e.Delay > 0 {
		late := nic.Copy(&g)
		d.late.After(e.Delay, func() {
			for range n {
				d.receive([]devices.Frame{late}, true)
			}
		})
		return g, 0
	}
	return g, n
}
