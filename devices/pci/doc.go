// Package pci is the PCI Express hierarchy of the machine: functions with their
// configuration space, buses, the Q35 host bridge, root ports with hot-plug,
// the ICH9 LPC bridge and the routing of INTx interrupts.
//
// The specifications are the PCI Local Bus Specification 3.0, the PCI Express
// Base Specification, the PCI-to-PCI Bridge Architecture Specification 1.2, and
// the data sheets of the Intel 3 Series chipset (MCH) and of the ICH9.
//
// A device model owns a [Function]: it describes itself with the builder
// methods (AddBAR, AddMSIX …), and the machine puts the function on a [Bus].
// What the guest then programs (BARs, windows, enable bits) is followed here:
// the device's regions appear in and disappear from the machine's address
// spaces, its DMA works only while it is a bus master, and its interrupts take
// whichever form the guest chose.
//
// Mistakes in describing a function (a BAR whose size is no power of two, a
// full capability list) are kept and returned when it is put on a bus.
//
// Concurrency: all methods may be called from any goroutine, except that the
// builder methods come before the function is put on a bus. The package calls
// into device models (regions, configuration hooks, reset) with no lock held; a
// device may hold its own lock while it calls Function's methods.
package pci
