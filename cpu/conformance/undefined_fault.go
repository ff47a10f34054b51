package conformance

import "dfemu/cpu/x86"

// sameFault makes the faults equal, and nothing else.
func sameFault(_ *Case, want, got *Result) { got.Fault = want.Fault }

// memoryFault reports whether a case ended with a fault of a memory access.
func memoryFault(c *Case, r *Result) bool {
	v := r.Fault.Vector
	return r.Regs.RIP == c.Regs.RIP && (v == x86.VecPF || v == x86.VecGP || v == x86.VecAC || v == x86.VecSS)
}

// memoryArg returns the operand that is in memory, or nil.
func memoryArg(c *Case) *x86.Arg {
	for i := range c.Inst.Args[:c.Inst.NArgs] {
		if a := &c.Inst.Args[i]; a.Kind == x86.KindMem {
			return a
		}
	}
	return nil
}

// isImage reports whether the instruction saves or restores x87 and vector state.
func isImage(op x86.Op) bool { return op == x86.FXSAVE || op == x86.FXRSTOR || savesState(op) }

// inParts reports whether processors access the instruction's memory in more
// than one part, in an order of their own.
func inParts(c *Case) bool {
	switch c.Inst.Op {
	case x86.IRET, x86.RETFAR, x86.FNSAVE, x86.FRSTOR, x86.FLDENV, x86.FNSTENV, x86.ENTER, x86.CALLFAR, x86.JMPFAR:
		return true
	case x86.LFS, x86.LGS, x86.LSS, x86.LDS, x86.LES, x86.PUSHA, x86.POPA:
		return true
	}
	a := memoryArg(c)
	return isImage(c.Inst.Op) || a != nil && a.Size == 10
}

// window is a range of linear addresses.
type window struct{ from, n uint64 }

// has reports whether an address is in the window. Compatibility mode has 32-bit addresses.
func (w window) has(c *Case, va uint64) bool {
	if c.Form.Mode != x86.Mode64 {
		return uint64(uint32(va-w.from)) < w.n
	}
	return va-w.from < w.n
}

// windows returns the memory that the instruction accesses: its operand, and the
// stack as far as it may get there.
func windows(c *Case) (w [3]window) {
	if a := memoryArg(c); a != nil {
		w[0] = window{c.Operand, uint64(bytesAt(c.Inst.Op, a.Size))}
		if c.Inst.Op == x86.MOVSXD {
			w[0].n = 4
		}
	}
	sp := c.Regs.GPR[x86.RSP]
	switch c.Inst.Op {
	case x86.PUSHA, x86.CALL, x86.CALLFAR:
		w[1] = window{sp - 32, 32}
	case x86.POPA, x86.IRET:
		w[1] = window{sp, 40}
	case x86.RETFAR:
		w[1] = window{sp, 40}
		if c.Inst.NArgs > 0 {
			w[2] = window{sp + uint64(uint16(c.Inst.Args[0].Imm)), 40}
		}
	}
	return w
}

// mapped reports whether a case can access the page of an address.
func mapped(va uint64) bool {
	return va-codeBase < codeSize || va-dataBase < dataAll || va-highBase < dataAll
}

// possible reports whether a result is a fault that an access to some part of the memory
// that the instruction accesses would raise.
func possible(c *Case, r *Result) bool {
	f := &r.Fault
	if !memoryFault(c, r) {
		return false
	}
	for _, w := range windows(c) {
		if w.n == 0 {
			continue
		}
		switch f.Vector {
		case x86.VecPF:
			if w.has(c, f.CR2) && (f.CR2 >= 1<<47-pageSize || f.Code&x86.PFP != 0 == mapped(f.CR2)) {
				return true
			}
		case x86.VecAC:
			if c.Regs.RFLAGS&x86.AC != 0 {
				return true
			}
		default: // #GP or #SS
			if f.Code == 0 && (!canonical(w.from) || !canonical(w.from+w.n-1)) {
				return true
			}
		}
	}
	return false
}

// ignorePopped takes for the registers of a POPA that has faulted what was on the stack.
func ignorePopped(c *Case, want, got *Result) {
	n := uint64(c.Form.OpSize)
	for i := range uint64(8) {
		reg := 7 - i
		old := c.Regs.GPR[reg]
		if got.Regs.GPR[reg] != old || reg == x86.RSP {
			continue
		}
		var v uint64
		inside := true
		for j := range n {
			k, ok := at(c.Regs.GPR[x86.RSP] + i*n + j)
			if !ok {
				k, ok = readOnly(c.Regs.GPR[x86.RSP] + i*n + j)
			}
			if inside = inside && ok; inside {
				b := background[k]
				if k < dataSize {
					b = c.Mem[k]
				}
				v |= uint64(b) << (8 * j)
			}
		}
		if n == 2 {
			v |= old &^ 0xffff
		}
		if inside && want.Regs.GPR[reg] == v {
			got.Regs.GPR[reg] = v
		}
	}
}
