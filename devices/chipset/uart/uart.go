// Package uart is the 16550A serial port.
//
// What the guest sends goes to the host at once, whatever the programmed rate,
// so the transmitter is always empty. What the host sends waits in the host
// until the receive FIFO has room, so nothing is lost.
//
// Specification: National Semiconductor PC16550D datasheet.
package uart

import (
	"io"
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have their serial ports, in the port space: COM1 and COM3 with IRQ
// 4, COM2 and COM4 with IRQ 3.
const (
	COM1 = 0x3f8
	COM2 = 0x2f8
	COM3 = 0x3e8
	COM4 = 0x2e8
	Size = 8
)

// fifoSize is the depth of the receive FIFO; without it there is one byte.
const fifoSize = 16

// baudBase is the rate in bits per second for a divisor of 1.
const baudBase = 115200

// Config says what the serial port is connected to.
type Config struct {
	Name  string        // unit name; "uart" if empty
	Clock devices.Clock // required
	IRQ   devices.Line  // NoLine if nil
	// Out takes what the guest sends, byte by byte, with the device's lock
	// held: it must not call the device. Its errors are ignored, as a wire
	// with nobody at the other end.
	Out io.Writer
}

// A Device is a serial port. Its methods may be called concurrently.
type Device struct {
	name  string
	clock devices.Clock
	irq   devices.Line
	out   io.Writer
	timer devices.Timer

	mu      sync.Mutex
	state   state
	onSpace func()
	starved bool // the host has more bytes than there was room for

	ports regs.Block
}

var (
	_ devices.Device   = (*Device)(nil)
	_ devices.Saver    = (*Device)(nil)
	_ devices.Receiver = (*Device)(nil)
)

// A char is a received character and its line status errors.
type char struct {
	Byte   uint8
	Errors uint8
}

type state struct {
	IER, LCR, MCR, SCR uint8
	FCR                uint8 // the bits that stay: enable and trigger
	Errors             uint8 // LSR's error bits
	MSR                uint8
	Divisor            uint16
	Rx                 []char // received characters, the oldest first
	Timeout            bool   // the character timeout is pending
	TimeoutAt          int64  // clock's time at which it will be; 0: not running
	TxEmpty            bool   // the THRE interrupt is pending
}

// New returns an idle serial port of 9600 baud.
func New(c Config) *Device {
	d := &Device{name: c.Name, clock: c.Clock, irq: c.IRQ, out: c.Out}
	if d.name == "" {
		d.name = "uart"
	}
	if d.irq == nil {
		d.irq = devices.NoLine
	}
	if d.out == nil {
		d.out = io.Discard
	}
	d.timer = d.clock.NewTimer(d.expire)
	d.ports = regs.Block{Bank: bank, Dev: d, Name: d.registerName}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. The divisor stays, as the datasheet says;
// characters not read are lost.
func (d *Device) Reset() {
	d.mu.Lock()
	divisor := d.state.Divisor
	if divisor == 0 {
		divisor = baudBase / 9600
	}
	d.state = state{Divisor: divisor, MSR: connected}
	d.update()
	f := d.space()
	d.mu.Unlock()
	call(f)
}

// connected is the other end as the guest sees it: there, and ready.
const connected = msrCTS | msrDSR | msrDCD

// Ports is the register file, for [COM1] and its like.
func (d *Device) Ports() devices.Region { return &d.ports }

// Receive implements [devices.Receiver].
func (d *Device) Receive(p []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	if d.state.MCR&mcrLoop == 0 {
		for n < len(p) && len(d.state.Rx) < d.depth() {
			d.push(char{Byte: p[n]})
			n++
		}
	}
	d.starved = n < len(p)
	d.update()
	return n
}

// OnSpace implements [devices.Receiver]. f is called without locks.
func (d *Device) OnSpace(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onSpace = f
}

// Break sends the guest a break condition, as a terminal's Break key does. It
// returns false if there is no room for it.
func (d *Device) Break() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.MCR&mcrLoop != 0 || len(d.state.Rx) >= d.depth() {
		return false
	}
	d.push(char{Errors: lsrBI | lsrFE})
	d.update()
	return true
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// space returns the host's function if it waits for room and there is some. A
// FIFO is refilled when it has run empty, so that the guest is interrupted for
// many characters rather than for each.
func (d *Device) space() func() {
	if !d.starved || len(d.state.Rx) > 0 || d.state.MCR&mcrLoop != 0 {
		return nil
	}
	d.starved = false
	return d.onSpace
}

func (d *Device) fifo() bool { return d.state.FCR&fcrEnable != 0 }

func (d *Device) depth() int {
	if d.fifo() {
		return fifoSize
	}
	return 1
}

// wordMask has the bits of a character of the programmed length. Only loopback
// heeds it: the host always gets all eight bits, so that guests which never
// program the line can be read.
func (d *Device) wordMask() uint8 { return 0xff >> (3 - d.state.LCR&lcrWLS) }

// push receives a character that there is room for.
func (d *Device) push(c char) {
	s := &d.state
	s.Rx = append(s.Rx, c)
	if len(s.Rx) == 1 {
		s.Errors |= c.Errors
	}
	if !s.Timeout {
		d.restartTimeout()
	}
}

// pop is the guest's read of the receive buffer.
func (d *Device) pop() uint8 {
	s := &d.state
	if len(s.Rx) == 0 {
		return 0
	}
	c := s.Rx[0]
	s.Rx = append(s.Rx[:0], s.Rx[1:]...)
	if len(s.Rx) > 0 {
		s.Errors |= s.Rx[0].Errors
	}
	d.restartTimeout()
	return c.Byte
}

// restartTimeout begins the wait after which characters that do not reach the
// trigger level interrupt all the same: four characters' time from the last
// one received or read.
func (d *Device) restartTimeout() {
	s := &d.state
	s.Timeout, s.TimeoutAt = false, 0
	if len(s.Rx) > 0 && d.fifo() {
		s.TimeoutAt = d.clock.Now() + 4*d.charTime()
	}
}

// charTime is the time of one character in nanoseconds.
func (d *Device) charTime() int64 {
	s := &d.state
	bits := 1 + 5 + int64(s.LCR&lcrWLS) + 1 // start, data, stop
	if s.LCR&lcrSTB != 0 {
		bits++
	}
	if s.LCR&lcrPEN != 0 {
		bits++
	}
	return bits * max(int64(s.Divisor), 1) * 1_000_000_000 / baudBase
}

// expire runs when the character timeout is due.
func (d *Device) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update()
}

// pending returns the interrupt with the highest priority (16550D, table 4).
func (d *Device) pending() uint8 {
	s := &d.state
	level := 1
	if d.fifo() {
		level = triggers[s.FCR>>6]
	}
	switch {
	case s.IER&ierLSR != 0 && s.Errors != 0:
		return iirLSR
	case s.IER&ierRDA != 0 && len(s.Rx) >= level:
		return iirRDA
	case s.IER&ierRDA != 0 && s.Timeout:
		return iirTimeout
	case s.IER&ierTHRE != 0 && s.TxEmpty:
		return iirTHRE
	case s.IER&ierMSR != 0 && s.MSR&^msrLines != 0:
		return iirMSR
	}
	return iirNone
}

// update checks the character timeout and drives the interrupt line. On a PC
// the line passes a gate that OUT2 opens; loopback disconnects OUT2.
func (d *Device) update() {
	s := &d.state
	if s.TimeoutAt != 0 && d.clock.Now() >= s.TimeoutAt {
		s.Timeout, s.TimeoutAt = true, 0
	}
	if s.TimeoutAt != 0 && s.IER&ierRDA != 0 {
		d.timer.Set(s.TimeoutAt)
	} else {
		d.timer.Stop()
	}
	d.irq.Set(d.pending() != iirNone && s.MCR&(mcrOUT2|mcrLoop) == mcrOUT2)
}

// ReadRegister implements [devices.Registers].
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	v := d.read(r.ID)
	d.update()
	f := d.space()
	d.mu.Unlock()
	call(f)
	return uint64(v)
}

func (d *Device) read(reg int) uint8 {
	s := &d.state
	switch reg {
	case regData:
		if s.LCR&lcrDLAB != 0 {
			return uint8(s.Divisor)
		}
		return d.pop()
	case regIER:
		if s.LCR&lcrDLAB != 0 {
			return uint8(s.Divisor >> 8)
		}
		return s.IER
	case regIIR:
		d.update()
		v := d.pending()
		if v == iirTHRE {
			s.TxEmpty = false // reading it answers this one
		}
		if d.fifo() {
			v |= iirFIFO
		}
		return v
	case regLCR:
		return s.LCR
	case regMCR:
		return s.MCR
	case regLSR:
		return d.readLSR()
	case regMSR:
		v := s.MSR
		s.MSR &= msrLines
		return v
	}
	return s.SCR
}

func (d *Device) readLSR() uint8 {
	s := &d.state
	v := s.Errors | lsrTHRE | lsrTEMT
	if len(s.Rx) > 0 {
		v |= lsrDR
		if d.fifo() {
			for _, c := range s.Rx {
				if c.Errors != 0 {
					v |= lsrFIFO
				}
			}
		}
		s.Rx[0].Errors = 0
	}
	s.Errors = 0
	return v
}

// WriteRegister implements [devices.Registers].
func (d *Device) WriteRegister(r devices.Reg, v, _ uint64) {
	d.mu.Lock()
	d.write(r.ID, uint8(v))
	d.update()
	f := d.space()
	d.mu.Unlock()
	call(f)
}

func (d *Device) write(reg int, v uint8) {
	s := &d.state
	switch reg {
	case regData:
		if s.LCR&lcrDLAB != 0 {
			s.Divisor = s.Divisor&0xff00 | uint16(v)
		} else {
			d.transmit(v)
		}
	case regIER:
		if s.LCR&lcrDLAB != 0 {
			s.Divisor = s.Divisor&0x00ff | uint16(v)<<8
			return
		}
		if v&^s.IER&ierTHRE != 0 {
			s.TxEmpty = true // the transmitter is empty: enabling tells
		}
		s.IER = v & ierAll
	case regIIR:
		d.control(v)
	case regLCR:
		if v&^s.LCR&lcrBreak != 0 && s.MCR&mcrLoop != 0 {
			d.loop(char{Errors: lsrBI | lsrFE})
		}
		s.LCR = v
	case regMCR:
		s.MCR = v & mcrAll
		d.modem()
	case regSCR:
		s.SCR = v
	}
}

// control takes the FIFO control register. The FIFO's bits are programmed only
// together with its enable bit; changing that one empties the FIFO.
func (d *Device) control(v uint8) {
	s := &d.state
	clear := v&fcrClearRx != 0
	if (v^s.FCR)&fcrEnable != 0 {
		clear = true
	}
	s.FCR = 0
	if v&fcrEnable != 0 {
		s.FCR = v & (fcrEnable | fcrTrigger)
	}
	if clear {
		s.Rx, s.Errors = nil, s.Errors&lsrOE
		d.restartTimeout()
	}
}

// transmit sends a character: to the host, or in loopback to the receiver.
func (d *Device) transmit(v uint8) {
	if d.state.MCR&mcrLoop != 0 {
		d.loop(char{Byte: v & d.wordMask()})
	} else {
		_, _ = d.out.Write([]byte{v})
	}
	d.state.TxEmpty = true
}

// loop receives a character of our own. Only here can the receiver overrun: a
// full FIFO keeps what it has, the single buffer is overwritten.
func (d *Device) loop(c char) {
	s := &d.state
	if len(s.Rx) < d.depth() {
		d.push(c)
		return
	}
	s.Errors |= lsrOE
	if !d.fifo() {
		s.Rx[0] = c
		s.Errors |= c.Errors
	}
}

// modem sets the modem status inputs: the other end's, or in loopback our own
// outputs, and notes their changes.
func (d *Device) modem() {
	s := &d.state
	in := uint8(connected)
	if s.MCR&mcrLoop != 0 {
		in = 0
		for _, w := range [4]struct{ out, in uint8 }{
			{mcrRTS, msrCTS}, {mcrDTR, msrDSR}, {mcrOUT1, msrRI}, {mcrOUT2, msrDCD},
		} {
			if s.MCR&w.out != 0 {
				in |= w.in
			}
		}
	}
	changed := (s.MSR ^ in) & msrLines >> 4
	if in&msrRI != 0 {
		changed &^= msrTERI // only the ring's end counts
	}
	s.MSR = in | s.MSR&^msrLines | changed
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
	s.FCR &= fcrEnable | fcrTrigger
	s.IER &= ierAll
	s.MCR &= mcrAll
	d.mu.Lock()
	old := d.state
	d.state = s
	if len(s.Rx) > d.depth() {
		d.state = old
		d.mu.Unlock()
		return regs.Invalid(d.name, "number of received characters", len(s.Rx))
	}
	d.starved = true // the host may have bytes for us
	d.update()
	f := d.space()
	d.mu.Unlock()
	call(f)
	return nil
}
