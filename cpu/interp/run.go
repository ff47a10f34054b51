package interp

import (
	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Run implements [cpu.VCPU].
func (c *CPU) Run() (cpu.Exit, error) {
	if t := c.acc.translator; t != nil {
		c.hot.goroutine = t.Goroutine()
	}
	c.quiet.Store(false)
	c.pending.Or(pendInval | pendIntr | pendStop)
	defer c.quiet.Store(true)
	for {
		if p := c.pending.Load(); p != 0 {
			if exit, leave := c.service(p); leave {
				return exit, nil
			}
			if c.waiting {
				continue
			}
		}
		st := stFault
		if c.pending.Load()&pendSlow != 0 {
			st = c.single()
		} else if b := c.lookup(); b != nil {
			if c.acc.translator != nil {
				st = c.hotFrom(b)
			} else {
				st = c.blocksFrom(b)
			}
		}
		if c.failure != nil {
			return cpu.Exit{}, c.failure
		}
		if st == stFault || st == stTrap {
			if !c.deliverFault() {
				return cpu.Exit{Reason: cpu.ExitShutdown}, nil
			}
		}
	}
}

// blocksFrom executes b and the blocks that follow until something has to be
// looked at. c.rip is then that of the next instruction, or of the one that
// faulted when it returns stFault.
func (c *CPU) blocksFrom(b *block) status {
	for {
		rip := c.rip
		c.r[regRIP] = rip
		c.last = b.last
		o := &b.ops[0]
		st := o.fn(c, o)
		for st == stNext {
			o = following(o)
			st = o.fn(c, o)
		}
		c.icount += uint64(o.count)
		next := o.link
		switch st {
		case stTaken:
		case stFall:
			c.rip = (rip + b.size) & c.ipMask
		case stBranch:
			next = nil
		default:
			c.stop(st, o)
			return st
		}
		if c.pending.Load() != 0 {
			return stEnd
		}
		if next == nil || next.dead {
			if next = c.lookup(); next == nil {
				return stFault
			}
			if st != stBranch && (c.rip^rip)&pageMask == 0 && b.phys2 == 0 && next.phys2 == 0 &&
				next.seq == 0 && (c.mode == x86.Mode64 || c.segBase[x86.CS]&pageOffset == 0) {
				o.link = next
			}
		}
		b = next
	}
}

// stop sets RIP after a block was left at o with a status other than those that go on.
func (c *CPU) stop(st status, o *Op) {
	switch st {
	case stRestart, stFault:
		c.rip = c.ripOf(o)
		c.icount -= uint64(o.width)
	case stEnd, stTrap:
		c.rip = c.nextRIP(o)
	}
}

// single executes one instruction and then raises the debug exceptions it
// earned: single step, data breakpoints. An instruction breakpoint comes before it.
func (c *CPU) single() status {
	if c.flags&x86.RF == 0 {
		if hit := c.instructionBreakpoint(); hit != 0 {
			c.exc = exception{vec: x86.VecDB, db: hit}
			return stFault
		}
	}
	b := c.find(c.key | keySingle)
	if b == nil {
		return stFault
	}
	tf := c.flags&x86.TF != 0
	c.sys.lateTF = false
	shadow := c.s.IntrShadow
	c.dbHit = 0
	rip := c.rip
	c.r[regRIP] = rip
	c.last = b.last
	o := &b.ops[0]
	st := o.fn(c, o)
	c.icount++
	switch st {
	case stNext:
		c.rip = c.nextRIP(o)
	case stTaken, stBranch:
	default:
		c.stop(st, o)
	}
	if st == stFault {
		return st
	}
	if shadow && st != stRestart {
		c.s.IntrShadow = false
		c.modeChanged()
	}
	if st == stTrap {
		return st
	}
	if c.flags&x86.RF != 0 && st != stRestart && !c.keepRF {
		c.flags &^= x86.RF
	}
	c.keepRF = false
	if c.sys.lateTF {
		tf = c.flags&x86.TF != 0
	}
	if c.s.MSR.DebugCtl&2 != 0 && st != stTaken && st != stBranch {
		tf = false // BTF: only branches are trapped
	}
	var db uint64
	if tf && st != stRestart && !c.s.IntrShadow {
		db |= 1 << 14 // BS
	}
	db |= uint64(c.dbHit)
	if db != 0 {
		c.exc = exception{vec: x86.VecDB, db: db}
		return stTrap
	}
	return st
}

// instructionBreakpoint returns the DR6 bits of the instruction breakpoints at RIP.
func (c *CPU) instructionBreakpoint() (hit uint64) {
	dr7 := c.s.DR[7]
	if dr7&0xff == 0 {
		return 0
	}
	va, _ := c.fetchAddress(c.rip)
	for i := range 4 {
		if dr7>>(2*i)&3 != 0 && dr7>>(16+4*i)&3 == 0 && c.s.DR[i] == va {
			hit |= 1 << i
		}
	}
	return hit
}

// service looks at what is pending between two blocks.
func (c *CPU) service(p uint32) (exit cpu.Exit, leave bool) {
	if p&pendStop != 0 {
		c.pending.And(^uint32(pendStop))
		if c.acc.stopping.Load() {
			c.standStill()
			p = c.pending.Load()
		}
	}
	if p&pendSample != 0 {
		c.pending.And(^uint32(pendSample))
		if c.s.Run == x86.Running {
			c.sample()
		}
	}
	if p&pendInval != 0 {
		c.pending.And(^uint32(pendInval))
		c.takeInvalidations()
	}
	if p&pendKick != 0 {
		c.pending.And(^uint32(pendKick))
		return cpu.Exit{Reason: cpu.ExitKicked}, true
	}
	if p&pendInit != 0 {
		c.pending.And(^uint32(pendInit))
		c.initialize()
	}
	if p&pendSIPI != 0 {
		c.pending.And(^uint32(pendSIPI))
		c.startup()
	}
	if c.s.Run == x86.WaitForSIPI {
		c.sleep(pendSlow | pendIntr | pendNMI | pendSample)
		return exit, false
	}
	if db := c.sys.trapDB; db != 0 {
		c.sys.trapDB = 0
		c.exc = exception{vec: x86.VecDB, db: db}
		if !c.deliverFault() {
			return cpu.Exit{Reason: cpu.ExitShutdown}, true
		}
	}
	if p&pendNMI != 0 && !c.s.NMIBlocked && !c.s.IntrShadow {
		c.pending.And(^uint32(pendNMI))
		c.s.Run = x86.Running
		if !c.interrupt(x86.VecNMI) {
			return cpu.Exit{Reason: cpu.ExitShutdown}, true
		}
		c.s.NMIBlocked = true
	}
	if p&pendIntr != 0 {
		if vec, ok := c.nextInterrupt(); ok {
			c.s.Run = x86.Running
			if !c.interrupt(vec) {
				return cpu.Exit{Reason: cpu.ExitShutdown}, true
			}
		}
	}
	if c.s.Run == x86.Halted {
		ignore := uint32(pendSlow | pendSample)
		if c.s.NMIBlocked {
			ignore |= pendNMI
		}
		c.sleep(ignore)
		return exit, false
	}
	c.waiting = false
	return exit, false
}

// nextInterrupt returns the vector of the maskable interrupt to take now. When there
// is none that could be taken, it stops looking until something changes.
func (c *CPU) nextInterrupt() (uint8, bool) {
	if c.flags&x86.IF == 0 || c.s.IntrShadow {
		if !c.s.IntrShadow {
			// It is looked at again when IF is set. What comes after this look is told anew.
			c.pending.And(^uint32(pendIntr))
			_, c.held = c.apic.Pending()
			c.held = c.held || c.apic.ExtINT()
		}
		return 0, false
	}
	c.held = false
	c.pending.And(^uint32(pendIntr))
	if c.apic.ExtINT() {
		c.pending.Or(pendIntr)
		c.apic.AcceptExtINT()
		return c.acc.cfg.Platform.AckINTR(), true
	}
	if vec, ok := c.apic.Pending(); ok {
		c.pending.Or(pendIntr)
		return c.apic.Accept(vec), true
	}
	return 0, false
}

// sleep waits until something is pending besides the bits of ignore. While it waits it counts as having
// seen all invalidations, since it looks before it executes anything.
func (c *CPU) sleep(ignore uint32) {
	c.waiting = true
	c.quiet.Store(true)
	for c.pending.Load()&^ignore == 0 {
		<-c.wake
	}
	c.quiet.Store(false)
	c.pending.Or(pendInval | pendStop)
}

// takeInvalidations applies what other processors and devices have changed.
func (c *CPU) takeInvalidations() {
	seen := c.acc.code.events.Load()
	if c.acked.Load() != seen {
		c.flushWrites()
		c.acked.Store(seen)
	}
	c.mu.Lock()
	list := c.inval
	c.inval = nil
	c.mu.Unlock()
	for _, l := range list {
		c.dropLines(l)
	}
}
