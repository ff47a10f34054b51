//go:build amd64 && linux

package jit

import "dfemu/cpu/x86"

// class says which function translates an instruction.
type class uint8

// The classes. From clJump on they end a unit or may leave it.
const (
	clExit            class = iota // the interpreter executes it
	clNothing                      // nothing to do
	clGeneric                      // the instruction itself, with operands renamed
	clLea                          // an address
	clAccumulator                  // arithmetic with an immediate, in the short form for rAX
	clExchange                     // XCHG of two registers
	clExtend                       // CBW to CQO
	clMultiply                     // MUL and IMUL with rDX:rAX
	clDivide                       // DIV and IDIV
	clCompareExchange              // CMPXCHG, CMPXCHG8B, CMPXCHG16B
	clInterruptFlag                // CLI and STI at CPL 0
	clAccessFlag                   // CLAC and STAC at CPL 0
	clOffset                       // MOV between rAX and memory at an offset in the instruction
	clPushFlags                    // PUSHF
	clSelector                     // MOV from a segment register
	clStep                         // INC and DEC in the short form of 32-bit mode
	clSwap                         // SWAPGS at CPL 0
	clBase                         // RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE
	clBit                          // BT, BTS, BTR and BTC of a bit string in memory
	clRepeat                       // REP STOS and REP MOVS
	clPush
	clPop
	clLeave
	clJump
	clBranch
	clCall
	clReturn
	clIndirect // CALL and JMP through a register or memory
)

// classify chooses the class of n and works out what the rest of the translation asks.
// last: it is the last of its run.
func (b *builder) classify(n *inst, last bool) {
	n.flags = n.Enc.Flags()
	n.class = b.classOf(n)
	if last && n.Op == x86.STI {
		n.class = clExit // interrupts are held off for one more instruction, which must follow
	}
	b.refineFlags(n)
	switch n.class {
	case clExit:
		n.observer, n.written = true, 0xffff
		// What the handler leaves of the flags must be there before.
		f := &n.flags
		set := (f.Written | f.Undefined) & allFlags
		whole := set == allFlags && !f.Cond && f.Tested&allFlags == 0
		if n.EndsBlock() || !whole && set|f.Tested&allFlags != 0 {
			f.Tested |= allFlags
		}
		return
	case clPush, clPop, clLeave, clCall, clReturn, clIndirect, clDivide, clInterruptFlag, clAccessFlag, clPushFlags, clBase, clBit, clOffset, clRepeat:
		n.observer = true
	case clGeneric, clMultiply, clCompareExchange:
		n.observer = memArg(n) != nil
	}
	n.written = writes(n)
	if n.class == clGeneric || n.class == clMultiply {
		switch {
		case n.Enc.Map.IsVEX() && n.Enc.Exc != x86.ExcGPR:
			b.vec |= 3
		case n.VecLen != 0:
			b.vec |= 1
		}
	}
}

// memArg returns the memory operand, or nil.
func memArg(n *inst) *x86.Arg {
	for i := range n.NArgs {
		if n.Args[i].Kind == x86.KindMem {
			return &n.Args[i]
		}
	}
	return nil
}

// writes returns the general-purpose registers that n changes.
func writes(n *inst) uint16 {
	var m uint16
	for i := range n.NArgs {
		if a := &n.Args[i]; a.Kind == x86.KindReg && isDest(n, int(i)) {
			m |= 1 << a.Reg
		}
	}
	switch n.class {
	case clPush, clCall, clReturn, clIndirect, clPushFlags:
		m |= 1 << gRSP
	case clPop:
		m |= 1 << gRSP
		if n.Args[0].Kind == x86.KindReg {
			m |= 1 << n.Args[0].Reg
		}
	case clLeave:
		m |= 1<<gRSP | 1<<gRBP
	case clMultiply, clDivide, clExtend, clCompareExchange:
		m |= 1<<gRAX | 1<<gRDX
	case clGeneric:
		if n.Op == x86.PCMPISTRI || n.Op == x86.VPCMPISTRI {
			m |= 1 << gRCX
		}
	case clRepeat:
		m |= 1<<gRCX | 1<<gRDI
		if n.Op == x86.MOVS {
			m |= 1 << gRSI
		}
	case clExchange:
		m |= 1<<n.Args[0].Reg | 1<<n.Args[1].Reg
	}
	return m
}

// isDest reports whether operand i is written.
func isDest(n *inst, i int) bool {
	switch n.Op {
	case x86.CMP, x86.TEST, x86.BT, x86.PUSH, x86.JMP, x86.CALL, x86.MUL, x86.DIV, x86.IDIV:
		return false
	case x86.IMUL:
		return i == 0 && n.NArgs > 1
	case x86.XCHG, x86.XADD, x86.MULX:
		return i <= 1
	}
	return i == 0
}

// pureWrite reports whether the destination's old value does not matter.
func pureWrite(n *inst) bool {
	switch n.Op {
	case x86.MOV, x86.MOVZX, x86.MOVSX, x86.MOVSXD, x86.LEA, x86.MOVBE:
		return true
	}
	return false
}

// refineFlags makes n's flags more exact than those of its row.
func (b *builder) refineFlags(n *inst) {
	if !n.flags.Cond || n.class != clGeneric || n.NArgs < 2 {
		return
	}
	a := &n.Args[n.NArgs-1]
	if a.Kind != x86.KindImm {
		// The count is in CL: with a count of 0 the flags stay, so that they must be there.
		n.flags.Tested |= allFlags
		return
	}
	mask := int64(31)
	if n.OpSize == 8 {
		mask = 63
	}
	if a.Imm&mask == 0 {
		n.flags = x86.Flags{}
		return
	}
	n.flags.Cond = false
	if n.Op == x86.RCL || n.Op == x86.RCR {
		n.flags.Tested |= allFlags // for sizes of 1 and 2 bytes a count may come to 0
	}
	if n.OpSize < 4 && (n.Op == x86.ROL || n.Op == x86.ROR) {
		n.flags.Tested |= allFlags
	}
}

func (b *builder) classOf(n *inst) class {
	if !b.r.Features.Has(n.Enc.Feat) || !b.t.features.Has(n.Enc.Feat) {
		return clExit
	}
	mem := memArg(n)
	if b.repeatable(n) {
		return clRepeat
	}
	if b.word == 4 && (n.Enc.Attr&x86.Not64 != 0 || mem != nil && (n.Mem.Seg == x86.CS || n.Mem.Seg >= x86.FS) || n.OpSize == 8) {
		if (n.Op == x86.INC || n.Op == x86.DEC) && mem == nil {
			return clStep
		}
		return clExit
	}
	if mem != nil && (mem.Size == 0 && n.Op != x86.LEA || !b.addressable(n)) || n.AddrSize == 2 {
		if !nothing(n.Op) {
			return clExit
		}
	}
	high := 0
	if n.Op == x86.MOVSEG && n.Args[0].Kind == x86.KindReg && b.word == 8 {
		return clSelector
	}
	for i := range n.NArgs {
		switch a := &n.Args[i]; a.Kind {
		case x86.KindReg:
			if a.High {
				high++
			}
		case x86.KindMem, x86.KindImm, x86.KindVec, x86.KindRel:
		default:
			return clExit
		}
	}
	if high > 0 {
		return highClass(n, high)
	}
	if n.Rep || n.Repne {
		switch n.Op {
		case x86.JMP, x86.CALL, x86.RET: // BND, or a hint
		default:
			if _, ok := n.Op.Cond(); !ok {
				return clExit
			}
		}
	}
	switch n.Op {
	case x86.LEA:
		return clLea
	case x86.MOV, x86.ADD, x86.OR, x86.ADC, x86.SBB, x86.AND, x86.SUB, x86.XOR, x86.CMP, x86.TEST:
		if n.Enc.Args[0] == x86.AL || n.Enc.Args[0] == x86.Av || n.Enc.Args[1] == x86.AL || n.Enc.Args[1] == x86.Av {
			if n.Op == x86.MOV {
				return clOffset
			}
			return clAccumulator
		}
		return clGeneric
	case x86.INC, x86.DEC, x86.NEG, x86.NOT, x86.ADCX, x86.ADOX, x86.ROL, x86.ROR, x86.RCL, x86.RCR, x86.SHL, x86.SHR,
		x86.SAR, x86.SHLD, x86.SHRD, x86.BSF, x86.BSR, x86.TZCNT, x86.LZCNT, x86.POPCNT, x86.CRC32,
		x86.ANDN, x86.BEXTR, x86.BLSI, x86.BLSMSK, x86.BLSR, x86.BZHI, x86.PDEP, x86.PEXT, x86.RORX, x86.SARX,
		x86.SHLX, x86.SHRX, x86.MOVZX, x86.MOVSX, x86.MOVSXD, x86.MOVBE, x86.MOVNTI, x86.XADD, x86.BSWAP,
		x86.CLC, x86.STC, x86.CMC, x86.LFENCE, x86.MFENCE, x86.SFENCE:
		return clGeneric
	case x86.MULX:
		if n.Args[0].Reg == gRDX || n.Args[1].Reg == gRDX {
			return clExit
		}
		return clGeneric
	case x86.BT, x86.BTS, x86.BTR, x86.BTC:
		if mem != nil && n.Args[1].Kind == x86.KindReg {
			if n.OpSize == 2 || n.AddrSize != 8 {
				return clExit // the address would have to be cut
			}
			return clBit
		}
		return clGeneric
	case x86.XCHG:
		switch {
		case mem != nil:
			return clGeneric
		case n.OpSize >= 4:
			return clExchange
		}
		return clExit
	case x86.CBW, x86.CWDE, x86.CDQE, x86.CWD, x86.CDQ, x86.CQO:
		return clExtend
	case x86.MUL:
		return clMultiply
	case x86.IMUL:
		if n.NArgs == 1 {
			return clMultiply
		}
		return clGeneric
	case x86.DIV, x86.IDIV:
		if n.OpSize >= 4 {
			return clDivide
		}
		return clExit
	case x86.CMPXCHG:
		if n.Args[0].Kind == x86.KindReg && n.Args[0].Reg == gRAX {
			return clExit
		}
		return clCompareExchange
	case x86.CMPXCHG8B, x86.CMPXCHG16B:
		return clCompareExchange
	case x86.PUSH:
		if int32(n.OpSize) == b.word {
			return clPush
		}
		return clExit
	case x86.POP:
		if int32(n.OpSize) == b.word && mem == nil {
			return clPop
		}
		return clExit
	case x86.CLI, x86.STI:
		if b.r.User {
			return clExit
		}
		return clInterruptFlag
	case x86.CLAC, x86.STAC:
		if b.r.User {
			return clExit
		}
		return clAccessFlag
	case x86.PUSHF:
		if n.OpSize == 8 && b.word == 8 {
			return clPushFlags
		}
		return clExit
	case x86.SWAPGS:
		if b.r.User {
			return clExit
		}
		return clSwap
	case x86.RDFSBASE, x86.RDGSBASE, x86.WRFSBASE, x86.WRGSBASE:
		return clBase
	case x86.LEAVE:
		if int32(n.OpSize) == b.word {
			return clLeave
		}
		return clExit
	case x86.JMP, x86.CALL:
		if int32(n.OpSize) != b.word {
			return clExit
		}
		if n.Args[0].Kind == x86.KindRel {
			if n.Op == x86.JMP {
				return clJump
			}
			return clCall
		}
		return clIndirect
	case x86.RET:
		if int32(n.OpSize) == b.word {
			return clReturn
		}
		return clExit
	}
	if nothing(n.Op) {
		return clNothing
	}
	if _, ok := n.Op.Cond(); ok {
		if n.Args[0].Kind == x86.KindRel {
			if n.OpSize == 2 {
				return clExit
			}
			return clBranch
		}
		return clGeneric
	}
	if (n.Op == x86.VZEROUPPER || n.Op == x86.VZEROALL) && b.word == 4 {
		return clExit // it must leave the registers that are out of reach
	}
	if n.VecLen != 0 || n.Op == x86.VZEROUPPER || n.Op == x86.VZEROALL {
		return b.vectorClass(n)
	}
	return clExit
}

// highClass is the class of an instruction with operands among AH to BH.
func highClass(n *inst, high int) class {
	if high != 1 {
		return clExit
	}
	switch n.Op {
	case x86.MOV, x86.ADD, x86.OR, x86.ADC, x86.SBB, x86.AND, x86.SUB, x86.XOR, x86.CMP, x86.TEST, x86.MOVZX, x86.MOVSX,
		x86.INC, x86.DEC, x86.NEG, x86.NOT:
		return clGeneric
	}
	if _, ok := n.Op.Cond(); ok {
		return clGeneric
	}
	return clExit
}

func nothing(op x86.Op) bool {
	switch op {
	case x86.NOP, x86.ENDBR32, x86.ENDBR64, x86.PREFETCH, x86.PREFETCHW, x86.PREFETCHNTA, x86.PREFETCHT0, x86.PREFETCHT1, x86.PREFETCHT2:
		return true
	}
	return false
}

// vectorClass is classOf for what works on vector registers.
func (b *builder) vectorClass(n *inst) class {
	switch n.Enc.Exc {
	case x86.ExcMMX, x86.ExcMMXF, x86.ExcX87, x86.ExcNone, x86.Exc12:
		return clExit
	}
	if n.Enc.Attr&x86.Gather != 0 {
		return clExit
	}
	switch n.Op {
	case x86.PCMPESTRI, x86.PCMPESTRM, x86.VPCMPESTRI, x86.VPCMPESTRM, // name rAX and rDX
		x86.LDMXCSR, x86.STMXCSR, x86.VLDMXCSR, x86.VSTMXCSR, x86.MASKMOVDQU, x86.VMASKMOVDQU:
		return clExit
	}
	for i := range n.NArgs {
		s := n.Enc.Args[i].Info()
		if s.Where == x86.InNothing && n.Enc.Args[i] != x86.XMM0 {
			return clExit
		}
	}
	return clGeneric
}
