package e1000e

import (
	"dfemu/devices"
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

var (
	statusSent     = devices.Status{Name: "sent"}
	statusReceived = devices.Status{Name: "received"}
	statusLost     = devices.Status{Code: 1, Name: "lost"}
	statusDelayed  = devices.Status{Code: 2, Name: "delayed"}
)

// command describes a packet.
func command(q, tag int, f *devices.Frame, write bool) *devices.Command {
	c := &devices.Command{Queue: q, Tag: tag, Opcode: OpReceive, Name: "RECEIVE", Bytes: uint64(f.Len()), Write: write}
	if write {
		c.Opcode, c.Name = OpTransmit, "TRANSMIT"
	}
	o := f.Offload
	var h [minFrame]byte
	n := f.CopyTo(h[:], 0)
	c.Fields = func() []devices.FieldValue {
		l := []devices.FieldValue{{Name: "MSS", Value: uint64(o.SegmentSize)}, {Name: "TUCSS", Value: uint64(o.ChecksumStart)}}
		if n == minFrame {
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

// watchTransmit reports a packet and applies a fault to it. i is its last descriptor in
// the batch. It returns whether the packet is to be sent with the others.
func (d *Device) watchTransmit(q, i int, f *devices.Frame, ok, up bool) bool {
	probe := d.fn.Probe()
	s := &d.sender
	cmd := command(q, i, f, true)
	probe.Command(cmd)
	if !ok || !up {
		probe.Completion(cmd, statusLost)
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
		probe.Completion(cmd, statusLost)
		return false
	}
	if e.Delay > 0 {
		g, n := copyFrame(f), 1
		if e.Duplicate {
			n = 2
		}
		d.late.after(e.Delay, func() {
			d.txMu.Lock()
			defer d.txMu.Unlock()
			for range n {
				d.net.Send(q%d.props.Queues, []devices.Frame{g})
			}
		})
		probe.Completion(cmd, statusDelayed)
		return false
	}
	if e.Duplicate {
		s.frames = append(s.frames, *f)
	}
	probe.Completion(cmd, statusSent)
	return true
}

// damage applies what a fault does to a packet's data. False means that the
// packet is lost by it.
func damage(e *devices.Effect, f *devices.Frame) bool {
	if e.FlipTable {
		return false // the address of a buffer is wrong: the packet's FCS would be
	}
	if !e.ShortOn && e.FlipData == 0 {
		return true
	}
	*f = copyFrame(f)
	b := f.Pieces[0]
	if e.ShortOn {
		b = b[:min(max(e.Short, 0), int64(len(b)))]
		f.Pieces[0] = b
		f.Offload = devices.Offload{} // its positions may be outside now
	}
	if len(b) != 0 {
		r := e.Seed
		for range min(e.FlipData, uint64(8*len(b))) {
			bit := next(&r) % uint64(8*len(b))
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	return len(b) >= minFrame
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
		cmd := command(0, 0, f, false)
		probe.Command(cmd)
		if probe.Faulty() {
			e = probe.Decide(cmd)
		}
		s := statusReceived
		switch {
		case e.Fail || e.Hang || e.Drop:
			s = statusLost
		case e.Delay > 0:
			s = statusDelayed
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
	n := 1
	if e.Duplicate {
		n = 2
	}
	if e.Delay > 0 {
		late := copyFrame(&g)
		d.late.after(e.Delay, func() {
			for range n {
				d.receive([]devices.Frame{late}, true)
			}
		})
		return g, 0
	}
	return g, n
}
