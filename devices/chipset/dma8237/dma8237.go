// Package dma8237 is the register file of a PC's two 8237 DMA controllers and
// of the page registers next to them. Software finds, programs and masks the
// channels as on hardware; no device of this machine asks them for a transfer.
//
// Specifications: Intel 8237A datasheet (231466); Intel ICH9 datasheet
// (316972), section 13.2.
package dma8237

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have the controllers, in the port space. The second one's
// registers are two bytes apart. Port 0x80, the first page register, is the
// self-test code's.
const (
	Port1    = 0x00 // channels 0 to 3
	Size1    = 0x10
	Port2    = 0xc0 // channels 4 to 7
	Size2    = 0x20
	PagePort = 0x81
	PageSize = 0x0f
)

// Config names the device.
type Config struct {
	Name string // unit name; "dma" if empty
}

// A Device is the pair of controllers. Its methods may be called concurrently.
type Device struct {
	name string

	mu    sync.Mutex
	state state

	first, second, pages regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

// A channel is one channel's registers.
type channel struct {
	BaseAddr, BaseCount uint16
	Addr, Count         uint16
	Mode                uint8
}

// A controller is one 8237.
type controller struct {
	Channels [4]channel
	Command  uint8
	Request  uint8
	Mask     uint8
	Temp     uint8
	High     bool // the flip-flop: the next access is to the high byte
}

type state struct {
	Controllers [2]controller
	Pages       [PageSize]uint8
}

// Rows of the register tables: eight address and count registers, then these.
const (
	regAddrCount = iota
	regCommand   // status when read
	regRequest
	regMask1
	regMode
	regFlipFlop
	regClear // temporary register when read
	regClearMask
	regMaskAll
)

func newBank(name string, stride uint64) *devices.Bank {
	at := func(n uint64) uint64 { return n * stride }
	return devices.NewBank(name, []devices.Register{
		regAddrCount: {Offset: 0, Size: 1, Name: "ADDR/COUNT", Count: 8, Stride: stride},
		regCommand:   {Offset: at(8), Size: 1, Name: "STATUS/COMMAND"},
		regRequest:   {Offset: at(9), Size: 1, Name: "REQUEST"},
		regMask1:     {Offset: at(10), Size: 1, Name: "SINGLE_MASK"},
		regMode:      {Offset: at(11), Size: 1, Name: "MODE"},
		regFlipFlop:  {Offset: at(12), Size: 1, Name: "CLEAR_FLIP_FLOP"},
		regClear:     {Offset: at(13), Size: 1, Name: "TEMP/MASTER_CLEAR"},
		regClearMask: {Offset: at(14), Size: 1, Name: "CLEAR_MASK"},
		regMaskAll:   {Offset: at(15), Size: 1, Name: "MASK"},
	})
}

var (
	bank1    = newBank("DMA1", 1)
	bank2    = newBank("DMA2", 2)
	pageBank = devices.NewBank("DMA pages", []devices.Register{{Offset: 0, Size: 1, Name: "PAGE", Count: PageSize, Stride: 1}})
)

// New returns controllers with all channels masked.
func New(c Config) *Device {
	d := &Device{name: c.Name}
	if d.name == "" {
		d.name = "dma"
	}
	d.first = d.block(bank1, 0)
	d.second = d.block(bank2, 1)
	d.pages = regs.Block{Bank: pageBank, Dev: regs.Funcs{
		ReadFunc: func(r devices.Reg, _ uint64) uint64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return uint64(d.state.Pages[r.Index])
		},
		WriteFunc: func(r devices.Reg, v, _ uint64) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.state.Pages[r.Index] = uint8(v)
		},
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
	d.state = state{}
	for i := range d.state.Controllers {
		d.state.Controllers[i].clear()
	}
}

// First is the controller of channels 0 to 3, for [Port1].
func (d *Device) First() devices.Region { return &d.first }

// Second is the controller of channels 4 to 7, for [Port2].
func (d *Device) Second() devices.Region { return &d.second }

// Pages are the page registers, for [PagePort].
func (d *Device) Pages() devices.Region { return &d.pages }

func (d *Device) block(b *devices.Bank, i int) regs.Block {
	return regs.Block{Bank: b, Dev: regs.Funcs{
		ReadFunc: func(r devices.Reg, _ uint64) uint64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return uint64(d.state.Controllers[i].read(r))
		},
		WriteFunc: func(r devices.Reg, v, _ uint64) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.state.Controllers[i].write(r, uint8(v))
		},
	}}
}

// clear is the master clear command.
func (c *controller) clear() {
	c.Command, c.Request, c.Temp, c.High, c.Mask = 0, 0, 0, false, 0xf
}

func (c *controller) read(r devices.Reg) uint8 {
	switch r.ID {
	case regAddrCount:
		ch := &c.Channels[r.Index/2]
		v := ch.Addr
		if r.Index&1 != 0 {
			v = ch.Count
		}
		if c.toggle() {
			return uint8(v >> 8)
		}
		return uint8(v)
	case regCommand:
		return c.Request << 4 // status: no channel has reached its count
	case regClear:
		return c.Temp
	case regMaskAll:
		return c.Mask | 0xf0
	}
	return 0xff // write-only
}

// toggle returns which byte this access is to, and moves on.
func (c *controller) toggle() (high bool) {
	high = c.High
	c.High = !high
	return high
}

func (c *controller) write(r devices.Reg, v uint8) {
	bit := uint8(1) << (v & 3)
	switch r.ID {
	case regAddrCount:
		c.program(r.Index, v)
	case regCommand:
		c.Command = v
	case regRequest:
		c.Request = choose(c.Request, bit, v&4 != 0)
	case regMask1:
		c.Mask = choose(c.Mask, bit, v&4 != 0)
	case regMode:
		c.Channels[v&3].Mode = v &^ 3
	case regFlipFlop:
		c.High = false
	case regClear:
		c.clear()
	case regClearMask:
		c.Mask = 0
	case regMaskAll:
		c.Mask = v & 0xf
	}
}

func choose(set, bit uint8, on bool) uint8 {
	if on {
		return set | bit
	}
	return set &^ bit
}

// program writes a byte of an address or count, to the base and to the current
// register.
func (c *controller) program(n int, v uint8) {
	ch := &c.Channels[n/2]
	base, current := &ch.BaseAddr, &ch.Addr
	if n&1 != 0 {
		base, current = &ch.BaseCount, &ch.Count
	}
	if c.toggle() {
		*base = *base&0x00ff | uint16(v)<<8
	} else {
		*base = *base&0xff00 | uint16(v)
	}
	*current = *base
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return regs.Save(stateVersion, d.state)
}

// RestoreState implements [devices.Saver].
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	for i := range s.Controllers {
		s.Controllers[i].Mask &= 0xf
		s.Controllers[i].Request &= 0xf
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	return nil
}
