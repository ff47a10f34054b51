package main

import (
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/ddb"
	"dfemu/kernel/dev/disk/ahci"
	"dfemu/kernel/dev/disk/nvme"
	"dfemu/kernel/dev/virtio"
	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// drivers are the drivers of PCI functions, the better first.
func drivers(k *kern.Kernel, disks *disk.Layer, debug *ddb.Debugger, options map[string]string) []pci.Driver {
	var timeout time.Duration
	if v, ok := options["dfly.disktimeout"]; ok {
		var err error
		if timeout, err = time.ParseDuration(v); err != nil || timeout < 10*time.Millisecond {
			k.Printf("dfly.disktimeout=%s: not a time of at least 10ms", v)
			timeout = 0
		}
	}
	return []pci.Driver{
		ahci.Driver{Layer: disks, Debug: debug, Timeout: timeout},
		nvme.Driver{Layer: disks, Debug: debug, Timeout: timeout},
		virtio.Block{Layer: disks, Timeout: timeout},
	}
}
