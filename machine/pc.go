package machine

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"dfemu/cpu"
	"dfemu/devices"
	"dfemu/devices/chipset/debugport"
	"dfemu/devices/chipset/dma8237"
	"dfemu/devices/chipset/fwcfg"
	"dfemu/devices/chipset/hpet"
	"dfemu/devices/chipset/i8042"
	"dfemu/devices/chipset/ioapic"
	"dfemu/devices/chipset/pic"
	"dfemu/devices/chipset/pit"
	"dfemu/devices/chipset/pm"
	"dfemu/devices/chipset/pvpanic"
	"dfemu/devices/chipset/reset"
	"dfemu/devices/chipset/rtc"
	"dfemu/devices/chipset/uart"
	"dfemu/devices/network"
	"dfemu/devices/pci"
	"dfemu/devices/virtio/console"
	"dfemu/firmware/e820"
)

// ecamBase is where configuration space is when there is no firmware to place it.
const ecamBase = 0xb0000000

// tscHz is the frequency of the guest's time-stamp counter on software CPUs.
const tscHz = 1_000_000_000

// debugExitPort is where most test kernels expect isa-debug-exit, which is
// also at its default port.
const debugExitPort = 0xf4

// rootPorts is how many hot-plug slots the machine has; they are the functions
// of device firstRootPort on bus 0.
const (
	rootPorts     = 4
	firstRootPort = 0x1c
)

// sharedGSI is the first of the global system interrupts that only the I/O APIC
// has: PIRQA to PIRQH, which event timers can use as well.
const sharedGSI = 16

// pc is the hardware around the processors.
type pc struct {
	m      *Machine
	layout *e820.Layout
	ports  devices.Space
	mmio   devices.Space

	pic    *pic.Device
	ioapic *ioapic.Device
	hpet   *hpet.Device
	pit    *pit.Device
	rtc    *rtc.Device
	pm     *pm.Device
	kbd    *i8042.Device
	uarts  [4]*uart.Device
	fwcfg  *fwcfg.Device
	host   *pci.Host
	mch    *pci.MCH
	lpc    *pci.LPC
	slots  []*pci.RootPort
	// hot are the devices in the slots, by unit name. Once the machine runs they are the Control's.
	hot map[string]*hotDevice
	// plugged is the last device number on bus 0 given to plug.
	plugged int

	// isa are the 16 ISA interrupts: each goes to the 8259s and the I/O APIC.
	isa [16]*wiredOR
	// shared are the global system interrupts from sharedGSI on.
	shared [8]*wiredOR

	nvmes    []nvmeDrive
	hubs     network.Hubs // without Config.Hubs
	watching watching

	adapters []adapter

	mu       sync.Mutex           // guards what follows once the machine runs
	all      []devices.Device     // in the order of reset
	names    map[string]bool      // see unit
	drives   []*drive             //
	nicKinds map[string][2]string // model and kind of back end of network devices
	nicCount int

	pausing sync.Mutex // held while devices are paused or resumed
	pauses  int        // reasons to be paused
	// described: fw_cfg has been filled.
	described bool
	pmUnmap   func()
	watches   []*panicWatch
	inputs    []*input
	files     []io.Closer // open until the machine is closed
}

// comPorts are base and interrupt of COM1 to COM4.
var comPorts = [4]struct {
	base uint16
	irq  int
}{{uart.COM1, 4}, {uart.COM2, 3}, {uart.COM3, 4}, {uart.COM4, 3}}

// build makes memory, processors and devices.
func (m *Machine) build() error {
	accel, err := chooseAccel(m.cfg.Accel, m.cfg.Logf)
	if err != nil {
		return err
	}
	physBits, err := accel.physBits()
	if err != nil {
		return err
	}
	layout, err := e820.New(e820.Config{RAM: m.cfg.Memory, ECAM: ecamBase, PhysBits: physBits})
	if err != nil {
		return err
	}
	for _, b := range layout.Banks {
		if _, err := m.mem.add(b.Addr, b.Size, false); err != nil {
			return err
		}
	}
	p := &pc{m: m, layout: layout, hot: map[string]*hotDevice{}}
	m.pc = p
	if err := m.loadImages(); err != nil {
		return err
	}
	m.acc, err = accel.new(cpu.Config{
		CPUs: m.cfg.CPUs, Memory: m.mem.slots, Clock: cpuClock{m.clock}, Platform: p, TSCHz: tscHz,
		NewBus: m.newBus, Sample: m.cfg.Sample, SamplePeriod: m.cfg.SamplePeriod,
		LA57: m.cfg.LA57, Lockstep: m.cfg.Lockstep,
		Logf: m.cfg.Logf,
	})
	if err != nil {
		return err
	}
	m.down = make([]bool, m.cfg.CPUs)
	m.mem.invalidate = m.acc.Invalidate
	if err := p.chipset(); err != nil {
		return err
	}
	if err := p.pci(); err != nil {
		return err
	}
	if err := p.disks(); err != nil {
		return err
	}
	if err := p.nics(); err != nil {
		return err
	}
	if err := p.consoles(); err != nil {
		return err
	}
	if err := p.extras(); err != nil {
		return err
	}
	p.startWatching()
	return m.powerOn()
}

// AckINTR implements cpu.Platform.
func (p *pc) AckINTR() uint8 { return p.pic.Ack() }

// EOI implements cpu.Platform.
func (p *pc) EOI(vector uint8) { p.ioapic.EOI(vector) }

// SendMSI implements devices.MSI.
func (p *pc) SendMSI(addr uint64, data uint32) { p.m.acc.SendMSI(addr, data) }

// add enters a device into the list of those that are reset.
func (p *pc) add(d devices.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, d)
}

// mapPorts and mapMMIO map regions that stay where they are.
func (p *pc) mapPorts(name string, base, size uint64, r devices.Region) error {
	_, err := p.ports.Map(devices.Mapping{Name: name, Base: base, Size: size, Region: r})
	return err
}

func (p *pc) mapMMIO(name string, base, size uint64, r devices.Region) error {
	_, err := p.mmio.Map(devices.Mapping{Name: name, Base: base, Size: size, Region: r})
	return err
}

// chipset makes what is not behind PCI.
func (p *pc) chipset() error {
	m := p.m
	clock := m.clock
	p.pic = pic.New(pic.Config{INTR: devices.LineFunc(m.acc.SetINTR)})
	p.ioapic = ioapic.New(ioapic.Config{MSI: p})
	for i := range p.isa {
		legacy, apic := p.pic.Line(i), p.ioapic.Line(i)
		if i == 0 {
			apic = p.ioapic.Line(2) // the MADT's interrupt source override
		}
		p.isa[i] = &wiredOR{out: devices.LineFunc(func(level bool) {
			legacy.Set(level)
			apic.Set(level)
		})}
	}
	gsi := make([]devices.Line, p.ioapic.Pins())
	gsi[11] = p.isa[11].source()
	for i := range p.shared {
		p.shared[i] = &wiredOR{out: p.ioapic.Line(sharedGSI + i)}
		gsi[sharedGSI+i] = p.shared[i].source()
	}
	p.hpet = hpet.New(hpet.Config{
		Clock: clock, Lines: gsi, MSI: p,
		IRQ0: p.isa[0].source(), IRQ8: p.isa[8].source(),
	})
	p.pit = pit.New(pit.Config{Clock: clock, IRQ: p.hpet.PITLine()})
	p.rtc = rtc.New(rtc.Config{Clock: clock, IRQ: p.hpet.RTCLine()})
	p.pm = pm.New(pm.Config{
		Clock: clock, SCI: p.isa[9].source(), Timer32: true, ACPI: m.cfg.Firmware == "",
		Sleep: p.sleep,
	})
	rst := reset.New(reset.Config{Reset: func(reset.Kind) { m.post(event{kind: evReset}) }})
	p.kbd = i8042.New(i8042.Config{
		IRQ1: p.isa[1].source(), IRQ12: p.isa[12].source(),
		A20: rst.KeyboardA20, Reset: func() { m.post(event{kind: evReset}) },
	})
	dma := dma8237.New(dma8237.Config{})
	post := debugport.NewPost()
	panicked := pvpanic.New(pvpanic.Config{Event: func(e pvpanic.Event) {
		if e&pvpanic.Panicked != 0 {
			m.post(event{kind: evPanic, detail: p.panicDetail("reported through pvpanic")})
		}
	}})
	p.fwcfg = fwcfg.New(fwcfg.Config{Memory: &m.mem})
	for _, d := range []devices.Device{p.pic, p.ioapic, p.hpet, p.pit, p.rtc, p.pm, rst, p.kbd, dma, post, panicked, p.fwcfg} {
		p.add(d)
	}
	debug := m.cfg.Debug
	if debug == nil {
		debug = io.Discard
	}
	// The reset control register lies inside the ports of PCI configuration.
	if _, err := p.ports.Map(devices.Mapping{
		Name: "reset control", Base: reset.ControlPort, Size: reset.ControlSize, Priority: 1, Region: rst.Control(),
	}); err != nil {
		return err
	}
	exit := func(code int) { m.post(event{kind: evExit, code: code}) }
	err := errors.Join(
		p.mapPorts("pic master", pic.MasterPort, pic.MasterSize, p.pic.Master()),
		p.mapPorts("pic slave", pic.SlavePort, pic.SlaveSize, p.pic.Slave()),
		p.mapPorts("pic ELCR", pic.ELCRPort, pic.ELCRSize, p.pic.ELCR()),
		p.mapPorts("pit", pit.Port, pit.PortSize, p.pit.Ports()),
		p.mapPorts("pit port B", pit.PortB, pit.PortBSize, p.pit.PortB()),
		p.mapPorts("rtc", rtc.Port, rtc.PortSize, p.rtc.Ports()),
		p.mapPorts("system control A", reset.PortA, reset.PortASize, rst.SystemControlA()),
		p.mapPorts("apm", pm.APMPort, pm.APMSize, p.pm.APM()),
		p.mapPorts("i8042 data", i8042.DataPort, i8042.PortSize, p.kbd.Data()),
		p.mapPorts("i8042 command", i8042.CommandPort, i8042.PortSize, p.kbd.Command()),
		p.mapPorts("dma1", dma8237.Port1, dma8237.Size1, dma.First()),
		p.mapPorts("dma2", dma8237.Port2, dma8237.Size2, dma.Second()),
		p.mapPorts("dma pages", dma8237.PagePort, dma8237.PageSize, dma.Pages()),
		p.mapPorts("post", debugport.PostPort, debugport.PostSize, post.Port()),
		p.mapPorts("delay", debugport.DelayPort, debugport.DelaySize, debugport.Delay()),
		p.mapPorts("debug console", debugport.BochsPort, debugport.ConsoleSize, debugport.Console(debug)),
		p.mapPorts("firmware console", debugport.FirmwarePort, debugport.ConsoleSize, debugport.Console(debug)),
		p.mapPorts("debug exit", debugExitPort, debugport.ExitSize, debugport.Exit(exit)),
		p.mapPorts("debug exit", debugport.ExitPort, debugport.ExitSize, debugport.Exit(exit)),
		p.mapPorts("pvpanic", pvpanic.Port, pvpanic.Size, panicked.Ports()),
		p.mapPorts("fwcfg", fwcfg.Port, fwcfg.Size, p.fwcfg.Ports()),
		p.mapMMIO("ioapic", ioapic.Base, ioapic.Size, p.ioapic.Registers()),
		p.mapMMIO("hpet", hpet.Base, hpet.Size, p.hpet.Registers()),
	)
	return errors.Join(err, p.serial())
}

// serial makes the four serial ports.
func (p *pc) serial() error {
	for i, c := range comPorts {
		end := p.m.cfg.Serial[i]
		u := uart.New(uart.Config{
			Name: fmt.Sprintf("uart%d", i), Clock: p.m.clock, IRQ: p.isa[c.irq].source(), Out: p.watch(end.Out),
		})
		p.uarts[i] = u
		p.add(u)
		if err := p.mapPorts(u.Name(), uint64(c.base), uart.Size, u.Ports()); err != nil {
			return err
		}
		if end.In != nil {
			p.inputs = append(p.inputs, newInput(end.In, u))
		}
	}
	return nil
}

// watch returns a way to a console's output on which panics are seen.
func (p *pc) watch(out io.Writer) io.Writer {
	w := &panicWatch{out: out, report: func(msg string) { p.m.post(event{kind: evPanic, detail: msg}) }}
	p.watches = append(p.watches, w)
	return w
}

// consoles makes the virtio consoles.
func (p *pc) consoles() error {
	for i, end := range p.m.cfg.Consoles {
		c := console.New(console.Options{Name: fmt.Sprintf("virtio-console%d", i), Out: p.watch(end.Out), Clock: p.m.clock, Broken: p.broken})
		p.add(c)
		if err := p.plug(c.Function()); err != nil {
			return err
		}
		if end.In != nil {
			p.inputs = append(p.inputs, newInput(end.In, c))
		}
	}
	return nil
}

// pci makes the host bridge, the ISA bridge and the slots.
func (p *pc) pci() error {
	m := p.m
	env := pci.Env{MMIO: &p.mmio, Ports: &p.ports, Memory: &m.mem, MSI: p}
	for i := range env.PIRQ {
		env.PIRQ[i] = p.shared[i].source()
	}
	for _, i := range []int{3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15} {
		w := p.isa[i]
		env.ISA[i] = w.source()
	}
	p.host = pci.NewHost(env)
	if err := p.mapPorts("pci configuration", 0xcf8, 8, p.host.ConfigPorts()); err != nil {
		return err
	}
	direct := m.cfg.Firmware == ""
	mch := pci.MCHConfig{LowTop: p.layout.Banks[0].Size}
	for _, b := range p.layout.Banks {
		if b.Addr >= 1<<32 {
			mch.HighTop = b.Addr + b.Size
		} else {
			mch.LowTop = b.Addr + b.Size
		}
	}
	lpc := pci.LPCConfig{PM: p.placePM}
	if direct {
		mch.ECAM = ecamBase
		lpc.PMBase = pm.DefaultBase
	}
	var err error
	if p.mch, err = pci.NewMCH(p.host, mch); err != nil {
		return err
	}
	if p.lpc, err = pci.NewLPC(p.host, lpc); err != nil {
		return err
	}
	p.placePM(p.lpc.PM()) // the bridge tells of changes only
	for i := range rootPorts {
		s := pci.NewRootPort(pci.PortConfig{Name: fmt.Sprintf("port%d", i), Slot: i + 1, HotPlug: true, Pin: uint8(i%4 + 1)})
		if err := p.host.Bus().Add(firstRootPort, i, s.Function); err != nil {
			return err
		}
		p.slots = append(p.slots, s)
	}
	return p.rngs()
}

// place puts a device where it is found when the machine starts: into the next free device of bus 0, or into a slot, from
// which it can be taken.
func (p *pc) place(d function, slot bool) error {
	p.add(d)
	if !slot {
		return p.plug(d.Function())
	}
	port, err := p.freePort()
	if err != nil {
		return fmt.Errorf("%s: %w", d.Name(), err)
	}
	p.hot[d.Name()] = &hotDevice{d, port}
	return port.Populate(d.Function())
}

// plug puts a function into the next free device of bus 0.
func (p *pc) plug(f *pci.Function) error {
	if p.plugged == firstRootPort-1 {
		return fmt.Errorf("no room on the PCI bus for %s: it has %d devices", f.Name(), p.plugged)
	}
	p.plugged++
	return p.host.Bus().Add(p.plugged, 0, f)
}

// placePM moves the ACPI registers to where the guest wants them.
func (p *pc) placePM(base uint16, on bool) {
	if p.pmUnmap != nil {
		p.pmUnmap()
		p.pmUnmap = nil
	}
	if !on || base == 0 {
		return
	}
	unmap, err := p.ports.Map(devices.Mapping{Name: "pm", Base: uint64(base), Size: pm.Size, Region: p.pm.Ports()})
	if err == nil {
		p.pmUnmap = unmap
	}
}

// sleep is what the guest asked of power management.
func (p *pc) sleep(typ uint8) bool {
	if typ != pm.SleepS5 {
		return false
	}
	p.m.post(event{kind: evPowerOff})
	return true
}

func (p *pc) powerButton() { p.pm.PowerButton() }

// panicMessage returns the panic a console has shown, or "".
func (p *pc) panicMessage() string {
	for _, w := range p.watches {
		w.mu.Lock()
		msg := w.message
		w.mu.Unlock()
		if msg != "" {
			return msg
		}
	}
	return ""
}

// panicDetail prefers what a console said of a panic over other words.
func (p *pc) panicDetail(other string) string {
	if msg := p.panicMessage(); msg != "" {
		return msg
	}
	return other
}

// reset puts all devices into their power-on state.
func (p *pc) reset() {
	for _, d := range p.devices() {
		d.Reset()
	}
	p.host.Reset()
}

// hurry has the stores make nobody wait for time to pass, which stands still: requests in progress end.
func (p *pc) hurry() { p.stores(devices.Pauser.Pause) }

// pause stops what devices do by themselves, resume lets them go on. Calls nest.
func (p *pc) pause() {
	p.pausing.Lock()
	defer p.pausing.Unlock()
	if p.pauses++; p.pauses > 1 {
		return
	}
	p.hurry()
	for _, d := range p.devices() {
		if d, ok := d.(devices.Pauser); ok {
			d.Pause()
		}
	}
}

func (p *pc) resume() {
	p.pausing.Lock()
	defer p.pausing.Unlock()
	if p.pauses--; p.pauses > 0 {
		return
	}
	p.stores(devices.Pauser.Resume)
	for _, d := range p.devices() {
		if d, ok := d.(devices.Pauser); ok {
			d.Resume()
		}
	}
}

// close releases what devices hold.
func (p *pc) close() error {
	var err error
	for _, in := range p.inputs {
		in.close()
	}
	p.hurry() // the clock has stopped
	for i := range p.nvmes {
		if n := &p.nvmes[i]; !n.made {
			err = errors.Join(err, n.close())
		}
	}
	for _, d := range p.devices() {
		if c, ok := d.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	for _, f := range p.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
