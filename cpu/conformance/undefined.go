package conformance

import (
	"math"

	"dfemu/cpu/x86"
)

// rule is something that manuals leave undefined or to the processor. Where it
// applies, ignore makes the two results equal in that.
type rule struct {
	why    string
	when   func(c *Case, want, got *Result) bool
	ignore func(c *Case, want, got *Result)
}

// rules apply to cases that came out different, in this order.
var rules = []rule{
	{
		"flags that the instruction's page in the SDM calls undefined",
		func(c *Case, want, got *Result) bool { return !ownFault(c, want) },
		func(c *Case, want, got *Result) {
			f := undefinedFlags(c)
			if want.Regs.RIP != c.Regs.RIP+uint64(c.Inst.Len) { // the second instruction has been executed too
				switch c.Tail {
				case x86.ADC, x86.SBB:
					f = 0
				case x86.RCL:
					f &^= x86.CF | x86.OF
				}
			}
			want.Regs.RFLAGS &^= f
			got.Regs.RFLAGS &^= f
		},
	},
	{
		"XSAVE of the host's kernel stores no selectors of x87 code and data, and on AMD pointers only while an exception is pending (APM vol. 2, 11.4.4)",
		always,
		func(c *Case, want, got *Result) {
			w, g := &want.Regs.FPU, &got.Regs.FPU
			g.FCS, g.FDS = w.FCS, w.FDS
			if w.SW&swES == 0 {
				g.FIP, g.FDP, g.FOP = w.FIP, w.FDP, w.FOP
			}
		},
	},
	{
		"x87 instructions without operand leave the operand's address, which XRSTOR of the host's kernel may not have loaded (as above)",
		func(c *Case, want, got *Result) bool { return c.Regs.FPU.SW&swES == 0 && !c.Form.mem() },
		func(c *Case, want, got *Result) { got.Regs.FPU.FDP = want.Regs.FPU.FDP },
	},
	{
		"FXSAVE, FNSTENV and the like: pointers as above; MXCSR_MASK is the processor's own",
		always,
		ignorePointers,
	},
	{
		"Linux sets P in the error code of all page faults above user space, to hide what is mapped there",
		always,
		both(func(c *Case, r *Result) {
			if r.Fault.Vector == x86.VecPF && r.Fault.CR2 >= 1<<47-pageSize {
				r.Fault.Code |= x86.PFP
			}
		}),
	},
	{
		"the host's kernel returns from exceptions by IRET, which makes null selectors 0 (SDM vol. 2, IRET)",
		always,
		both(func(c *Case, r *Result) {
			for i, s := range r.Regs.Sel {
				if s < 4 {
					r.Regs.Sel[i] = 0
				}
			}
		}),
	},
	{
		"RF in the image pushed for a single step between two iterations: SDM vol. 3, 17.3.1.1 has 1, AMD 0",
		func(c *Case, want, got *Result) bool {
			return (c.Form.Rep || c.Form.Repne) && want.Fault.Vector == x86.VecDB && want.Regs.RIP == c.Regs.RIP
		},
		both(func(c *Case, r *Result) { r.Regs.RFLAGS &^= x86.RF }),
	},
	{
		"hypervisors intercept INT1 and inject its #DB themselves: with RIP at the instruction on AMD",
		func(c *Case, want, got *Result) bool { return c.Inst.Op == x86.INT1 },
		both(func(c *Case, r *Result) { r.Regs.RIP = c.Regs.RIP }),
	},
	{
		"whether a conversion to MMX registers that raises #XM, and MASKMOVQ that faults, have made the change to MMX state (TOP 0, all tags valid)",
		func(c *Case, want, got *Result) bool {
			return ownFault(c, want) &&
				(c.Inst.Enc.Exc == x86.ExcMMXF && want.Fault.Vector == x86.VecXM || c.Inst.Op == x86.MASKMOVQ && memoryFault(c, want))
		},
		both(func(c *Case, r *Result) {
			r.Regs.FPU.SW &^= swTop
			r.Regs.FPU.Tag = 0
		}),
	},
	{
		"the approximations have a relative error of up to 1.5 · 2⁻¹² (SDM vol. 2, RCPPS, RSQRTPS)",
		func(c *Case, want, got *Result) bool { return approximates(c.Inst.Op) },
		ignoreApproximation,
	},
	{
		"POPA that faults: which registers have been loaded, as the stack pointer has not moved",
		func(c *Case, want, got *Result) bool { return c.Inst.Op == x86.POPA && memoryFault(c, want) },
		ignorePopped,
	},
	{
		"PUSHA that faults: what has been written below the stack pointer",
		func(c *Case, want, got *Result) bool { return c.Inst.Op == x86.PUSHA && memoryFault(c, want) },
		func(c *Case, want, got *Result) {
			n := 8 * uint64(c.Form.OpSize)
			sameBytes(c.Regs.GPR[x86.RSP]-n, int(n), want, got)
		},
	},
	{
		"which part of an operand that is accessed in several faults first (SDM vol. 3, table 6-2 and 6.15)",
		func(c *Case, want, got *Result) bool {
			return inParts(c) && possible(c, want) && possible(c, got)
		},
		sameFault,
	},
	{
		"whether FXSAVE and the like raise #AC or #GP for an unaligned operand (SDM vol. 2, FXSAVE)",
		func(c *Case, want, got *Result) bool {
			return isImage(c.Inst.Op) && c.Regs.RFLAGS&x86.AC != 0 && c.Operand&15 != 0 &&
				want.Fault.Vector == x86.VecAC && got.Fault == Fault{Vector: x86.VecGP} && got.Regs.RIP == c.Regs.RIP
		},
		sameFault,
	},
	{
		"IRET checks SS before RIP (SDM vol. 2, IRET), on AMD RIP before SS",
		func(c *Case, want, got *Result) bool {
			return c.Inst.Op == x86.IRET && want.Fault == Fault{Vector: x86.VecGP} &&
				got.Fault.Vector == x86.VecGP && got.Fault.Code != 0 && got.Regs.RIP == c.Regs.RIP
		},
		sameFault,
	},
	{
		"CALL checks its target before the stack (SDM vol. 2, CALL), on AMD after it",
		func(c *Case, want, got *Result) bool {
			return c.Inst.Op == x86.CALL && got.Fault == Fault{Vector: x86.VecGP} && got.Regs.RIP == c.Regs.RIP &&
				want.Fault.Vector != x86.VecGP && possible(c, want)
		},
		sameFault,
	},
	{
		"RETF and IRET check the code segment before they read the outer stack pointer (SDM vol. 2), on AMD after it",
		func(c *Case, want, got *Result) bool {
			return (c.Inst.Op == x86.RETFAR || c.Inst.Op == x86.IRET) && got.Fault.Vector == x86.VecGP && got.Regs.RIP == c.Regs.RIP &&
				(want.Fault.Vector == x86.VecPF || want.Fault.Vector == x86.VecAC) && possible(c, want)
		},
		sameFault,
	},
	{
		"whether I/O permission is checked before the count of REP INS and OUTS is found to be 0",
		func(c *Case, want, got *Result) bool {
			return (c.Inst.Op == x86.INS || c.Inst.Op == x86.OUTS) && (c.Form.Rep || c.Form.Repne) &&
				c.Regs.GPR[x86.RCX]&(1<<(8*c.Form.AddrSize-1)<<1-1) == 0 &&
				want.Fault == Fault{Vector: x86.VecGP} && want.Regs.RIP == c.Regs.RIP
		},
		func(c *Case, want, got *Result) { *got = *want },
	},
	{
		"MOVSXD of 16 bits reads 32 bits of memory on AMD, 16 on Intel (APM vol. 3, SDM vol. 2, MOVSXD)",
		func(c *Case, want, got *Result) bool {
			return c.Inst.Op == x86.MOVSXD && c.Form.OpSize == 2 && c.Form.mem() && possible(c, want) &&
				(!memoryFault(c, got) || want.Fault != got.Fault)
		},
		func(c *Case, want, got *Result) { *got = *want },
	},
	{
		"x87 transcendental functions: results within one unit in the last place, and C1, which tells how they were rounded (SDM vol. 1, 8.3.10)",
		func(c *Case, want, got *Result) bool { return transcendental(c.Inst.Op) && inDomain(c) },
		ignoreRounding,
	},
	{
		"F2XM1 and FYL2XP1 outside the domain: the result and the exceptions (SDM vol. 2, F2XM1, FYL2XP1)",
		func(c *Case, want, got *Result) bool { return transcendental(c.Inst.Op) && !inDomain(c) },
		ignoreUndomained,
	},
}

func always(*Case, *Result, *Result) bool { return true }

// Fields of the x87 status word.
const (
	swExceptions = 0x3f
	swES         = 1 << 7 // exception summary
	swC1         = 1 << 9
	swTop        = 7 << 11
	swBusy       = 1 << 15
)

// both makes a rule's action of one that is the same for each result.
func both(f func(*Case, *Result)) func(*Case, *Result, *Result) {
	return func(c *Case, want, got *Result) {
		f(c, want)
		f(c, got)
	}
}

// ignoreUndefined makes equal, in both results of a case, what the manuals
// leave undefined or to the implementation.
func ignoreUndefined(c *Case, want, got *Result, masked []uint64) {
	left := distance(want, got)
	for i := range rules {
		r := &rules[i]
		if left == 0 {
			return
		}
		if !r.when(c, want, got) {
			continue
		}
		r.ignore(c, want, got)
		if d := distance(want, got); d < left {
			left = d
			if masked != nil {
				masked[i]++
			}
		}
	}
}

// undefinedFlags returns the flags that the instruction leaves undefined in this case.
func undefinedFlags(c *Case) uint64 {
	f := c.Inst.Enc.Flags()
	u := uint64(f.Undefined)
	switch c.Inst.Op {
	case x86.ROL, x86.ROR, x86.RCL, x86.RCR, x86.SHL, x86.SHR, x86.SAR, x86.SHLD, x86.SHRD:
		n := shiftCount(c)
		switch {
		case n == 0: // nothing changes
			return 0
		case shiftsTooFar(c):
			return x86.ArithFlags
		case n == 1:
			u &^= x86.OF
		case n > 8*int(c.Form.OpSize) && (c.Inst.Op == x86.SHL || c.Inst.Op == x86.SHR):
			u |= x86.CF
		}
	}
	return u
}

// shiftsTooFar reports whether the instruction is a double shift by more than its operands have bits.
func shiftsTooFar(c *Case) bool {
	return (c.Inst.Op == x86.SHLD || c.Inst.Op == x86.SHRD) && shiftCount(c) > 8*int(c.Form.OpSize)
}

// shiftCount returns the masked count of a shift or rotate.
func shiftCount(c *Case) int {
	a := &c.Inst.Args[c.Inst.NArgs-1]
	n := uint64(a.Imm)
	if a.Kind == x86.KindReg {
		n = c.Regs.GPR[x86.RCX]
	}
	if c.Form.OpSize == 8 {
		return int(n & 63)
	}
	return int(n & 31)
}

// approximates reports whether the instruction is an approximation.
func approximates(op x86.Op) bool {
	switch op {
	case x86.RCPPS, x86.RCPSS, x86.RSQRTPS, x86.RSQRTSS, x86.VRCPPS, x86.VRCPSS, x86.VRSQRTPS, x86.VRSQRTSS:
		return true
	}
	return false
}

// ignoreApproximation makes the lanes of the destination equal that are near enough.
func ignoreApproximation(c *Case, want, got *Result) {
	w, g := &want.Regs.Vec[c.Inst.Args[0].Reg&15], &got.Regs.Vec[c.Inst.Args[0].Reg&15]
	for i := range w {
		for shift := 0; shift < 64; shift += 32 {
			x, y := uint32(w[i]>>shift), uint32(g[i]>>shift)
			fx, fy := float64(math.Float32frombits(x)), float64(math.Float32frombits(y))
			// Both may be off by the bound, in different directions.
			if x != y && math.Abs(fx-fy) <= 2*1.5/4096*math.Abs(fx) {
				g[i] = g[i]&^(0xffffffff<<shift) | uint64(x)<<shift
			}
		}
	}
}
