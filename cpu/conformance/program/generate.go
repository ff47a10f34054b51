package program

import (
	"encoding/binary"
	"fmt"

	"dfemu/cpu/x86"
)

// Program is a guest and the state it starts in. It is read-only once it has been made.
type Program struct {
	Seed uint64
	CPL  uint8 // 0 or 3
	// Code is what is at the linear address CodeBase.
	Code []byte
	// Budget estimates how many instructions it executes.
	Budget int
	// Elements is how many things that can be left out it is made of; see Generator.Minimize.
	Elements int

	swap    [2][]byte // the versions of the page at swapBase
	kernel  *kernel
	data    []byte
	state   x86.State
	words   []int        // offsets in Code of eight bytes that are not code
	without map[int]bool // elements left out
}

// CodeBase is the linear address of Program.Code.
const CodeBase = codeBase

// Generator makes programs. It may be used by several goroutines.
type Generator struct {
	// Budget is how many instructions a program should execute at most, about, not
	// counting those of handlers. NewGenerator sets it to DefaultBudget.
	Budget int

	rows   map[x86.Op][]*x86.Enc
	pool   pool
	kernel *kernel
}

// NewGenerator prepares the generation of programs for processors that have features.
func NewGenerator(features x86.FeatureSet) (*Generator, error) {
	g := &Generator{Budget: DefaultBudget, rows: table()}
	g.pool = newPool(features)
	var err error
	g.kernel, err = makeKernel(g.rows)
	return g, err
}

// DefaultBudget lets loops run often enough for all of them to be translated.
const DefaultBudget = 150_000

// Generate makes the program of a seed, the same one each time.
func (g *Generator) Generate(seed uint64) (*Program, error) { return g.generate(seed, nil) }

// generate makes a program without some of its elements.
func (g *Generator) generate(seed uint64, without map[int]bool) (*Program, error) {
	elements := 0
	newBuilder := func(base uint64, salt uint64) *builder {
		return &builder{asm: newAsm(base, g.rows), g: g, r: rng(seed*0xd1342543de82ef95 + salt), seed: seed,
			undef: x86.ArithFlags, without: without, elements: &elements}
	}
	b := newBuilder(codeBase, 0)
	p := &Program{Seed: seed, kernel: g.kernel, without: without}
	if b.r.pct(50) {
		p.CPL = 3
	}
	b.cpl = p.CPL
	b.program()
	p.Budget, p.words = b.cost, b.words
	var err error
	if p.Code, err = b.finish(); err != nil {
		return nil, err
	}
	if len(p.Code) > codePages*pageSize {
		return nil, fmt.Errorf("program: seed %d: %d bytes of code", seed, len(p.Code))
	}
	for i := range p.swap {
		s := newBuilder(swapBase, uint64(i)+1)
		s.cpl, s.leaf = p.CPL, true
		for range 1 + s.r.n(3) {
			s.group(1 + s.r.n(6))
		}
		s.op(x86.RET, 8)
		if p.swap[i], err = s.finish(); err != nil {
			return nil, err
		}
		if len(p.swap[i]) > pageSize {
			p.swap[i] = []byte{0xc3}
		}
	}
	p.fill(&b.r)
	p.Elements = elements
	return p, nil
}

// fill makes the data and the registers.
func (p *Program) fill(r *rng) {
	p.data = make([]byte, (dataPages+spareFrames)*pageSize)
	for i := 0; i < len(p.data); i += 8 {
		binary.LittleEndian.PutUint64(p.data[i:], r.value())
	}
	s := &p.state
	for i := range s.GPR {
		s.GPR[i] = r.value()
	}
	s.GPR[x86.R12], s.GPR[x86.R13] = pointer12, pointer13
	s.GPR[x86.RSP] = stackBase + stackPages*pageSize - 64
	for i := range s.Vec {
		for j := range s.Vec[i] {
			s.Vec[i][j] = r.value()
		}
	}
	s.RIP = codeBase
	s.RFLAGS = x86.Flag1 | x86.IF
	s.FPU = x86.FPU{CW: 0x37f}
	for i := range s.FPU.R {
		s.FPU.R[i] = x86.F80{Mant: r.u64() | 1<<63, SE: uint16(0x3fff + r.n(8))}
	}
	s.MXCSR = 0x1f80 | uint32(r.n(4))<<13
	if r.pct(20) {
		s.MXCSR |= 0x8040
	}
}

// builder writes one program.
type builder struct {
	*asm
	g    *Generator
	r    rng
	seed uint64
	cpl  uint8
	leaf bool // no calls and no stores into code

	elements *int // how many so far
	without  map[int]bool

	undef uint64 // flags that may be undefined
	mult  int    // how often the code being written is executed, about
	cost  int

	funcs []function // in the order they were written: each calls only those before
	sites []site     // places to be patched
	table label      // of four functions
}

type function struct {
	at   label
	cost int
}

// site is a place in the code that stores may change.
type site struct {
	at   label
	slot bool // eight bytes that are instructions, otherwise four that are an immediate
}

// program writes all.
func (b *builder) program() {
	start := b.newLabel()
	b.branch(x86.JMP, start)
	b.table = b.newLabel()
	for range 3 + b.r.n(4) {
		b.function()
	}
	for len(b.out)%8 != 0 {
		b.bytes(0x90)
	}
	b.place(b.table)
	for range 4 {
		b.word(b.funcs[b.r.n(len(b.funcs))].at)
	}
	b.place(start)
	b.mult, b.cost = 1, 0
	n := 20 + b.r.n(20)
	one := 0
	for i := range b.funcs {
		one += 2 * b.funcs[i].cost
	}
	n = max(2, min(n, b.g.Budget/max(one, 1)))
	b.op(x86.MOV, 4, r(x86.R15), i(int64(n)))
	loop := b.here()
	b.mult = n
	for i := range b.funcs {
		b.call(&b.funcs[i])
	}
	b.op(x86.AND, 4, r(x86.RCX), i(3))
	b.op(x86.CALL, 8, operand{Arg: x86.Arg{Kind: x86.KindMem},
		mem: x86.Mem{Seg: x86.DS, Base: x86.NoReg, Index: x86.RCX, Scale: 3, Disp: 0x7fffffff}})
	b.memory(b.table, 0, 0)
	b.group(3)
	b.op(x86.SUB, 4, r(x86.R15), i(1))
	b.branch(x86.JNE, loop)
	b.op(x86.CMP, 4, r(x86.RAX), r(x86.RCX)) // no flag is undefined
	b.software(vecEnd)
}

// function writes a function.
func (b *builder) function() {
	for len(b.out)%16 != 0 {
		b.bytes(0x90)
	}
	if b.r.pct(15) { // right before the end of a page
		for gap := pageSize - len(b.out)%pageSize - b.r.n(24); gap > 0 && len(b.out) < codePages*pageSize*2/3; gap-- {
			b.bytes(0xcc)
		}
	}
	f := function{at: b.here()}
	b.mult, b.cost = 1, 0
	b.undef = x86.ArithFlags
	for range 2 + b.r.n(4) {
		b.block(2)
	}
	b.op(x86.RET, 8)
	f.cost = b.cost + 2
	b.funcs = append(b.funcs, f)
}

// block writes something that control enters at its start and leaves at its end. Loops nest up to depth.
func (b *builder) block(depth int) {
	if len(b.out) > codePages*pageSize*3/4 {
		return
	}
	switch k := b.r.n(100); {
	case k < 45:
		b.group(1 + b.r.n(8))
	case k < 65 && depth > 0:
		b.loop(depth)
	case k < 80:
		b.condition(depth)
	case k < 88:
		b.jumpTable(depth)
	case len(b.funcs) > 0:
		b.call(&b.funcs[b.r.n(len(b.funcs))])
	default:
		b.group(1 + b.r.n(8))
	}
}

// loop writes blocks that are repeated.
func (b *builder) loop(depth int) {
	n := 2 + b.r.n(30)
	if b.mult*n > 2000 {
		n = 2
	}
	b.op(x86.PUSH, 8, r(x86.R15))
	b.op(x86.MOV, 4, r(x86.R15), i(int64(n)))
	top := b.here()
	b.undef = x86.ArithFlags
	b.mult *= n
	for range 1 + b.r.n(2) {
		b.block(depth - 1)
	}
	switch b.r.n(3) {
	case 0:
		b.op(x86.SUB, 4, r(x86.R15), i(1))
	case 1:
		b.op(x86.DEC, 8, r(x86.R15))
	case 2:
		b.op(x86.LEA, 8, r(x86.R15), at(x86.R15, -1))
		b.op(x86.TEST, 8, r(x86.R15), r(x86.R15))
	}
	if !b.r.pct(70) || !b.back(x86.JNE, top) {
		b.branch(x86.JNE, top)
	}
	b.mult /= n
	b.op(x86.POP, 8, r(x86.R15))
	b.undef = x86.ArithFlags
}

// condition writes blocks that are executed if a condition holds, and perhaps others if not.
func (b *builder) condition(depth int) {
	other, end := b.newLabel(), b.newLabel()
	cc := x86.Op(b.r.n(16))
	b.need(x86.ArithFlags)
	if b.r.pct(30) {
		b.op(x86.TEST, 1, r(free(&b.r)), i(int64(b.r.n(256)-128)))
	}
	b.branch(x86.JO+cc, other)
	b.block(depth - 1)
	if b.r.pct(50) {
		b.branch(x86.JMP, end)
		b.place(other)
		b.undef = x86.ArithFlags
		b.block(depth - 1)
	} else {
		b.place(other)
	}
	b.place(end)
	b.undef = x86.ArithFlags
}

// jumpTable writes four places that a register chooses between.
func (b *builder) jumpTable(depth int) {
	end := b.newLabel()
	var to [4]label
	words := b.newLabel()
	n := free(&b.r)
	b.op(x86.AND, 4, r(n), i(3))
	b.op(x86.JMP, 8, operand{Arg: x86.Arg{Kind: x86.KindMem},
		mem: x86.Mem{Seg: x86.DS, Base: x86.NoReg, Index: uint8(n), Scale: 3, Disp: 0x7fffffff}})
	b.memory(words, 0, 0)
	for len(b.out)%8 != 0 { // #AC must not come from outside of groups
		b.bytes(0xcc)
	}
	b.place(words)
	for i := range to {
		to[i] = b.newLabel()
		b.word(to[i])
	}
	for i := range to {
		b.place(to[i])
		b.undef = x86.ArithFlags
		if i < 2 {
			b.group(1 + b.r.n(3))
		} else {
			b.block(depth - 1)
		}
		if i < 3 {
			b.branch(x86.JMP, end)
		}
	}
	b.place(end)
	b.undef = x86.ArithFlags
}

// call writes a call of a function, if that is not too much.
func (b *builder) call(f *function) {
	if b.cost+b.mult*f.cost > b.g.Budget || b.leaf {
		b.group(2)
		return
	}
	b.cost += b.mult * f.cost
	n := free(&b.r)
	switch b.r.n(4) {
	case 0:
		b.address(f.at, x86.MOV, 4, r(n))
		b.op(x86.CALL, 8, r(n))
	case 1:
		b.address(f.at, x86.PUSH, 8)
		b.op(x86.CALL, 8, at(x86.RSP, 0))
		b.op(x86.LEA, 8, r(x86.RSP), at(x86.RSP, 8))
	default:
		b.branch(x86.CALL, f.at)
	}
	if b.r.pct(25) { // the page whose frame changes
		b.op(x86.MOV, 4, r(n), i(swapBase))
		b.op(x86.CALL, 8, r(n))
		b.cost += 15 * b.mult
	}
	b.undef = x86.ArithFlags
}
