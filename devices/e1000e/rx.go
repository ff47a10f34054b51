package e1000e

import (
	"encoding/binary"
	"hash/crc32"

	"dfemu/devices"
	"dfemu/devices/pci"
)

// taker is the receive side. It is guarded by Device.rxMu.
type taker struct {
	buf    []byte // the packet in one piece
	raw    [2 * descSize]byte
	retry  *devices.Effect // decided about the packet that did not fit
	effect devices.Effect
	setup  setup
}

func (t *taker) reset() { t.retry = nil }

// setup is what the registers say about receiving, for one batch.
type setup struct {
	rctl, rxcsum uint32
	vet          uint16
	strip        bool
	extended     bool
	split        bool
	sizes        [4]int // of the buffers that a descriptor has
	buffers      int
	descSize     uint64
	hash         bool // packets are hashed
	spread       bool // and go to two queues by that
	filter       filter
	mode         pci.InterruptMode
}

// Receive implements devices.FrameReceiver.
func (d *Device) Receive(_ int, frames []devices.Frame) int { return d.receive(frames, false) }

// receive stores packets. Packets that are injected do not wait for room and are not
// watched again.
func (d *Device) receive(frames []devices.Frame, injected bool) int {
	d.rxMu.Lock()
	defer d.rxMu.Unlock()
	if d.paused {
		if injected {
			return len(frames)
		}
		d.starved.Store(true)
		return 0
	}
	d.mu.Lock()
	on := d.get(0x100)&rctlEN != 0 && d.get(0)&ctrlMasterDisable == 0
	up := d.up() || injected
	c := &d.taker.setup
	if on {
		c.read(d)
	}
	d.mu.Unlock()
	if !on || !up || !d.fn.BusMaster() {
		return len(frames) // nobody listens
	}
	probe := d.fn.Probe()
	watched := !injected && (probe.Faulty() || probe.Wants(devices.ClassCommand|devices.ClassDMA))
	cause := uint32(0)
	lose := false
	n := 0
	for ; n < len(frames); n++ {
		f := &frames[n]
		copies := 1
		d.taker.effect = devices.Effect{}
		var g devices.Frame
		if watched {
			if g, copies = d.watchReceive(f); copies == 0 {
				continue
			}
			f = &g
		}
		got, ok := d.store(c, f)
		if !ok {
			if injected {
				continue
			}
			if watched {
				e := d.taker.effect
				d.taker.retry = &e
			}
			break
		}
		if copies > 1 {
			more, _ := d.store(c, f)
			got |= more
		}
		cause |= got
		lose = lose || d.taker.effect.LoseInterrupt
		if d.taker.effect.ExtraInterrupt {
			cause |= causeRXT0
		}
	}
	d.mu.Lock()
	if n < len(frames) {
		d.s.Stats.add(statRNBC, 1)
		cause |= causeRXO
	}
	switch {
	case cause == 0:
	case lose:
		d.s.ICR |= cause
	case cause&^(causeRXT0|causeRxQ0|causeRxQ0<<1) == 0:
		d.raiseLater(&d.irq.delay[0], cause, d.get(offRDTR), d.get(offRADV))
	default:
		d.raise(cause)
	}
	d.mu.Unlock()
	return n
}

// read takes what the registers say. The caller holds mu.
func (c *setup) read(d *Device) {
	filter := c.filter
	*c = setup{rctl: d.get(0x100), rxcsum: d.get(0x5000), vet: uint16(d.get(offVET)), strip: d.get(0)&ctrlVME != 0, descSize: descSize, buffers: 1, mode: d.mode()}
	c.extended = d.get(0x5008)&rfctlEXSTEN != 0
	c.hash = d.get(0x5818)>>16 != 0 && c.rxcsum&rxcsumPCSD != 0
	c.spread = c.hash && d.get(0x5818)&3 == 1
	size := 2048 >> (c.rctl >> 16 & 3)
	if c.rctl&rctlBSEX != 0 && size < 2048 {
		size *= 16
	}
	c.sizes[0] = size
	if d.splits() {
		p := d.get(offPSRCTL)
		c.split, c.buffers, c.descSize = true, 4, 2*descSize
		c.sizes = [4]int{int(p&0x7f) * 128, int(p>>8&0x3f) << 10, int(p>>16&0x3f) << 10, int(p>>24&0x3f) << 10}
	}
	c.filter = filter
	c.filter.snapshot(d)
}

// capacity is what one descriptor holds.
func (c *setup) capacity() int {
	n := 0
	for _, s := range c.sizes[:c.buffers] {
		n += s
	}
	return n
}

// store puts one packet into the driver's buffers. It returns the causes that
// follow, and false if there is no room.
func (d *Device) store(c *setup, f *devices.Frame) (cause uint32, ok bool) {
	size := f.Len()
	limit := 1522 - 4
	if c.rctl&rctlLPE != 0 {
		limit = maxReceive - 4
	}
	if f.Needs() != 0 || size < minFrame {
		return 0, true // not for this device; nobody but a careless back end sends that
	}
	if size > limit {
		d.count(statROC)
		return 0, true
	}
	t := &d.taker
	if cap(t.buf) < maxReceive+64 {
		t.buf = make([]byte, maxReceive+64)
	}
	// Short packets are filled up as on the wire.
	b := t.buf[:max(size, 60)]
	clear(b[min(size, len(b)):])
	f.CopyTo(b, 0)
	if !c.filter.pass(b, c) {
		return 0, true
	}
	info := rxInfo{}
	d.examine(c, b, f, &info)
	good := len(b)
	if c.strip && binary.BigEndian.Uint16(b[12:]) == c.vet && len(b) >= 18 {
		info.vlan = binary.BigEndian.Uint16(b[14:])
		info.status |= rxVP
		copy(b[4:16], b[:12])
		b = b[4:]
	}
	if c.rctl&rctlSECRC == 0 {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	cause, ok = d.place(c, b, &info)
	if ok && cause != 0 {
		d.mu.Lock()
		d.s.Stats.received(good, t.buf[:6])
		d.mu.Unlock()
	}
	return cause, ok
}

func (d *Device) count(stat int) {
	d.mu.Lock()
	d.s.Stats.add(stat, 1)
	d.mu.Unlock()
}

// place writes a packet into as many descriptors as it needs.
func (d *Device) place(c *setup, b []byte, info *rxInfo) (cause uint32, ok bool) {
	d.mu.Lock()
	off := queueReg(0x2800, info.queue)
	r := d.ringAt(0x2800, info.queue)
	r.n = uint32(uint64(d.get(off+8)) / c.descSize)
	d.mu.Unlock()
	per := c.capacity()
	if r.n == 0 || r.head >= r.n || r.tail >= r.n || per == 0 {
		return 0, true // there is no ring
	}
	free := (r.tail + r.n - r.head) % r.n
	need := uint32((len(b) + per - 1) / per)
	if need >= r.n {
		d.report(devices.ByDevice, info.queue, "7.1.9", "a packet of %d bytes needs %d descriptors, the ring has %d", len(b), need, r.n)
		return 0, true
	}
	if free < need {
		d.starved.Store(true)
		d.mu.Lock()
		again := d.get(off+0x18) != r.tail
		d.mu.Unlock()
		if again {
			d.starved.Store(false)
			return d.place(c, b, info)
		}
		return 0, false
	}
	mem := d.fn.DMA()
	at := r.head
	for len(b) > 0 {
		n, err := d.fill(c, mem, r.base+uint64(at)*c.descSize, b, info)
		if err != nil {
			d.report(devices.ByDevice, info.queue, "7.1.4", "a receive descriptor or its buffer: %v", err)
			return 0, true
		}
		b = b[n:]
		at = (at + 1) % r.n
	}
	d.mu.Lock()
	d.mem[(off+0x10)/4] = at
	d.mu.Unlock()
	cause = causeRXT0
	if left := free - need; left <= r.n>>(1+c.rctl>>8&3) {
		cause |= causeRXDMT0
	}
	if c.mode == pci.ModeMSIX {
		cause |= causeRxQ0 << info.queue
	}
	return cause, true
}

// fill stores the start of b in one descriptor's buffers, writes the descriptor
// back, and returns how much went in.
func (d *Device) fill(c *setup, mem devices.Memory, at uint64, b []byte, info *rxInfo) (int, error) {
	raw := d.taker.raw[:c.descSize]
	if err := mem.Read(at, raw); err != nil {
		return 0, err
	}
	probe := d.fn.Probe()
	trace := probe.Wants(devices.ClassDMA)
	if trace {
		probe.DMA(devices.Transfer{Addr: at, Bytes: len(raw), Write: true, What: "receive descriptor"})
	}
	total := 0
	var lens [4]int
	for i, size := range c.sizes[:c.buffers] {
		n := min(size, len(b)-total)
		if n <= 0 {
			break
		}
		addr := le.Uint64(raw[8*i:])
		v, err := mem.View(addr, n)
		if err != nil {
			return 0, err
		}
		copy(v, b[total:])
		mem.Written(addr, n)
		if trace {
			probe.DMA(devices.Transfer{Addr: addr, Bytes: n, Write: true, What: "packet"})
		}
		lens[i] = n
		total += n
	}
	last := total == len(b)
	switch {
	case c.split:
		info.encodeSplit(raw, lens, last)
	case c.extended:
		info.encodeExtended(raw, total, last)
	default:
		info.encodeLegacy(raw, total, last)
	}
	// The driver polls the status: it is stored last, in a write of its own.
	k := 12
	if c.extended {
		k = 8
	}
	status := [4]byte(raw[k:])
	clear(raw[k : k+4])
	if err := mem.Write(at, raw); err != nil {
		return 0, err
	}
	if err := mem.Write(at+uint64(k), status[:]); err != nil {
		return 0, err
	}
	mem.Written(at, len(raw))
	return total, nil
}
