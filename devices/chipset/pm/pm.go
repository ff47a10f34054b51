// Package pm is the ACPI power management block of an ICH9: the fixed events
// (buttons, timer), sleep control, general-purpose events and the PM timer,
// and the APM ports by which ACPI is turned on.
//
// Specifications: ACPI 6.5, chapter 4.8; Intel ICH9 datasheet (316972),
// sections 13.8.3 and 13.7.
package pm

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
	"dfemu/devices/chipset/internal/ticks"
)

// DefaultBase is where firmware for ICH9 machines puts PMBASE. The machine
// chooses; its ACPI tables must agree. Size is that of the whole block.
const (
	DefaultBase = 0x600
	Size        = 0x80
)

// Offsets and lengths of the blocks that the FADT describes.
const (
	PM1Event      = 0x00
	PM1EventLen   = 4
	PM1Control    = 0x04
	PM1ControlLen = 2
	PMTimer       = 0x08
	PMTimerLen    = 4
	GPE0          = 0x20
	GPE0Len       = 16 // 64 status bits and 64 enable bits
	PM2Control    = 0x50
	PM2ControlLen = 1
)

// The APM ports, and the commands that the FADT calls ACPI_ENABLE and
// ACPI_DISABLE.
const (
	APMPort         = 0xb2
	APMSize         = 2
	CmdACPIEnable   = 0x02
	CmdACPIDisable  = 0x03
	TimerHz         = 3579545 // of the PM timer
	GeneralEvents   = 64      // number of general-purpose events
	SCIInterruptGSI = 9       // where the SCI usually is connected
)

// Values of SLP_TYP on ICH9.
const (
	SleepS0 = 0
	SleepS1 = 1
	SleepS3 = 5
	SleepS4 = 6
	SleepS5 = 7
)

// Config says what the block is connected to.
type Config struct {
	Name  string        // unit name; "pm" if empty
	Clock devices.Clock // required
	SCI   devices.Line  // level-triggered; NoLine if nil
	// Timer32 makes the PM timer 32 bits wide; the FADT's TMR_VAL_EXT says so.
	Timer32 bool
	// ACPI means that the machine comes up in ACPI mode (SCI_EN set), for
	// guests that are started without firmware.
	ACPI bool
	// Sleep is called, without locks, when software enters the sleep state
	// typ. It returns false for states that the machine does not have: the
	// guest then wakes at once.
	Sleep func(typ uint8) bool
}

// A Device is the power management block. Its methods may be called
// concurrently.
type Device struct {
	name  string
	clock devices.Clock
	sci   devices.Line
	timer devices.Timer
	bits  uint // width of the PM timer
	acpi  bool
	sleep func(uint8) bool

	mu    sync.Mutex
	state state

	ports, apm regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

type state struct {
	PM1Sts, PM1En, PM1Cnt uint64
	GPE0Sts, GPE0En       uint64
	SMIEn                 uint64
	Other                 [regPM2Cnt + 1]uint64 // registers that only remember
	APM                   [2]uint8
	Seen                  int64 // ticks of the PM timer up to which TMROF_STS was set
}

// New returns a power management block.
func New(c Config) *Device {
	d := &Device{name: c.Name, clock: c.Clock, sci: c.SCI, bits: 24, acpi: c.ACPI, sleep: c.Sleep}
	if d.name == "" {
		d.name = "pm"
	}
	if d.sci == nil {
		d.sci = devices.NoLine
	}
	if c.Timer32 {
		d.bits = 32
	}
	d.timer = d.clock.NewTimer(d.expire)
	d.ports = regs.Block{Bank: bank, Dev: d}
	d.apm = regs.Block{Bank: apmBank, Dev: regs.Funcs{ReadFunc: d.readAPM, WriteFunc: d.writeAPM}}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device].
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state{SMIEn: smiAPMC, Seen: d.ticks()}
	if d.acpi {
		d.state.PM1Cnt = cntSCI
	}
	d.update()
}

// Ports is the register file, for PMBASE.
func (d *Device) Ports() devices.Region { return &d.ports }

// APM is the pair of APM ports, for [APMPort].
func (d *Device) APM() devices.Region { return &d.apm }

// PowerButton presses the power button. It tells whether the guest listens.
func (d *Device) PowerButton() bool { return d.press(pm1PWRBTN) }

// SleepButton presses the sleep button. It tells whether the guest listens.
func (d *Device) SleepButton() bool { return d.press(pm1SLPBTN) }

func (d *Device) press(button uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.PM1Sts |= button
	d.update()
	return d.state.PM1En&button != 0 && d.state.PM1Cnt&cntSCI != 0
}

// RaiseGPE signals general-purpose event n (0 to 63), as for a hot-plugged
// device. It tells whether the guest listens.
func (d *Device) RaiseGPE(n int) bool {
	if n < 0 || n >= GeneralEvents {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.GPE0Sts |= 1 << n
	d.update()
	return d.state.GPE0En>>n&1 != 0 && d.state.PM1Cnt&cntSCI != 0
}

// ticks is the PM timer without its wrap-around.
func (d *Device) ticks() int64 { return ticks.At(d.clock.Now(), TimerHz) }

// half is the number of ticks after which the PM timer's top bit changes.
func (d *Device) half() int64 { return 1 << (d.bits - 1) }

// catchUp sets TMROF_STS if the timer's top bit has changed since last time.
func (d *Device) catchUp() {
	now := d.ticks()
	if now/d.half() != d.state.Seen/d.half() {
		d.state.PM1Sts |= pm1TMROF
	}
	d.state.Seen = now
}

// update drives the SCI, and sets the timer if only TMROF_STS can raise it.
func (d *Device) update() {
	s := &d.state
	d.sci.Set(s.PM1Cnt&cntSCI != 0 && (s.PM1Sts&s.PM1En&pm1Enables != 0 || s.GPE0Sts&s.GPE0En != 0))
	if s.PM1En&pm1TMROF != 0 && s.PM1Sts&pm1TMROF == 0 {
		d.timer.Set(ticks.Ns((s.Seen/d.half()+1)*d.half(), TimerHz))
	} else {
		d.timer.Stop()
	}
}

// expire runs when the timer's top bit changes.
func (d *Device) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catchUp()
	d.update()
}

// ReadRegister implements [devices.Registers].
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	if r.ID == regTimer {
		return uint64(d.ticks()) & (1<<d.bits - 1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	switch r.ID {
	case regPM1Sts:
		d.catchUp()
		d.update()
		return s.PM1Sts
	case regPM1En:
		return s.PM1En
	case regPM1Cnt:
		return s.PM1Cnt
	case regGPE0Sts:
		return s.GPE0Sts
	case regGPE0En:
		return s.GPE0En
	case regSMIEn:
		return s.SMIEn
	}
	return s.Other[r.ID]
}

// WriteRegister implements [devices.Registers].
func (d *Device) WriteRegister(r devices.Reg, v, mask uint64) {
	if typ, enter := d.write(r, v, mask); enter && (d.sleep == nil || !d.sleep(typ)) {
		d.wake()
	}
}

// write does what WriteRegister does under the lock, and returns the sleep
// state to enter.
func (d *Device) write(r devices.Reg, v, mask uint64) (typ uint8, enter bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	d.catchUp()
	switch r.ID {
	case regPM1Sts:
		s.PM1Sts &^= v
	case regPM1En:
		s.PM1En = (s.PM1En&^mask | v) & pm1Enables
	case regPM1Cnt:
		s.PM1Cnt = (s.PM1Cnt&^mask | v) & cntWritable
		typ, enter = uint8(s.PM1Cnt&cntSlpMask>>cntSlpShift), v&cntSLPEN != 0
	case regGPE0Sts:
		s.GPE0Sts &^= v
	case regGPE0En:
		s.GPE0En = s.GPE0En&^mask | v
	case regSMIEn:
		s.SMIEn = (s.SMIEn&^mask|v)&0xffff_ffff&^smiGlobal | smiAPMC
	case regSMISts, regAltGPISts, regDevActSts:
		s.Other[r.ID] &^= v
	default:
		s.Other[r.ID] = s.Other[r.ID]&^mask | v
	}
	d.update()
	return typ, enter
}

// wake ends a sleep that the machine does not have.
func (d *Device) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.PM1Sts |= pm1WAK
	d.update()
}

func (d *Device) readAPM(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.state.APM[r.ID])
}

// writeAPM takes the commands that firmware would serve in system management
// mode.
func (d *Device) writeAPM(r devices.Reg, v, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.APM[r.ID] = uint8(v)
	if r.ID != regAPMCnt {
		return
	}
	d.catchUp()
	switch v {
	case CmdACPIEnable:
		d.state.PM1Cnt |= cntSCI
	case CmdACPIDisable:
		d.state.PM1Cnt &^= cntSCI
	}
	d.update()
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
	if s.Seen < 0 || s.Seen > d.ticks() {
		return regs.Invalid(d.name, "Seen", s.Seen)
	}
	s.SMIEn = s.SMIEn&^smiGlobal | smiAPMC
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	d.update()
	return nil
}
