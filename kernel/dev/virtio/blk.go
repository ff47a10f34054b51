package virtio

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// Features, requests and results of block devices (5.2).
const (
	blkReadOnly = 1 << 5
	blkSize     = 1 << 6
	blkFlush    = 1 << 9
	blkMQ       = 1 << 12
	blkDiscard  = 1 << 13

	blkIn        = 0
	blkOut       = 1
	blkDoFlush   = 4
	blkGetID     = 8
	blkDoDiscard = 11

	blkOK          = 0
	blkIOErr       = 1
	blkUnsupported = 2
	blkNoStatus    = 0xff

	blkCapacity    = 0
	blkBlockSize   = 20
	blkNumQueues   = 34
	blkMaxDiscard  = 36
	blkIDLen       = 20
	blkSlot        = 64 // bytes for a request's header, a discard's range and status
	blkQueueSize   = 128
	blkMaxTransfer = 1 << 20
	blkTimeout     = 10 * time.Second
	blkIrqTime     = 10 * time.Millisecond // until an interrupt that has been sent is handled
	blkMaxTries    = 4                     // of a request that resets of the device have lost
	blkMaxResets   = 5                     // in a row without an answer to any request
)

// Block is the driver of block devices.
type Block struct {
	Layer *disk.Layer
	// Timeout is how long the device has for a request until it is reset; 0 is 10 s.
	Timeout time.Duration
}

// Name implements pci.Driver.
func (Block) Name() string { return "vtblk" }

// Match implements pci.Driver.
func (Block) Match(d *pci.Device) bool { return match(d, typeBlock) }

// block is a unit.
type block struct {
	v       *device
	layer   *disk.Layer
	disk    *disk.Disk
	queues  []*blkQueue
	signals *kern.Signals
	gone    atomic.Bool
	alive   atomic.Bool  // the device has answered since its last reset
	resets  int          // in a row without an answer; the helper thread's
	watched atomic.Bool  // the helper thread looks every second
	restart sync.RWMutex // held for writing while the device is reset
	size    uint64       // of the disk, in sectors of 512 bytes
	discard uint32       // most sectors of a discard
	ended   *kern.Thread
	timeout time.Duration // of a request
}

// blkQueue is one of the queues, its slots for headers, and what waits for room.
type blkQueue struct {
	b       *block
	q       *queue
	mem     kern.DMA
	mu      sync.Mutex
	slots   []uint16
	waiting []*blkRequest
}

// blkRequest is what the device has.
type blkRequest struct {
	q     *blkQueue
	bio   *disk.Bio
	slot  uint16
	tries int           // resets that have lost it
	since time.Duration // when it was sent the last time
	done  *kern.Event   // for requests without a bio
	err   error
}

// Attach implements pci.Driver.
func (drv Block) Attach(d *pci.Device, unit int) (pci.Attached, error) {
	name := fmt.Sprintf("vtblk%d", unit)
	v, err := open(d, name)
	if err != nil {
		return nil, err
	}
	b := &block{v: v, layer: drv.Layer, signals: v.k.NewSignals(), timeout: drv.Timeout}
	if b.timeout <= 0 {
		b.timeout = blkTimeout
	}
	if err := b.start(unit); err != nil {
		v.stop()
		for _, q := range b.queues {
			v.k.FreeDMA(q.mem)
		}
		return nil, err
	}
	return b, nil
}

func (b *block) start(unit int) error {
	v := b.v
	if v.config.regs == nil || !v.config.has(0, 24) {
		return errors.New("it has no configuration")
	}
	if err := v.negotiate(blkReadOnly | blkSize | blkFlush | blkMQ | blkDiscard); err != nil {
		return err
	}
	n := 1
	if v.features&blkMQ != 0 && v.config.has(blkNumQueues, 2) {
		n = max(min(int(v.config.r16(blkNumQueues)), v.k.CPUs()), 1)
	}
	var uses []use
	for i := range n {
		q := &blkQueue{b: b}
		b.queues = append(b.queues, q)
		uses = append(uses, use{i, blkQueueSize, i, func() { q.interrupt() }})
	}
	// The slots are there before the first interrupt can be.
	for _, q := range b.queues {
		mem, err := v.k.AllocDMA(blkQueueSize*blkSlot, 4096, 0)
		if err != nil {
			return err
		}
		q.mem = mem
		for i := range blkQueueSize {
			q.slots = append(q.slots, uint16(i))
		}
	}
	for _, q := range b.queues {
		q.mu.Lock()
	}
	err := v.start(n, uses, nil)
	for i, q := range b.queues {
		if err == nil {
			q.q = v.queues[i]
		}
		q.mu.Unlock()
	}
	if err != nil {
		return err
	}
	info := disk.Info{
		Name: fmt.Sprintf("vbd%d", unit), Model: "VirtIO Block Device", Where: v.name,
		SectorSize: 512, MaxTransfer: blkMaxTransfer, ReadOnly: v.features&blkReadOnly != 0,
		Detail: fmt.Sprintf("%d queues of %d", n, b.queues[0].q.size), Owner: v.pci,
	}
	b.size = uint64(v.config.r32(blkCapacity)) | uint64(v.config.r32(blkCapacity+4))<<32
	if v.features&blkSize != 0 {
		if s := int(v.config.r32(blkBlockSize)); s == 4096 || s == 1024 || s == 2048 {
			info.SectorSize = s
		}
	}
	info.Sectors = b.size / uint64(info.SectorSize/512)
	if v.features&blkDiscard != 0 && v.config.has(blkMaxDiscard, 8) {
		b.discard = v.config.r32(blkMaxDiscard)
		info.CanDelete = b.discard > 0
	}
	b.ended = v.k.Start(kern.ThreadAttr{Name: v.name, Priority: kern.IntrSupport, Failed: v.pci.Failed}, b.watch)
	id, err := b.identify()
	if err != nil {
		v.k.Printf("%s: it does not tell its serial number: %v", v.name, err)
	}
	info.Serial = id
	b.restart.Lock()
	if err = disk.ErrTimeout; !b.gone.Load() {
		b.disk, err = b.layer.Create(info, b)
	}
	if err != nil {
		b.gone.Store(true)
	}
	b.restart.Unlock()
	if err != nil {
		b.signals.Raise(blkStop)
		b.ended.Join()
	}
	return err
}

// identify asks for the serial number.
func (b *block) identify() (string, error) {
	mem, err := b.v.k.AllocDMA(512, 512, 0)
	if err != nil {
		return "", err
	}
	q := b.queues[0]
	r := &blkRequest{q: q, done: b.v.k.NewEvent()}
	q.mu.Lock()
	ok := q.send(r, blkGetID, 0, buffer{mem.Phys, blkIDLen, true})
	q.mu.Unlock()
	if !ok {
		return "", errors.New("the queue is full")
	}
	q.q.kick()
	b.wake()
	if !r.done.Wait(blkTimeout + 5*time.Second) {
		return "", disk.ErrTimeout // the memory stays the device's
	}
	id := strings.TrimSpace(strings.TrimRight(string(mem.Bytes[:blkIDLen]), "\x00"))
	b.v.k.FreeDMA(mem)
	return id, r.err
}

// Strategy implements disk.Driver.
func (b *block) Strategy(bio *disk.Bio) {
	q := b.queues[b.v.k.CPU()%len(b.queues)]
	b.restart.RLock()
	defer b.restart.RUnlock()
	switch {
	case b.gone.Load():
		bio.Done(disk.ErrGone)
		return
	case bio.Cmd == disk.Flush && b.v.features&blkFlush == 0:
		bio.Done(nil) // it writes through
		return
	case bio.Cmd == disk.Delete && bio.Length/512 > int64(b.discard):
		bio.Done(disk.ErrRange)
		return
	}
	r := &blkRequest{q: q, bio: bio}
	q.mu.Lock()
	sent := len(q.waiting) == 0 && q.submit(r)
	if !sent {
		q.waiting = append(q.waiting, r)
	}
	q.mu.Unlock()
	if sent {
		q.q.kick()
		b.wake()
	}
}

// submit puts a request on the queue if there is room; the queue is locked.
func (q *blkQueue) submit(r *blkRequest) bool {
	bio := r.bio
	sector := uint64(bio.Offset) / 512
	data := buffer{bio.Mem.Phys, uint32(bio.Length), bio.Cmd == disk.Read}
	switch bio.Cmd {
	case disk.Read:
		return q.send(r, blkIn, sector, data)
	case disk.Write:
		return q.send(r, blkOut, sector, data)
	case disk.Flush:
		return q.send(r, blkDoFlush, 0)
	}
	if len(q.slots) == 0 {
		return false
	}
	s := int(q.slots[len(q.slots)-1]) * blkSlot
	le := binary.LittleEndian
	le.PutUint64(q.mem.Bytes[s+16:], sector)
	le.PutUint32(q.mem.Bytes[s+24:], uint32(bio.Length/512))
	le.PutUint32(q.mem.Bytes[s+28:], 0)
	return q.send(r, blkDoDiscard, 0, buffer{q.mem.Phys + uint64(s) + 16, 16, false})
}

// send puts a request with its header and status on the queue.
func (q *blkQueue) send(r *blkRequest, typ uint32, sector uint64, data ...buffer) bool {
	if len(q.slots) == 0 {
		return false
	}
	r.slot = q.slots[len(q.slots)-1]
	r.since = q.b.v.k.Now()
	off := int(r.slot) * blkSlot
	h := q.mem.Bytes[off:][:blkSlot]
	binary.LittleEndian.PutUint32(h, typ)
	binary.LittleEndian.PutUint32(h[4:], 0)
	binary.LittleEndian.PutUint64(h[8:], sector)
	h[32] = blkNoStatus
	phys := q.mem.Phys + uint64(off)
	bufs := append(append([]buffer{{phys, 16, false}}, data...), buffer{phys + 32, 1, true})
	if !q.q.put(r, bufs...) {
		return false
	}
	q.slots = q.slots[:len(q.slots)-1]
	return true
}

// interrupt completes what the device has done.
func (q *blkQueue) interrupt() int {
	q.mu.Lock()
	if q.q == nil {
		q.mu.Unlock()
		return 0
	}
	var done []*blkRequest
	for {
		t, _, ok := q.q.take()
		if !ok {
			break
		}
		r := t.(*blkRequest)
		switch s := q.mem.Bytes[int(r.slot)*blkSlot+32]; s {
		case blkOK:
		case blkIOErr:
			r.err = disk.ErrIO
		case blkUnsupported:
			r.err = disk.ErrSupported
		default:
			r.err = fmt.Errorf("the device returned status %#x: %w", s, disk.ErrIO)
		}
		q.slots = append(q.slots, r.slot)
		done = append(done, r)
	}
	more := q.refill()
	q.mu.Unlock()
	if more {
		q.q.kick()
	}
	if len(done) > 0 {
		q.b.alive.Store(true)
	}
	for _, r := range done {
		r.finish()
	}
	return len(done)
}

// refill submits what waits, as far as there is room; the queue is locked.
func (q *blkQueue) refill() bool {
	n := 0
	for n < len(q.waiting) && q.submit(q.waiting[n]) {
		n++
	}
	q.waiting = q.waiting[n:]
	return n > 0
}

func (r *blkRequest) finish() {
	if r.bio != nil {
		r.bio.Done(r.err)
		return
	}
	r.done.Set()
}

// What the helper thread is told.
const (
	blkStop = 1 << iota
	blkBusy
)

// watch is the helper thread: it looks for requests that are not answered, or of whose answers no interrupt has told, once a second while
// there are any.
func (b *block) watch() {
	timeout, tick := time.Duration(-1), min(time.Second, b.timeout/4)
	for b.signals.Take(timeout)&blkStop == 0 {
		timeout = tick
		oldest, busy := b.oldest()
		if !busy {
			b.watched.Store(false)
			if _, busy = b.oldest(); !busy {
				timeout = -1
				continue
			}
			b.watched.Store(true)
		}
		if b.v.failed() {
			b.revive("the device reports a failure")
		} else if age := b.v.k.Now() - oldest; age > tick && b.lost() {
			b.v.k.Printf("%s: an interrupt was lost", b.v.name)
		} else if age > b.timeout {
			b.revive(fmt.Sprintf("a request is not answered for %v", age.Round(time.Millisecond)))
		}
	}
}

// lost takes what the device has answered, if it has, and no interrupt has come for it.
func (b *block) lost() bool {
	now, _ := b.oldest()
	time.Sleep(blkIrqTime)
	if then, busy := b.oldest(); !busy || then != now {
		return false
	}
	n := 0
	for _, q := range b.queues {
		n += q.interrupt()
	}
	return n > 0
}

// wake tells the helper thread that there is a request to look after.
func (b *block) wake() {
	if !b.watched.Load() && !b.watched.Swap(true) {
		b.signals.Raise(blkBusy)
	}
}

// oldest is when the oldest request was sent.
func (b *block) oldest() (at time.Duration, busy bool) {
	for _, q := range b.queues {
		q.q.mu.Lock()
		for _, t := range q.q.tokens {
			if r, ok := t.(*blkRequest); ok && (!busy || r.since < at) {
				at, busy = r.since, true
			}
		}
		q.q.mu.Unlock()
	}
	return at, busy
}

// revive resets the device. What it had is sent again, or fails when that was tried often enough; a device that answers nothing between
// several resets is given up.
func (b *block) revive(why string) {
	b.v.k.Printf("%s: %s: reset", b.v.name, why)
	if b.alive.Swap(false) {
		b.resets = 0
	}
	b.restart.Lock()
	for _, q := range b.queues {
		q.mu.Lock()
	}
	tokens, err := b.v.restart()
	if b.resets++; err == nil && b.resets >= blkMaxResets {
		err = fmt.Errorf("%d resets have not helped", b.resets)
	}
	if err != nil {
		b.v.k.Printf("%s: it stays out of use: %v", b.v.name, err)
		b.gone.Store(true)
		b.v.pci.SetMaster(false) // it may still have what it did not answer
	} else {
		b.v.ready()
	}
	var again, failed []*blkRequest
	for _, t := range tokens {
		r := t.(*blkRequest)
		if r.tries++; err == nil && r.bio != nil && r.tries < blkMaxTries {
			again = append(again, r)
		} else {
			failed = append(failed, r)
		}
	}
	slices.SortFunc(again, func(x, y *blkRequest) int { return cmp.Compare(x.since, y.since) })
	for _, q := range b.queues {
		q.slots = q.slots[:0]
		for i := range blkQueueSize {
			q.slots = append(q.slots, uint16(i))
		}
		if err != nil {
			failed = append(failed, q.waiting...)
			q.waiting = nil
		} else {
			mine := slices.DeleteFunc(slices.Clone(again), func(r *blkRequest) bool { return r.q != q })
			if q.waiting = append(mine, q.waiting...); q.refill() {
				q.q.kick()
			}
		}
		q.mu.Unlock()
	}
	d := b.disk
	b.restart.Unlock()
	for _, r := range failed {
		r.err = disk.ErrTimeout
		r.finish()
	}
	if err != nil && d != nil {
		b.layer.Destroy(d)
	}
}

// Detach implements pci.Attached.
func (b *block) Detach() {
	failed := b.v.pci.HasFailed()
	if failed {
		b.layer.Suspend(b.disk) // before requests come back for which there is no device any more
	}
	b.restart.Lock()
	b.gone.Store(true)
	b.restart.Unlock()
	if !failed {
		b.layer.Destroy(b.disk)
	}
	b.signals.Raise(blkStop)
	b.ended.Join()
	if b.v.pci.Present() {
		_ = b.v.reset() // it does not touch the memory any more
	}
	b.v.pci.SetMaster(false)
	for _, q := range b.queues {
		for _, t := range q.q.drain() {
			r := t.(*blkRequest)
			r.err = disk.ErrGone
			r.finish()
		}
		q.mu.Lock()
		waiting := q.waiting
		q.waiting = nil
		q.mu.Unlock()
		for _, r := range waiting {
			r.err = disk.ErrGone
			r.finish()
		}
	}
	b.v.stop()
	for _, q := range b.queues {
		b.v.k.FreeDMA(q.mem)
	}
}
