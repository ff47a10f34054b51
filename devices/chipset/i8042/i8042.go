// Package i8042 is the keyboard controller of a PC, with an MF2 keyboard and,
// if wanted, a PS/2 mouse.
//
// Specifications: IBM PS/2 Hardware Interface Technical Reference, "Keyboard
// and Auxiliary Device Controller"; Microsoft, "Keyboard Scan Code
// Specification" 1.3a.
package i8042

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have the controller, in the port space.
const (
	DataPort    = 0x60
	CommandPort = 0x64
	PortSize    = 1 // of each
)

// Status register.
const (
	statOBF     = 1 << 0 // the output buffer is full
	statSYS     = 1 << 2 // self-test passed
	statCommand = 1 << 3 // the last write was to the command port
	statUnlock  = 1 << 4 // the keyboard lock is open
	statAux     = 1 << 5 // the output buffer's byte is the mouse's
)

// Command byte (byte 0 of the controller's memory).
const (
	ccbKeyIRQ    = 1 << 0
	ccbAuxIRQ    = 1 << 1
	ccbSYS       = 1 << 2
	ccbKeyOff    = 1 << 4
	ccbAuxOff    = 1 << 5
	ccbTranslate = 1 << 6

	// ccbReset is what firmware leaves behind: guests started without
	// firmware find a keyboard that works.
	ccbReset = ccbKeyIRQ | ccbSYS | ccbAuxOff | ccbTranslate
)

// Output port.
const (
	outReset = 1 << 0 // low resets the CPU
	outA20   = 1 << 1
	outFixed = outReset | 1<<6 | 1<<7 // clock and data lines at rest
)

// Controller commands.
const (
	ctlReadRAM   = 0x20 // to 0x3f
	ctlWriteRAM  = 0x60 // to 0x7f
	ctlAuxOff    = 0xa7
	ctlAuxOn     = 0xa8
	ctlAuxTest   = 0xa9
	ctlSelfTest  = 0xaa
	ctlKeyTest   = 0xab
	ctlKeyOff    = 0xad
	ctlKeyOn     = 0xae
	ctlReadIn    = 0xc0
	ctlReadOut   = 0xd0
	ctlWriteOut  = 0xd1
	ctlEchoKey   = 0xd2 // the parameter comes back as if from the keyboard
	ctlEchoAux   = 0xd3 // the parameter comes back as if from the mouse
	ctlWriteAux  = 0xd4
	ctlA20Off    = 0xdd
	ctlA20On     = 0xdf
	ctlReadTest  = 0xe0
	ctlPulse     = 0xf0 // to 0xff: pulses the output lines whose bits are 0
	selfTestGood = 0x55
	auxStuck     = 0x01 // the mouse's clock line is stuck low: nothing there
	inPortRest   = 0xb0 // input port: not inhibited, colour display, no jumper
)

// Config says what the controller is connected to. Reset and A20 are called
// without locks on the goroutine of the CPU that wrote; nil ones are left out.
type Config struct {
	Name  string       // unit name; "i8042" if empty
	IRQ1  devices.Line // keyboard; NoLine if nil
	IRQ12 devices.Line // mouse; NoLine if nil
	Mouse bool         // a mouse is connected
	Reset func()       // the CPU reset line was pulsed
	A20   func(open bool)
}

// A Device is the controller with what is connected to it. Its methods may be
// called concurrently.
type Device struct {
	name  string
	lines [2]devices.Line // by source
	mouse bool
	reset func()
	a20   func(bool)

	mu    sync.Mutex
	state state

	data, command regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

// Sources of the output buffer's byte.
const (
	fromKeyboard = iota
	fromMouse
)

// A reply is a byte of the controller's own, with the side it seems to be from.
type reply struct {
	Byte   uint8
	Source uint8
}

type state struct {
	RAM     [32]uint8 // byte 0 is the command byte
	OutPort uint8
	Full    bool // the output buffer holds Data
	Data    reply
	Command uint8 // the command whose parameter is next, or 0
	ToPort  uint8 // statCommand if the last write was a command
	Replies []reply
	Keys    keyboard
	Mouse   mouse
	Trans   translator
}

var (
	dataBank    = devices.NewBank("i8042 data", []devices.Register{{Offset: 0, Size: 1, Name: "DATA"}})
	commandBank = devices.NewBank("i8042 command", []devices.Register{{Offset: 0, Size: 1, Name: "STATUS/COMMAND"}})
)

// New returns a controller as firmware leaves it.
func New(c Config) *Device {
	d := &Device{name: c.Name, lines: [2]devices.Line{c.IRQ1, c.IRQ12}, mouse: c.Mouse, reset: c.Reset, a20: c.A20}
	if d.name == "" {
		d.name = "i8042"
	}
	for i, l := range d.lines {
		if l == nil {
			d.lines[i] = devices.NoLine
		}
	}
	if d.reset == nil {
		d.reset = func() {}
	}
	if d.a20 == nil {
		d.a20 = func(bool) {}
	}
	d.data = regs.Block{Bank: dataBank, Dev: regs.Funcs{ReadFunc: d.readData, WriteFunc: d.writeData}}
	d.command = regs.Block{Bank: commandBank, Dev: regs.Funcs{ReadFunc: d.readStatus, WriteFunc: d.writeCommand},
		Name: func(_ devices.Reg, write bool) string {
			if write {
				return "COMMAND"
			}
			return "STATUS"
		}}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device].
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state{OutPort: outFixed | outA20}
	d.state.RAM[0] = ccbReset
	d.state.Keys.reset()
	d.state.Mouse.reset()
	d.state.Mouse.Buttons = 0
	d.update()
}

// Data is the data port, for [DataPort].
func (d *Device) Data() devices.Region { return &d.data }

// Command is the status and command port, for [CommandPort].
func (d *Device) Command() devices.Region { return &d.command }

// Press sends the guest scan codes of set 2: a key's make code (as 1C for A,
// E0 75 for the up arrow), or F0 before its last byte when it is released. It
// takes all of them or, returning false, none: the keyboard's buffer is full.
func (d *Device) Press(set2 ...uint8) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ok := d.state.Keys.press(set2)
	d.update()
	return ok
}

// LEDs returns the keyboard's lights: Scroll Lock, Num Lock, Caps Lock in bits
// 0 to 2.
func (d *Device) LEDs() uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Keys.LEDs
}

// MoveMouse tells that the mouse has moved to the right by dx and up by dy
// counts, and which buttons are down: left, right, middle in bits 0 to 2.
func (d *Device) MoveMouse(dx, dy int, buttons uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mouse {
		d.state.Mouse.move(dx, dy, buttons)
		d.update()
	}
}

// update fills the output buffer, if it is empty, from whoever has a byte and
// may send, and drives the interrupt lines.
func (d *Device) update() {
	s := &d.state
	if !s.Full {
		s.Data, s.Full = d.nextByte()
	}
	irqs := [2]bool{s.RAM[0]&ccbKeyIRQ != 0, s.RAM[0]&ccbAuxIRQ != 0}
	for i, l := range d.lines {
		l.Set(s.Full && int(s.Data.Source) == i && irqs[i])
	}
}

func (d *Device) nextByte() (reply, bool) {
	s := &d.state
	if len(s.Replies) > 0 {
		r := s.Replies[0]
		s.Replies = append(s.Replies[:0], s.Replies[1:]...)
		return r, true
	}
	for s.RAM[0]&ccbKeyOff == 0 {
		v, ok := s.Keys.next()
		if ok && s.RAM[0]&ccbTranslate != 0 {
			if v, ok = s.Trans.next(v); !ok {
				continue
			}
		}
		if !ok {
			break
		}
		return reply{v, fromKeyboard}, true
	}
	if s.RAM[0]&ccbAuxOff == 0 {
		s.Mouse.report()
		if v, ok := s.Mouse.next(); ok {
			return reply{v, fromMouse}, true
		}
	}
	return reply{}, false
}

func (d *Device) readStatus(devices.Reg, uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	v := statUnlock | s.ToPort
	if s.RAM[0]&ccbSYS != 0 {
		v |= statSYS
	}
	if s.Full {
		v |= statOBF
		if s.Data.Source == fromMouse {
			v |= statAux
		}
	}
	return uint64(v)
}

func (d *Device) readData(devices.Reg, uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	v := s.Data.Byte // an empty buffer shows its last byte
	if s.Full {
		// The line falls before the next byte raises it: each byte is an edge.
		s.Full = false
		d.lines[s.Data.Source].Set(false)
		d.update()
	}
	return uint64(v)
}

// effects are what a write does outside of the controller.
type effects struct {
	reset bool
	gate  bool // A20 changed, to open
	open  bool
}

// apply does them, without the lock.
func (d *Device) apply(e effects) {
	if e.gate {
		d.a20(e.open)
	}
	if e.reset {
		d.reset()
	}
}

// output drives the output port.
func (d *Device) output(v uint8) (e effects) {
	s := &d.state
	e.gate, e.open = (v^s.OutPort)&outA20 != 0, v&outA20 != 0
	e.reset = v&outReset == 0
	s.OutPort = v | outFixed
	return e
}

func (d *Device) writeCommand(_ devices.Reg, v, _ uint64) {
	d.mu.Lock()
	e := d.execute(uint8(v))
	d.update()
	d.mu.Unlock()
	d.apply(e)
}

func (d *Device) writeData(_ devices.Reg, v, _ uint64) {
	d.mu.Lock()
	e := d.parameter(uint8(v))
	d.update()
	d.mu.Unlock()
	d.apply(e)
}

// answer queues a byte of the controller's own. It replaces an answer that
// was not read: the controller has no memory for two.
func (d *Device) answer(v, source uint8) { d.state.Replies = []reply{{v, source}} }

// execute does a controller command.
func (d *Device) execute(v uint8) (e effects) {
	s := &d.state
	s.ToPort, s.Command = statCommand, 0
	switch {
	case v >= ctlReadRAM && v < ctlReadRAM+0x20:
		d.answer(s.RAM[v&0x1f], fromKeyboard)
	case v >= ctlWriteRAM && v < ctlWriteRAM+0x20,
		v == ctlWriteOut, v == ctlEchoKey, v == ctlEchoAux, v == ctlWriteAux:
		s.Command = v
	case v == ctlAuxOff:
		s.RAM[0] |= ccbAuxOff
	case v == ctlAuxOn && d.mouse:
		s.RAM[0] &^= ccbAuxOff
	case v == ctlAuxTest:
		if d.mouse {
			d.answer(0, fromKeyboard)
		} else {
			d.answer(auxStuck, fromKeyboard)
		}
	case v == ctlSelfTest:
		s.RAM[0] |= ccbSYS
		d.answer(selfTestGood, fromKeyboard)
	case v == ctlKeyTest:
		d.answer(0, fromKeyboard)
	case v == ctlKeyOff:
		s.RAM[0] |= ccbKeyOff
	case v == ctlKeyOn:
		s.RAM[0] &^= ccbKeyOff
	case v == ctlReadIn:
		d.answer(inPortRest, fromKeyboard)
	case v == ctlReadOut:
		d.answer(d.outPort(), fromKeyboard)
	case v == ctlA20Off:
		return d.output(s.OutPort &^ outA20)
	case v == ctlA20On:
		return d.output(s.OutPort | outA20)
	case v == ctlReadTest:
		d.answer(0, fromKeyboard)
	case v >= ctlPulse:
		e.reset = v&outReset == 0
	}
	return e
}

// outPort is the output port as software reads it: with the interrupt lines.
func (d *Device) outPort() uint8 {
	v := d.state.OutPort
	if d.state.Full {
		v |= 0x10 << d.state.Data.Source
	}
	return v
}

// parameter takes a write to the data port: a command's parameter, or a byte
// for the keyboard, which is thereby turned on.
func (d *Device) parameter(v uint8) (e effects) {
	s := &d.state
	c := s.Command
	s.ToPort, s.Command = 0, 0
	switch {
	case c == 0:
		s.RAM[0] &^= ccbKeyOff
		s.Keys.write(v)
	case c >= ctlWriteRAM && c < ctlWriteRAM+0x20:
		if c == ctlWriteRAM && !d.mouse {
			v |= ccbAuxOff
		}
		s.RAM[c&0x1f] = v
	case c == ctlWriteOut:
		return d.output(v)
	case c == ctlEchoKey:
		d.answer(v, fromKeyboard)
	case c == ctlEchoAux:
		// Without a second port the byte has no other way than the first.
		source := uint8(fromKeyboard)
		if d.mouse {
			source = fromMouse
		}
		d.answer(v, source)
	case c == ctlWriteAux && d.mouse:
		s.RAM[0] &^= ccbAuxOff
		s.Mouse.write(v)
	case c == ctlWriteAux:
		d.answer(replyResend, fromMouse)
	}
	return e
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return regs.Save(stateVersion, d.state)
}

// RestoreState implements [devices.Saver]. It tells the state of the A20 gate.
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	switch {
	case s.Data.Source > fromMouse:
		return regs.Invalid(d.name, "source", s.Data.Source)
	case len(s.Replies) > 1 || len(s.Keys.Out) > queueSize || len(s.Mouse.Out) > queueSize:
		return regs.Invalid(d.name, "length of a queue", len(s.Replies)+len(s.Keys.Out)+len(s.Mouse.Out))
	case max(s.Mouse.DX, s.Mouse.DY) > maxMove || min(s.Mouse.DX, s.Mouse.DY) < -maxMove:
		return regs.Invalid(d.name, "mouse movement", s.Mouse.DX)
	}
	for _, r := range s.Replies {
		if r.Source > fromMouse {
			return regs.Invalid(d.name, "source", r.Source)
		}
	}
	s.OutPort |= outFixed
	d.mu.Lock()
	d.state = s
	d.update()
	d.mu.Unlock()
	d.a20(s.OutPort&outA20 != 0)
	return nil
}
