// Package pic is the pair of 8259A interrupt controllers of a PC, cascaded
// through the master's IR2, with the edge/level control registers (ELCR) that
// chipsets add.
//
// Specifications: Intel 8259A datasheet (order 231468); Intel ICH9 datasheet
// (316972), sections 5.8 and 13.4.
package pic

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have the controllers, in the port space.
const (
	MasterPort = 0x20
	MasterSize = 2
	SlavePort  = 0xa0
	SlaveSize  = 2
	ELCRPort   = 0x4d0
	ELCRSize   = 2
)

const (
	lines    = 16
	cascade  = 2 // the master's input that the slave drives
	spurious = 7 // the input whose vector answers an INTA without a request
	firstOf2 = 8 // the slave's first IRQ
)

// elcrFixed has the bits of ELCR1 and ELCR2 that read as 0: IRQ 0, 1, 2, 8, 13.
var elcrFixed = [2]uint8{1<<0 | 1<<1 | 1<<2, 1<<0 | 1<<5}

// Config says what the controllers are connected to.
type Config struct {
	Name string       // unit name; "pic" if empty
	INTR devices.Line // the master's INT output; NoLine if nil
}

// A Device is the pair of controllers. Its methods may be called concurrently.
type Device struct {
	name string
	intr devices.Line

	mu    sync.Mutex
	chips [2]chip // master, slave
	out   bool    // level of INTR

	master, slave, elcr regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

// Rows of the register tables.
const (
	regCommand = iota
	regData
)

var commandBank = devices.NewBank("8259A", []devices.Register{
	regCommand: {Offset: 0, Size: 1, Name: "IRR/ISR"},
	regData:    {Offset: 1, Size: 1, Name: "IMR"},
})

var elcrBank = devices.NewBank("ELCR", []devices.Register{
	{Offset: 0, Size: 1, Name: "ELCR1"},
	{Offset: 1, Size: 1, Name: "ELCR2"},
})

// New returns controllers in their power-on state, with all inputs masked: they
// deliver nothing until software initializes or unmasks them.
func New(c Config) *Device {
	d := &Device{name: c.Name, intr: c.INTR}
	if d.name == "" {
		d.name = "pic"
	}
	if d.intr == nil {
		d.intr = devices.NoLine
	}
	d.master = d.chipBlock(0)
	d.slave = d.chipBlock(1)
	d.elcr = regs.Block{Bank: elcrBank, Dev: regs.Funcs{ReadFunc: d.readELCR, WriteFunc: d.writeELCR}}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. The inputs keep their levels.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.chips {
		d.chips[i] = chip{Lines: d.chips[i].Lines, IMR: 0xff}
	}
	d.update()
}

// Master is the register file of the first controller, for [MasterPort].
func (d *Device) Master() devices.Region { return &d.master }

// Slave is the register file of the second controller, for [SlavePort].
func (d *Device) Slave() devices.Region { return &d.slave }

// ELCR is the pair of edge/level control registers, for [ELCRPort].
func (d *Device) ELCR() devices.Region { return &d.elcr }

// Line returns the input for IRQ n (0 to 15). IRQ 2 is the cascade: it and
// numbers out of range are not connected.
func (d *Device) Line(n int) devices.Line {
	if n < 0 || n >= lines || n == cascade {
		return devices.NoLine
	}
	return devices.LineFunc(func(level bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.chips[n/firstOf2].set(n%firstOf2, level)
		d.update()
	})
}

// Ack is the CPU's interrupt acknowledge cycle: it returns the vector of the
// interrupt with the highest priority and marks it in service. When the request
// has gone by now, the answer is the vector of IR7 and nothing is in service.
func (d *Device) Ack() uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.update()
	m, s := &d.chips[0], &d.chips[1]
	n, ok := m.pending(1 << cascade)
	if !ok {
		return m.Base | spurious
	}
	m.accept(n)
	if n != cascade {
		return m.Base | uint8(n)
	}
	// The master has accepted the cascade; a slave that has changed its mind
	// answers with a spurious vector, and the master still wants its EOI.
	n, ok = s.pending(0)
	if !ok {
		return s.Base | spurious
	}
	s.accept(n)
	return s.Base | uint8(n)
}

// Pending tells whether INTR is asserted.
func (d *Device) Pending() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out
}

// update passes the slave's INT on to the master and the master's to INTR.
// The cascade input follows the slave's INT as a level, whatever edges other
// inputs need: a second request at the slave must not wait for the master to
// see the line fall in between.
func (d *Device) update() {
	m, s := &d.chips[0], &d.chips[1]
	_, asks := s.pending(0)
	m.Edges &^= 1 << cascade
	m.Lines &^= 1 << cascade
	if asks {
		m.Edges |= 1 << cascade
		m.Lines |= 1 << cascade
	}
	_, d.out = m.pending(1 << cascade)
	d.intr.Set(d.out)
}

func (d *Device) chipBlock(i int) regs.Block {
	return regs.Block{
		Bank: commandBank,
		Dev: regs.Funcs{
			ReadFunc:  func(r devices.Reg, _ uint64) uint64 { return d.read(i, r.ID) },
			WriteFunc: func(r devices.Reg, v, _ uint64) { d.write(i, r.ID, uint8(v)) },
		},
		Name: func(r devices.Reg, write bool) string { return d.registerName(i, r.ID, write) },
	}
}

func (d *Device) read(i, reg int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.chips[i]
	switch {
	case c.Poll:
		return uint64(d.poll(i))
	case reg == regData:
		return uint64(c.IMR)
	case c.ReadISR:
		return uint64(c.ISR)
	}
	return uint64(c.irr())
}

// poll is the read after a poll command: an acknowledge of one chip by
// software, answered with bit 7 and the input's number.
func (d *Device) poll(i int) uint8 {
	c := &d.chips[i]
	c.Poll = false
	var cascades uint8
	if i == 0 {
		cascades = 1 << cascade
	}
	n, ok := c.pending(cascades)
	if !ok {
		return 0
	}
	c.accept(n)
	d.update()
	return 0x80 | uint8(n)
}

func (d *Device) write(i, reg int, v uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reg == regData {
		d.chips[i].writeOdd(v)
	} else {
		d.chips[i].writeEven(v)
	}
	d.update()
}

func (d *Device) registerName(i, reg int, write bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.chips[i]
	switch {
	case !write && c.Poll:
		return "POLL"
	case !write && reg == regData:
		return "IMR"
	case !write && c.ReadISR:
		return "ISR"
	case !write:
		return "IRR"
	case reg == regCommand:
		return "ICW1/OCW2/OCW3"
	}
	return [...]string{ready: "OCW1", wantICW2: "ICW2", wantICW3: "ICW3", wantICW4: "ICW4"}[c.Init]
}

func (d *Device) readELCR(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.chips[r.ID].ELCR)
}

// writeELCR makes inputs level-triggered. The timer, keyboard, cascade, clock
// and coprocessor inputs stay edge-triggered.
func (d *Device) writeELCR(r devices.Reg, v, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.chips[r.ID]
	c.ELCR = uint8(v) &^ elcrFixed[r.ID]
	c.Edges &^= c.ELCR // nothing stale shows up when an input turns back
	d.update()
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return regs.Save(stateVersion, d.chips)
}

// RestoreState implements [devices.Saver]. It drives INTR to what was saved.
func (d *Device) RestoreState(p []byte) error {
	var chips [2]chip
	if err := regs.Restore(d.name, p, stateVersion, &chips); err != nil {
		return err
	}
	for _, c := range chips {
		if c.Init > wantICW4 {
			return regs.Invalid(d.name, "Init", c.Init)
		}
		if c.Top > 7 {
			return regs.Invalid(d.name, "Top", c.Top)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chips = chips
	d.update()
	return nil
}
