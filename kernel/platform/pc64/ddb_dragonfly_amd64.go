package pc64

import (
	"runtime"
	"sync/atomic"

	"dfemu/kernel/ddb"
	"dfemu/kernel/kern/lwkt"
)

// debugger is entered by key, by command, by breakpoints and, if asked for, on a panic. It is nil until
// SetDebugger.
var (
	debugger   *ddb.Debugger
	debugStop  uint64 // address of the context of the thread that was stopped, 0 for none
	debugKnown atomic.Uint32
)

// breakKey is Ctrl-], which stops all for the debugger.
const breakKey = 0x1d

// SetDebugger makes the debugger the place where break-in key, breakpoints and, with onPanic, panics lead to.
func SetDebugger(d *ddb.Debugger, onPanic bool) {
	debugger = d
	if onPanic {
		panicHook = func() { debugger.Enter(stoppedThread(), ddb.Panic) }
	}
	debugKnown.Store(1)
}

// Debug enters the debugger.
func Debug() { kcall(kernelDebug, 0, 0, 0) }

// debug stops the other CPUs and calls f.
func debug(c *lwkt.CPU, f func(id int)) {
	held := stepHeld
	id := 0
	switch {
	case held:
		id = int(stepThread)
	case !c.IsIdle():
		id = int(c.Current())
	}
	if !held {
		// Messages that come meanwhile may have an interrupt thread preempt the one that is meant, which is still to be the one that is seen and changed.
		c.Quiesce(othersUp)
	}
	noWatches()
	stepHeld, stepWanted = false, 0
	debugStop = 0
	if id != 0 {
		debugStop = addressOf(contextOf(lwkt.ThreadID(id)))
	}
	f(id)
	if debugStop != 0 {
		resumes((*context)(pointer(debugStop)))
	}
	loadWatches()
	if stepWanted != 0 {
		holdStep(this())
		return
	}
	c.Unquiesce(ipiWatch, 0)
}

func othersUp(cpu int) bool { return cpu < ncpu && atomic.LoadUint32(&percpuOf(cpu).up) != 0 }

// breakIn enters the debugger on the operator's wish.
func breakIn(c *lwkt.CPU) {
	if debugKnown.Load() != 0 {
		debug(c, enterAsked)
	}
}

func enterAsked(id int) { debugger.Enter(id, ddb.Asked) }

// debugTrap gives the debugger an exception of the thread that runs, and returns false if that is not for it.
func debugTrap(c *lwkt.CPU, x *context) bool {
	if gdbTrap(c, x) {
		return true
	}
	taken := false
	if debugKnown.Load() != 0 && debugger.Active() {
		debug(c, func(id int) { taken = debugger.Trap(id, x.vec == 3, x.rip) })
	}
	return taken || stray(x)
}

// stray tells whether a trap is one that a debugger has given up while it was on its way, as another thread stopped and breakpoints were taken away or steps
// ended. The thread goes on.
func stray(x *context) bool {
	switch {
	case debugKnown.Load() == 0 && gdbKnown.Load() == 0:
	case x.vec == 1:
		x.flags &^= trapFlag
		return true
	case x.vec == 3 && mapped(x.rip-1) && load8(x.rip-1) != breakByte:
		x.rip--
		return true
	}
	return false
}

const breakByte = 0xcc // INT3

var discarding atomic.Uint32 // the lock of discardBreak

// discardBreak takes a breakpoint away into which the bottom layer has run. That cannot be stopped: it may hold what the other CPUs and the
// debugger need. It returns false if there is none.
func discardBreak(addr uint64) bool {
	for !discarding.CompareAndSwap(0, 1) {
		flushIfAsked()
		pause()
	}
	defer discarding.Store(0)
	if load8(addr) != breakByte {
		return true // another CPU was faster
	}
	who := "gdb"
	if gdbKnown.Load() == 0 || !gdbServer.Discard(addr) {
		if who = "ddb"; debugKnown.Load() == 0 || !debugger.Discard(addr) {
			return false
		}
	}
	print(who)
	print(": the breakpoint at ")
	printHex(addr)
	print(" is where the kernel cannot be stopped: it is taken away\n")
	return true
}

// DebugMachine is the machine as the debugger sees it.
type DebugMachine struct{}

// Put implements ddb.Machine. The console's lock may be held by a CPU that stands still.
func (DebugMachine) Put(b byte) {
	consoleRoom = 0
	if b == '\n' {
		uartByte('\r')
		consoleRoom = 0
	}
	uartByte(b)
	consoleRoom = 0
}

// Get implements ddb.Machine. What came in before comes first.
func (DebugMachine) Get() byte {
	if t := inputTail.Load(); t != inputHead.Load() {
		b := inputRing[t%uint32(len(inputRing))]
		inputTail.Store(t + 1)
		return b
	}
	for in8(com1+uartLSR)&uartReady == 0 {
		pause()
	}
	return in8(com1)
}

// Mapped implements ddb.Machine. Devices' memory is not read: that may change them.
func (DebugMachine) Mapped(a uint64) bool {
	if a >= directMap && a < window {
		p := a - directMap
		ram := false
		for i := range nMemoryMap {
			m := &memoryMap[i]
			ram = ram || m.typ == 1 && p >= m.addr && p-m.addr < m.size
		}
		if !ram {
			return false
		}
	}
	return mapped(a)
}

// Load implements ddb.Machine.
func (DebugMachine) Load(a uint64) byte { return load8(a) }

// Patch implements ddb.Machine. Text is read-only; the same memory in the direct map is not.
func (DebugMachine) Patch(a uint64, b byte) bool {
	t := rootPT
	for l := 4; l >= 1; l-- {
		shift := 12 + 9*(l-1)
		v := load64(directMap + t + a>>shift&511*8)
		if v&ptePresent == 0 {
			return false
		}
		t = v & pteAddr
		if v&pteLarge != 0 && l > 1 || l == 1 {
			size := uint64(1) << shift
			store8(directMap+t&^(size-1)+a&(size-1), b)
			return true
		}
	}
	return false
}

// Symbol implements ddb.Machine.
func (DebugMachine) Symbol(pc uint64) (name, file string, line int, entry uint64, ok bool) {
	f := findfunc(uintptr(pc))
	if f.fn == nil {
		return "", "", 0, 0, false
	}
	file, n := funcline1(f, uintptr(pc), false)
	return f.name(), file, int(n), uint64((*runtime.Func)(f.fn).Entry()), true
}

// Text implements ddb.Machine: the image's first executable segment.
func (DebugMachine) Text() (from, to uint64) {
	segs := uint64(directMap + stubSegs)
	for i := range load64(segs) {
		if s := segs + 8 + i*32; load64(s+24)&1 != 0 {
			return load64(s), load64(s) + load64(s+16)
		}
	}
	return 0, 0
}

// Threads implements ddb.Machine.
func (DebugMachine) Threads() int { return system.Threads() }

// Thread implements ddb.Machine.
func (DebugMachine) Thread(id int) (ddb.Thread, bool) {
	t := system.Thread(lwkt.ThreadID(id))
	if !t.Used() || t.Idle() {
		return ddb.Thread{}, false
	}
	x := contextOf(lwkt.ThreadID(id))
	n := ddb.Thread{ID: id, CPU: t.Owner(), Priority: t.Priority(), State: "wait", Name: t.Name[:]}
	ident, sleeping := t.Sleeping()
	switch {
	case sleeping:
		n.State, n.Ident = "sleep", ident
	case t.Runnable():
		n.State = "run"
	}
	n.Regs = ddb.Regs{AX: x.ax, BX: x.bx, CX: x.cx, DX: x.dx, SI: x.si, DI: x.di, BP: x.bp, SP: x.sp, R8: x.r8, R9: x.r9,
		R10: x.r10, R11: x.r11, R12: x.r12, R13: x.r13, R14: x.r14, R15: x.r15, IP: x.rip, Flags: x.flags, CR2: x.cr2, FS: x.fs}
	return n, true
}

// Token implements ddb.Machine.
func (DebugMachine) Token(id, i int) (ddb.Token, bool) {
	k, mode, held := system.Thread(lwkt.ThreadID(id)).TokenAt(i)
	if k == nil {
		return ddb.Token{}, false
	}
	return ddb.Token{Addr: addressOf(k), Collisions: k.Collisions(), Shared: mode == lwkt.Shared, Held: held, Name: k.Name}, true
}

// CPUs implements ddb.Machine.
func (DebugMachine) CPUs() int { return ncpu }

// CPU implements ddb.Machine.
func (DebugMachine) CPU(n int) ddb.CPU {
	s, p := &system.CPU(n).Stats, percpuOf(n)
	c := ddb.CPU{Switches: s.Switches, Preemptions: s.Preemptions, IRQs: p.irqs, Syscalls: p.nsys, Traps: p.traps,
		IPIsSent: s.IPIsSent, IPIsProcessed: s.IPIsProcessed, IPIInterrupts: s.IPIHard, Callouts: s.Callouts, LocalAPIC: uint64(p.apicID)}
	if !system.CPU(n).IsIdle() {
		c.Thread = int(system.CPU(n).Current())
	}
	return c
}

// Ring implements ddb.Machine.
func (DebugMachine) Ring(from, to int) (sent, taken, done uint32) { return system.RingState(from, to) }

// Step implements ddb.Machine.
func (DebugMachine) Step(on bool) {
	const trap = 1 << 8
	if x := (*context)(pointer(debugStop)); debugStop != 0 {
		x.flags &^= trap
		if on {
			x.flags |= trap
			this().slow = 1
		}
	}
}

// SetPC implements ddb.Machine.
func (DebugMachine) SetPC(pc uint64) {
	if x := (*context)(pointer(debugStop)); debugStop != 0 {
		x.rip = pc
	}
}

// Reset implements ddb.Machine.
func (DebugMachine) Reset() { Reset() }

// PowerOff implements ddb.Machine.
func (DebugMachine) PowerOff() { powerOff() }
