// Command kernel is the kernel of a DragonFly-style system. It runs on the metal of a PC.
package main

import (
	"os"
	"strings"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
	"dfemu/kernel/kern/options"
	"dfemu/kernel/net/ifnet"
	"dfemu/kernel/net/inet"
	"dfemu/kernel/platform/pc64"
	"dfemu/kernel/shell"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/vfs/devfs"
)

// known are the options of the command line.
var known = []options.Option{
	{Name: "dfly.selftest", Bare: true}, {Name: "dfly.run"}, {Name: "dfly.disktimeout"}, {Name: "dfly.poweroff", Values: []string{"0", "1"}, Bare: true},
	{Name: "dfly.panic", Values: []string{"reset", "poweroff", "halt"}},
	{Name: "dfly.ddb", Values: []string{"panic"}}, {Name: "dfly.gdb", Values: []string{"wait", "panic"}, Many: true, Bare: true},
	{Name: "hw.pci.msi.enable", Values: []string{"0", "1"}}, {Name: "hw.pci.msix.enable", Values: []string{"0", "1"}},
}

// toolchain is set by the image builder.
var toolchain = "unknown"

// console is the console as a writer.
type console struct{ p *pc64.Platform }

// Write implements io.Writer.
func (c console) Write(b []byte) (int, error) {
	c.p.Console(b)
	return len(b), nil
}

func main() {
	p := pc64.New()
	k := kern.New(p)
	o, problems := options.Parse(os.Args[1:], known)
	banner(k, p)
	for _, text := range problems {
		k.Printf("%s", text)
	}
	pc64.SetPanicEnd(map[string]pc64.PanicEnd{"poweroff": pc64.PanicOff, "halt": pc64.PanicHalt}[o["dfly.panic"]])
	k.WatchMemory()
	debug := debugger(o)
	startGDB(k, o)
	devices := devfs.New(k)
	dev := devices.Mount("/dev", false)
	standardDevices(k, devices)
	disks := disk.New(k, devfs.NewDisks(devices))
	showPorts(debug, disks.Port(), devices.Port())
	nets := ifnet.New()
	stack := inet.New(k, nets)
	slots := &pci.Slots{}
	all := append(drivers(k, disks, debug, o), netDrivers(nets)...)
	bus := pci.New(k, append(all, slots)...)
	bus.OnRestart(func(d *pci.Device) { disks.SuspendAll(d) }, func(d *pci.Device, ok bool) { disks.Settle(d, !ok) })
	busChanged := showBus(debug, bus)
	slots.Bus, slots.Changed = bus, busChanged
	for _, e := range p.ECAMs() {
		if e.Segment == 0 {
			bus.AddSpan(e.Base, e.FirstBus, e.LastBus)
		}
	}
	if ports := p.ConfigPorts(); bus.Empty() && ports != nil {
		bus.AddConfig(func(a pci.Address) kern.Registers { return ports(a.Bus, a.Slot, a.Func) })
	}
	bus.SetWindow(p.PCIWindow())
	bus.SetInterrupts(pci.Interrupts{NoMSI: o["hw.pci.msi.enable"] == "0", NoMSIX: o["hw.pci.msix.enable"] == "0", Route: bus.Q35(), Line: p.LineGSI})
	if err := bus.Scan(); err != nil {
		k.Printf("pci: %v", err)
	}
	busChanged()
	disks.Sync()
	devices.Config()
	pc64.StartConsole()
	con := console{p}
	sh := shell.New(k, p.ReadConsole, con)
	sh.Add(commands(k, p, bus, busChanged, diskTests(k, disks, devices, dev))...)
	sh.Add(diskCommands(k, disks)...)
	sh.Add(deviceCommands(devices, dev)...)
	sh.Add(netCommands(nets, stack)...)
	sh.Add(loadCommands(k, dev)...)
	sh.Add(memoryCommands(k, p)...)
	k.Printf("ready after %d ms", p.Now().Milliseconds())
	if what, ok := o["dfly.selftest"]; ok {
		sh.Exec("selftest " + strings.ReplaceAll(what, ",", " "))
	}
	if line, ok := o["dfly.run"]; ok {
		sh.Exec(strings.ReplaceAll(line, "+", " "))
	}
	if v, ok := o["dfly.poweroff"]; ok && v != "0" {
		pc64.PowerOff()
	}
	sh.Run()
}
