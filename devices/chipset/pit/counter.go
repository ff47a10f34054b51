package pit

import "math"

// A counter is one of the 8254's three counters. It holds no running count:
// count and output follow from the tick at which counting began. Ticks are
// those of the machine's clock at [Hz]. Field names are the datasheet's where
// it has one.
type counter struct {
	Mode uint8 // 0 to 5
	BCD  bool
	RW   uint8 // which bytes software moves: rwLow, rwHigh, rwBoth

	CR      uint32 // count register: the count written last, 1 to 65536 (BCD: to 10000)
	Loaded  bool   // CR was written since the control word
	Waiting bool   // CR was not taken over by the counting element yet
	TakeAt  int64  // tick at which a running periodic mode takes CR over

	Count   uint32 // the count that the counting element was loaded with
	Running bool   // the counting element was loaded
	Start   int64  // tick at which it was loaded
	Gate    bool
	Stopped bool  // counting is held by the gate, at Elapsed
	Elapsed int64 // ticks counted when the gate fell

	LowByte    uint8 // first byte of a two-byte write
	SecondByte bool  // the next write is the high byte
	ReadHigh   bool  // the next read is the high byte

	Latched     bool // the count is latched until it is read
	Latch       uint16
	HasStatus   bool
	StatusLatch uint8
}

// Values of RW, as in the control word.
const (
	rwLatch = iota
	rwLow
	rwHigh
	rwBoth
)

func (c *counter) periodic() bool { return c.Mode == 2 || c.Mode == 3 }

// triggered tells whether a rising gate starts the count (modes 1 and 5)
// rather than writing it.
func (c *counter) triggered() bool { return c.Mode == 1 || c.Mode == 5 }

// control takes a control word that programs the counter.
func (c *counter) control(v uint8) {
	mode := v >> 1 & 7
	if mode > 5 {
		mode &= 3 // modes 2 and 3 ignore their top bit
	}
	*c = counter{Mode: mode, BCD: v&1 != 0, RW: v >> 4 & 3, Gate: c.Gate, CR: c.CR, Count: c.Count}
}

// write takes a byte of the count, at tick now.
func (c *counter) write(v uint8, now int64) {
	switch {
	case c.RW == rwLow:
		c.load(uint16(v), now)
	case c.RW == rwHigh:
		c.load(uint16(v)<<8, now)
	case c.RW == rwBoth && !c.SecondByte:
		c.LowByte, c.SecondByte = v, true
		if c.Mode == 0 {
			// The first byte stops the count and the output goes low.
			c.Running, c.Loaded = false, false
		}
	case c.RW == rwBoth:
		c.SecondByte = false
		c.load(uint16(v)<<8|uint16(c.LowByte), now)
	}
}

// load takes a complete count. The counting element takes it over with the
// next tick; in a running periodic mode at the end of the period (mode 3: half
// period); in modes 1 and 5 when the gate rises.
func (c *counter) load(v uint16, now int64) {
	running := c.periodic() && c.Running && !c.Stopped
	if running && !c.Waiting {
		c.TakeAt = c.boundary(now)
	}
	c.CR, c.Loaded, c.Waiting = c.decode(v), true, true
	if !running && !c.triggered() {
		c.begin(now)
	}
}

// begin loads the counting element with the tick that follows now.
func (c *counter) begin(now int64) {
	c.Count, c.Waiting = c.CR, false
	c.Running, c.Start, c.Elapsed = true, now+1, 0
	c.Stopped = !c.Gate && !c.triggered()
}

// setGate drives the gate input at tick now.
func (c *counter) setGate(level bool, now int64) {
	if level == c.Gate {
		return
	}
	c.Gate = level
	switch {
	case c.triggered():
		if level && c.Loaded {
			c.begin(now)
		}
	case !c.Running:
	case level && c.periodic():
		c.begin(now) // a rising gate reloads
	case level:
		c.Start, c.Stopped = now-c.Elapsed, false
	default:
		c.Elapsed, c.Stopped = c.elapsed(now), true
	}
}

// elapsed is the number of ticks counted at tick now; negative until the
// counting element is loaded.
func (c *counter) elapsed(now int64) int64 {
	if c.Stopped {
		return c.Elapsed
	}
	return now - c.Start
}

// sync lets a waiting count take effect, at tick now.
func (c *counter) sync(now int64) {
	if !c.Waiting || !c.Running || !c.periodic() || now < c.TakeAt {
		return
	}
	low := c.Mode == 3 && !c.outAt(c.TakeAt)
	c.Count, c.Start, c.Waiting = c.CR, c.TakeAt, false
	if low {
		c.Start -= c.high() // the low half goes on with the new count
	}
}

// high is the length of the high part of a mode 3 period.
func (c *counter) high() int64 { return (int64(c.Count) + 1) / 2 }

// boundary is the tick after now at which a periodic mode reloads.
func (c *counter) boundary(now int64) int64 {
	n, period := max(c.elapsed(now), 0), int64(c.Count)
	at := n - n%period
	if c.Mode == 3 && n-at < c.high() && period > 1 {
		return c.Start + at + c.high()
	}
	return c.Start + at + period
}

// out is the level of the output at tick now.
func (c *counter) out(now int64) bool {
	c.sync(now)
	return c.outAt(now)
}

func (c *counter) outAt(now int64) bool {
	if !c.Running {
		return c.Mode != 0
	}
	n, count := c.elapsed(now), int64(c.Count)
	switch c.Mode {
	case 0:
		return n >= count
	case 1:
		return n < 0 || n >= count
	case 2:
		return c.Stopped || n < 0 || n%count != count-1 || count == 1
	case 3:
		return c.Stopped || n < 0 || n%count < c.high()
	}
	return n != count // 4 and 5: one tick of strobe
}

// rise returns the first tick after now at which the output rises.
func (c *counter) rise(now int64) (at int64, ok bool) {
	c.sync(now)
	if !c.Running || c.Stopped {
		return 0, false
	}
	count := int64(c.Count)
	switch c.Mode {
	case 0, 1:
		at = c.Start + count
	case 4, 5:
		at = c.Start + count + 1
	default:
		if count == 1 {
			return 0, false // illegal: the output does not move
		}
		at = c.Start + count*(max(now-c.Start, 0)/count+1)
		if c.Waiting && at > c.TakeAt {
			// The waiting count decides where the period ends.
			n := *c
			n.sync(n.TakeAt)
			return n.rise(now)
		}
	}
	return at, at > now
}

// count is the counting element's value at tick now, as software reads it.
func (c *counter) count(now int64) uint16 {
	c.sync(now)
	if !c.Running {
		return c.encode(int64(c.Count))
	}
	n, count := max(c.elapsed(now), 0), int64(c.Count)
	switch c.Mode {
	case 2:
		return c.encode(count - n%count)
	case 3:
		n %= count
		if n >= c.high() {
			n -= c.high()
		}
		return c.encode(count&^1 - 2*n)
	}
	return c.encode(count - n) // wraps and goes on
}

// latchCount holds the count for the following reads; a second latch before
// they happen changes nothing.
func (c *counter) latchCount(now int64) {
	if !c.Latched {
		c.Latch, c.Latched = c.count(now), true
	}
}

// latchStatus holds the status byte: OUT, null count, and the control word.
func (c *counter) latchStatus(now int64) {
	if c.HasStatus {
		return
	}
	v := c.RW<<4 | c.Mode<<1
	if c.BCD {
		v |= 1
	}
	if c.out(now) {
		v |= 0x80
	}
	if !c.Running || c.Waiting || c.elapsed(now) < 0 {
		v |= 0x40
	}
	c.StatusLatch, c.HasStatus = v, true
}

// read gives the next byte that software sees.
func (c *counter) read(now int64) uint8 {
	if c.HasStatus {
		c.HasStatus = false
		return c.StatusLatch
	}
	v := c.Latch
	if !c.Latched {
		v = c.count(now)
	}
	high := c.RW == rwHigh || c.RW == rwBoth && c.ReadHigh
	if c.RW == rwBoth {
		c.ReadHigh = !c.ReadHigh
	}
	if c.RW != rwBoth || high {
		c.Latched = false
	}
	if high {
		return uint8(v >> 8)
	}
	return uint8(v)
}

// decode gives the number of ticks that a written count stands for; 0 is the
// largest.
func (c *counter) decode(v uint16) uint32 {
	if !c.BCD {
		if v == 0 {
			return 0x10000
		}
		return uint32(v)
	}
	n := uint32(v>>12)*1000 + uint32(v>>8&15)*100 + uint32(v>>4&15)*10 + uint32(v&15)
	if n == 0 || n > 10000 {
		return 10000
	}
	return n
}

// encode is the inverse of decode, for any count modulo the counter's range.
func (c *counter) encode(n int64) uint16 {
	if !c.BCD {
		return uint16(n)
	}
	n = (n%10000 + 10000) % 10000
	return uint16(n/1000<<12 | n/100%10<<8 | n/10%10<<4 | n%10)
}

// valid checks state from a file.
func (c *counter) valid() bool {
	const far = math.MaxInt64 / 4
	inRange := func(n uint32) bool { return n >= 1 && n <= 0x10000 }
	return c.Mode <= 5 && c.RW <= rwBoth && inRange(c.CR) && inRange(c.Count) &&
		c.Start >= 0 && c.Start < far && c.TakeAt >= 0 && c.TakeAt < far && c.Elapsed >= -1 && c.Elapsed < far
}
