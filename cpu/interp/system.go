package interp

import "dfemu/cpu/x86"

// sysState is what the system instructions and event delivery keep between instructions
// besides the architectural state.
type sysState struct {
	// trapDB holds the DR6 bits of a debug trap to be delivered before the
	// next instruction.
	trapDB uint64
	// lateTF: the present instruction is single-stepped by the TF that it
	// leaves behind instead of the one it found (INT n, SYSCALL, SYSRET).
	lateTF bool
	// ext is the EXT bit of error codes while an event is being delivered.
	ext uint32
	// switched: the present instruction has switched tasks.
	switched bool
	// features is what CPUID announces; cr4Mask what CR4 may hold by it.
	features x86.FeatureSet
	cr4Mask  uint64
	// large is the linear addresses, in the lower and the upper half, of which
	// large pages have been entered into the TLB.
	large  [2][2]largePages // of pages that are not global, and of global ones
	spaces spaces           // see space.go
	// walkedGlobal: the page that walk found last is global.
	walkedGlobal bool
	// walkedWide: it has at least 2 MiB.
	walkedWide bool
	// logged has the MSRs about which something has been logged.
	logged map[uint32]bool
}

// compileSystem puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileSystem(c *CPU, in *x86.Inst, o *Op) (done, end bool) {
	if compileFar(in, o) {
		return true, true
	}
	for _, f := range [...]func(*x86.Inst, *Op) (done, end bool){
		compileSegment, compileFlags, compileTables, compileControl, compileMisc, compileState, compileIO,
	} {
		if done, end := f(in, o); done {
			return true, end
		}
	}
	return false, false
}

// compileMisc handles software interrupts, HLT and other instructions without operands.
func compileMisc(in *x86.Inst, o *Op) (done, end bool) {
	switch in.Op {
	case x86.INT:
		o.imm = uint64(in.Args[0].Imm) & 0xff
		o.fn = intN
	case x86.INT3:
		o.fn = int3
	case x86.INTO:
		o.fn = into
	case x86.INT1:
		o.fn = int1
	case x86.UD0, x86.UD1, x86.UD2, x86.RSM:
		o.fn = undefinedOp
	case x86.HLT:
		o.fn = hlt
	case x86.MONITOR:
		o.fn = monitor
		return true, false
	case x86.MWAIT:
		o.fn = mwait
	case x86.SYSCALL:
		o.fn = opSyscall
	case x86.SYSRET:
		o.fn = sysret
	case x86.SYSENTER:
		o.fn = sysenter
	case x86.SYSEXIT:
		o.fn = sysexit
	case x86.VMCALL, x86.VMMCALL:
		o.fn = hypercall
		return true, false
	case x86.RDTSC:
		o.fn = rdtsc
		return true, false
	case x86.RDTSCP:
		o.fn = rdtscp
		return true, false
	case x86.RDPID:
		o.dst = regNum(&in.Args[0])
		o.fn = rdpid
		return true, false
	case x86.RDPMC:
		o.fn = rdpmc
		return true, false
	case x86.CPUID:
		o.fn = cpuid
		return true, false
	case x86.RDMSR:
		o.fn = rdmsr
		return true, false
	case x86.WRMSR:
		o.fn = wrmsr
	case x86.SWAPGS:
		o.fn = swapgs
		return true, false
	case x86.RDFSBASE, x86.RDGSBASE, x86.WRFSBASE, x86.WRGSBASE:
		o.dst = regNum(&in.Args[0])
		o.seg = x86.FS
		if in.Op == x86.RDGSBASE || in.Op == x86.WRGSBASE {
			o.seg = x86.GS
		}
		o.fn = rdBase
		if in.Op == x86.WRFSBASE || in.Op == x86.WRGSBASE {
			o.fn = wrBase
		}
		return true, false
	default:
		return false, false
	}
	return true, true
}

// privileged reports whether CPL is 0, and raises #GP(0) if it is not.
func (c *CPU) privileged() bool {
	if c.cpl != 0 {
		c.gp(0)
		return false
	}
	return true
}

// intN is INT n (Intel SDM vol. 2, INT n; vol. 3, 21.3 in virtual-8086 mode).
func intN(c *CPU, o *Op) status {
	vec := uint8(o.imm)
	if c.flags&x86.VM != 0 {
		iopl := c.flags & x86.IOPL
		if c.s.CR4&x86.CR4_VME != 0 {
			redirected, ok := c.redirected(vec)
			if !ok {
				return stFault
			}
			if redirected {
				return c.intVM(o, vec)
			}
		}
		if iopl != x86.IOPL {
			return c.gp(0)
		}
	}
	return c.softInt(o, vec)
}

// redirected tells whether a software interrupt goes to the virtual-8086 program's own handler: its
// bit in the interrupt redirection bitmap of the TSS, 32 bytes below the I/O bitmap, is clear.
func (c *CPU) redirected(vec uint8) (yes, ok bool) {
	tr := &c.s.TR
	if tr.Limit < 103 {
		return false, true
	}
	io, ok := c.readSys(tr.Base+102, 2)
	if !ok {
		return false, false
	}
	off := io - 32 + uint64(vec>>3)
	if io < 32 || off > uint64(tr.Limit) {
		c.gp(0)
		return false, false
	}
	b, ok := c.readSys(tr.Base+off, 1)
	return b>>(vec&7)&1 == 0, ok
}

// intVM is a software interrupt that virtual-8086 mode handles itself, through the table at
// linear address 0 (SDM vol. 3, 21.3.3.3).
func (c *CPU) intVM(o *Op, vec uint8) status {
	v, ok := c.loadN(nil, uint64(vec)*4, 4)
	if !ok {
		return stFault
	}
	image := c.rflags()
	clear := uint64(x86.IF)
	if c.flags&x86.IOPL != x86.IOPL {
		image = image&^x86.IF | image&x86.VIF>>10 | x86.IOPL
		clear = x86.VIF
	}
	if !c.pushWords(2, image&0xffff, uint64(c.s.Seg[x86.CS].Selector), c.nextRIP(o)&0xffff) {
		return stFault
	}
	c.s.Seg[x86.CS] = vmSegment(uint16(v >> 16))
	c.flags &^= clear | x86.TF | x86.RF | x86.NT
	c.modeChanged()
	c.sys.lateTF = true
	c.rip = v & 0xffff
	return stBranch
}

func int3(c *CPU, o *Op) status { return c.softInt(o, x86.VecBP) }

func into(c *CPU, o *Op) status {
	if !c.of() {
		return stNext
	}
	return c.softInt(o, x86.VecOF)
}

// int1 is ICEBP: a debug trap without bits in DR6, from any privilege level.
func int1(c *CPU, _ *Op) status {
	c.exc = exception{vec: x86.VecDB}
	return stTrap
}

func hlt(c *CPU, _ *Op) status {
	if !c.privileged() {
		return stFault
	}
	c.s.Run = x86.Halted
	c.pending.Or(pendIntr)
	return stEnd
}

// monitor and mwait do not wait: a store to the monitored line cannot be seen, and waking up
// for no reason is allowed (SDM vol. 2, MWAIT).
func monitor(c *CPU, o *Op) status {
	switch {
	case c.cpl != 0:
		return c.ud()
	case uint32(c.r[x86.RCX]) != 0:
		return c.gp(0)
	}
	return stNext
}

func mwait(c *CPU, _ *Op) status {
	switch {
	case c.cpl != 0:
		return c.ud()
	case c.r[x86.RCX]&^1 != 0:
		return c.gp(0)
	}
	return stEnd
}

// Hypercalls of KVM: RAX has the number and then the result.
const (
	hcVAPICPollIRQ = 1
	hcNoSys        = -1000
	hcPerm         = -1
)

// hypercall is VMCALL or VMMCALL, answered as KVM does.
func hypercall(c *CPU, _ *Op) status {
	nr := c.r[x86.RAX]
	if c.mode != x86.Mode64 {
		nr &= 0xffffffff
	}
	r := int64(hcNoSys)
	switch {
	case c.cpl != 0:
		r = hcPerm
	case nr == hcVAPICPollIRQ:
		r = 0
	}
	c.r[x86.RAX] = uint64(r)
	if c.mode != x86.Mode64 {
		c.r[x86.RAX] &= 0xffffffff
	}
	return stNext
}

func swapgs(c *CPU, _ *Op) status {
	if !c.privileged() {
		return stFault
	}
	g := &c.s.Seg[x86.GS]
	g.Base, c.s.MSR.KernelGSBase = c.s.MSR.KernelGSBase, g.Base
	c.segBase[x86.GS] = g.Base
	return stNext
}

// rdBase is RDFSBASE or RDGSBASE.
func rdBase(c *CPU, o *Op) status {
	if c.s.CR4&x86.CR4_FSGSBASE == 0 {
		return c.ud()
	}
	v := c.s.Seg[o.seg].Base
	if o.size == 4 {
		v &= 0xffffffff
	}
	c.r[o.dst&15] = v
	return stNext
}

// wrBase is WRFSBASE or WRGSBASE.
func wrBase(c *CPU, o *Op) status {
	if c.s.CR4&x86.CR4_FSGSBASE == 0 {
		return c.ud()
	}
	v := c.r[o.dst&15]
	if o.size == 4 {
		v &= 0xffffffff
	}
	if !c.canonical(v) {
		return c.gp(0)
	}
	c.s.Seg[o.seg].Base = v
	c.segBase[o.seg&7] = v
	return stNext
}
