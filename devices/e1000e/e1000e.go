// Package e1000e is the Intel 82574L gigabit Ethernet controller, by the
// "Intel 82574 GbE Controller Family Datasheet": 8086:10d3, with MSI-X, MSI and
// INTx.
//
// Packets are sent by a goroutine that writes to a tail register wake, and
// received on the back end's. Registers are guarded by a lock that nothing
// slow is done under; each direction has another one, which reset and pause take
// to wait for packets under way. The order is: transmit, receive, registers.
//
// Left out because no driver can tell, or none uses it: manageability, wake-up, the
// packet buffer's diagnostic view, flow control frames, and header splitting (a packet-split
// buffer is filled from its start).
package e1000e

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/internal/nic"
	"dfemu/devices/pci"
)

const (
	vendor    = 0x8086
	device    = 0x10d3
	subsystem = 0xa01f // Gigabit CT Desktop Adapter
)

// Options describes a controller.
type Options struct {
	Name  string // unit name, as "e1000e0"
	MAC   [6]byte
	Clock devices.Clock // for interrupt throttling and time stamps; required
	// InSlot means that the device goes behind a root port instead of on bus 0.
	InSlot bool
}

// Device is a controller. It implements [devices.FrameReceiver] for its back end,
// devices.Linked, Pauser, Saver and Closer.
type Device struct {
	o     Options
	fn    *pci.Function
	net   devices.Network
	props devices.NetworkProperties
	tx    nic.Worker
	late  nic.DelayLine

	// starved means that the back end waits for descriptors.
	starved atomic.Bool

	txMu   sync.Mutex
	rxMu   sync.Mutex
	paused bool // guarded by txMu and rxMu: one of them to read, both to change
	sender sender
	taker  taker

	mu  sync.Mutex                // guards what follows
	mem [registersSize / 4]uint32 // registers that are storage, by offset
	s   state
	irq interrupts
}

// state is what else is saved.
type state struct {
	NVM    [nvmWords]uint16
	PHY    phy
	Stats  statistics
	Link   bool // the cable is in
	Down   bool // the back end has no connection
	ICR    uint32
	IMS    uint32
	TimeAt int64  // the clock when the time registers were set
	Time   uint64 // what they were set to
	Tx     [queues]txState
	IOAddr uint32
}

// New returns a controller on a back end, which it owns from then on.
func New(o Options, back devices.Network) (*Device, error) {
	if o.MAC[0]&1 != 0 || o.MAC == [6]byte{} {
		return nil, fmt.Errorf("%s: MAC address % x: must be that of a single station", o.Name, o.MAC)
	}
	if o.Clock == nil {
		return nil, fmt.Errorf("%s: no clock given", o.Name)
	}
	d := &Device{o: o, net: back, props: back.Properties()}
	d.describe()
	d.tx.Run = d.serve
	d.late.Init(o.Clock)
	d.irq.init(d)
	d.s.Link = true
	d.s.NVM = newNVM(o.MAC)
	d.reset(true)
	back.Connect(d)
	back.Configure(0, 1)
	return d, nil
}

// describe makes the PCI function (chapter 9).
func (d *Device) describe() {
	f := pci.NewFunction(d.o.Name, pci.Identity{
		Vendor: vendor, Device: device, Class: 0x020000, SubsystemVendor: vendor, Subsystem: subsystem, Pin: 1,
	})
	d.fn = f
	f.OnReset(d.Reset)
	f.OnBusMaster(func(on bool) {
		if on {
			d.tx.Kick()
			d.goOn()
		}
	})
	watched := devices.WatchRegion(f.Probe(), registers, strictRegion{d, registers.Region(d)})
	f.AddBAR(0, pci.BAR{Kind: pci.BARMem32, Size: registersSize, Region: watched})
	f.AddBAR(1, pci.BAR{Kind: pci.BARMem32, Size: flashSize, Region: flash{}})
	f.AddBAR(2, pci.BAR{Kind: pci.BARIO, Size: portsSize, Region: ports{d, watched}})
	f.AddPM()
	f.AddMSI(1, true, false)
	if d.o.InSlot {
		f.AddExpress(pci.Endpoint)
	} else {
		f.AddExpress(pci.IntegratedEndpoint)
	}
	x := f.AddMSIX(vectors, 3, 0, msixPBA)
	table, pba := pci.MSIXSize(vectors)
	f.AddBAR(3, pci.BAR{Kind: pci.BARMem32, Size: msixSize, Region: pci.Layout{
		{Off: 0, Size: table, Region: x.Table()}, {Off: msixPBA, Size: pba, Region: x.PBA()},
	}})
	// Device serial number: the MAC address with ff ff in the middle.
	m := d.o.MAC
	f.AddExtended(3, 1, []byte{m[5], m[4], m[3], 0xff, 0xff, m[2], m[1], m[0]}, nil)
}

// Name implements devices.Device.
func (d *Device) Name() string { return d.o.Name }

// Function is the device's PCI function.
func (d *Device) Function() *pci.Function { return d.fn }

// Reset implements devices.Device.
func (d *Device) Reset() {
	d.reset(true)
	d.fn.Reset()
}

// reset is the device's reset: power puts the transceiver and the registers that
// a software reset spares into their first state too. It waits for packets under way.
func (d *Device) reset(power bool) {
	d.txMu.Lock()
	d.rxMu.Lock()
	d.mu.Lock()
	d.irq.reset()
	old := d.s
	d.s = state{NVM: old.NVM, PHY: old.PHY, Link: old.Link, Down: old.Down}
	keep := map[int]uint32{}
	if power {
		d.s.PHY.reset()
	} else {
		for _, off := range []int{offPBA, offEXTCNFCTRL, offLEDCTL, offGCR} {
			keep[off] = d.mem[off/4]
		}
	}
	clear(d.mem[:])
	for off, v := range map[int]uint32{offPBA: 0x00140014, offLEDCTL: 0x07061302, offFACTPS: 0xe4, offVET: 0x8100} {
		d.mem[off/4] = v
	}
	for off, v := range keep {
		d.mem[off/4] = v
	}
	// The first receive address comes from the non-volatile memory (section 10.2.5.16).
	w := d.s.NVM
	d.mem[0x5400/4] = uint32(w[0]) | uint32(w[1])<<16
	d.mem[0x5404/4] = uint32(w[2]) | 1<<31
	d.sender.reset()
	d.taker.reset()
	d.mu.Unlock()
	d.rxMu.Unlock()
	d.txMu.Unlock()
	d.goOn()
}

// goOn has a back end that waits for room try again.
func (d *Device) goOn() {
	if d.starved.Swap(false) {
		for i := range d.props.Queues {
			d.net.Ready(i)
		}
	}
}

// Pause implements devices.Pauser.
func (d *Device) Pause() { d.setPaused(true) }

// Resume implements devices.Pauser.
func (d *Device) Resume() {
	d.setPaused(false)
	d.tx.Kick()
	d.goOn()
}

func (d *Device) setPaused(on bool) {
	d.txMu.Lock()
	d.rxMu.Lock()
	d.paused = on
	d.rxMu.Unlock()
	d.txMu.Unlock()
}

// Close implements devices.Closer.
func (d *Device) Close() error {
	d.setPaused(true)
	d.tx.Close()
	d.late.Close()
	d.mu.Lock()
	d.irq.stop()
	d.mu.Unlock()
	d.starved.Store(true)
	d.goOn()
	return d.net.Close()
}

// SetLink implements devices.Linked: the cable of the only port, 0.
func (d *Device) SetLink(n int, up bool) error {
	if err := nic.OnlyPort(d.o.Name, n); err != nil {
		return err
	}
	d.setLink(func(s *state) { s.Link = up })
	return nil
}

// LinkChanged implements devices.FrameReceiver.
func (d *Device) LinkChanged(up bool) { d.setLink(func(s *state) { s.Down = !up }) }

func (d *Device) setLink(change func(*state)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.link()
	change(&d.s)
	if d.link() == before {
		return
	}
	nic.ReportLink(d.fn.Probe(), !before)
	d.raise(causeLSC)
}

// Link tells whether the controller has a link.
func (d *Device) Link() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.link()
}

// MAC is the address in the non-volatile memory.
func (d *Device) MAC() [6]byte { return d.o.MAC }

// link tells whether the transceiver has one. The caller holds mu.
func (d *Device) link() bool { return d.s.Link && !d.s.Down }

// up tells whether packets can pass. The caller holds mu.
func (d *Device) up() bool {
	return d.link() && d.s.PHY.Regs[phyControl]&phyPowerDown == 0
}

// get returns a register that is storage. The caller holds mu.
func (d *Device) get(off int) uint32 { return d.mem[off/4] }

// queueReg is the offset of a register of queue q.
func queueReg(base, q int) int { return base + 0x100*q }

// violation reports a breach of the data sheet in what a transmit queue holds.
func (d *Device) violation(queue int, section, format string, a ...any) {
	d.report(devices.ByQueue, queue, section, format, a...)
}

// misuse reports that the access to a register that is being served breaks a rule. It is called on the goroutine of the access.
func (d *Device) misuse(queue int, section, format string, a ...any) {
	d.report(devices.ByAccess, queue, section, format, a...)
}

func (d *Device) report(by devices.Origin, queue int, section, format string, a ...any) {
	if p := d.fn.Probe(); p.Wants(devices.ClassStrict) {
		p.Violation(devices.Violation{Clause: "82574 datasheet, " + section, Text: fmt.Sprintf(format, a...), Queue: queue, Origin: by})
	}
}

// flash is the expansion flash, which is erased and protected.
type flash struct{}

// Read implements devices.Region.
func (flash) Read(uint64, int) (uint64, error) { return 0, devices.ErrNoRegister }

// Write implements devices.Region.
func (flash) Write(uint64, int, uint64) error { return devices.ErrReadOnly }

// ports are IOADDR and IODATA, a window into the registers (section 10.2.1.3).
type ports struct {
	d *Device
	r devices.Region
}

func (p ports) addr() uint32 {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.d.s.IOAddr
}

// Read implements devices.Region.
func (p ports) Read(off uint64, size int) (uint64, error) {
	switch {
	case size != 4:
		return 0, devices.ErrSize
	case off == 0:
		return uint64(p.addr()), nil
	case off == 4:
		if a := p.addr(); a < registersSize && a&3 == 0 {
			return p.r.Read(uint64(a), 4)
		}
	}
	return 0, devices.ErrNoRegister
}

// Write implements devices.Region.
func (p ports) Write(off uint64, size int, v uint64) error {
	switch {
	case size != 4:
		return devices.ErrSize
	case off == 0:
		p.d.mu.Lock()
		p.d.s.IOAddr = uint32(v)
		p.d.mu.Unlock()
		return nil
	case off == 4:
		if a := p.addr(); a < registersSize && a&3 == 0 {
			return p.r.Write(uint64(a), 4, v)
		}
	}
	return devices.ErrNoRegister
}

var le = binary.LittleEndian
