package ahci

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/ddb"
	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// Driver is the driver of AHCI controllers.
type Driver struct {
	Layer *disk.Layer
	Debug *ddb.Debugger // may be nil
	// Timeout is how long a device has for a command; 0 is 10 s.
	Timeout time.Duration

	times *times // of tests
}

// Name implements pci.Driver.
func (Driver) Name() string { return "ahci" }

// Match implements pci.Driver.
func (Driver) Match(d *pci.Device) bool { return d.Class == 0x010601 }

// controller is a unit.
type controller struct {
	k       *kern.Kernel
	pci     *pci.Device
	regs    kern.Registers
	name    string
	layer   *disk.Layer
	cap     uint32
	ncmd    int
	ports   []*port
	ints    []*kern.Interrupt
	present uint32
	times   times
	hide    func() // from the debugger; nil if it is not shown
}

// Attach implements pci.Driver.
func (drv Driver) Attach(d *pci.Device, unit int) (pci.Attached, error) {
	c := &controller{k: d.Kernel(), pci: d, name: fmt.Sprintf("ahci%d", unit), layer: drv.Layer, times: usualTimes}
	if drv.times != nil {
		c.times = *drv.times
	}
	if drv.Timeout > 0 {
		c.times.command = drv.Timeout
		c.times.exec = min(c.times.exec, drv.Timeout)
	}
	c.times.tick = min(c.times.tick, c.times.command/4)
	var err error
	if c.regs, err = d.Map(5); err != nil {
		return nil, err
	}
	if c.regs.Size() < regPorts+portSize {
		return nil, fmt.Errorf("registers of %d bytes", c.regs.Size())
	}
	if err := c.start(); err != nil {
		c.stop()
		return nil, err
	}
	if drv.Debug != nil {
		c.hide = drv.Debug.Add("ahci", c.show)
	}
	return c, nil
}

func (c *controller) start() error {
	c.pci.SetMaster(true)
	c.handoff()
	if err := c.reset(); err != nil {
		return err
	}
	c.cap = c.regs.Read32(regCAP)
	c.ncmd = int(c.cap>>capSlots&31) + 1
	c.present = c.regs.Read32(regPI)
	v := c.regs.Read32(regVS)
	speed := map[uint32]string{1: "1.5", 2: "3", 3: "6"}[c.cap>>20&15]
	ncq := ""
	if c.cap&capNCQ != 0 {
		ncq = ", NCQ"
	}
	c.k.Printf("%s: AHCI %x.%x, %s Gbps, %d ports, %d command slots%s", c.name, v>>16, v>>8&0xff, speed, bits.OnesCount32(c.present), c.ncmd, ncq)
	for i := range 32 {
		if c.present>>i&1 == 0 || regPorts+uint64(i+1)*portSize > c.regs.Size() {
			continue
		}
		p, err := newPort(c, i)
		if err != nil {
			return err
		}
		c.ports = append(c.ports, p)
	}
	if len(c.ports) == 0 {
		return errors.New("it has no ports")
	}
	var err error
	if c.ints, err = c.pci.Interrupts(1, 0); err != nil {
		return err
	}
	c.k.Handle(c.ints[0], c.name, kern.IntrMed, c.interrupt)
	c.regs.Write32(regIS, allOnes)
	c.regs.Write32(regGHC, ghcEnable|ghcIntr)
	for _, p := range c.ports {
		p.thread = c.k.Start(kern.ThreadAttr{Name: p.name, Priority: kern.IntrSupport, Failed: c.pci.Failed}, p.run)
	}
	for _, p := range c.ports {
		p.ready.Wait(-1)
	}
	for _, p := range c.ports {
		p.proceed.Set()
		p.announced.Wait(-1)
	}
	return nil
}

// handoff takes the controller from the firmware (10.6.3).
func (c *controller) handoff() {
	if c.regs.Read32(regCAP2)&cap2BOH == 0 {
		return
	}
	c.regs.Write32(regBOHC, c.regs.Read32(regBOHC)|bohOS)
	for end := c.k.Now() + 2*c.times.reset; c.regs.Read32(regBOHC)&(bohBIOS|bohBusy) != 0; {
		if c.k.Now() > end {
			c.k.Printf("%s: the firmware does not let go of it", c.name)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// reset resets the controller; what firmware has set of CAP and PI is kept.
func (c *controller) reset() error {
	c.regs.Write32(regGHC, ghcEnable)
	cap, pi := c.regs.Read32(regCAP), c.regs.Read32(regPI)
	c.regs.Write32(regGHC, ghcEnable|ghcReset)
	end := c.k.Now() + c.times.reset
	for c.regs.Read32(regGHC)&ghcReset != 0 {
		if c.regs.Read32(regGHC) == allOnes {
			return disk.ErrGone
		}
		if c.k.Now() > end {
			return errors.New("it does not finish its reset")
		}
		time.Sleep(time.Millisecond)
	}
	c.regs.Write32(regGHC, ghcEnable)
	c.regs.Write32(regCAP, cap)
	c.regs.Write32(regPI, pi)
	return nil
}

// interrupt looks which ports have something to say.
func (c *controller) interrupt() {
	for i := range 32 {
		is := c.regs.Read32(regIS) & c.present
		if is == 0 || c.regs.Read32(regGHC) == allOnes {
			if i == 0 {
				c.ints[0].Idle()
			}
			return
		}
		c.ints[0].Busy()
		for _, p := range c.ports {
			if is>>p.n&1 != 0 {
				p.interrupt()
			}
		}
		c.regs.Write32(regIS, is)
	}
	// More came than was handled: an interrupt for the rest is on its way, or will never be. The ports look.
	for _, p := range c.ports {
		p.signals.Raise(sigLook)
	}
}

func (c *controller) stop() {
	if c.pci.HasFailed() { // before requests come back for which there is no device any more
		for _, p := range c.ports {
			p.suspend()
		}
	}
	for _, p := range c.ports {
		if p.thread != nil {
			p.signals.Raise(sigStop)
			p.thread.Join()
		}
	}
	c.pci.StopInterrupts()
	if c.regs.Read32(regGHC) != allOnes {
		c.regs.Write32(regGHC, ghcEnable)
		_ = c.reset() // the ports have stopped
	}
	c.pci.SetMaster(false)
	for _, p := range c.ports {
		p.vanish(disk.ErrGone)
		c.k.FreeDMA(p.mem)
	}
}

// Detach implements pci.Attached.
func (c *controller) Detach() {
	if c.hide != nil {
		c.hide()
	}
	c.stop()
}

// show prints the ports for the debugger.
func (c *controller) show(d *ddb.Debugger) {
	if c.regs.Read32(regGHC) == allOnes {
		d.Str(c.name)
		d.Str(": gone\n")
		return
	}
	for _, p := range c.ports {
		d.Str(p.name)
		d.Str(": ")
		d.Str(State(p.state.Load()).String())
		for _, r := range [...]struct {
			name string
			v    uint64
		}{{"active", uint64(p.active)}, {"waiting", uint64(len(p.waiting))}, {"CMD", uint64(p.read(portCMD))}, {"IS", uint64(p.read(portIS))},
			{"IE", uint64(p.read(portIE))}, {"TFD", uint64(p.read(portTFD))}, {"SSTS", uint64(p.read(portSSTS))}, {"SERR", uint64(p.read(portSERR))},
			{"SACT", uint64(p.read(portSACT))}, {"CI", uint64(p.read(portCI))}} {
			d.Str(" ")
			d.Str(r.name)
			d.Str(" ")
			d.Hex(r.v)
		}
		d.Line()
	}
}
