package program

import (
	"encoding/binary"

	"dfemu/cpu/x86"
)

// group writes a straight run of n things of which each may fault: the handler then goes on at the end.
func (b *builder) group(n int) {
	b.cost += b.mult * (2 + 2*n)
	left := 0
	for k := range n {
		if !b.without[*b.elements+k] {
			left++
		}
	}
	if left == 0 {
		*b.elements += n
		return
	}
	end := b.newLabel()
	b.address(end, x86.MOV, 8, abs(ctrlBase+ctrlResume))
	b.op(x86.MOV, 8, abs(ctrlBase+ctrlStack), r(x86.RSP))
	for range n {
		b.element()
	}
	b.place(end)
	b.undef = x86.ArithFlags
}

// software writes an INT.
func (b *builder) software(vec byte) { b.bytes(0xcd, vec) }

// element writes one thing, unless it is to be left out. What it is depends on
// its number only, so that the others stay the same when some are left out.
func (b *builder) element() {
	n := *b.elements
	*b.elements++
	if b.without[n] {
		return
	}
	r := b.r
	b.r = rng(b.seed<<20 + uint64(n))
	b.r = rng(b.r.u64())
	b.thing()
	b.r = r
}

// thing writes one thing.
func (b *builder) thing() {
	switch k := b.r.n(1000); {
	case k < 680:
		b.random()
	case k < 760: // over the next one or two
		over := b.newLabel()
		b.need(x86.ArithFlags)
		b.branch(x86.JO+x86.Op(b.r.n(16)), over)
		for range 1 + b.r.n(2) {
			b.random()
		}
		b.place(over)
		b.undef = x86.ArithFlags
	case k < 820:
		b.stack()
	case k < 850:
		b.str()
	case k < 910:
		b.patch()
	case k < 925:
		b.device()
	case k < 950:
		b.trap()
	case k < 965:
		b.pages()
	case k < 972:
		b.steps()
	case k < 982:
		b.need(x86.ArithFlags)
		b.software(vecNothing)
	case k < 990:
		b.enter()
	case k < 995:
		b.control()
	default:
		b.address(b.here(), x86.MOV, 4, r(free(&b.r)))
	}
}

// stack writes something that uses the stack and leaves it as it was.
func (b *builder) stack() {
	n, m := free(&b.r), free(&b.r)
	switch b.r.n(6) {
	case 0:
		b.op(x86.PUSH, 8, r(n))
		b.random()
		b.op(x86.POP, 8, r(m))
	case 1:
		b.op(x86.PUSH, 8, at(x86.R13, int64(8*b.r.n(64))))
		b.op(x86.POP, 8, at(x86.R12, int64(8*b.r.n(64))))
	case 2:
		b.op(x86.PUSH, 2, r(n))
		b.op(x86.PUSH, 2, i(int64(b.r.n(1<<15))))
		b.op(x86.POP, 2, r(m))
		b.op(x86.POP, 2, r(n))
	case 3:
		b.need(x86.ArithFlags)
		b.op(x86.PUSHF, 8)
		b.op(x86.POP, 8, r(n))
	case 4: // flags from nowhere, sometimes with alignment checks
		f := int64(b.r.u64()) & (x86.ArithFlags | x86.DF | x86.ID)
		if b.r.pct(10) {
			f |= x86.AC
		}
		b.op(x86.PUSH, 8, i(f|x86.Flag1|x86.IF))
		b.op(x86.POPF, 8)
		b.undef = 0
	case 5:
		b.op(x86.PUSH, 8, r(x86.RBP))
		b.op(x86.MOV, 8, r(x86.RBP), r(x86.RSP))
		b.op(x86.MOV, 8, at(x86.RBP, -int64(8+8*b.r.n(8))), r(n))
		b.op(x86.LEA, 8, r(x86.RSP), at(x86.RSP, -64))
		b.op(x86.ADD, 8, r(m), at(x86.RSP, 8*int64(b.r.n(8))))
		b.undef = 0
		if m == x86.RBP {
			b.op(x86.LEA, 8, r(x86.RBP), at(x86.RSP, 64))
		}
		b.bytes(0xc9) // LEAVE
	}
}

// str writes a string instruction.
func (b *builder) str() {
	b.op(x86.MOV, 4, r(x86.RDI), i(int64(b.address64())))
	b.op(x86.MOV, 4, r(x86.RSI), i(int64(b.address64())))
	b.op(x86.MOV, 4, r(x86.RCX), i(int64(b.r.n(1<<b.r.n(9)))))
	b.bytes(pick(&b.r, byte(0xfc), 0xfc, 0xfc, 0xfd))      // CLD, STD
	compare := pick(&b.r, byte(0xa6), 0xae)                // CMPS, SCAS
	move := pick(&b.r, byte(0xa4), 0xa4, 0xaa, 0xaa, 0xac) // MOVS, STOS, LODS
	prefix := pick(&b.r, byte(0xf3), 0xf3, 0xf3, 0xf2, 0x90)
	op := move
	if b.r.pct(30) {
		op = compare
		b.need(x86.ArithFlags) // they stay when the count is 0
	}
	b.bytes(prefix)
	switch b.r.n(4) {
	case 0:
		b.bytes(op)
	case 1:
		b.bytes(0x66, op|1)
	case 2:
		b.bytes(op | 1)
	case 3:
		b.bytes(0x48, op|1)
	}
}

// patch writes a place that stores may change, or such a store.
func (b *builder) patch() {
	if b.leaf {
		b.random()
		return
	}
	if len(b.sites) == 0 || b.r.pct(45) {
		b.site(b.newLabel(), b.r.pct(30))
		return
	}
	s := b.sites[b.r.n(len(b.sites))]
	if b.r.pct(25) { // the very next instruction, or nearly
		s = site{at: b.newLabel(), slot: b.r.pct(30)}
		defer func() {
			if b.r.pct(50) {
				b.random()
			}
			b.site(s.at, s.slot)
		}()
	}
	n := free(&b.r)
	add := int64(0)
	if b.r.pct(15) {
		add = aliasBase - codeBase
		// Through another address, code has to be synchronised: by the IRET of the handler.
		defer func() { b.need(x86.ArithFlags); b.software(vecNothing) }()
	}
	mem := abs(0x7fffffff)
	if s.slot {
		b.op(x86.MOV, 8, r(n), i(int64(b.alternative())))
		b.op(x86.MOV, 8, mem, r(n))
		b.memory(s.at, add, 0)
		return
	}
	switch b.r.n(6) {
	case 0:
		b.op(x86.MOV, 4, mem, i(int64(int32(b.r.u64()|1<<20))))
		b.memory(s.at, add, 4)
	case 1:
		b.op(x86.ADD, 4, mem, i(int64(b.r.n(100)+1)))
		b.memory(s.at, add, 1)
		b.undef = 0
	case 2:
		b.op(x86.XCHG, 4, mem, r(n))
		b.memory(s.at, add, 0)
	case 3:
		b.op(x86.MOV, 1, mem, r(n))
		b.memory(s.at, add+int64(b.r.n(4)), 0)
	case 4:
		b.op(x86.MOVD, 4, v(b.r.n(16)), r(n))
		b.op(x86.MOVD, 4, mem, v(b.r.n(16)))
		b.memory(s.at, add, 0)
	default:
		b.op(x86.MOV, 4, mem, r(n))
		b.memory(s.at, add, 0)
	}
}

// site writes a place that stores may change.
func (b *builder) site(l label, slot bool) {
	if slot {
		b.place(l)
		b.bytes(binary.LittleEndian.AppendUint64(nil, b.alternative())...)
		b.undef = x86.ArithFlags
	} else {
		n := free(&b.r)
		op := pick(&b.r, x86.MOV, x86.ADD, x86.XOR, x86.CMP, x86.IMUL)
		value := i(int64(int32(b.r.u64() | 1<<20)))
		if op == x86.IMUL {
			b.op(op, 4, r(n), r(n), value)
			b.undef = x86.ArithFlags
		} else {
			b.op(op, 4, r(n), value)
		}
		if op == x86.XOR {
			b.undef |= x86.AF
		}
		b.labels[l] = len(b.out) - 4
	}
	b.sites = append(b.sites, site{l, slot})
}

// alternative returns eight bytes of code: an instruction and fillers.
func (b *builder) alternative() uint64 {
	t := &builder{asm: newAsm(0, b.rows), g: b.g, cpl: b.cpl, elements: b.elements}
	for {
		t.out, t.undef = t.out[:0], 0
		t.r = rng(b.r.u64())
		rows := b.g.pool.integer
		e := rows[t.r.n(len(rows))]
		if t.row(e) && len(t.out) <= 8 && t.undef&x86.ArithFlags == 0 && e.Flags().Tested == 0 && !relative(t.out) {
			break
		}
	}
	for len(t.out) < 8 {
		t.bytes(0x90)
	}
	return binary.LittleEndian.Uint64(t.out)
}

// relative reports whether the instruction has an operand at a distance from it.
func relative(code []byte) bool {
	var in x86.Inst
	return x86.Decode(x86.Mode64, code, &in) != nil || in.Mem.Base == x86.RIPBase || int(in.Len) != len(code)
}

// device writes an access to something that is not memory.
func (b *builder) device() {
	n := free(&b.r)
	va := int64(deviceBase + 8*b.r.n(64))
	size := pick(&b.r, uint8(1), 2, 4, 8)
	switch k := b.r.n(6); {
	case k == 0 && b.cpl == 0:
		b.op(x86.MOV, 4, r(x86.RDX), i(portEcho))
		b.bytes(pick(&b.r, byte(0xec), 0xed, 0xee, 0xef)) // IN, OUT with DX
	case k == 1 && b.cpl == 0:
		b.bytes(0xe6, portYield) // OUT
	case k == 2:
		b.op(x86.ADD, size, r(n), abs(va))
		b.undef = 0
	case k < 4:
		b.op(x86.MOV, size, r(n), abs(va))
	default:
		b.op(x86.MOV, size, abs(va), r(n))
	}
}

// trap writes something that raises an exception.
func (b *builder) trap() {
	n := free(&b.r)
	switch b.r.n(9) {
	case 0:
		b.bytes(0x0f, 0x0b) // UD2
	case 1:
		b.bytes(0xcc) // INT3
	case 2:
		b.op(x86.MOV, 4, r(x86.RCX), i(0))
		b.op(x86.DIV, pick(&b.r, uint8(4), 8), r(x86.RCX))
	case 3: // not canonical
		b.op(x86.MOV, 8, r(n), i(int64(b.r.u64()>>1|1<<62)))
		b.op(x86.MOV, 4, r(x86.RAX), at(n, 0))
	case 4: // not mapped, or not executable
		b.op(x86.MOV, 4, r(n), i(pick(&b.r, int64(dataBase), dataBase+0x123, 0x30000000, stackBase)))
		b.op(x86.JMP, 8, r(n))
	case 5:
		b.op(x86.MOV, 4, r(n), i(int64(0x30000000+b.r.n(1<<20))))
		b.op(pick(&b.r, x86.ADD, x86.MOV), 8, at(n, 0), r(x86.RAX))
		b.undef = x86.ArithFlags
	case 6:
		if b.cpl == 3 {
			b.bytes(pick(&b.r, byte(0xf4), 0xfa, 0xfb, 0xec)) // HLT, CLI, STI, IN
		} else {
			b.op(x86.MOV, 8, r(n), i(int64(b.r.u64()|1<<63)))
			b.op(x86.MOVCR, 8, operand{Arg: ctl(0)}, r(n)) // reserved bits
		}
	case 7:
		b.software(byte(0x60 + b.r.n(16))) // no gate
	case 8: // the target is not canonical
		b.op(x86.MOV, 8, r(n), i(int64(b.r.u64()>>1|1<<62)))
		b.op(x86.PUSH, 8, r(n))
		b.op(x86.RET, 8)
	}
}

// Bits of a page-table entry.
const (
	pteP, pteW, pteU  = 1, 2, 4
	pteA, pteD, ptePS = 0x20, 0x40, 0x80
	pteG              = 0x100
	pteNX             = 1 << 63
)

// pages writes an edit of the page tables.
func (b *builder) pages() {
	k := b.r.n(dataPages)
	at := func(page int) int64 { return entryAddress(dataBase + uint64(page)*pageSize) }
	value := uint64(physData+b.r.n(dataPages+spareFrames)*pageSize) | pteP | pteW | pteNX
	if b.cpl == 3 {
		value |= pteU
	}
	switch b.r.n(4) {
	case 0:
		value &^= pteP
	case 1:
		value &^= pteW
	}
	b.op(x86.MOV, 8, r(x86.RDI), i(at(k)))
	swap := b.r.pct(30)
	if swap {
		b.op(x86.MOV, 8, r(x86.RSI), i(at(b.r.n(dataPages))))
		if b.r.pct(40) && !b.leaf {
			b.op(x86.MOV, 8, r(x86.RDI), i(entryAddress(swapBase)))
			b.op(x86.MOV, 8, r(x86.RSI), i(entryAddress(swapBase+pageSize)))
		}
	} else {
		b.op(x86.MOV, 8, r(x86.RSI), i(int64(value)))
		b.op(x86.MOV, 4, r(x86.RDX), i(int64(dataBase+k*pageSize)))
	}
	switch {
	case swap:
		b.software(vecSwapPTE)
	case b.cpl == 0 && b.r.pct(60):
		b.op(x86.MOV, 8, operand{Arg: x86.Arg{Kind: x86.KindMem}, mem: atReg(x86.RDI)}, r(x86.RSI))
		if b.r.pct(70) {
			b.op(x86.INVLPG, 0, operand{Arg: x86.Arg{Kind: x86.KindMem}, mem: atReg(x86.RDX)})
		} else {
			b.op(x86.MOVCR, 8, r(x86.RAX), operand{Arg: ctl(3)})
			b.op(x86.MOVCR, 8, operand{Arg: ctl(3)}, r(x86.RAX))
		}
	case b.r.pct(50):
		b.software(vecWritePTE)
	default:
		b.software(vecReloadCR3)
	}
}

func atReg(n int) x86.Mem { return at(n, 0).mem }

// steps writes a switch to single steps, which the handler ends after some.
func (b *builder) steps() {
	b.need(x86.ArithFlags)
	b.op(x86.PUSHF, 8)
	b.op(x86.OR, 4, at(x86.RSP, 0), i(x86.TF))
	b.op(x86.POPF, 8)
	b.undef = x86.ArithFlags
	for range 1 + b.r.n(stepsAtOnce) {
		b.random()
	}
}

// enter writes a system call, or a wait for an interrupt.
func (b *builder) enter() {
	if b.cpl == 3 {
		b.need(x86.ArithFlags)
		b.bytes(0x0f, 0x05) // SYSCALL
		return
	}
	b.bytes(0xfa)                // CLI
	b.bytes(0xe6, portInterrupt) // OUT
	b.bytes(0xfb, 0xf4)          // STI; HLT
}

// control writes a change of rounding, or of what system registers hold.
func (b *builder) control() {
	switch k := b.r.n(3); {
	case k == 0:
		m := int64(0x1f80 | b.r.n(4)<<13)
		if b.r.pct(15) {
			m &^= int64(b.r.n(64) << 7)
		}
		b.op(x86.MOV, 4, at(x86.R12, 0), i(m))
		b.op(x86.LDMXCSR, 0, at(x86.R12, 0))
	case k == 1:
		b.software(vecGlobal)
	default:
		b.op(x86.CLD, 0)
	}
}
