package main

import (
	"runtime"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
)

// banner tells what the system is and what it runs on.
func banner(k *kern.Kernel, p *pc64.Platform) {
	k.Printf("Copyright (c) 2026 The dfemu Authors. All rights reserved.")
	k.Printf("dfly kernel, %s %s/%s, toolchain %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, toolchain)
	i := pc64.Machine()
	k.Printf("booted by %s; %s", i.Loader, time.Unix(0, i.Wall).UTC().Format(time.RFC3339))
	k.Printf("CPU: %s (%d.%02d-MHz K8-class CPU, frequency from %s)", i.Model, i.TSCHz/1e6, i.TSCHz/1e4%100, i.TSCSource)
	k.Printf("real memory  = %d (%d MB)", i.RAM, i.RAM>>20)
	k.Printf("avail memory = %d (%d MB)", i.Free, i.Free>>20)
	k.Printf("ACPI tables: <%s>, timer %s, local APIC %s", i.OEM, i.Timer, i.APIC)
	k.Printf("SMP: %d CPUs started of %d", i.Started, p.CPUs())
	for n, id := range i.APICIDs {
		k.Printf("cpu%d: local APIC %d", n, id)
	}
}
