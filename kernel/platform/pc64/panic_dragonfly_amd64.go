package pc64

import (
	"sync/atomic"
	"unsafe"

	"dfemu/kernel/kern/lwkt"
)

// stopping is set, by assembly's leave, once the system is coming down.
var stopping int32

// reporter is the index, plus one, of the CPU that reports why.
var reporter atomic.Uint64

const pvpanicPort = 0x505

// comeDown makes this CPU the one that reports why the system ends, before it writes anything: one that wants to as well waits to be stopped. It returns
// false on the CPU that reports already, when something else has failed meanwhile.
func comeDown() bool {
	me := this().index + 1
	if atomic.SwapInt32(&stopping, 1) == 0 {
		reporter.Store(me)
		return true
	}
	if reporter.Load() != me {
		halted()
	}
	return false
}

// halted waits for ever.
func halted() {
	for {
		halt()
	}
}

// kfatal is a fault of the bottom layer, with interrupts off.
func kfatal(frame *[7]uint64, bp uint64) {
	p, first := this(), comeDown()
	print("\nfatal trap ")
	printDec(frame[0])
	print(" error ")
	printHex(frame[1])
	print(" address ")
	printHex(getCR2())
	print(" in the kernel's bottom layer on cpu")
	printDec(p.index)
	print("\n")
	if !first {
		halted()
	}
	report("fatal trap", frame[0], frame[2], bp)
}

// kstopped is the non-maskable interrupt: it stops a CPU when the system comes down, and is the
// operator's way to bring it down.
func kstopped(frame *[7]uint64, bp uint64) {
	p := this()
	if atomic.LoadInt32(&stopping) == 0 {
		dieAt("non-maskable interrupt", 0, frame[2], bp)
	}
	p.stopPC, p.stopFP = frame[2], bp
	atomic.StoreUint32(&p.stopped, 1)
	halted()
}

// kself is a system call with interrupts off: the runtime reports a panic of the bottom layer.
func kself(nr, a, b, c uint64) {
	switch nr {
	case sysWrite:
		for i := range c {
			putByte(load8(b + i))
		}
	case sysExit, sysUmtxSleep, sysNanosleep, sysLwpKill, sysKill:
		dieAt("the kernel's bottom layer has failed", nr, a, framePointer())
	}
}

// die ends the system from the bottom layer.
func die(why string) { dieAt(why, 0, 0, framePointer()) }

// dieAt is die with a number to be told, and where the trace begins: an instruction, if not 0, and a
// frame pointer.
func dieAt(why string, n, pc, bp uint64) {
	if !comeDown() {
		halted()
	}
	report(why, n, pc, bp)
}

// report writes why the system ends, where each CPU is and what all threads do, and ends it. It is called after comeDown.
func report(why string, n, pc, bp uint64) {
	me := this()
	noWatches()
	print("\npanic: ")
	print(why)
	if n != 0 {
		print(" (")
		printDec(n)
		print(")")
	}
	print("\n")
	printTrace(me, pc, bp)
	for i := range ncpu {
		p := percpuOf(i)
		if p == me || atomic.LoadUint32(&p.up) == 0 {
			continue
		}
		sendNMI(p.apicID)
		for spin := 0; spin < 1<<24 && atomic.LoadUint32(&p.stopped) == 0; spin++ {
			pause()
		}
		if atomic.LoadUint32(&p.stopped) != 0 {
			printTrace(p, p.stopPC, p.stopFP)
		} else {
			print("cpu")
			printDec(p.index)
			print(" does not answer\n")
		}
	}
	printThreads()
	if hook := panicHook; hook != nil {
		hook()
	}
	out8(pvpanicPort, 1)
	for spin := 0; spin < 1<<20; spin++ {
		pause()
	}
	switch panicEnd {
	case PanicOff:
		powerOff()
	case PanicHalt:
		print("the system has halted\n")
		halted()
	}
	Reset()
}

// PanicEnd is what the machine does after a panic has been reported.
type PanicEnd uint8

// What it does.
const (
	PanicReset PanicEnd = iota
	PanicOff
	PanicHalt
)

var panicEnd PanicEnd

// SetPanicEnd says what the machine does after a panic, once the debuggers that are to be entered have been left.
func SetPanicEnd(e PanicEnd) { panicEnd = e }

// panicHook is called when a panic has been reported, in the bottom layer, all other CPUs
// stopped: a debugger's place.
var panicHook func()

// funcInfo is the runtime's, which is two pointers.
type funcInfo struct {
	fn, datap unsafe.Pointer
}

//go:linkname findfunc runtime.findfunc
func findfunc(pc uintptr) funcInfo

//go:linkname funcline1 runtime.funcline1
func funcline1(f funcInfo, pc uintptr, strict bool) (file string, line int32)

// symbolize returns the function, file and line of an instruction without allocating.
func symbolize(pc uint64) (name, file string, line int32, ok bool) {
	f := findfunc(uintptr(pc))
	if f.fn == nil {
		return "", "", 0, false
	}
	file, line = funcline1(f, uintptr(pc), false)
	return f.name(), file, line, true
}

// printTrace prints a CPU's state and the calls that led to it.
func printTrace(p *percpu, pc, bp uint64) {
	print("cpu")
	printDec(p.index)
	if p.ctx == 0 {
		print(" idle")
	} else {
		print(" in thread ")
		printDec(uint64((*context)(pointer(p.ctx)).tid))
	}
	print(":\n")
	if pc != 0 {
		printFrame(pc)
	}
	for range 24 {
		if !mapped(bp) || !mapped(bp+8) || bp&7 != 0 {
			return
		}
		ret := load64(bp + 8)
		if _, _, _, ok := symbolize(ret - 1); !ok {
			return
		}
		printFrame(ret - 1)
		next := load64(bp)
		if next <= bp && next>>20 == bp>>20 {
			return
		}
		bp = next
	}
}

func printFrame(pc uint64) {
	name, file, line, ok := symbolize(pc)
	print("  ")
	printHex(pc)
	if ok {
		print(" ")
		print(name)
		print(" ")
		print(file)
		print(":")
		printDec(uint64(line))
	}
	print("\n")
}

// printThreads prints a line for each thread: where it is and what it waits for.
func printThreads() {
	for i := 1; i < system.Threads(); i++ {
		t := system.Thread(lwkt.ThreadID(i))
		if !t.Used() || t.Idle() {
			continue
		}
		x := contextOf(lwkt.ThreadID(i))
		print("thread ")
		printDec(uint64(i))
		print(" cpu")
		printDec(uint64(t.Owner()))
		print(" pri ")
		printDec(uint64(t.Priority()))
		if t.Runnable() {
			print(" runnable")
		}
		if ident, ok := t.Sleeping(); ok {
			print(" sleeps on ")
			printHex(ident)
		}
		if n := t.Tokens(); n > 0 {
			print(" tokens ")
			printDec(uint64(n))
		}
		print(" signals ")
		printHex(atomic.LoadUint64(&x.pend))
		print(" masked ")
		printHex(x.mask)
		print(" in call ")
		printDec(uint64(x.asleep))
		print(" ")
		printName(t)
		print("\n")
		printFrame(x.rip)
	}
}

// printName prints a thread's name.
func printName(t *lwkt.Thread) {
	n := 0
	for n < len(t.Name) && t.Name[n] != 0 {
		n++
	}
	printBytes(t.Name[:n])
}

// mapped tells whether an address can be read. It takes no lock.
func mapped(va uint64) bool {
	t := rootPT
	for l := 4; l >= 1; l-- {
		shift := 12 + 9*(l-1)
		v := load64(directMap + t + va>>shift&511*8)
		if v&ptePresent == 0 {
			return false
		}
		if v&pteLarge != 0 && l > 1 {
			return true
		}
		t = v & pteAddr
	}
	return va>>47 == 0
}
