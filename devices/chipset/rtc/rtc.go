// Package rtc is the MC146818 real-time clock of a PC with its battery-backed
// memory: 128 bytes behind ports 0x70/0x71 and 128 more behind 0x72/0x73.
//
// The clock shows the machine's wall time plus an offset, which is what a
// guest changes when it sets the clock.
//
// Specifications: Motorola MC146818A datasheet; Intel ICH9 datasheet (316972),
// sections 5.11 and 13.6.
package rtc

import (
	"math"
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
	"dfemu/devices/chipset/internal/ticks"
)

// Where PCs have the clock, in the port space.
const (
	Port     = 0x70
	PortSize = 4
)

const (
	memory = 256 // bytes, both banks
	bank1  = 128 // where the extended bank begins
	second = 1_000_000_000
	hz     = 32768 // of the oscillator
	// updateTime is how long before each update of the time UIP is set: 244 µs
	// of warning and 1984 µs of update (MC146818A, table 6).
	updateTime = (244 + 1984) * 1000
)

// Register A.
const (
	aUIP      = 0x80
	aDV       = 0x70 // divider
	aDVNormal = 0x20 // 32.768 kHz
	aDVReset  = 0x60 // with either value of DV0
	aRS       = 0x0f // periodic rate
)

// Register B. The enables of the periodic, alarm and update-ended interrupts
// have the places of their flags in register C.
const (
	bSET  = 0x80
	bPIE  = 0x40
	bAIE  = 0x20
	bUIE  = 0x10
	bSQWE = 0x08
	bDM   = 0x04 // binary
	b24   = 0x02
)

// Register C.
const (
	cIRQF  = 0x80
	cPF    = bPIE
	cAF    = bAIE
	cUF    = bUIE
	cFlags = cPF | cAF | cUF
)

// dVRT in register D: the battery is good.
const dVRT = 0x80

// Config says what the clock is connected to.
type Config struct {
	Name  string        // unit name; "rtc" if empty
	Clock devices.Clock // required
	IRQ   devices.Line  // IRQ 8, active while a flag in register C asks for it; NoLine if nil
}

// A Device is the clock. Its methods may be called concurrently.
type Device struct {
	name  string
	clock devices.Clock
	irq   devices.Line
	timer devices.Timer

	mu    sync.Mutex
	state state

	ports regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

type state struct {
	Memory [memory]uint8
	Index  [2]uint8 // of each bank, 7 bits
	NoNMI  bool     // bit 7 of port 0x70
	Offset int64    // nanoseconds from the wall clock to the guest's time
	Turn   int      // days that the day of the week is ahead of the calendar
	Seen   int64    // guest's time up to which flags were set
}

// Rows of the register table.
const (
	regIndex = iota
	regData
)

var bank = devices.NewBank("RTC", []devices.Register{
	regIndex: {Offset: 0, Size: 1, Name: "INDEX", Count: 2, Stride: 2},
	regData:  {Offset: 1, Size: 1, Name: "DATA", Count: 2, Stride: 2},
})

// New returns a clock that shows the wall time, in BCD and 24-hour format.
func New(c Config) *Device {
	d := &Device{name: c.Name, clock: c.Clock, irq: c.IRQ}
	if d.name == "" {
		d.name = "rtc"
	}
	if d.irq == nil {
		d.irq = devices.NoLine
	}
	d.timer = d.clock.NewTimer(d.expire)
	d.ports = regs.Block{Bank: bank, Dev: d, Name: d.registerName}
	d.state.Memory[RegisterA] = aDVNormal | 6
	d.state.Memory[RegisterB] = b24
	d.state.Seen = d.now()
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. Memory and time live on the battery: a
// reset only turns the interrupts off.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	d.catchUp()
	s.Memory[RegisterB] &^= bPIE | bAIE | bUIE | bSQWE
	s.Memory[RegisterC] = 0
	s.Memory[RegisterD] = dVRT
	s.Index, s.NoNMI = [2]uint8{}, false
	d.update()
}

// Ports is the register file, for [Port].
func (d *Device) Ports() devices.Region { return &d.ports }

// SetCMOS presets byte i of the battery-backed memory; bytes from 128 on are
// in the extended bank. It is the machine's way of telling firmware about
// itself. The clock's registers and the time are left alone.
func (d *Device) SetCMOS(i, v uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i > RegisterD && !isTime(i) {
		d.state.Memory[i] = v
	}
}

// CMOS returns byte i of the battery-backed memory without side effects.
func (d *Device) CMOS(i uint8) uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peek(i)
}

// NMIMasked tells whether software has turned non-maskable interrupts off
// with bit 7 of port 0x70.
func (d *Device) NMIMasked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.NoNMI
}

// now is the guest's time in nanoseconds since 1970.
func (d *Device) now() int64 { return naive(d.clock.Wall()) + d.state.Offset }

func (d *Device) format() format {
	b := d.state.Memory[RegisterB]
	return format{binary: b&bDM != 0, h24: b&b24 != 0}
}

// dividing tells whether the oscillator's divider runs.
func (d *Device) dividing() bool { return d.state.Memory[RegisterA]&aDV == aDVNormal }

// frozen tells whether the time stands still in memory, to be set.
func (d *Device) frozen() bool { return d.state.Memory[RegisterB]&bSET != 0 || !d.dividing() }

// period is the periodic interrupt's period in ticks of the oscillator, or 0
// (MC146818A, table 5).
func (d *Device) period() int64 {
	rs := d.state.Memory[RegisterA] & aRS
	switch {
	case rs == 0 || !d.dividing():
		return 0
	case rs <= 2:
		rs += 7
	}
	return 1 << (rs - 1)
}

// catchUp sets the flags for what happened since it was last called, and
// returns the guest's time. Flags are set whether or not they interrupt.
func (d *Device) catchUp() int64 {
	s := &d.state
	now := d.now()
	if p := d.period(); p > 0 && ticks.At(now, hz)/p != ticks.At(s.Seen, hz)/p {
		s.Memory[RegisterC] |= cPF
	}
	if from, to := floor(s.Seen), floor(now); from < to && !d.frozen() {
		s.Memory[RegisterC] |= cUF
		if at, ok := d.format().nextAlarm(&s.Memory, from); ok && at <= to {
			s.Memory[RegisterC] |= cAF
		}
	}
	s.Seen = now
	return now
}

// floor is the second that ns lies in.
func floor(ns int64) int64 {
	sec := ns / second
	if ns%second < 0 {
		sec--
	}
	return sec
}

// update drives the interrupt line and arms the timer for the next flag that
// would raise it. While it is raised nothing needs to wake: flags that come
// meanwhile are set when software looks.
func (d *Device) update() {
	s := &d.state
	want := s.Memory[RegisterB] & cFlags
	raised := s.Memory[RegisterC]&want != 0
	d.irq.Set(raised)
	next := int64(math.MaxInt64)
	if !raised {
		if p := d.period(); p > 0 && want&cPF != 0 {
			next = ticks.Ns((ticks.At(s.Seen, hz)/p+1)*p, hz)
		}
		if want&cUF != 0 && !d.frozen() {
			next = min(next, (floor(s.Seen)+1)*second)
		}
		if want&cAF != 0 && !d.frozen() {
			if at, ok := d.format().nextAlarm(&s.Memory, floor(s.Seen)); ok {
				next = min(next, at*second)
			}
		}
	}
	if next == math.MaxInt64 {
		d.timer.Stop()
		return
	}
	d.timer.Set(d.clock.Now() + max(next-d.now(), 0))
}

// expire runs when a flag is due.
func (d *Device) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp()
	d.update()
}

// ReadRegister implements [devices.Registers].
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	if r.ID == regIndex {
		return 0xff // the index cannot be read
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.state.Index[r.Index] + uint8(r.Index)*bank1
	v := d.peek(i)
	if i == RegisterC {
		d.state.Memory[RegisterC] = 0
		d.update()
	}
	return uint64(v)
}

// peek gives byte i as software reads it, up to date.
func (d *Device) peek(i uint8) uint8 {
	s := &d.state
	now := d.catchUp()
	switch {
	case isTime(i) && !d.frozen():
		m := s.Memory
		d.format().show(&m, floor(now), s.Turn)
		return m[i]
	case i == RegisterA && !d.frozen() && now-floor(now)*second >= second-updateTime:
		return s.Memory[i] | aUIP
	case i == RegisterC && s.Memory[i]&s.Memory[RegisterB]&cFlags != 0:
		return s.Memory[i] | cIRQF
	}
	return s.Memory[i]
}

// WriteRegister implements [devices.Registers].
func (d *Device) WriteRegister(r devices.Reg, v, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := uint8(v)
	if r.ID == regIndex {
		d.state.Index[r.Index] = b & (bank1 - 1)
		if r.Index == 0 {
			d.state.NoNMI = b&0x80 != 0
		}
		return
	}
	d.poke(d.state.Index[r.Index]+uint8(r.Index)*bank1, b)
}

// poke is software's write of v to byte i.
func (d *Device) poke(i, v uint8) {
	s := &d.state
	now := d.catchUp()
	was := d.frozen()
	dividing := d.dividing()
	if !was {
		d.format().show(&s.Memory, floor(now), s.Turn)
	}
	switch i {
	case RegisterA:
		s.Memory[i] = v &^ aUIP
	case RegisterB:
		if v&bSET != 0 {
			v &^= bUIE // setting the clock ends update interrupts
		}
		s.Memory[i] = v
	case RegisterC, RegisterD:
		return
	default:
		s.Memory[i] = v
	}
	set := isTime(i) && !was
	if d.dividing() && !dividing {
		// The divider starts with half a second to go to the first update.
		s.Offset += second/2 - (now - floor(now)*second)
		now = d.now()
	}
	if !d.frozen() && (was || set) {
		sec, turn := d.format().parse(&s.Memory)
		s.Turn = turn
		s.Offset += (sec - floor(now)) * second
		now = d.now()
	}
	s.Seen = now
	d.update()
}

func (d *Device) registerName(r devices.Reg, _ bool) string {
	if r.ID != regData {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.state.Index[r.Index] + uint8(r.Index)*bank1
	if n, ok := names[i]; ok {
		return n
	}
	return "CMOS[0x" + string(hex[i>>4]) + string(hex[i&15]) + "]"
}

const hex = "0123456789abcdef"

// names of the bytes that have one; it is never written to.
var names = map[uint8]string{
	Seconds: "Seconds", SecondsAlarm: "Seconds Alarm", Minutes: "Minutes", MinutesAlarm: "Minutes Alarm",
	Hours: "Hours", HoursAlarm: "Hours Alarm", DayOfWeek: "Day of Week", DayOfMonth: "Date of Month",
	Month: "Month", Year: "Year", Century: "Century",
	RegisterA: "Register A", RegisterB: "Register B", RegisterC: "Register C", RegisterD: "Register D",
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
	if s.Turn < 0 || s.Turn > 6 {
		return regs.Invalid(d.name, "Turn", s.Turn)
	}
	const far = 400 * 365 * 24 * 3600 * second / 2 // two centuries from now are a mistake
	if s.Offset < -far || s.Offset > far {
		return regs.Invalid(d.name, "Offset", s.Offset)
	}
	s.Index[0] &= bank1 - 1
	s.Index[1] &= bank1 - 1
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	d.update()
	return nil
}
