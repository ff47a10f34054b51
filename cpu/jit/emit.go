//go:build amd64 && linux

package jit

import (
	"encoding/binary"

	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// operands are an instruction's operands in the host.
type operands struct {
	r    uint8 // ModRM.reg, or the digit
	x    rm    // ModRM.rm
	v    uint8 // VEX.vvvv
	is4  uint8
	low  uint8 // the register in the opcode
	need bool  // a byte register that only REX reaches
}

// generic appends n with its registers renamed and its memory operand reached through the TLB.
func (b *builder) generic(n *inst) {
	mem := memArg(n)
	if mem != nil && b.keepsResult(n) {
		b.compareMemory(n)
		return
	}
	scratch := [3]reg{rAX, r15, r14}
	free := scratch[:]
	var host rm
	if mem != nil {
		write := n.Args[0].Kind == x86.KindMem && isDest(n, 0)
		pair := scratches(n) <= 1
		host = b.operand(n, int32(mem.Size), write, n.Enc.Aligned(n.VecLen), pair)
		free = free[:2]
		if host.index == r15 {
			free = free[:1]
		}
	}
	var o operands
	var back [3]struct {
		r    reg
		g    uint8
		high bool
	}
	saves := 0
	// The first operand that is a register in memory, and where it is now.
	first, firstIn, firstDest, loaded := -1, noReg, false, false
	for i := range n.NArgs {
		a := &n.Args[i]
		s := n.Enc.Args[i].Info()
		switch a.Kind {
		case x86.KindMem:
			o.x = host
		case x86.KindVec:
			b.place(&o, s.Where, uint8(a.Reg), inReg(reg(a.Reg)))
		case x86.KindReg:
			if s.Where == x86.InNothing {
				continue // CL
			}
			g := uint8(a.Reg)
			h := hostOf[g]
			dest := isDest(n, int(i))
			if a.High {
				s := free[0]
				free = free[1:]
				b.rotate(s, h, 8)
				if dest {
					back[saves].r, back[saves].g, back[saves].high = s, g, true
					saves++
				}
				h = s
			} else if h == noReg {
				// BT with a bit number in a register would take memory for a string of bits.
				if !dest && s.Where == x86.InRM && s.Mem && n.Op != x86.BT {
					o.x = slot(g)
					continue
				}
				load := !dest || !pureWrite(n) || a.Size < 4
				if first >= 0 && uint8(n.Args[first].Reg) == g && !n.Args[first].High {
					// The same register twice: the processor decides what that means.
					h, dest = firstIn, dest && !firstDest
					load = load && !loaded
				} else {
					h = free[0]
					free = free[1:]
					first, firstIn, firstDest = int(i), h, dest
					loaded = load
				}
				if load {
					b.load64(h, slot(g))
				}
				if dest {
					back[saves].r, back[saves].g = h, g
					saves++
				}
			}
			if a.Size == 1 && (h == rSI || h == rDI) {
				o.need = true
			}
			b.place(&o, s.Where, uint8(h), inReg(h))
		}
	}
	b.preserveFlags(n)
	b.encode(n, &o)
	for i := range saves {
		if !back[i].high {
			b.store64(slot(back[i].g), back[i].r)
			continue
		}
		h := hostOf[back[i].g]
		b.rotate(h, h, 8)
		b.op(0, false, true, mapOne, 0x88, uint8(back[i].r), inReg(h))
		b.rotate(h, h, 56)
	}
}

// compareMemory is CMP or TEST with memory that keeps its result.
func (b *builder) compareMemory(n *inst) {
	d, s := &n.Args[0], &n.Args[1]
	code := uint8(0x2a) // SUB
	if n.Op == x86.TEST {
		code = 0x22 // AND
	}
	x := b.operand(n, int32(n.OpSize), false, 0, true)
	switch {
	case d.Kind == x86.KindReg:
		b.mov64(rAX, hostOf[d.Reg])
	case n.OpSize == 1:
		b.op(0, false, false, map0F, 0xb6, uint8(rAX), x)
	case n.OpSize == 2:
		b.op(0, false, false, map0F, 0xb7, uint8(rAX), x)
	case n.OpSize == 4:
		b.load32(rAX, x)
	default:
		b.load64(rAX, x)
	}
	switch s.Kind {
	case x86.KindMem:
		b.sized(n, code, uint8(rAX), x)
	case x86.KindReg:
		b.sized(n, code, uint8(rAX), inReg(hostOf[s.Reg]))
	default:
		b.sized(n, 0x80, code>>3, inReg(rAX))
		b.immediate(n, s.Imm)
	}
	b.store64(slot(interp.RegResult), rAX)
}

// scratches is how many registers at most are needed for n's operands that have none in the host.
func scratches(n *inst) (c int) {
	for i := range n.NArgs {
		if a := &n.Args[i]; a.Kind == x86.KindReg && (a.High || hostOf[a.Reg] == noReg) {
			c++
		}
	}
	return c
}

// preserveFlags makes sure that the host's flags are the guest's if n reads or keeps some that matter.
//
// The flags come from memory through rAX, which may be in use.
func (b *builder) preserveFlags(n *inst) {
	f := &n.flags
	changes := (f.Written | f.Undefined) & allFlags
	keeps := uint32(0)
	if changes != 0 {
		keeps = n.liveAll &^ changes
	}
	if b.host {
		return
	}
	switch need := f.Tested&allFlags | keeps; {
	case need == 0:
	case b.mem && (n.Op == x86.INC || n.Op == x86.DEC) && b.setsLazily(n):
	case need == x86.CF && n.liveAll&^changes&^x86.CF == 0: // such as INC leaves
		b.op(0, false, false, map0F, 0xba, 4, field(layout.Flags)) // bt
		b.byte(8)
		b.host = true
	default:
		b.store64(field(layout.Temp+16), rAX)
		b.loadFlags()
		b.load64(rAX, field(layout.Temp+16))
		b.host = true
	}
}

// place puts an operand where it is encoded.
func (b *builder) place(o *operands, w x86.Where, r uint8, x rm) {
	switch w {
	case x86.InReg:
		o.r = r
	case x86.InRM:
		o.x = x
	case x86.InVvvv:
		o.v = r
	case x86.InIs4:
		o.is4 = r
	case x86.InOpcode:
		o.low = r
	}
}

// encode appends n's row with other operands.
func (b *builder) encode(n *inst, o *operands) {
	e := n.Enc
	if e.Map.IsVEX() {
		b.vexPrefix(n, o)
	} else {
		b.legacyPrefix(n, o)
	}
	b.byte(e.Code + o.low&7)
	if e.ModRM != 0 {
		switch {
		case e.ModRM&x86.FixedRM != 0:
			b.byte(byte(e.ModRM))
		default:
			r := o.r
			if d, ok := e.ModRM.Digit(); ok {
				r = d
			}
			b.modrm(r, o.x)
		}
	}
	b.immediates(n, o)
}

func (b *builder) immediates(n *inst, o *operands) {
	for i := range n.NArgs {
		s := n.Enc.Args[i].Info()
		switch s.Where {
		case x86.InImm:
			var p [8]byte
			binary.LittleEndian.PutUint64(p[:], uint64(n.Args[i].Imm))
			b.byte(p[:s.RegSize.Bytes(n.OpSize, 0, x86.Mode64)]...)
		case x86.InIs4:
			b.byte(o.is4 << 4)
		}
	}
}

func (b *builder) legacyPrefix(n *inst, o *operands) {
	e := n.Enc
	if n.Lock {
		b.byte(0xf0)
	}
	sized := e.Size == x86.SizeV || e.Size == x86.SizeD64 || e.Size == x86.SizeF64 || e.Size == x86.SizeZ
	if e.Prefix == x86.P66 || n.OpSize == 2 && sized && e.Prefix != x86.PNP {
		b.byte(0x66)
	}
	switch e.Prefix {
	case x86.PF3:
		b.byte(0xf3)
	case x86.PF2:
		b.byte(0xf2)
	}
	rex := rexBits(o.r, o.x)
	if d, ok := e.ModRM.Digit(); ok {
		rex = rexBits(d, o.x)
	}
	if e.ModRM == 0 {
		rex = o.low >> 3
	} else if e.ModRM&x86.FixedRM != 0 {
		rex = 0
	}
	if e.W == x86.W1 || e.W != x86.W0 && n.OpSize == 8 && (e.Size == x86.SizeV || e.Size == x86.SizeY) {
		rex |= 8
	}
	if rex != 0 || o.need {
		b.byte(0x40 | rex)
	}
	switch e.Map {
	case x86.Map0F:
		b.byte(0x0f)
	case x86.Map0F38:
		b.byte(0x0f, 0x38)
	case x86.Map0F3A:
		b.byte(0x0f, 0x3a)
	}
}

func (b *builder) vexPrefix(n *inst, o *operands) {
	e := n.Enc
	r := o.r
	if d, ok := e.ModRM.Digit(); ok {
		r = d
	}
	rex := uint8(0)
	if e.ModRM != 0 && e.ModRM&x86.FixedRM == 0 {
		rex = rexBits(r, o.x)
	}
	last := ^o.v & 15 << 3
	if e.L == x86.L1 || n.VecLen == 32 {
		last |= 4
	}
	switch e.Prefix {
	case x86.P66:
		last |= 1
	case x86.PF3:
		last |= 2
	case x86.PF2:
		last |= 3
	}
	w := e.W == x86.W1 || e.W == x86.WAny && n.OpSize == 8 && (e.Size == x86.SizeV || e.Size == x86.SizeY)
	if e.Map == x86.MapVEX1 && rex&3 == 0 && !w {
		b.byte(0xc5, ^rex<<5&0x80|last)
		return
	}
	if w {
		last |= 0x80
	}
	b.byte(0xc4, ^rex<<5&0xe0|uint8(e.Map-x86.MapVEX1+1), last)
}

// lea computes an address.
func (b *builder) lea(n *inst) {
	a := &n.Args[0]
	h := hostOf[a.Reg]
	switch {
	case n.OpSize == 2:
		b.effective(n, r14)
		if h == noReg {
			b.op(0x66, false, false, mapOne, 0x89, uint8(r14), slot(uint8(a.Reg)))
		} else {
			b.op(0x66, false, false, mapOne, 0x8b, uint8(h), inReg(r14))
		}
	case h == noReg:
		b.effective(n, r14)
		if n.OpSize == 4 {
			b.mov32(r14, r14)
		}
		b.store64(slot(uint8(a.Reg)), r14)
	default:
		b.effective(n, h)
		if n.OpSize == 4 {
			b.mov32(h, h)
		}
	}
}

// accumulator is arithmetic on the guest's rAX with an immediate.
func (b *builder) accumulator(n *inst) {
	b.preserveFlags(n)
	imm := n.Args[1].Imm
	pfx := byte(0)
	if n.OpSize == 2 {
		pfx = 0x66
	}
	code, digit := byte(0x81), n.Enc.Code>>3&7
	if n.Op == x86.TEST {
		code, digit = 0xf7, 0
	}
	if n.OpSize == 1 {
		code--
	}
	b.op(pfx, n.OpSize == 8, false, mapOne, code, digit, inReg(hRAX))
	b.immediate(n, imm)
}

// immediate appends a constant for operands of n's size, of 4 bytes for 8.
func (b *builder) immediate(n *inst, imm int64) {
	switch n.OpSize {
	case 1:
		b.byte(byte(imm))
	case 2:
		b.byte(byte(imm), byte(imm>>8))
	default:
		b.u32(uint32(imm))
	}
}

// value returns where register g can be read: its host register, or s loaded with it.
func (b *builder) value(g uint16, s reg) reg {
	if h := hostOf[g]; h != noReg {
		return h
	}
	b.load64(s, slot(uint8(g)))
	return s
}

// set writes register g.
func (b *builder) set(g uint16, s reg) {
	if h := hostOf[g]; h != noReg {
		b.mov64(h, s)
		return
	}
	b.store64(slot(uint8(g)), s)
}

// exchange is XCHG of two registers of 4 or 8 bytes.
func (b *builder) exchange(n *inst) {
	x, y := n.Args[0].Reg, n.Args[1].Reg
	b.mov64(rAX, b.value(x, rAX))
	b.mov64(r15, b.value(y, r15))
	if n.OpSize == 4 {
		b.mov32(rAX, rAX)
		b.mov32(r15, r15)
	}
	b.set(x, r15)
	b.set(y, rAX)
}

// extend widens rAX.
func (b *builder) extend(n *inst) {
	switch n.Op {
	case x86.CBW:
		b.op(0x66, false, false, map0F, 0xbe, uint8(hRAX), inReg(hRAX))
	case x86.CWDE:
		b.op(0, false, false, map0F, 0xbf, uint8(hRAX), inReg(hRAX))
	case x86.CDQE:
		b.op(0, true, false, mapOne, 0x63, uint8(hRAX), inReg(hRAX))
	case x86.CWD:
		b.mov32(rAX, hRAX)
		b.byte(0x66, 0x99)
	case x86.CDQ:
		b.mov32(rAX, hRAX)
		b.byte(0x99)
	case x86.CQO:
		b.mov64(rAX, hRAX)
		b.byte(0x48, 0x99)
	}
}

// factor returns the operand of a multiplication or division, which is only read.
func (b *builder) factor(n *inst) rm {
	a := &n.Args[n.NArgs-1]
	if a.Kind == x86.KindMem {
		return b.reachOperand(n, int32(a.Size), false, 0)
	}
	if h := hostOf[a.Reg]; h != noReg {
		return inReg(h)
	}
	return slot(uint8(a.Reg))
}

// sized appends an instruction of map one for operands of n's size; code is that for one byte.
func (b *builder) sized(n *inst, code, r uint8, x rm) {
	pfx := byte(0)
	switch n.OpSize {
	case 1:
		b.op(0, false, !x.mem && (x.reg == rSI || x.reg == rDI), mapOne, code, r, x)
		return
	case 2:
		pfx = 0x66
	}
	b.op(pfx, n.OpSize == 8, false, mapOne, code+1, r, x)
}

// multiply is MUL and IMUL with one operand.
func (b *builder) multiply(n *inst) {
	x := b.factor(n)
	b.mov64(rAX, hRAX)
	digit := uint8(4)
	if n.Op == x86.IMUL {
		digit = 5
	}
	b.sized(n, 0xf6, digit, x)
	b.mov64(hRAX, rAX)
}

// divide is DIV and IDIV of 4 and 8 bytes. What could fault is left to the interpreter: DIV where the high half is not
// less than the divisor, IDIV where the dividend does not fit into the size of the divisor, or that is 0 or -1.
func (b *builder) divide(n *inst) {
	x := b.factor(n)
	w := n.OpSize == 8
	var from []int
	digit := uint8(6)
	if n.Op == x86.IDIV {
		digit = 7
		b.mov64(r15, hRAX)
		if w {
			b.op(0, true, false, mapOne, 0xc1, 7, inReg(r15))
			b.byte(63)
		} else {
			b.op(0, false, false, mapOne, 0xc1, 7, inReg(r15))
			b.byte(31)
		}
		b.op(0, w, false, mapOne, 0x3b, uint8(r15), inReg(rDX))
		from = append(from, b.jcc(ccNE))
		b.op(0, w, false, mapOne, 0x8b, uint8(r15), x)
		if w {
			b.lea64(r15, at(r15, 1))
		} else {
			b.lea32(r15, at(r15, 1))
		}
		b.aluImm(7, w, inReg(r15), 1)
		from = append(from, b.jcc(ccBE))
	} else {
		b.op(0, w, false, mapOne, 0x3b, uint8(rDX), x)
		from = append(from, b.jcc(ccAE))
	}
	b.slow(from...)
	b.mov64(rAX, hRAX)
	b.sized(n, 0xf6, digit, x)
	b.mov64(hRAX, rAX)
}

// compareExchange is CMPXCHG and its relatives of 8 and 16 bytes.
func (b *builder) compareExchange(n *inst) {
	d := &n.Args[0]
	x := rm{}
	dst := reg(noReg)
	if d.Kind == x86.KindMem {
		align := uint8(0)
		if n.Op == x86.CMPXCHG16B {
			align = 16
		}
		x = b.reachOperand(n, int32(d.Size), true, align)
	} else {
		dst = b.value(d.Reg, r14)
		x = inReg(dst)
	}
	b.preserveFlags(n)
	b.mov64(rAX, hRAX)
	var s reg
	if n.Op == x86.CMPXCHG {
		s = b.value(n.Args[1].Reg, r15)
	}
	if n.Lock {
		b.byte(0xf0)
	}
	if n.Op == x86.CMPXCHG {
		pfx := byte(0)
		if n.OpSize == 2 {
			pfx = 0x66
		}
		code := byte(0xb1)
		need := false
		if n.OpSize == 1 {
			code = 0xb0
			need = s == rSI || s == rDI || dst == rSI || dst == rDI
		}
		b.op(pfx, n.OpSize == 8, need, map0F, code, uint8(s), x)
	} else {
		b.op(0, n.Op == x86.CMPXCHG16B, false, map0F, 0xc7, 1, x)
	}
	b.mov64(hRAX, rAX)
	if dst == r14 {
		b.store64(slot(uint8(d.Reg)), r14)
	}
}

// step is INC and DEC of a register in the encoding that 64-bit mode has for REX.
func (b *builder) step(n *inst) {
	b.preserveFlags(n)
	digit := uint8(0)
	if n.Op == x86.DEC {
		digit = 1
	}
	b.sized(n, 0xfe, digit, inReg(hostOf[n.Args[0].Reg]))
}

// offset is MOV between rAX and memory at an offset that is part of the instruction.
func (b *builder) offset(n *inst) {
	write := n.Args[0].Kind == x86.KindMem
	x := b.reachOperand(n, int32(n.OpSize), write, 0)
	if write {
		b.sized(n, 0x88, uint8(hRAX), x)
		return
	}
	b.sized(n, 0x8a, uint8(hRAX), x)
}
