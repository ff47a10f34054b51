package e1000e

import (
	"dfemu/devices"
	"dfemu/devices/pci"
)

// sender is the transmit side. It is guarded by Device.txMu.
type sender struct {
	frames []devices.Frame
	pieces [][]byte
	backs  []int // descriptors of the batch to be written back
	counts []sent
	hung   [queues]bool // by a fault, until reset
	held   [queues][]held
	raw    [batch * descSize]byte
	effect effects
}

// sent is what the statistics need of a packet.
type sent struct {
	segments, size int
	dst            [6]byte
	tso            bool
}

func (s *sender) reset() {
	s.hung = [queues]bool{}
	s.held = [queues][]held{}
}

// ring is the place of a descriptor ring, as the registers say.
type ring struct {
	base       uint64
	n          uint32 // descriptors
	head, tail uint32
}

// ringAt reads the registers of a ring. The caller holds mu.
func (d *Device) ringAt(base, q int) ring {
	off := queueReg(base, q)
	return ring{uint64(d.get(off)) | uint64(d.get(off+4))<<32, d.get(off+8) / descSize, d.get(off + 0x10), d.get(off + 0x18)}
}

// sending reads the registers of a transmit ring, and reports whether the driver has packets sent from it and has set it up. The caller holds mu.
func (d *Device) sending(q int) (r ring, ok bool) {
	r = d.ringAt(0x3800, q)
	on := d.get(0x400)&tctlEN != 0 && d.get(0)&ctrlMasterDisable == 0
	return r, on && r.n != 0 && r.head < r.n && r.tail < r.n
}

// serve sends what there is on both queues.
func (d *Device) serve() {
	for busy := true; busy; {
		busy = false
		for q := range queues {
			if d.sendBatch(q) {
				busy = true
			}
		}
	}
}

// sendBatch handles up to a batch of descriptors of a queue, and reports whether
// there were any.
func (d *Device) sendBatch(q int) bool {
	d.txMu.Lock()
	defer d.txMu.Unlock()
	s := &d.sender
	d.mu.Lock()
	r, on := d.sending(q)
	up, vme, vet := d.up(), d.get(0)&ctrlVME != 0, uint16(d.get(offVET))
	psp := d.get(0x400)&tctlPSP != 0
	st := &d.s.Tx[q]
	d.mu.Unlock()
	if d.paused || !on || s.hung[q] || r.head == r.tail || !d.fn.BusMaster() {
		return false
	}
	n := min((r.tail+r.n-r.head)%r.n, batch, r.n-r.head)
	mem := d.fn.DMA()
	at := r.base + uint64(r.head)*descSize
	raw := s.raw[:n*descSize]
	if err := mem.Read(at, raw); err != nil {
		d.violation(q, "7.2.9", "transmit descriptors cannot be read: %v", err)
		s.hung[q] = true
		return false
	}
	probe := d.fn.Probe()
	watched := probe.Faulty() || probe.Wants(devices.ClassCommand|devices.ClassDMA)
	trace := probe.Wants(devices.ClassDMA)
	if trace {
		probe.DMA(devices.Transfer{Addr: at, Bytes: len(raw), What: "transmit descriptors"})
	}
	s.frames, s.pieces, s.backs, s.counts = s.frames[:0], s.pieces[:0], s.backs[:0], s.counts[:0]
	s.effect = effects{}
	var loop bool
	delayed := true // all descriptors that ask for a report allow it to be late
	done := uint32(0)
	for ; done < n && !s.hung[q]; done++ {
		x, err := parseTx(raw[done*descSize:])
		if err != nil {
			d.violation(q, "7.2.10", "%v", err)
			s.report(int(done), raw[done*descSize+11])
			continue
		}
		cmd := raw[done*descSize+11]
		if cmd&cmdRS != 0 && cmd&cmdIDE == 0 {
			delayed = false
		}
		if c, ok := x.(contextDesc); ok {
			st.Context = c
			s.report(int(done), cmd)
			continue
		}
		if !st.add(x) {
			s.report(int(done), cmd)
			continue
		}
		st.Open = false
		if trace {
			for _, g := range st.Segs {
				probe.DMA(devices.Transfer{Addr: g.Addr, Bytes: int(g.Len), What: "packet"})
			}
		}
		f, ok := d.build(q, st, mem, vme, vet, psp)
		if watched {
			ok = d.watchTransmit(q, int(done), &f, ok, up)
		}
		if ok && up {
			s.frames = append(s.frames, f)
		}
		if !s.effect.skip(int(done)) {
			s.report(int(done), cmd)
		}
	}
	d.mu.Lock()
	loop = d.get(0x100)&rctlLBM != 0 || d.s.PHY.Regs[phyControl]&phyLoopback != 0
	d.mu.Unlock()
	if len(s.frames) != 0 {
		if loop {
			d.loop(s.frames)
		} else {
			d.net.Send(q%d.props.Queues, s.frames)
		}
	}
	clear(s.frames)
	d.writeBack(q, mem, at, raw, done, (r.head+done)%r.n, delayed)
	return true
}

// report notes that a descriptor is to be written back, if it asks for that.
func (s *sender) report(i int, cmd uint8) {
	if cmd&cmdRS != 0 {
		s.backs = append(s.backs, i)
	}
}

// writeBack tells the driver what has been sent.
func (d *Device) writeBack(q int, mem devices.Memory, at uint64, raw []byte, done, head uint32, delayed bool) {
	s := &d.sender
	held := s.release(q, mem)
	for _, i := range s.backs {
		o := i*descSize + 12
		if mem.Write(at+uint64(o), []byte{raw[o] | txDD}) == nil {
			mem.Written(at+uint64(o), 1)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range s.counts {
		c := &s.counts[i]
		d.s.Stats.sent(c.segments, c.size, c.dst[:])
		if c.tso {
			d.s.Stats.add(statTSCTC, 1)
		}
	}
	d.mem[queueReg(0x3810, q)/4] = head
	var cause uint32
	if len(s.backs) != 0 || held {
		cause = causeTXDW
		if d.mode() == pci.ModeMSIX {
			cause |= causeTxQ0 << q
		}
	}
	if head == d.get(queueReg(0x3818, q)) {
		cause |= causeTXQE
	}
	if s.effect.lose {
		cause = 0
	}
	if s.effect.extra {
		cause |= causeTXDW | causeTxQ0<<q
	}
	switch {
	case cause == 0:
	case delayed && cause&causeTXDW != 0 && !s.effect.extra:
		d.raiseLater(&d.irq.delay[1], cause, d.get(queueReg(offTIDV, q)), d.get(queueReg(offTADV, q)))
	default:
		d.raise(cause)
	}
}

// build makes a frame of the packet that st describes. A packet that cannot be
// sent is reported and lost; false says so.
func (d *Device) build(q int, st *txState, mem devices.Memory, vme bool, vet uint16, psp bool) (devices.Frame, bool) {
	s := &d.sender
	var f devices.Frame
	if st.Bad {
		d.violation(q, "7.2.4", "a packet of more than %d bytes, or of descriptors of both formats", maxTransmit)
		return f, false
	}
	if st.Size < minFrame {
		d.violation(q, "7.2.4", "a packet of %d bytes is less than an Ethernet header", st.Size)
		return f, false
	}
	start := len(s.pieces)
	for _, g := range st.Segs {
		b, err := mem.View(g.Addr, int(g.Len))
		if err != nil {
			d.violation(q, "7.2.10", "a transmit buffer cannot be read: %v", err)
			s.pieces = s.pieces[:start]
			return f, false
		}
		s.pieces = append(s.pieces, b)
	}
	f.Pieces = s.pieces[start:len(s.pieces):len(s.pieces)]
	p := packet{f: &f, size: st.Size}
	if err := p.offload(st); err != nil {
		d.violation(q, "7.2.10", "%v", err)
		return f, false
	}
	if st.Cmd&cmdVLE != 0 && vme {
		p.tag(vet, st.VLAN)
	}
	if psp && p.size < 60 {
		p.pad()
	}
	p.finish()
	segments := 1
	if f.GSO != 0 {
		payload := p.size - int(f.HeaderLen)
		segments = max(1, (payload+int(f.SegmentSize)-1)/int(f.SegmentSize))
	}
	c := sent{segments: segments, size: p.size, tso: f.GSO != 0}
	if segments > 1 {
		c.size += (segments - 1) * int(f.HeaderLen)
	}
	f.CopyTo(c.dst[:], 0)
	s.counts = append(s.counts, c)
	return f, true
}

// loop gives the device what it sends.
func (d *Device) loop(frames []devices.Frame) {
	for i := range frames {
		if frames[i].Needs() == 0 {
			d.receive(frames[i:i+1], true)
		}
	}
}
