package net

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/internal/nic"
	"dfemu/devices/virtio"
)

// pair is a receive and a transmit queue.
type pair struct {
	d   *Device
	n   int
	rxq *virtio.Queue
	txq *virtio.Queue
	tx  nic.Worker

	// starved means that the back end waits for buffers.
	starved atomic.Bool

	txMu   sync.Mutex // held while the transmit queue is served
	chains []*virtio.Chain
	frames []devices.Frame
	pieces [][]byte

	rxMu   sync.Mutex // held while frames are stored
	spare  []*virtio.Chain
	filled []*virtio.Chain
	retry  *devices.Effect // decided about the frame that did not fit
}

func newPair(d *Device, n int) *pair {
	p := &pair{d: d, n: n, rxq: d.Queue(2 * n), txq: d.Queue(2*n + 1)}
	p.tx.Run = p.serve
	return p
}

// forget drops what was decided, on reset. The queues are stopped, so nobody is at work.
func (p *pair) forget() {
	p.starved.Store(false)
	p.rxMu.Lock()
	p.retry = nil
	p.rxMu.Unlock()
}

// serve takes what the driver made available until there is nothing left.
func (p *pair) serve() {
	p.txMu.Lock()
	defer p.txMu.Unlock()
	for {
		p.chains = p.txq.PopN(p.chains[:0], batchSize)
		if len(p.chains) == 0 {
			if !p.txq.SetNotify(true) {
				return
			}
			continue
		}
		p.txq.SetNotify(false)
		// Looked up only now: what was agreed before these frames counts for them.
		a := p.d.active.Load()
		if a == nil {
			a = &agreed{pairs: 1}
		}
		p.transmit(a)
	}
}

// transmit sends the frames in p.chains and gives the chains back.
func (p *pair) transmit(a *agreed) {
	p.frames, p.pieces = p.frames[:0], p.pieces[:0]
	up := p.d.filter.Load().up()
	probe := p.d.Function().Probe()
	watched := probe.Faulty() || probe.Wants(devices.ClassCommand|devices.ClassDMA)
	post := posting{chains: p.chains}
	for i := 0; i < len(post.chains); i++ {
		c := post.chains[i]
		c.SetWritten(0)
		f, ok := p.parse(a, c)
		if watched {
			ok = p.watchTransmit(&post, &i, c, &f, ok, up)
		}
		if !ok || !up {
			continue
		}
		if a.pairs > p.d.props.Queues && a.pairs > 1 {
			p.d.learn(&f, p.n)
		}
		p.frames = append(p.frames, f)
	}
	if len(p.frames) != 0 {
		p.d.net.Send(p.n%p.d.props.Queues, p.frames)
	}
	// The pieces are guest memory: do not keep it reachable longer than needed.
	clear(p.frames)
	post.finish(p.txq)
}

// parse makes a frame of a chain. A frame that cannot be sent is reported and
// lost; false says so.
func (p *pair) parse(a *agreed, c *virtio.Chain) (devices.Frame, bool) {
	q := p.txq.Index()
	if len(c.In) != 0 {
		p.d.violation(q, "5.1.6.2", "a transmit chain has device-writable buffers")
	}
	var h [hdrSize]byte
	var f devices.Frame
	total := virtio.Total(c.Out)
	if total < hdrSize || total > hdrSize+maxFrame {
		p.d.violation(q, "5.1.6.2", "a transmit chain of %d bytes; a header of %d bytes and a frame of at most %d are possible", total, hdrSize, maxFrame)
		return f, false
	}
	start := len(p.pieces)
	rest := hdrSize
	for _, s := range c.Out {
		if s.Len == 0 {
			continue
		}
		b, err := c.Memory().View(s.Addr, int(s.Len))
		if err != nil {
			p.pieces = p.pieces[:start]
			return f, false
		}
		if rest > 0 {
			n := copy(h[hdrSize-rest:], b)
			rest -= n
			b = b[n:]
			if len(b) == 0 {
				continue
			}
		}
		p.pieces = append(p.pieces, b)
	}
	f.Pieces = p.pieces[start:len(p.pieces):len(p.pieces)]
	f.Offload = offload(&h)
	return f, p.check(a, &f, &h, int(total)-hdrSize)
}

// offload decodes a header.
func offload(h *[hdrSize]byte) devices.Offload {
	le := binary.LittleEndian
	return devices.Offload{
		Flags: h[hdrFlags], GSO: h[hdrGSOType], HeaderLen: le.Uint16(h[hdrHdrLen:]), SegmentSize: le.Uint16(h[hdrGSOSize:]),
		ChecksumStart: le.Uint16(h[hdrCsumStart:]), ChecksumOffset: le.Uint16(h[hdrCsumOffset:]),
	}
}

// check looks at a header from the driver (section 5.1.6.2.1).
func (p *pair) check(a *agreed, f *devices.Frame, h *[hdrSize]byte, n int) bool {
	q := p.txq.Index()
	bad := func(format string, args ...any) bool {
		p.d.violation(q, "5.1.6.2.1", format, args...)
		return false
	}
	if binary.LittleEndian.Uint16(h[hdrNumBuffers:]) != 0 {
		bad("num_buffers is not 0 in a transmitted header")
	}
	if n < minFrame {
		return bad("a frame of %d bytes is less than an Ethernet header", n)
	}
	if f.Flags&^devices.FlagNeedsChecksum != 0 {
		bad("flags are %#x: only VIRTIO_NET_HDR_F_NEEDS_CSUM may be set", f.Flags)
		f.Flags &= devices.FlagNeedsChecksum
	}
	if lacking := f.Needs() &^ a.send; lacking != 0 {
		return bad("flags %#x and gso_type %#x ask for what was not negotiated", f.Flags, f.GSO)
	}
	if f.Flags&devices.FlagNeedsChecksum != 0 && int(f.ChecksumStart)+int(f.ChecksumOffset)+2 > n {
		return bad("csum_start %d and csum_offset %d are outside a frame of %d bytes", f.ChecksumStart, f.ChecksumOffset, n)
	}
	switch kind := f.GSO &^ devices.GSOECN; {
	case kind == devices.GSONone && f.GSO != 0:
		return bad("gso_type is %#x", f.GSO)
	case kind == devices.GSONone:
		return true
	case kind != devices.GSOTCPv4 && kind != devices.GSOTCPv6 && kind != devices.GSOUDPL4:
		return bad("gso_type is %#x", f.GSO)
	case f.Flags&devices.FlagNeedsChecksum == 0:
		return bad("gso_type is %#x without VIRTIO_NET_HDR_F_NEEDS_CSUM", f.GSO)
	case f.SegmentSize == 0:
		return bad("gso_type is %#x with a gso_size of 0", f.GSO)
	}
	return true
}
