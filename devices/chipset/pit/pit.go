// Package pit is the 8254 programmable interval timer of a PC, together with
// port B (0x61) that gates its third counter for the speaker.
//
// Counter 0 drives IRQ 0, counter 1 stands for memory refresh, counter 2 for
// the speaker; software also measures time with counter 2.
//
// Specifications: Intel 8254 datasheet (231164); Intel ICH9 datasheet
// (316972), sections 5.7, 13.3 and 13.7.1 (NMI_SC).
package pit

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
	"dfemu/devices/chipset/internal/ticks"
)

// Hz is the frequency of the counters' clock: 14.31818 MHz / 12.
const Hz = 1193182

// Where PCs have the timer and port B, in the port space.
const (
	Port      = 0x40
	PortSize  = 4
	PortB     = 0x61
	PortBSize = 1
)

// refreshTicks is the period of the refresh request that port B's bit 4
// toggles with: 15 µs.
const refreshTicks = 18

// minGap is the least time in nanoseconds between two timer interrupts. A
// guest that programs a shorter period gets every n-th edge instead of a host
// that does nothing else.
const minGap = 20_000

// Bits of port B.
const (
	portBGate2   = 1 << 0
	portBSpeaker = 1 << 1
	portBWrite   = 0x0f // these and the two NMI enables can be written
	portBRefresh = 1 << 4
	portBOut2    = 1 << 5
)

// Config says what the timer is connected to.
type Config struct {
	Name  string        // unit name; "pit" if empty
	Clock devices.Clock // required
	IRQ   devices.Line  // counter 0's output; NoLine if nil
}

// A Device is the timer. Its methods may be called concurrently.
type Device struct {
	name  string
	clock devices.Clock
	irq   devices.Line
	timer devices.Timer

	mu    sync.Mutex
	state state

	ports, portB regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

type state struct {
	Counters [3]counter
	PortB    uint8
	// Seen is the tick up to which rises of counter 0 were delivered.
	Seen int64
}

// Rows of the register tables.
const (
	regCounter = iota
	regControl
)

var bank = devices.NewBank("8254", []devices.Register{
	regCounter: {Offset: 0, Size: 1, Name: "COUNTER", Count: 3, Stride: 1},
	regControl: {Offset: 3, Size: 1, Name: "CONTROL", Rights: devices.WO},
})

var portBBank = devices.NewBank("PORTB", []devices.Register{{Offset: 0, Size: 1, Name: "NMI_SC"}})

// New returns a timer whose counters are not programmed.
func New(c Config) *Device {
	d := &Device{name: c.Name, clock: c.Clock, irq: c.IRQ}
	if d.name == "" {
		d.name = "pit"
	}
	if d.irq == nil {
		d.irq = devices.NoLine
	}
	d.timer = d.clock.NewTimer(d.expire)
	d.ports = regs.Block{Bank: bank, Dev: regs.Funcs{ReadFunc: d.read, WriteFunc: d.write}}
	d.portB = regs.Block{Bank: portBBank, Dev: regs.Funcs{ReadFunc: d.readPortB, WriteFunc: d.writePortB}}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. The counters are left in mode 0 without
// a count, which keeps IRQ 0 low.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state{}
	for i := range d.state.Counters {
		d.state.Counters[i] = counter{RW: rwBoth, CR: 0x10000, Count: 0x10000, Gate: i != 2}
	}
	d.timer.Stop()
	d.irq.Set(false)
}

// Ports is the register file, for [Port].
func (d *Device) Ports() devices.Region { return &d.ports }

// PortB is the system control port, for [PortB].
func (d *Device) PortB() devices.Region { return &d.portB }

// Speaker returns the level that drives the speaker.
func (d *Device) Speaker() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.PortB&portBSpeaker != 0 && d.state.Counters[2].out(d.now())
}

// now is the clock in ticks.
func (d *Device) now() int64 { return ticks.At(d.clock.Now(), Hz) }

// expire runs when counter 0's output is due to rise.
func (d *Device) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp(d.now())
	d.arm()
}

// catchUp delivers the rises of counter 0's output since the last call. If the
// host was late several become one edge. The output falls long before it
// rises, or for one tick only: both are shown as a short pulse.
func (d *Device) catchUp(now int64) {
	s := &d.state
	at, ok := s.Counters[0].rise(s.Seen)
	s.Seen = now
	if ok && at <= now {
		d.irq.Set(false)
		d.irq.Set(true)
	}
}

// arm sets the timer for counter 0's next rise.
func (d *Device) arm() {
	s := &d.state
	c := &s.Counters[0]
	at, ok := c.rise(s.Seen)
	if !ok {
		d.timer.Stop()
		return
	}
	if earliest := ticks.At(d.clock.Now()+minGap, Hz); c.periodic() && at < earliest {
		ahead := *c // looking ahead must not make a waiting count take effect
		if later, ok := ahead.rise(earliest); ok {
			at = later
		}
	}
	d.timer.Set(ticks.Ns(at, Hz))
}

func (d *Device) read(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.catchUp(now)
	return uint64(d.state.Counters[r.Index].read(now))
}

func (d *Device) write(r devices.Reg, v, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, b := d.now(), uint8(v)
	d.catchUp(now)
	if r.ID == regControl {
		d.control(b, now)
		return
	}
	c := &d.state.Counters[r.Index]
	c.write(b, now)
	if r.Index == 0 {
		d.drive(now)
	}
}

// control takes a control word: bits 7..6 select the counter, or the read-back
// command.
func (d *Device) control(v uint8, now int64) {
	n := v >> 6
	switch {
	case n == 3:
		for i := range d.state.Counters {
			c := &d.state.Counters[i]
			if v>>(i+1)&1 == 0 {
				continue
			}
			if v&0x20 == 0 {
				c.latchCount(now)
			}
			if v&0x10 == 0 {
				c.latchStatus(now)
			}
		}
	case v>>4&3 == rwLatch:
		d.state.Counters[n].latchCount(now)
	default:
		d.state.Counters[n].control(v)
		if n == 0 {
			d.drive(now)
		}
	}
}

// drive shows counter 0's output on the interrupt line after it was programmed.
func (d *Device) drive(now int64) {
	d.irq.Set(d.state.Counters[0].out(now))
	d.arm()
}

func (d *Device) readPortB(devices.Reg, uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	v := d.state.PortB
	if now/refreshTicks&1 != 0 {
		v |= portBRefresh
	}
	if d.state.Counters[2].out(now) {
		v |= portBOut2
	}
	return uint64(v)
}

func (d *Device) writePortB(_ devices.Reg, v, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.PortB = uint8(v) & portBWrite
	d.state.Counters[2].setGate(v&portBGate2 != 0, d.now())
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return regs.Save(stateVersion, d.state)
}

// RestoreState implements [devices.Saver]. The clock must have been restored.
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	for i := range s.Counters {
		if !s.Counters[i].valid() {
			return regs.Invalid(d.name, "a counter", s.Counters[i])
		}
	}
	if s.Seen < 0 {
		return regs.Invalid(d.name, "Seen", s.Seen)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	d.drive(s.Seen)
	return nil
}
