package pc64

import (
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
)

// system is all there is of LWKT.
var (
	system lwkt.System
	ncpu   int
)

// hardware is the platform below LWKT.
type hardware struct{}

// SendIPI implements lwkt.Platform.
func (hardware) SendIPI(cpu int) { sendVector(percpuOf(cpu).apicID, vecIPI) }

// Now implements lwkt.Platform.
func (hardware) Now() int64 { return now() }

// SetTimer implements lwkt.Platform.
func (hardware) SetTimer(_ int, when int64) { setTimer(when) }

// Pause implements lwkt.Platform.
func (hardware) Pause(int) {
	flushIfAsked()
	pause()
}

// Slow implements lwkt.Platform.
func (hardware) Slow(cpu int) {
	print("cpu")
	printDec(this().index)
	print(": cpu")
	printDec(uint64(cpu))
	print(" does not answer messages\n")
}

// Panic implements lwkt.Platform.
func (hardware) Panic(msg string) { die(msg) }

// kcpu is the LWKT view of the CPU that calls.
func (p *percpu) kcpu() *lwkt.CPU { return system.CPU(int(p.index)) }

// contextOf is a thread's context.
func contextOf(id lwkt.ThreadID) *context {
	return (*context)(pointer(staticBase + uint64(id)*contextSize))
}

// kexit is the way out of the kernel: what is pending is done, the thread that shall run is
// chosen, and its signals are delivered.
func kexit(p *percpu) {
	c := p.kcpu()
	for {
		if stepHeld {
			return // p.ctx is the thread's that steps
		}
		if system.Thread(c.Current()).Crit() == 0 {
			if c.HasIPIs() {
				c.ProcessIPIs()
			}
			if p.timerDue {
				p.timerDue = false
				c.Timer()
			}
			for w := range p.pending {
				for p.pending[w] != 0 {
					runPending(p, c, w)
				}
			}
			if stepHeld {
				continue
			}
			if c.WantResched() {
				c.Switch()
				if c.IsIdle() && c.WantResched() { // tokens are waited for
					flushIfAsked()
					pause()
					continue
				}
			}
		}
		if c.IsIdle() {
			p.ctx = 0
			c.Pull()
			c.ArmTimer()
			return
		}
		c.ArmTimer()
		x := contextOf(c.Current())
		p.ctx = addressOf(x)
		finishSleep(c, x)
		if atomic.LoadUint64(&x.pend)&^x.mask != 0 {
			deliver(p, x)
		}
		return
	}
}

// ktrap is an interrupt or exception that came while a thread ran.
func ktrap() {
	p := this()
	x := (*context)(pointer(uint64(contextAddress())))
	if x.vec < 32 {
		p.traps++
		if stepTrap(p, x) {
			return
		}
	} else {
		interrupt(p, p.kcpu(), x.vec)
	}
	kexit(p)
}

// kidle is an interrupt that came while the CPU was idle.
func kidle(vec, _ uint64) {
	p := this()
	interrupt(p, p.kcpu(), vec)
	kexit(p)
}

// interrupt acknowledges an interrupt; kexit does what follows.
func interrupt(p *percpu, c *lwkt.CPU, vec uint64) {
	p.irqs++
	switch vec {
	case vecSpur:
		return
	case vecTimer:
		p.timerDue = true
	case vecIPI:
	case vecFlush:
		flushIfAsked()
	default:
		if g := vectorOf(int(p.index), int(vec)).gsi; g != 0 {
			maskGSI(g-1, true) // or it comes again at once; who handles it unmasks it
		}
		p.pending[vec/64] |= 1 << (vec % 64)
	}
	apicWrite(apicEOI, 0)
}

// exception handles a fault of the thread that ran.
func exception(p *percpu, x *context) {
	sig, code, addr := uint64(sigSEGV), uint64(1), x.rip
	switch x.vec {
	case 14:
		p.faults++
		if x.errcode&1 == 0 || x.errcode&2 != 0 {
			c := p.kcpu()
			if !refused(x.cr2, c, x) && fault(x.cr2, x.errcode) {
				noteMemory(c)
				return
			}
		}
		addr = x.cr2
	case 0:
		sig, code = sigFPE, 2
	case 16, 19:
		sig, code = sigFPE, 7
	case 1, 3:
		if debugTrap(p.kcpu(), x) {
			return
		}
		sig = sigTRAP
	case 6:
		sig = sigILL
	case 13, 12, 11, 17:
		sig, addr = sigBUS, 0
	default:
		dieAt("unexpected exception", x.vec, x.rip, x.bp)
	}
	if x.mask>>(sig-1)&1 != 0 || actions[sig].handler < 2 {
		dieAt("exception that no handler takes", x.vec, x.rip, x.bp)
	}
	x.sigCode, x.sigAddr = code, addr
	atomic.OrUint64(&x.pend, 1<<(sig-1))
}

// knested is a page fault of the bottom layer itself, or a breakpoint there.
func knested(frame *[7]uint64, bp uint64) {
	if frame[0] == 3 {
		if !discardBreak(frame[2] - 1) {
			kfatal(frame, bp)
		}
		frame[2]-- // the instruction that was there
		return
	}
	this().faults++
	if !fault(getCR2(), frame[1]) {
		kfatal(frame, bp)
	}
}
