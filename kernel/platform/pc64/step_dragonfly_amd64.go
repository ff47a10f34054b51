package pc64

import "dfemu/kernel/kern/lwkt"

// A thread executes one instruction alone: the other CPUs go on standing still, and interrupts are off, so that nothing else of its CPU runs. gdb
// wants that to get past a breakpoint that it has taken away for the time. The exception that ends the step comes with interrupts off, as if
// it were the kernel's own; percpu.step tells assembly whose it is. It need not be the CPU's own thread: that of a CPU that stands still has all it
// needs in its context, and is none the wiser.

const (
	trapFlag      = 1 << 8
	interruptFlag = 1 << 9
)

var (
	stepWanted lwkt.ThreadID // the debugger asks for it, 0 for not
	stepThread lwkt.ThreadID // who does it
	stepHeld   bool          // it is under way: the other CPUs stand still
	stepCount  uint64
)

// holdStep makes a thread execute one instruction alone when the kernel is left, which it then is at once.
func holdStep(p *percpu) {
	stepHeld, stepThread, stepWanted = true, stepWanted, 0
	stepCount++
	x := contextOf(stepThread)
	x.flags &^= interruptFlag
	p.ctx = addressOf(x)
	p.step = 1
}

// stepsAlone tells whether an instruction can be executed so: not one that enters the kernel, waits, or sees or changes the interrupt flag.
func stepsAlone(m GDBMachine, pc uint64) bool {
	var b [3]byte
	for i := range b {
		if !m.Mapped(pc + uint64(i)) {
			return false
		}
		b[i] = m.Load(pc + uint64(i))
	}
	i := 0
	if b[0]&0xf0 == 0x40 || b[0] == 0x66 { // a prefix
		i = 1
	}
	switch b[i] {
	case 0x9c, 0x9d, 0xf4, 0xfa, 0xfb, 0xcc, 0xcd, 0xcf: // PUSHF, POPF, HLT, CLI, STI, INT3, INT, IRET
		return false
	case 0x0f:
		return b[i+1] != 0x05 // SYSCALL
	}
	return true
}

// stepTrap handles an exception of the thread that runs, and tells whether it is to go on with a step at once.
func stepTrap(p *percpu, x *context) bool {
	held, count := stepHeld, stepCount
	if held {
		x.flags |= interruptFlag
	}
	exception(p, x)
	switch {
	case !stepHeld:
		return false
	case stepCount != count: // the debugger has had its say, and wants another step
	case x.vec == 14 && x.pend&^x.mask == 0: // the page that the instruction lacked is there now
		x.flags &^= interruptFlag
		p.step = 1
	default: // the instruction has failed: its thread gets a signal, and goes on with all others
		stepHeld = false
		p.kcpu().Unquiesce(ipiWatch, 0)
		return false
	}
	return true
}
