package main

import (
	"strings"
	"sync/atomic"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/ddb"
	"dfemu/kernel/gdb"
	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/platform/pc64"
)

// startGDB lets gdb at the second serial port stop the machine, if dfly.gdb is given: by itself, or with panic, wait, or both.
func startGDB(k *kern.Kernel, options map[string]string) {
	what, ok := options["dfly.gdb"]
	if !ok {
		return
	}
	if !pc64.StartGDB(gdb.New(pc64.GDBMachine{}), strings.Contains(what, "panic")) {
		k.Printf("gdb: there is no second serial port")
		return
	}
	k.Printf("gdb: at the second serial port, 115200 baud")
	if strings.Contains(what, "wait") {
		k.Printf("gdb: waiting until it says continue")
		pc64.WaitGDB()
	}
}

// debugger makes the kernel's debugger. It shows what it is told of by Add.
func debugger(options map[string]string) *ddb.Debugger {
	d := ddb.New(pc64.DebugMachine{})
	pc64.SetDebugger(d, options["dfly.ddb"] == "panic")
	return d
}

// showBus makes the debugger show the PCI functions; the result is called when they have changed.
func showBus(d *ddb.Debugger, bus *pci.Bus) (update func()) {
	// Reading configuration space may be more than the debugger can do: the command registers are as they were then.
	type function struct {
		pci.Entry
		command uint64
	}
	var list atomic.Pointer[[]function]
	d.Add("pci", func(d *ddb.Debugger) {
		l := list.Load()
		if l == nil {
			return
		}
		for i := range *l {
			e := &(*l)[i]
			d.Num("pci ", uint64(e.Device.Bus))
			d.Num(":", uint64(e.Device.Slot))
			d.Num(".", uint64(e.Device.Func))
			d.Str(" ")
			d.Hex(uint64(e.Device.Vendor))
			d.Str(" ")
			d.Hex(uint64(e.Device.ID))
			d.Str(" class ")
			d.Hex(uint64(e.Device.Class))
			d.Str(" command ")
			d.Hex(e.command)
			d.Str(" ")
			d.Str(e.Name)
			d.Line()
		}
	})
	return func() {
		var l []function
		for _, e := range bus.List() {
			l = append(l, function{e, uint64(e.Device.Read(4, 2))})
		}
		list.Store(&l)
	}
}

// showPorts makes the debugger show message ports.
func showPorts(d *ddb.Debugger, ports ...*msgport.Port) {
	for _, p := range ports {
		d.Add("msgport", func(d *ddb.Debugger) {
			prio, normal, transit := p.Depth()
			d.Str("port ")
			d.Str(p.Name)
			d.Num(": priority ", uint64(prio))
			d.Num(" normal ", uint64(normal))
			d.Num(" on their way ", uint64(transit))
			d.Line()
		})
	}
}
