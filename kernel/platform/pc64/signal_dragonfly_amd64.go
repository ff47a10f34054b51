package pc64

import (
	"math/bits"
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
)

// Signals, by DragonFly's numbers.
const (
	sigILL  = 4
	sigTRAP = 5
	sigABRT = 6
	sigFPE  = 8
	sigBUS  = 10
	sigSEGV = 11
	sigURG  = 16
	nsig    = 33

	onStack   = 1 // SA_ONSTACK, SS_ONSTACK
	restart   = 2 // SA_RESTART
	noAltStk  = 4 // SS_DISABLE
	frameKeep = 128
)

// action is struct sigaction.
type action struct {
	handler uint64 // 0 default, 1 ignore
	flags   int32
	mask    [4]uint32
}

// actions are the process's handlers. They are set as the runtime starts and by
// os/signal; a word at a time is read.
var actions [nsig]action

// ignoredByDefault are SIGURG, SIGCONT, SIGCHLD, SIGIO, SIGWINCH and SIGINFO.
const ignoredByDefault = 1<<15 | 1<<18 | 1<<19 | 1<<22 | 1<<27 | 1<<28

// ucontext is the runtime's; see mcontext in runtime/defs_dragonfly_amd64.go for the 26 registers.
type ucontext struct {
	mask [2]uint64
	_    [6]uint64
	regs [26]uint64
	_    [48]byte
	fp   [2]uint64 // in mc_fpregs: whether vector state was kept, and where
	_    [126]uint64
	_    [9]uint64
}

var fpuSize uint64

// deliver makes a thread that is about to run run the handler of a signal that waits.
func deliver(p *percpu, x *context) {
	waiting := atomic.LoadUint64(&x.pend) &^ x.mask
	if x.flags&trapFlag != 0 {
		waiting &^= 1 << (sigURG - 1) // a debugger steps: the Go scheduler can wait
	}
	if waiting == 0 {
		return
	}
	n := bits.TrailingZeros64(waiting)
	atomic.AndUint64(&x.pend, ^(uint64(1) << n))
	sig := uint64(n + 1)
	if sig >= nsig {
		return
	}
	a := &actions[sig]
	if a.handler == 1 || a.handler == 0 && ignoredByDefault>>n&1 != 0 {
		return
	}
	if a.handler == 0 {
		dieAt("fatal signal", sig, x.rip, x.bp)
	}
	sp, was := x.sp-frameKeep, uint64(0)
	if a.flags&onStack != 0 && x.altFlags&noAltStk == 0 {
		if x.sp < x.altSP || x.sp >= x.altSP+x.altSize {
			sp = x.altSP + x.altSize
		} else {
			was = 1
		}
	}
	fp := uint64(0)
	if x.fpv != 0 {
		sp = (sp - fpuSize) &^ 63
		fp = sp
		copy(view(fp, int(fpuSize)), x.fpu[:fpuSize])
	}
	sp -= 128
	info := sp
	*(*[16]uint64)(pointer(info)) = [16]uint64{sig, x.sigCode, 0, x.sigAddr}
	sp = (sp - sizeOf[ucontext]()) &^ 15
	u := (*ucontext)(pointer(sp))
	u.mask[0], u.mask[1] = x.mask, 0
	u.regs = [26]uint64{was, x.di, x.si, x.dx, x.cx, x.r8, x.r9, x.ax, x.bx, x.bp, x.r10, x.r11, x.r12, x.r13, x.r14, x.r15,
		0, x.vec, x.sigAddr, 0, x.errcode, x.rip, x.cs, x.flags, x.sp, x.ss}
	u.fp = [2]uint64{x.fpv, fp}
	store64(sp-8, address[adrSigReturn])
	x.di, x.si, x.dx, x.sp = sig, info, sp, sp-8
	x.rip, x.flags, x.fpv = a.handler, 0x202, 0
	x.mask |= uint64(a.mask[0]) | uint64(a.mask[1])<<32 | 1<<n
	x.sigCode, x.sigAddr = 0, 0
	p.slow = 1
}

// sigreturn undoes deliver.
func sigreturn(p *percpu, x *context) {
	u := (*ucontext)(pointer(x.di))
	m := &u.regs
	x.di, x.si, x.dx, x.cx, x.r8, x.r9, x.ax, x.bx = m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8]
	x.bp, x.r10, x.r11, x.r12, x.r13, x.r14, x.r15 = m[9], m[10], m[11], m[12], m[13], m[14], m[15]
	x.rip, x.flags, x.sp = m[21], m[23]|0x200, m[24]
	x.mask = u.mask[0]
	if x.fpv = u.fp[0]; x.fpv != 0 {
		copy(x.fpu[:fpuSize], view(u.fp[1], int(fpuSize)))
	}
	p.slow = 1
}

// post gives a thread a signal, wherever it is.
func post(c *lwkt.CPU, id lwkt.ThreadID, sig uint64) {
	x := contextOf(id)
	atomic.OrUint64(&x.pend, 1<<(sig-1))
	if id != c.Current() {
		c.Send(system.Thread(id).Owner(), ipiSignal, uint64(id), 0)
	}
}

// signalIPI sees to a signal on the CPU that owned the thread: one that sleeps is woken; one
// that runs takes it on its way out of the kernel.
func signalIPI(c *lwkt.CPU, a, _ uint64) {
	id := lwkt.ThreadID(a)
	t := system.Thread(id)
	if o := t.Owner(); o != c.ID() {
		c.Send(o, ipiSignal, a, 0)
		return
	}
	x := contextOf(id)
	waiting := atomic.LoadUint64(&x.pend) &^ x.mask
	for ; waiting != 0; waiting &= waiting - 1 {
		n := bits.TrailingZeros64(waiting)
		if h := actions[n+1].handler; h > 1 || h == 0 && ignoredByDefault>>n&1 == 0 {
			c.EndSleep(id, lwkt.Interrupted)
			return
		}
	}
}

// restarts tells whether the system call that the next signal has interrupted is to be made again after its handler.
func restarts(x *context) bool {
	waiting := atomic.LoadUint64(&x.pend) &^ x.mask
	if waiting == 0 {
		return true // the signal has been taken back
	}
	n := bits.TrailingZeros64(waiting) + 1
	return n < nsig && actions[n].flags&restart != 0
}
