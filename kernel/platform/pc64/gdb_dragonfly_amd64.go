package pc64

import (
	"sync/atomic"

	"dfemu/kernel/gdb"
	"dfemu/kernel/kern/lwkt"
	"dfemu/kernel/subr/digits"
)

// gdb is at COM2. While the machine runs its interrupt looks for a request to stop; while it stands still the server polls the port.
const (
	com2     = 0x2f8
	debugIRQ = 3
	uartSCR  = 7 // scratch
)

var (
	gdbServer *gdb.Server
	gdbKnown  atomic.Uint32
	// gdbTalks goes up when the server begins to speak with gdb and when it ends.
	gdbTalks atomic.Uint32
	// gdbWoke is the byte that woke the server, and gdbWokeAt what gdbTalks was before that was read. They belong to the CPU that takes the port's interrupt.
	gdbWoke   byte
	gdbWokeAt uint32
)

// StartGDB lets gdb at COM2 stop the machine; with onPanic a panic does, before the debugger on the console if that is to come, too. It returns
// false if there is no port.
func StartGDB(s *gdb.Server, onPanic bool) bool {
	out8(com2+uartSCR, 0x5a)
	if in8(com2+uartSCR) != 0x5a {
		return false
	}
	out8(com2+uartIER, 0)
	out8(com2+uartLCR, 0x83)
	out8(com2, 1) // 115200 baud
	out8(com2+1, 0)
	out8(com2+uartLCR, 3)
	out8(com2+uartFCR, 1) // what came already stays
	out8(com2+uartMCR, 0x0b)
	gdbServer = s
	if onPanic {
		next := panicHook
		panicHook = func() {
			gdbServer.Enter(stoppedThread(), gdb.Abort)
			if next != nil {
				next()
			}
		}
	}
	gdbKnown.Store(1)
	isa := tables.ISA[debugIRQ]
	routeGSI(isa.GSI, vecDebug, percpuOf(0).apicID, isa.Level, isa.ActiveLow, false)
	out8(com2+uartIER, 1)
	// Should something have come before there was an interrupt.
	kcall(kernelGDB, 0, 0, 0)
	return true
}

// WaitGDB stops the machine until gdb lets it go on.
func WaitGDB() { kcall(kernelGDB, 1, 0, 0) }

// debugInterrupt looks at what has come for gdb.
func debugInterrupt(c *lwkt.CPU) {
	if gdbKnown.Load() == 0 {
		return
	}
	for in8(com2+uartLSR)&uartReady != 0 {
		gdbWokeAt = gdbTalks.Load()
		if gdbWoke = in8(com2); gdb.Wakes(gdbWoke) {
			stopForGDB(c, enterWoken)
		}
	}
}

// stopForGDB stops all CPUs for gdb and calls enter with the thread that runs.
func stopForGDB(c *lwkt.CPU, enter func(id int)) {
	if gdbKnown.Load() != 0 {
		this().slow = 1 // all registers may be changed
		debug(c, enter)
	}
}

func enterGDB(id int) {
	gdbTalks.Add(1)
	gdbServer.Enter(id, gdb.Interrupt)
	gdbTalks.Add(1)
}

// enterWoken is called for a byte that came. Where another CPU has spoken with gdb since, the byte was gdb's part in that, and gdb has no wish left.
func enterWoken(id int) {
	if gdbTalks.Load() == gdbWokeAt {
		gdbServer.Push(gdbWoke)
		enterGDB(id)
	}
}

// enterIfNew waits for a gdb. One that came while the other CPUs were being stopped has had its say.
func enterIfNew(id int) {
	if !gdbServer.Active() {
		enterGDB(id)
	}
}

// stoppedThread is the thread of a CPU on which the system has ended, 0 for none.
func stoppedThread() int {
	p := this()
	if p.ctx == 0 {
		return 0
	}
	return int(system.CPU(int(p.index)).Current())
}

// gdbTrap gives gdb an exception of the thread that runs, and returns false if that is not for it.
func gdbTrap(c *lwkt.CPU, x *context) bool {
	if gdbKnown.Load() == 0 || !gdbServer.Active() {
		return false
	}
	taken, hits := false, uint8(0)
	if x.vec == 1 {
		hits = takeHits()
	}
	debug(c, func(id int) {
		watchesSeen = hits
		gdbTalks.Add(1)
		taken = gdbServer.Trap(id, x.vec == 3, x.rip)
		gdbTalks.Add(1)
	})
	return taken
}

// GDBMachine is the machine as gdb's server sees it.
type GDBMachine struct{ DebugMachine }

// Put implements gdb.Machine.
func (GDBMachine) Put(b byte) {
	for spin := 0; in8(com2+uartLSR)&uartEmpty == 0 && spin < 1<<20; spin++ {
		pause()
	}
	out8(com2, b)
}

// Get implements gdb.Machine.
func (GDBMachine) Get() byte {
	for in8(com2+uartLSR)&uartReady == 0 {
		pause()
	}
	return in8(com2)
}

// Patch implements gdb.Machine. Devices' memory is left alone.
func (m GDBMachine) Patch(a uint64, b byte) bool { return m.Mapped(a) && m.DebugMachine.Patch(a, b) }

// thread is a thread that gdb may see, or nil.
func (GDBMachine) thread(id int) *lwkt.Thread {
	if id <= 0 || id >= system.Threads() {
		return nil
	}
	t := system.Thread(lwkt.ThreadID(id))
	if !t.Used() || t.Idle() {
		return nil
	}
	return t
}

// Regs implements gdb.Machine.
func (m GDBMachine) Regs(id int, r *gdb.Regs) bool {
	if m.thread(id) == nil {
		return false
	}
	x := contextOf(lwkt.ThreadID(id))
	r.GP = [16]uint64{x.ax, x.bx, x.cx, x.dx, x.si, x.di, x.bp, x.sp, x.r8, x.r9, x.r10, x.r11, x.r12, x.r13, x.r14, x.r15}
	r.IP, r.Flags, r.CS, r.SS, r.FS = x.rip, x.flags, x.cs, x.ss, x.fs
	r.GS = percpuOf(system.Thread(lwkt.ThreadID(id)).Owner()).self
	r.HasFP = x.fpv != 0
	copy(r.FP[:], x.fpu[:len(r.FP)])
	return true
}

// SetRegs implements gdb.Machine.
func (m GDBMachine) SetRegs(id int, r *gdb.Regs) {
	const settable = 0x200cd5 // flags: CF PF AF ZF SF DF OF ID; IF stays
	if m.thread(id) == nil {
		return
	}
	x := contextOf(lwkt.ThreadID(id))
	x.ax, x.bx, x.cx, x.dx, x.si, x.di, x.bp, x.sp = r.GP[0], r.GP[1], r.GP[2], r.GP[3], r.GP[4], r.GP[5], r.GP[6], r.GP[7]
	x.r8, x.r9, x.r10, x.r11, x.r12, x.r13, x.r14, x.r15 = r.GP[8], r.GP[9], r.GP[10], r.GP[11], r.GP[12], r.GP[13], r.GP[14], r.GP[15]
	x.rip, x.flags = r.IP, x.flags&^settable|r.Flags&settable
	if x.fpv != 0 && r.HasFP {
		copy(x.fpu[:], r.FP[:])
	}
}

// Describe implements gdb.Machine: "name cpu0 pri 12 sleep".
func (m GDBMachine) Describe(id int, b []byte) int {
	t, ok := m.DebugMachine.Thread(id)
	if !ok {
		return 0
	}
	n := 0
	add := func(s string) { n += copy(b[n:], s) }
	for _, c := range t.Name {
		if c == 0 || n == len(b) {
			break
		}
		b[n] = c
		n++
	}
	dec := func(v int) {
		var d digits.Buffer
		n += copy(b[n:], digits.Dec(&d, uint64(v)))
	}
	add(" cpu")
	dec(t.CPU)
	add(" pri ")
	dec(t.Priority)
	add(" ")
	add(t.State)
	return n
}

// Step implements gdb.Machine.
func (m GDBMachine) Step(id int, how gdb.Step) {
	if m.thread(id) == nil {
		return
	}
	x := contextOf(lwkt.ThreadID(id))
	x.flags &^= trapFlag
	if how == gdb.StepOff {
		return
	}
	x.flags |= trapFlag
	this().slow = 1
	if how == gdb.StepAlone && x.asleep == 0 && stepsAlone(m, x.rip) {
		stepWanted = lwkt.ThreadID(id)
	}
}
