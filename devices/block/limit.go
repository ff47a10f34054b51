package block

import (
	"fmt"
	"sync"
	"time"

	"dfemu/devices"
)

// Limits says how fast a store may be.
type Limits struct {
	// IOPS is how many requests start in a second, BytesPerSecond how much
	// they read and write; 0 means no limit. Flushes are not limited.
	IOPS, BytesPerSecond int64
	// Burst is for how long the store may have been idle to be faster for a
	// while afterwards; 0 means not at all.
	Burst time.Duration
}

// Limited is a store that is no faster than its limits. Requests that would be
// too fast wait, in the order they came in.
type Limited struct {
	forward
	limits Limits
	alarms *alarms
	mu     sync.Mutex
	// ops and bytes are when all that was let through would be done at the
	// limit.
	ops, bytes int64
}

var _ devices.Pauser = (*Limited)(nil)

// NewLimited returns a store like b, which it owns from then on, with limits
// in the time of c.
func NewLimited(b devices.Block, l Limits, c devices.Clock) (*Limited, error) {
	if l.IOPS < 0 || l.BytesPerSecond < 0 || l.Burst < 0 {
		return nil, fmt.Errorf("limits of %d requests and %d bytes a second: must not be negative", l.IOPS, l.BytesPerSecond)
	}
	return &Limited{forward: forward{b}, limits: l, alarms: newAlarms(c)}, nil
}

// admit waits until a request for n bytes may start.
func (l *Limited) admit(n int64) {
	l.mu.Lock()
	now := l.alarms.clock.Now()
	at := now
	take := func(until *int64, rate, n int64) {
		if rate == 0 {
			return
		}
		at = max(at, *until-int64(l.limits.Burst))
		*until = max(*until, now) + cost(n, rate)
	}
	take(&l.ops, l.limits.IOPS, 1)
	take(&l.bytes, l.limits.BytesPerSecond, n)
	l.mu.Unlock()
	l.alarms.wait(at)
}

// cost is how many nanoseconds n of something take at a rate each second.
func cost(n, rate int64) int64 {
	const second = int64(time.Second)
	return n/rate*second + int64(float64(n%rate)/float64(rate)*float64(second))
}

// ReadAt implements io.ReaderAt.
func (l *Limited) ReadAt(p []byte, off int64) (int, error) {
	l.admit(int64(len(p)))
	return l.Block.ReadAt(p, off)
}

// WriteAt implements io.WriterAt.
func (l *Limited) WriteAt(p []byte, off int64) (int, error) {
	l.admit(int64(len(p)))
	return l.Block.WriteAt(p, off)
}

// ReadVAt implements devices.VectorBlock.
func (l *Limited) ReadVAt(bufs [][]byte, off int64) error {
	l.admit(length(bufs))
	return l.forward.ReadVAt(bufs, off)
}

// WriteVAt implements devices.VectorBlock.
func (l *Limited) WriteVAt(bufs [][]byte, off int64) error {
	l.admit(length(bufs))
	return l.forward.WriteVAt(bufs, off)
}

// WriteFUA implements devices.FUABlock.
func (l *Limited) WriteFUA(p []byte, off int64) (int, error) {
	l.admit(int64(len(p)))
	return l.forward.WriteFUA(p, off)
}

// Discard implements devices.Block.
func (l *Limited) Discard(off, n int64) error {
	l.admit(0)
	return l.Block.Discard(off, n)
}

// WriteZeroes implements devices.Block.
func (l *Limited) WriteZeroes(off, n int64, unmap bool) error {
	l.admit(0)
	return l.Block.WriteZeroes(off, n, unmap)
}

// Pause implements devices.Pauser: nobody waits until Resume. It must be called
// before waiting for requests to end once the clock stands still.
func (l *Limited) Pause() {
	l.alarms.release()
	l.forward.Pause()
}

// Resume implements devices.Pauser.
func (l *Limited) Resume() {
	l.forward.Resume()
	l.alarms.hold()
}

// Close lets waiting requests go on at once, and closes the store below.
func (l *Limited) Close() error {
	l.alarms.release()
	return l.Block.Close()
}

// Delayed is a store whose requests take a time at least. Requests in flight
// together are late together.
type Delayed struct {
	forward
	delay  int64
	alarms *alarms
}

var _ devices.Pauser = (*Delayed)(nil)

// NewDelayed returns a store like b, which it owns from then on, whose requests
// take at least d in the time of c.
func NewDelayed(b devices.Block, d time.Duration, c devices.Clock) (*Delayed, error) {
	if d < 0 {
		return nil, fmt.Errorf("a latency of %v: must not be negative", d)
	}
	return &Delayed{forward{b}, int64(d), newAlarms(c)}, nil
}

// late returns a function that waits until a request that starts now may end.
func (d *Delayed) late() func() {
	at := d.alarms.clock.Now() + d.delay
	return func() { d.alarms.wait(at) }
}

// ReadAt implements io.ReaderAt.
func (d *Delayed) ReadAt(p []byte, off int64) (int, error) {
	defer d.late()()
	return d.Block.ReadAt(p, off)
}

// WriteAt implements io.WriterAt.
func (d *Delayed) WriteAt(p []byte, off int64) (int, error) {
	defer d.late()()
	return d.Block.WriteAt(p, off)
}

// ReadVAt implements devices.VectorBlock.
func (d *Delayed) ReadVAt(bufs [][]byte, off int64) error {
	defer d.late()()
	return d.forward.ReadVAt(bufs, off)
}

// WriteVAt implements devices.VectorBlock.
func (d *Delayed) WriteVAt(bufs [][]byte, off int64) error {
	defer d.late()()
	return d.forward.WriteVAt(bufs, off)
}

// WriteFUA implements devices.FUABlock.
func (d *Delayed) WriteFUA(p []byte, off int64) (int, error) {
	defer d.late()()
	return d.forward.WriteFUA(p, off)
}

// Flush implements devices.Block.
func (d *Delayed) Flush() error {
	defer d.late()()
	return d.Block.Flush()
}

// Discard implements devices.Block.
func (d *Delayed) Discard(off, n int64) error {
	defer d.late()()
	return d.Block.Discard(off, n)
}

// WriteZeroes implements devices.Block.
func (d *Delayed) WriteZeroes(off, n int64, unmap bool) error {
	defer d.late()()
	return d.Block.WriteZeroes(off, n, unmap)
}

// Pause implements devices.Pauser: nobody waits until Resume. It must be called
// before waiting for requests to end once the clock stands still.
func (d *Delayed) Pause() {
	d.alarms.release()
	d.forward.Pause()
}

// Resume implements devices.Pauser.
func (d *Delayed) Resume() {
	d.forward.Resume()
	d.alarms.hold()
}

// Close lets waiting requests end at once, and closes the store below.
func (d *Delayed) Close() error {
	d.alarms.release()
	return d.Block.Close()
}
