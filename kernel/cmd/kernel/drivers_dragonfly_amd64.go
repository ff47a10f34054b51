package main

import (
	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
)

// drivers are the drivers of PCI functions, the better first.
func drivers(*kern.Kernel) []pci.Driver { return nil }
