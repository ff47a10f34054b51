package pc64

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"dfemu/kernel/kern/lwkt"
)

// Info describes the machine.
type Info struct {
	Loader, Model, OEM, Timer, APIC, TSCSource string
	TSCHz                                      uint64
	RAM, Free                                  uint64 // bytes
	Wall                                       int64  // nanoseconds since 1970
	Started                                    int
	APICIDs                                    []uint32
}

// Machine describes the machine as it is now.
func Machine() Info {
	i := Info{
		Loader: bootedBy, Model: brand(), OEM: strings.TrimSpace(string(tables.OEM[:])), Timer: "one-shot", APIC: "xAPIC",
		TSCSource: tscSource, TSCHz: tscHz,
		RAM: uint64(pages.Total()) * pageSize, Free: uint64(pages.Free()) * pageSize,
		Wall: int64(wallZero) + now(), Started: int(cpusUp.Load()) + 1,
	}
	for n := range nMemoryMap {
		if memoryMap[n].typ == 1 && n == 0 {
			i.RAM = 0
		}
		if memoryMap[n].typ == 1 {
			i.RAM += memoryMap[n].size
		}
	}
	if tscDeadline {
		i.Timer = "TSC deadline"
	}
	if x2apic {
		i.APIC = "x2APIC"
	}
	for n := range ncpu {
		i.APICIDs = append(i.APICIDs, percpuOf(n).apicID)
	}
	return i
}

// brand is the processor's name.
func brand() string {
	if max, _, _, _ := cpuid(0x80000000, 0); max < 0x80000004 {
		return "unknown"
	}
	var b []byte
	for leaf := uint32(0x80000002); leaf <= 0x80000004; leaf++ {
		eax, ebx, ecx, edx := cpuid(leaf, 0)
		for _, v := range [...]uint32{eax, ebx, ecx, edx} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00"))
}

// CPUStats is what a CPU has done.
type CPUStats struct {
	lwkt.Stats
	Syscalls, Traps, Faults, IRQs uint64
}

// StatsOf returns the counters of a CPU, which go on meanwhile.
func StatsOf(cpu int) CPUStats {
	p := percpuOf(cpu)
	return CPUStats{system.CPU(cpu).Stats, p.nsys, p.traps, p.faults, p.irqs}
}

// ThreadInfo describes a thread.
type ThreadInfo struct {
	ID       int
	Name     string
	CPU      int
	Priority int
	State    string
	Runtime  int64 // nanoseconds
	Tokens   int
}

// Threads lists the threads there are.
func Threads() []ThreadInfo {
	var out []ThreadInfo
	for i := 1; i < system.Threads(); i++ {
		t := system.Thread(lwkt.ThreadID(i))
		if !t.Used() {
			continue
		}
		n := ThreadInfo{ID: i, Name: t.String(), CPU: t.Owner(), Priority: t.Priority(), Runtime: t.Runtime, Tokens: t.Tokens()}
		switch _, sleeping := t.Sleeping(); {
		case t.Idle():
			n.Name, n.State = "idle", "idle"
		case sleeping:
			n.State = "sleep"
		case t.Runnable():
			n.State = "run"
		default:
			n.State = "wait"
		}
		out = append(out, n)
	}
	return out
}

// Unanswered lists system calls the Go runtime made that the kernel does not have.
func Unanswered() []uint16 { return append([]uint16(nil), unknownSys[:nUnknownSys]...) }

// Memory returns the pages that are free, and all there are.
func Memory() (free, total int) { return pages.Free(), pages.Total() }

// PCIWindow is the largest range of addresses below 4 GiB that neither memory nor configuration space nor the
// interrupt controllers use: room for PCI functions that firmware has not given any.
func (*Platform) PCIWindow() (from, to uint64) {
	const top = 0xfec00000
	type used struct{ from, to uint64 }
	list := []used{{0, 1 << 20}, {top, 1 << 32}}
	for n := range nMemoryMap {
		m := &memoryMap[n]
		list = append(list, used{m.addr, m.addr + m.size})
	}
	for _, e := range tables.ECAMs[:tables.NECAMs] {
		list = append(list, used{e.Base, e.Base + uint64(e.LastBus-e.FirstBus)<<20 + 1<<20})
	}
	slices.SortFunc(list, func(a, b used) int { return cmp.Compare(a.from, b.from) })
	at := uint64(0)
	for _, u := range list {
		if u.from > at && u.from <= top && u.from-at > to-from {
			from, to = at, u.from
		}
		at = max(at, u.to)
	}
	return (from + 1<<20 - 1) &^ (1<<20 - 1), to
}
