package pc64

import (
	"dfemu/kernel/gdb"
	"dfemu/kernel/kern/lwkt"
)

// The debug registers (SDM volume 3, section 18.2) are those of gdb's watchpoints, the same on all CPUs. A CPU takes them over as it leaves the debugger, and has
// none in it. What the bottom layer does is not watched: its traps end in assembly.

const (
	dr7Fixed   = 1<<10 | 3<<8 // what is always set, and exact reporting of data
	resumeFlag = 1 << 16      // an instruction goes on at which it has just been stopped
)

var (
	watched     [gdb.NWatches]gdb.Watch
	watching    bool  // there are some, or were
	watchesSeen uint8 // of the trap that gdb is told of
)

func getDR6() uint64
func setDR6(v uint64)
func setDR7(v uint64)
func setDR(a0, a1, a2, a3 uint64)

// dr7Of is what enables the watches.
func dr7Of(list *[gdb.NWatches]gdb.Watch) uint64 {
	v := uint64(dr7Fixed)
	for i, w := range list {
		rw := uint64(0)
		switch w.Kind {
		case 0:
			continue
		case gdb.WatchWrite:
			rw = 1
		case gdb.WatchAccess:
			rw = 3
		}
		size := uint64(0)
		switch w.Len {
		case 2:
			size = 1
		case 4:
			size = 3
		case 8:
			size = 2
		}
		v |= 2<<(2*i) | (rw|size<<2)<<(16+4*i)
	}
	return v
}

// loadWatches makes the watches those of the CPU that calls.
func loadWatches() {
	if !watching {
		return
	}
	setDR7(dr7Fixed)
	setDR(watched[0].Addr, watched[1].Addr, watched[2].Addr, watched[3].Addr)
	setDR6(0)
	setDR7(dr7Of(&watched))
}

// noWatches lets the CPU that calls do what it wants.
func noWatches() {
	if watching {
		setDR7(dr7Fixed)
	}
}

// watchIPI is a CPU that leaves the debugger.
func watchIPI(*lwkt.CPU, uint64, uint64) { loadWatches() }

// takeHits returns which watches the debug exception was for, and forgets that.
func takeHits() uint8 {
	if !watching {
		return 0
	}
	v := getDR6()
	setDR6(0)
	return uint8(v & (1<<gdb.NWatches - 1))
}

// resumes makes a thread that stands at a watched instruction execute that.
func resumes(x *context) {
	for _, w := range watched {
		if w.Kind == gdb.WatchExec && w.Addr == x.rip {
			x.flags |= resumeFlag
		}
	}
}

// Watch implements gdb.Machine.
func (GDBMachine) Watch(n int, w gdb.Watch) {
	watched[n] = w
	watching = true
}

// Hits implements gdb.Machine.
func (GDBMachine) Hits() uint8 { return watchesSeen }
