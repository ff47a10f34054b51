package virtio

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
	"dfemu/kernel/net/ifnet"
)

// Features and configuration of network devices (5.1).
const (
	netMTU    = 1 << 3
	netMAC    = 1 << 5
	netMerge  = 1 << 15 // a frame may fill several receive buffers
	netStatus = 1 << 16
	netCtrl   = 1 << 17
	netMQ     = 1 << 22

	netCfgMAC    = 0
	netCfgStatus = 6
	netCfgPairs  = 8
	netCfgMTU    = 10
	netLinkUp    = 1 // status

	netHeader    = 12 // bytes before each frame
	netVLAN      = 4  // bytes a tag adds to a frame
	netQueueSize = 128
	netMaxPairs  = 8
	netBuffer    = 2048    // of a receive buffer, if frames may fill several
	netMemory    = 1 << 20 // at most for the buffers of a queue
	netBatch     = 64      // buffers taken in at a time
	netTimeout   = 5 * time.Second
)

// Net is the driver of network devices.
type Net struct {
	Set *ifnet.Set
	// Timeout is how long the device may take for a frame or a command; 0 means 5 seconds.
	Timeout time.Duration
}

// Name implements pci.Driver.
func (Net) Name() string { return "vtnet" }

// Match implements pci.Driver.
func (Net) Match(d *pci.Device) bool { return match(d, typeNet) }

// nic is a unit.
type nic struct {
	v       *device
	i       *ifnet.Interface
	pairs   []*netPair
	using   atomic.Int32 // pairs in use for sending
	ctrl    *netControl  // nil without control queue
	merge   bool
	timeout time.Duration
	signals *kern.Signals
	watched atomic.Bool // the helper thread looks every second
	gone    atomic.Bool
	ended   *kern.Thread
}

// netPair is a receive and a transmit queue.
type netPair struct {
	n  *nic
	rx struct {
		sync.Mutex
		netRing
		open  bool   // there is an interface for what comes
		frame []byte // what has come of a frame
		left  int    // buffers of it that are to come
		drop  bool   // the frame is not to be delivered
	}
	tx struct {
		sync.Mutex
		netRing
		free []*netSlot
	}
}

// netRing is a queue and its buffers.
type netRing struct {
	q     *queue
	mem   kern.DMA
	slots []netSlot
	size  int // of a slot, in bytes
}

// netSlot is a buffer, and the token the queue has for it.
type netSlot struct {
	off   int
	since time.Duration
}

// makeRing allocates buffers for at most a queue.
func (r *netRing) makeRing(k *kern.Kernel, size int) error {
	for r.size = netBuffer; r.size < size; {
		r.size *= 2
	}
	n := max(min(netQueueSize, netMemory/r.size), 4)
	mem, err := k.AllocDMA(n*r.size, 4096, 0)
	if err != nil {
		return err
	}
	r.mem, r.slots = mem, make([]netSlot, n)
	for i := range r.slots {
		r.slots[i].off = i * r.size
	}
	return nil
}

func (r *netRing) bytes(s *netSlot) []byte { return r.mem.Bytes[s.off:][:r.size] }

func (r *netRing) buffer(s *netSlot, n int, write bool) buffer {
	return buffer{r.mem.Phys + uint64(s.off), uint32(n), write}
}

// Attach implements pci.Driver.
func (drv Net) Attach(d *pci.Device, unit int) (pci.Attached, error) {
	v, err := open(d, fmt.Sprintf("vtnet%d", unit))
	if err != nil {
		return nil, err
	}
	n := &nic{v: v, signals: v.k.NewSignals(), timeout: cmp.Or(drv.Timeout, netTimeout)}
	if err := n.start(drv.Set); err != nil {
		n.free()
		return nil, err
	}
	return n, nil
}

func (n *nic) start(set *ifnet.Set) error {
	v := n.v
	if err := v.negotiate(netMTU | netMAC | netMerge | netStatus | netCtrl | netMQ); err != nil {
		return err
	}
	info := ifnet.Info{Name: v.name, MTU: ifnet.DefaultMTU}
	need := map[uint64]uint64{netMAC: netCfgMAC + 6, netStatus: netCfgStatus + 2, netMQ: netCfgPairs + 2, netMTU: netCfgMTU + 2}
	for feature, end := range need {
		if v.features&feature != 0 && (v.config.regs == nil || !v.config.has(0, end)) {
			return fmt.Errorf("its configuration has less than %d bytes", end)
		}
	}
	if v.features&netMAC != 0 {
		for i := range info.MAC {
			info.MAC[i] = v.config.r8(netCfgMAC + uint64(i))
		}
	} else {
		_, _ = rand.Read(info.MAC[:])    // never fails
		info.MAC[0] = info.MAC[0]&^1 | 2 // of one station, locally administered
	}
	if info.MAC.Multicast() || info.MAC == (ifnet.MAC{}) {
		return fmt.Errorf("%v is not the address of a station", info.MAC)
	}
	if v.features&netMTU != 0 {
		info.MTU = int(v.config.r16(netCfgMTU))
	}
	if info.MTU < ifnet.MinMTU {
		return fmt.Errorf("its MTU is %d bytes, less than %d", info.MTU, ifnet.MinMTU)
	}
	most, pairs := 1, 1
	if v.features&(netMQ|netCtrl) == netMQ|netCtrl {
		most = int(v.config.r16(netCfgPairs))
		if most < 1 || most > 0x8000 {
			return fmt.Errorf("it has %d pairs of queues", most)
		}
		pairs = min(most, v.k.CPUs(), netMaxPairs)
	}
	if err := n.queues(info.MTU, most, pairs); err != nil {
		return err
	}
	info.Where = fmt.Sprintf("%d of %d queue pairs of %d, %s", pairs, most, n.pairs[0].rx.q.size, n.v.pci.InterruptInfo())
	if n.merge {
		info.Where += ", merged receive buffers"
	}
	var err error
	if n.i, err = set.Attach(info, n); err != nil {
		return err
	}
	v.k.Printf("%s: Ethernet address %v, MTU %d, %s", v.name, info.MAC, info.MTU, info.Where)
	for _, p := range n.pairs {
		p.rx.Lock()
		p.rx.open = true
		p.rx.Unlock()
		p.received() // what came before
	}
	n.ended = v.k.Start(kern.ThreadAttr{Name: v.name, Priority: kern.IntrSupport, Failed: v.pci.Failed}, n.watch)
	n.begin()
	return nil
}

// queues allocates and starts the queues.
func (n *nic) queues(mtu, most, pairs int) error {
	v := n.v
	n.merge = v.features&netMerge != 0
	frame := netHeader + ifnet.HeaderLen + netVLAN + mtu
	var uses []use
	for i := range pairs {
		p := &netPair{n: n}
		n.pairs = append(n.pairs, p)
		size := frame
		if n.merge {
			size = netBuffer
		}
		if err := errors.Join(p.rx.makeRing(v.k, size), p.tx.makeRing(v.k, frame)); err != nil {
			return err
		}
		uses = append(uses, use{2 * i, netQueueSize, i, p.received}, use{2*i + 1, netQueueSize, i, p.sent})
	}
	if v.features&netCtrl != 0 {
		c, err := newNetControl(n)
		if err != nil {
			return err
		}
		n.ctrl = c
		uses = append(uses, use{2 * most, netControlSize, pairs, c.done})
	}
	n.lock()
	err := v.start(pairs+1, uses, func() { n.signals.Raise(netConfig) })
	if err == nil {
		for i, p := range n.pairs {
			p.rx.q, p.tx.q = v.queues[2*i], v.queues[2*i+1]
			p.fill()
		}
		if n.ctrl != nil {
			n.ctrl.mu.Lock()
			n.ctrl.q = v.queues[2*pairs]
			n.ctrl.mu.Unlock()
		}
	}
	n.unlock()
	if err != nil {
		return err
	}
	for _, p := range n.pairs {
		p.rx.q.kick()
	}
	return nil
}

// lock keeps all queues from being used.
func (n *nic) lock() {
	for _, p := range n.pairs {
		p.rx.Lock()
		p.tx.Lock()
	}
}

func (n *nic) unlock() {
	for _, p := range n.pairs {
		p.rx.Unlock()
		p.tx.Unlock()
	}
}

// begin agrees on the number of queues with a device that has been started, and looks at the link.
func (n *nic) begin() {
	use := 1
	if len(n.pairs) > 1 {
		if err := n.ctrl.command(netClassMQ, netSetPairs, binary.LittleEndian.AppendUint16(nil, uint16(len(n.pairs)))); err != nil {
			n.v.k.Printf("%s: one pair of queues is used: %v", n.v.name, err)
		} else {
			use = len(n.pairs)
		}
	}
	n.using.Store(int32(use))
	n.link()
}

// link reads whether there is a connection.
func (n *nic) link() {
	up := n.v.features&netStatus == 0 || n.v.config.r16(netCfgStatus)&netLinkUp != 0
	if n.i.SetLink(up) {
		n.v.k.Printf("%s: link state changed to %s", n.v.name, map[bool]string{false: "DOWN", true: "UP"}[up])
	}
}

// fill gives the device all receive buffers, and takes all transmit buffers back. The queues are empty and locked.
func (p *netPair) fill() {
	for i := range p.rx.slots {
		s := &p.rx.slots[i]
		if !p.rx.q.put(s, p.rx.buffer(s, p.rx.size, true)) {
			break // the device's queue is smaller
		}
	}
	p.rx.frame, p.rx.left, p.rx.drop = nil, 0, false
	p.tx.free = p.tx.free[:0]
	for i := range p.tx.slots {
		p.tx.free = append(p.tx.free, &p.tx.slots[i])
	}
}

// received takes in what has come.
func (p *netPair) received() {
	for p.batch() {
	}
}

// batch takes in some of what has come, and tells whether there may be more.
func (p *netPair) batch() (more bool) {
	var frames [][]byte
	n := 0
	p.rx.Lock()
	for ; p.rx.open && n < netBatch; n++ {
		t, size, ok := p.rx.q.take()
		if !ok {
			break
		}
		s := t.(*netSlot)
		if f := p.collect(p.rx.bytes(s), int(size)); f != nil {
			frames = append(frames, f)
		}
		p.rx.q.put(s, p.rx.buffer(s, p.rx.size, true)) // there is room: it was there before
	}
	p.rx.Unlock()
	if n > 0 {
		p.rx.q.kick()
	}
	for _, f := range frames {
		p.n.i.Input(f)
	}
	return n == netBatch
}

// collect takes a buffer into which the device has written n bytes, and returns a frame when that is whole. The receive queue is locked.
func (p *netPair) collect(b []byte, n int) []byte {
	r := &p.rx
	first := r.left == 0
	if first {
		r.frame, r.left, r.drop = nil, 1, false
	}
	bad := n > len(b)
	b = b[:min(n, len(b))]
	if first {
		if len(b) < netHeader {
			bad = true
			b = nil
		} else {
			if count := int(binary.LittleEndian.Uint16(b[10:])); p.n.merge && count > 1 {
				if r.left = count; count > len(r.slots) {
					r.left, bad = 1, true
				}
			}
			b = b[netHeader:]
		}
	}
	r.left--
	if bad || len(r.frame)+len(b) > ifnet.HeaderLen+netVLAN+p.n.i.MTU {
		r.drop = true
	}
	if !r.drop {
		r.frame = append(r.frame, b...)
	}
	if r.left > 0 {
		return nil
	}
	f := r.frame
	r.frame = nil
	if r.drop {
		p.n.i.Stats.InErrors.Add(1)
		return nil
	}
	return f
}

// Transmit implements ifnet.Driver.
func (n *nic) Transmit(frame []byte) error {
	p := n.pairs[n.v.k.CPU()%max(int(n.using.Load()), 1)]
	p.tx.Lock()
	if n.gone.Load() {
		p.tx.Unlock()
		return ifnet.ErrGone
	}
	if len(p.tx.free) == 0 {
		p.reclaim()
	}
	if len(p.tx.free) == 0 {
		p.tx.Unlock()
		return ifnet.ErrFull
	}
	s := p.tx.free[len(p.tx.free)-1]
	b := p.tx.bytes(s)
	if netHeader+len(frame) > len(b) {
		p.tx.Unlock()
		return ifnet.ErrSize
	}
	clear(b[:netHeader]) // nothing is left to the device
	copy(b[netHeader:], frame)
	s.since = n.v.k.Now()
	if !p.tx.q.put(s, p.tx.buffer(s, netHeader+len(frame), false)) {
		p.tx.Unlock()
		return ifnet.ErrFull
	}
	p.tx.free = p.tx.free[:len(p.tx.free)-1]
	p.tx.Unlock()
	p.tx.q.kick()
	if !n.watched.Load() && !n.watched.Swap(true) {
		n.signals.Raise(netBusy)
	}
	return nil
}

// sent takes back buffers that were sent.
func (p *netPair) sent() {
	p.tx.Lock()
	defer p.tx.Unlock()
	if p.tx.q != nil {
		p.reclaim()
	}
}

// reclaim is sent; the transmit queue is locked.
func (p *netPair) reclaim() {
	for {
		t, _, ok := p.tx.q.take()
		if !ok {
			return
		}
		p.tx.free = append(p.tx.free, t.(*netSlot))
	}
}

// oldest is when the oldest frame under way was given to the device.
func (n *nic) oldest() (at time.Duration, busy bool) {
	for _, p := range n.pairs {
		p.tx.Lock()
		p.reclaim() // should an interrupt have been lost
		p.tx.q.mu.Lock()
		for _, t := range p.tx.q.tokens {
			if s, ok := t.(*netSlot); ok && (!busy || s.since < at) {
				at, busy = s.since, true
			}
		}
		p.tx.q.mu.Unlock()
		p.tx.Unlock()
	}
	return at, busy
}

// What the helper thread is told.
const (
	netStop = 1 << iota
	netConfig
	netBusy
)

// watch is the helper thread: it sees to changes of the link, and to a device that has failed or does not send.
func (n *nic) watch() {
	timeout := time.Duration(-1)
	for {
		what := n.signals.Take(timeout)
		if what&netStop != 0 {
			return
		}
		if n.gone.Load() {
			timeout = -1
			continue
		}
		since, busy := n.oldest()
		switch {
		case n.v.failed():
			n.revive("the device reports a failure")
		case busy && n.v.k.Now()-since > n.timeout:
			n.revive("watchdog timeout: the device does not send")
		case what&netConfig != 0:
			n.link()
		}
		if timeout = min(time.Second, n.timeout); busy {
			continue
		}
		n.watched.Store(false)
		if _, busy = n.oldest(); busy {
			n.watched.Store(true)
			continue
		}
		timeout = -1
	}
}

// revive resets the device; frames under way are lost.
func (n *nic) revive(why string) {
	n.v.k.Printf("%s: %s: reset", n.v.name, why)
	n.i.SetLink(false)
	n.lock()
	lost, err := n.v.restart()
	if n.ctrl != nil {
		n.ctrl.abort()
	}
	for _, t := range lost {
		if s, ok := t.(*netSlot); ok && s.since != 0 {
			n.i.Stats.OutErrors.Add(1)
		}
	}
	if err == nil {
		for _, p := range n.pairs {
			p.fill()
		}
		n.v.ready()
	}
	n.gone.Store(err != nil)
	n.unlock()
	if err != nil {
		n.v.k.Printf("%s: it stays out of use: %v", n.v.name, err)
		n.i.Detach()
		return
	}
	for _, p := range n.pairs {
		p.rx.q.kick()
	}
	n.begin()
}

// Detach implements pci.Attached.
func (n *nic) Detach() {
	n.lock()
	n.gone.Store(true)
	n.unlock()
	if n.v.pci.HasFailed() {
		n.i.Suspend()
	} else {
		n.i.Detach()
	}
	n.signals.Raise(netStop)
	if n.ctrl != nil {
		n.ctrl.abort()
	}
	n.ended.Join()
	n.free()
}

// free stops the device and gives back what it used.
func (n *nic) free() {
	n.v.stop()
	for _, p := range n.pairs {
		n.v.k.FreeDMA(p.rx.mem)
		n.v.k.FreeDMA(p.tx.mem)
	}
	if n.ctrl != nil {
		n.v.k.FreeDMA(n.ctrl.mem)
	}
}
