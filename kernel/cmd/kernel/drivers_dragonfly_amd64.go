package main

import (
	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/disk/ahci"
	"dfemu/kernel/dev/disk/nvme"
	"dfemu/kernel/dev/virtio"
	"dfemu/kernel/subr/disk"
)

// drivers are the drivers of PCI functions, the better first.
func drivers(disks *disk.Layer) []pci.Driver {
	return []pci.Driver{
		ahci.Driver{Layer: disks},
		nvme.Driver{Layer: disks},
		virtio.Block{Layer: disks},
	}
}
