package interp

import (
	"bytes"
	"fmt"
	"strings"

	"dfemu/cpu/x86"
)

// Lockstep makes a processor execute each translated block twice, first by the interpreter and then, with what that
// changed taken back, by the translation, and compare the two. It serves machines with one processor:
// with more, memory changes meanwhile. Call it before the processors run.
func (a *Accel) Lockstep() error {
	if len(a.cpus) != 1 {
		return fmt.Errorf("lockstep: a machine with %d processors cannot be compared: use one", len(a.cpus))
	}
	a.lockstep = true
	return nil
}

// A Divergence is a block that its translation executed differently from the interpreter.
type Divergence struct {
	RIP   uint64
	Code  []byte
	Insts []string
	Diffs []string // what differs: interpreter, translation
}

// Error implements error.
func (d *Divergence) Error() string {
	return fmt.Sprintf("lockstep: the block at %#x (% x) was translated wrongly:\n  %s\n  %s", d.RIP, d.Code,
		strings.Join(d.Insts, "\n  "), strings.Join(d.Diffs, "\n  "))
}

// dryRun is an execution that will be taken back.
type dryRun struct {
	// stopped: the instruction does what cannot be taken back, and was not executed.
	stopped bool
	// vague: an instruction asks for a flag that is undefined, so that both ways of going on are right, or one with REP was left on its way.
	vague bool
	pages []dryPage
	steps map[*Unit][]dryStep
	was   saved
}

// dryStep is what matters of an instruction here.
type dryStep struct {
	repeatable bool
	repeated   bool // REP
	flags      x86.Flags
}

func (d *dryRun) stepsOf(u *Unit) []dryStep {
	if l := d.steps[u]; l != nil {
		return l
	}
	l := make([]dryStep, len(u.Insts))
	for i := range u.Insts {
		var in x86.Inst
		if u.decode(i, &in) == nil {
			l[i] = dryStep{repeatable(&in), in.Rep && in.Ctl() == x86.CtlNone, in.Enc.Flags()}
		}
	}
	if d.steps == nil {
		d.steps = map[*Unit][]dryStep{}
	}
	d.steps[u] = l
	return l
}

// dryPage is a page that is written to.
type dryPage struct {
	host          hostPage
	before, after []byte
}

// touch is called before the first store to a page.
func (d *dryRun) touch(p hostPage) {
	for i := range d.pages {
		if d.pages[i].host == p {
			return
		}
	}
	if len(d.pages) < cap(d.pages) {
		d.pages = d.pages[:len(d.pages)+1]
	} else {
		d.pages = append(d.pages, dryPage{})
	}
	g := &d.pages[len(d.pages)-1]
	if g.before == nil {
		g.before, g.after = make([]byte, pageSize), make([]byte, pageSize)
	}
	g.host = p
	copy(g.before, hostBytes(p, pageSize))
}

// takeBack restores memory and keeps what it was changed to.
func (d *dryRun) takeBack() {
	for i := range d.pages {
		p := &d.pages[i]
		copy(p.after, hostBytes(p.host, pageSize))
		copy(hostBytes(p.host, pageSize), p.before)
	}
}

// due reports whether this execution of u is compared: the first ones of each unit, then few, lest the guest
// be so slow that it does nothing but keep up with its timer.
func (u *Unit) due() bool {
	u.runs++
	return u.runs <= 100 || u.runs&0x3ff == 0
}

// outcome is the state that two executions of a block must agree on.
type outcome struct {
	r      [16]uint64
	rip    uint64
	arith  uint64
	flags  uint64
	mxcsr  uint32
	vec    [16][4]uint64
	fs, gs uint64
	kernel uint64
	exc    exception
	cr2    uint64
}

func (c *CPU) outcome(st status) (o outcome) {
	copy(o.r[:], c.r[:16])
	o.rip, o.arith, o.flags, o.mxcsr, o.vec = c.rip, c.arith(), c.flags, c.s.MXCSR, c.s.Vec
	o.fs, o.gs, o.kernel = c.segBase[x86.FS], c.segBase[x86.GS], c.s.MSR.KernelGSBase
	if st == stFault || st == stTrap {
		o.exc, o.cr2 = c.exc, c.s.CR2
	}
	return o
}

// saved is what a dry run may change besides memory.
type saved struct {
	r            [32]uint64
	fres, fcarry uint64
	rip, flags   uint64
	ctx          uint64
	exc          exception
	s            x86.State
	segBase      [8]uint64
	fp           simdState
	keepRF, held bool
}

func (c *CPU) save(s *saved) {
	*s = saved{c.r, c.fres, c.fcarry, c.rip, c.flags, c.ctx, c.exc, c.s, c.segBase, c.fp, c.keepRF, c.held}
}

func (c *CPU) restore(s *saved) {
	c.r, c.fres, c.fcarry, c.rip, c.flags, c.ctx, c.exc, c.s = s.r, s.fres, s.fcarry, s.rip, s.flags, s.ctx, s.exc, s.s
	c.segBase, c.fp, c.keepRF, c.held = s.segBase, s.fp, s.keepRF, s.held
}

// repeatable reports whether an instruction may be executed twice.
func repeatable(in *x86.Inst) bool {
	switch in.Ctl() {
	case x86.CtlNone, x86.CtlJump, x86.CtlCond, x86.CtlCall, x86.CtlRet:
	default:
		switch in.Op {
		case x86.CLI, x86.STI, x86.CLAC, x86.STAC, x86.SWAPGS, x86.MOVSEG, x86.WRFSBASE, x86.WRGSBASE:
			return true
		}
		return false
	}
	switch in.Op {
	case x86.RDTSC, x86.RDTSCP, x86.RDRAND, x86.RDSEED, x86.IN, x86.OUT, x86.INS, x86.OUTS, x86.PAUSE, x86.RDPMC, x86.RDMSR:
		return false
	}
	return !in.Rep && !in.Repne || in.Ctl() != x86.CtlNone || in.Op == x86.STOS || in.Op == x86.MOVS
}

// dry interprets u without effect. It returns what comes of it, the index of the instruction before which it stopped
// (or the number of instructions), and the flags that are undefined then.
func (c *CPU) dry(u *Unit, d *dryRun) (want outcome, stop int, undefined uint64, st status) {
	c.flushWrites()
	c.dryRun = d
	defer func() { c.dryRun = nil }()
	page := c.rip & pageMask
	c.r[regRIP] = page
	c.last = u.last()
	steps := d.stepsOf(u)
	st = stNext
	for stop = range u.Insts {
		n := &u.Insts[stop]
		c.rip = (page + uint64(n.Start)) & c.ipMask
		if uint64(steps[stop].flags.Tested)&undefined != 0 {
			d.vague = true
			return want, stop, undefined, stNext
		}
		if !steps[stop].repeatable {
			return c.outcome(stNext), stop, undefined, stNext
		}
		o := c.unitOp(u, stop)
		st = o.fn(c, o)
		if (d.stopped || st == stRestart) && steps[stop].repeated { // somewhere on its way
			d.vague = true
			return want, stop, undefined, stNext
		}
		if d.stopped { // as if it had faulted: it has changed nothing
			return c.outcome(stNext), stop, undefined, stNext
		}
		if st != stFault && st != stRestart {
			f := steps[stop].flags
			if f.Cond {
				undefined |= uint64(f.Undefined)
			} else {
				undefined = undefined&^uint64(f.Written) | uint64(f.Undefined)
			}
		}
		switch st {
		case stNext:
			if n.Followed { // a branch that is not taken
				c.rip = (page + uint64(n.Next)) & c.ipMask
				return c.outcome(stBranch), len(u.Insts), undefined, stBranch
			}
			continue
		case stTaken, stBranch:
			if n.Followed && c.rip == (page+uint64(u.Insts[stop+1].Start))&c.ipMask {
				st = stNext
				continue
			}
		default:
			c.stop(st, o)
		}
		return c.outcome(st), len(u.Insts), undefined, st
	}
	c.rip = (page + uint64(u.Insts[len(u.Insts)-1].Next)) & c.ipMask
	return c.outcome(st), len(u.Insts), undefined, st
}

// compare executes u in both ways.
func (c *CPU) compare(t Translator, u *Unit) (status, error) {
	rip := c.rip
	if c.acc.dry == nil {
		c.acc.dry = &dryRun{}
	}
	d := c.acc.dry
	d.stopped, d.vague, d.pages = false, false, d.pages[:0]
	was := &d.was
	c.save(was)
	want, stop, undefined, wantSt := c.dry(u, d)
	d.takeBack()
	c.restore(was)
	if d.vague {
		st, _ := c.execute(t, u)
		return st, nil
	}
	st, at := c.executeTo(t, u, stop)
	switch {
	case st == stBranch && c.hot.Kind == SiteRIP && c.rip == rip:
		return st, nil // it was left before it began: something is pending
	case st == stBranch && c.hot.Kind == SitePoll:
		return st, nil // likewise, on its way
	case st == stBranch && (c.hot.Kind == SiteInterpret || c.hot.Kind == SiteApart):
		b := c.lookup()
		if b == nil {
			return stFault, nil
		}
		return c.interpretBlock(b), nil
	}
	got := c.outcome(st)
	diffs := want.differences(&got, undefined)
	if (st == stFault) != (wantSt == stFault) {
		diffs = append(diffs, fmt.Sprintf("status %d, %d", wantSt, st))
	}
	for i := range d.pages {
		p := &d.pages[i]
		now := hostBytes(p.host, pageSize)
		if bytes.Equal(p.after, now) {
			continue
		}
		for k := range now {
			if now[k] != p.after[k] {
				diffs = append(diffs, fmt.Sprintf("memory at offset %#x of a page: %#x, %#x (before: %#x)", k, p.after[k], now[k], p.before[k]))
				break
			}
		}
	}
	if len(diffs) > 0 {
		e := &Divergence{RIP: rip, Diffs: diffs}
		for i := range u.Runs {
			e.Code = append(e.Code, u.Runs[i].Code...)
		}
		for i := range u.Insts {
			var in x86.Inst
			_ = u.decode(i, &in)
			e.Insts = append(e.Insts, fmt.Sprintf("%#x %v", rip&pageMask+uint64(u.Insts[i].Start), &in))
		}
		e.Diffs = append(e.Diffs, fmt.Sprintf("stopped before instruction %d of %d; went on at %#x, undefined flags %#x", stop, len(u.Insts), want.rip, undefined))
		for i, v := range was.r[:16] {
			e.Diffs = append(e.Diffs, fmt.Sprintf("before: r%d %#x", i, v))
		}
		return stFault, e
	}
	if at != nil {
		// The rest of the block is executed once, from this instruction on.
		st = at.fn(c, at)
		switch st {
		case stNext:
			c.rip = c.nextRIP(at)
			st = stBranch
		case stTaken, stBranch:
		default:
			c.stop(st, at)
		}
	}
	return st, nil
}

// executeTo executes the translation of u up to instruction stop, whose handler it then returns.
func (c *CPU) executeTo(t Translator, u *Unit, stop int) (status, *Op) {
	h := c.begin()
	at := u.Entry
	for {
		c.enterCode(t, at)
		if h.Kind != SiteOp {
			c.left(t)
			return stBranch, nil
		}
		_, s, o := c.atSite(t)
		if int(s.Inst) >= stop {
			c.rip = c.ripOf(o)
			return stNext, o
		}
		h.dropped = false
		switch st := o.fn(c, o); st {
		case stNext:
			if h.dropped {
				h.Kind = SiteInterpret // what follows is not compared
			}
			if s.Resume == 0 || h.dropped {
				c.rip = c.nextRIP(o)
				return stBranch, nil
			}
			c.executedFor()
			at = s.Resume
		case stTaken, stBranch:
			return stBranch, nil
		default:
			c.stop(st, o)
			return st, nil
		}
	}
}

// differences lists what is not the same; some arithmetic flags may differ.
func (w *outcome) differences(g *outcome, undefined uint64) (l []string) {
	add := func(what string, a, b uint64) {
		if a != b {
			l = append(l, fmt.Sprintf("%s: %#x, %#x", what, a, b))
		}
	}
	for i := range w.r {
		add(fmt.Sprintf("r%d", i), w.r[i], g.r[i])
	}
	add("rip", w.rip, g.rip)
	add("arithmetic flags", w.arith&^undefined, g.arith&^undefined)
	add("flags", w.flags, g.flags)
	add("MXCSR", uint64(w.mxcsr), uint64(g.mxcsr))
	add("FS base", w.fs, g.fs)
	add("GS base", w.gs, g.gs)
	add("kernel GS base", w.kernel, g.kernel)
	if w.exc != g.exc {
		l = append(l, fmt.Sprintf("exception: %+v, %+v", w.exc, g.exc))
	}
	add("CR2", w.cr2, g.cr2)
	for i := range w.vec {
		if w.vec[i] != g.vec[i] {
			l = append(l, fmt.Sprintf("ymm%d: %x, %x", i, w.vec[i], g.vec[i]))
		}
	}
	return l
}
