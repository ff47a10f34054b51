package main

import (
	"dfemu/kernel/bus/pci"
	"dfemu/kernel/ddb"
	"dfemu/kernel/dev/disk/ahci"
	"dfemu/kernel/dev/disk/nvme"
	"dfemu/kernel/dev/virtio"
	"dfemu/kernel/subr/disk"
)

// drivers are the drivers of PCI functions, the better first.
func drivers(disks *disk.Layer, debug *ddb.Debugger) []pci.Driver {
	return []pci.Driver{
		ahci.Driver{Layer: disks, Debug: debug},
		nvme.Driver{Layer: disks, Debug: debug},
		virtio.Block{Layer: disks},
	}
}
