package conformance

import (
	"encoding/binary"
	"fmt"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// The guest-physical layout of the machine that runs cases on an accelerator.
// All of it is also mapped for the supervisor at kernelBase.
const (
	kernelBase = 0xffff800000000000

	physGDT    = 0x1000
	physIDT    = 0x2000
	physTSS    = 0x3000
	physStub   = 0x4000 // a handler of 16 bytes for each vector
	physStack  = 0x5000
	physCode   = 0x8000
	physData   = 0xa000
	physTables = 0x10000
	physSize   = 0x40000

	stackTop  = physStack + pageSize
	tssLimit  = 0x67
	selKernel = 0x10
	selTSS    = 0x40
)

// soft runs cases on a processor of package cpu: it enters the guest at CPL 3,
// and every exception ends in a handler that writes to the port whose number is the vector.
type soft struct {
	acc   cpu.Accelerator
	vcpu  cpu.VCPU
	mem   []byte
	free  func() error
	bus   *portBus
	base  x86.State // what all cases have in common
	state x86.State
	code  span // where the last case's instruction was
}

// span is a part of physical memory.
type span struct{ at, n int }

// portBus ends a run when a handler writes to a port.
type portBus struct {
	vcpu   cpu.VCPU
	vector int
}

func (*portBus) In(uint16, int) uint32     { return ^uint32(0) }
func (*portBus) Read(uint64, int) uint64   { return ^uint64(0) }
func (*portBus) Write(uint64, int, uint64) {}
func (b *portBus) Out(port uint16, _ int, _ uint32) {
	b.vector = int(port)
	b.vcpu.Kick()
}

// stillClock is a clock on which nothing happens.
type stillClock struct{}

func (stillClock) Now() int64                { return 0 }
func (stillClock) Wall() time.Time           { return time.Time{} }
func (stillClock) NewTimer(func()) cpu.Timer { return stillTimer{} }

type stillTimer struct{}

func (stillTimer) Set(int64) {}
func (stillTimer) Stop()     {}

// noPlatform is a machine without interrupt controllers.
type noPlatform struct{}

func (noPlatform) AckINTR() uint8 { return 0xff }
func (noPlatform) EOI(uint8)      {}

// NewSoft starts an executor on an accelerator.
func NewSoft(sub Subject) (Executor, error) {
	s := &soft{bus: &portBus{}}
	var err error
	if s.mem, s.free, err = guestMemory(physSize); err != nil {
		return nil, fmt.Errorf("conformance: %w", err)
	}
	s.acc, err = sub.New(cpu.Config{
		CPUs:     1,
		Memory:   []cpu.Slot{{GPA: 0, Data: s.mem}},
		Clock:    stillClock{},
		Platform: noPlatform{},
		NewBus:   func(int) cpu.Bus { return s.bus },
		TSCHz:    1e9,
	})
	if err != nil {
		_ = s.free()
		return nil, fmt.Errorf("conformance: %w", err)
	}
	s.vcpu = s.acc.VCPU(0)
	s.bus.vcpu = s.vcpu
	s.tables()
	if err := s.system(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("conformance: %w", err)
	}
	return s, nil
}

// Close implements [Executor].
func (s *soft) Close() error {
	if err := s.acc.Close(); err != nil {
		return err
	}
	return s.free()
}

// tables fills in memory: descriptors, handlers, page tables, code and data.
func (s *soft) tables() {
	le := binary.LittleEndian
	gdt := s.mem[physGDT:]
	// As Linux has them (arch/x86/kernel/cpu/common.c).
	for i, d := range map[int]uint64{
		0x08: 0x00cf9b000000ffff, 0x10: 0x00af9b000000ffff, 0x18: 0x00cf93000000ffff,
		0x20: 0x00cffb000000ffff, 0x28: 0x00cff3000000ffff, 0x30: 0x00affb000000ffff,
	} {
		le.PutUint64(gdt[i:], d)
	}
	tss := uint64(kernelBase + physTSS)
	le.PutUint64(gdt[selTSS:], tssLimit|tss&0xffffff<<16|0x8b<<40|tss>>24&0xff<<56)
	le.PutUint64(gdt[selTSS+8:], tss>>32)
	le.PutUint64(s.mem[physTSS+4:], kernelBase+stackTop) // RSP0
	le.PutUint16(s.mem[physTSS+0x66:], tssLimit+1)       // no I/O bitmap

	for v := range 256 {
		h := kernelBase + physStub + 16*uint64(v&31)
		gate := h&0xffff | selKernel<<16 | 0x8e<<40 | h>>16&0xffff<<48
		if v == x86.VecBP || v == x86.VecOF {
			gate |= 3 << 45
		}
		if v < 32 {
			le.PutUint64(s.mem[physIDT+16*v:], gate)
			le.PutUint64(s.mem[physIDT+16*v+8:], h>>32)
			// OUT v, AL; JMP $
			copy(s.mem[physStub+16*v:], []byte{0xe6, byte(v), 0xeb, 0xfe})
		}
	}
	for i := range codeSize {
		s.mem[physCode+i] = filler
	}
	copy(s.mem[physData:], background[:])

	m := mapper{mem: s.mem, next: physTables + pageSize}
	const p, w, u, nx = 1, 2, 4, 1 << 63
	for pa := uint64(0); pa < physSize; pa += pageSize {
		m.page(kernelBase+pa, pa, p|w)
	}
	for off := uint64(0); off < codeSize; off += pageSize {
		m.page(codeBase+off, physCode+off, p|w|u)
	}
	for off := uint64(0); off < dataAll; off += pageSize {
		attr := uint64(p | w | u | nx)
		if off >= dataSize {
			attr &^= w
		}
		m.page(dataBase+off, physData+off, attr)
		m.page(highBase+off, physData+off, attr)
	}
}

// mapper builds page tables in guest memory from physTables on.
type mapper struct {
	mem  []byte
	next uint64
}

// page maps one page.
func (m *mapper) page(va, pa, attr uint64) {
	le := binary.LittleEndian
	table := uint64(physTables)
	for shift := 39; shift > 12; shift -= 9 {
		e := m.mem[table+va>>shift&511*8:]
		if le.Uint64(e) == 0 {
			le.PutUint64(e, m.next|7|0x20)
			m.next += pageSize
		}
		table = le.Uint64(e) &^ 0xfff
	}
	le.PutUint64(m.mem[table+va>>12&511*8:], pa|attr|0x60)
}

// system makes the state that all cases have in common.
func (s *soft) system() error {
	st := &s.base
	if err := s.vcpu.State(st); err != nil {
		return err
	}
	st.CR0 = x86.CR0_PE | x86.CR0_MP | x86.CR0_ET | x86.CR0_NE | x86.CR0_WP | x86.CR0_AM | x86.CR0_PG
	st.CR3 = physTables
	st.CR4 = x86.CR4_DE | x86.CR4_PAE | x86.CR4_MCE | x86.CR4_PGE | x86.CR4_OSFXSR | x86.CR4_OSXMMEXCPT |
		x86.CR4_UMIP | x86.CR4_FSGSBASE | x86.CR4_OSXSAVE | x86.CR4_SMEP | x86.CR4_SMAP
	st.MSR.EFER = x86.EFER_SCE | x86.EFER_LME | x86.EFER_LMA | x86.EFER_NXE
	st.XCR0 = xstate
	st.GDTR = x86.Table{Base: kernelBase + physGDT, Limit: gdtLimit}
	st.IDTR = x86.Table{Base: kernelBase + physIDT, Limit: 32*16 - 1}
	st.LDTR = x86.Segment{Attr: x86.AttrUnusable}
	st.TR = x86.Segment{Selector: selTSS, Base: kernelBase + physTSS, Limit: tssLimit, Attr: 0x8b}
	st.Run = x86.Running
	return nil
}

// segment returns the segment register that loading a selector makes.
func segment(sel uint16, base uint64) x86.Segment {
	const attr = x86.AttrP | x86.AttrDPL | x86.AttrS | x86.AttrRW | x86.AttrAccessed | x86.AttrG
	g := x86.Segment{Selector: sel, Base: base, Limit: 0xffffffff}
	switch sel {
	case selData:
		g.Attr = attr | x86.AttrDB
	case selCode32:
		g.Attr = attr | x86.AttrDB | x86.AttrCode
	case selCode64:
		g.Attr = attr | x86.AttrL | x86.AttrCode
	default:
		g.Attr = x86.AttrUnusable | x86.AttrDPL
	}
	return g
}

// Run implements [Executor].
func (s *soft) Run(cases []Case, results []Result) error {
	for i := range cases {
		if err := s.one(&cases[i], &results[i]); err != nil {
			return err
		}
	}
	return nil
}

// one runs one case.
func (s *soft) one(c *Case, out *Result) error {
	at := int(c.Regs.RIP - codeBase)
	n := min(len(c.code), codeSize-at)
	if s.code.n > 0 {
		s.patch(s.code, nil)
	}
	s.code = span{at, n}
	s.patch(s.code, c.Code)
	if err := s.execute(c); err != nil {
		return err
	}
	s.result(out)
	return nil
}

// execute enters the guest with the state before the case, and leaves it at the end.
func (s *soft) execute(c *Case) error {
	copy(s.mem[physData:physData+dataSize], c.Mem[:])
	st := &s.state
	*st = s.base
	r := &c.Regs
	st.GPR, st.RIP, st.RFLAGS = r.GPR, r.RIP, r.RFLAGS
	for i, sel := range r.Sel {
		base := uint64(0)
		switch i {
		case x86.FS:
			base = r.FSBase
		case x86.GS:
			base = r.GSBase
		}
		st.Seg[i] = segment(sel, base)
	}
	st.FPU, st.Vec, st.MXCSR = r.FPU, r.Vec, r.MXCSR
	if err := s.vcpu.SetState(st); err != nil {
		return err
	}
	s.bus.vector = -1
	if _, err := s.vcpu.Run(); err != nil {
		return err
	}
	return s.vcpu.State(st)
}

// patch puts code where an instruction is, and fillers after it.
func (s *soft) patch(at span, code []byte) {
	b := s.mem[physCode+at.at:][:at.n]
	for i := copy(b, code); i < len(b); i++ {
		b[i] = filler
	}
	s.acc.Invalidate(uint64(physCode+at.at), uint64(at.n))
}

// errorCodes are the vectors that push an error code.
const errorCodes = 1<<x86.VecDF | 1<<x86.VecTS | 1<<x86.VecNP | 1<<x86.VecSS | 1<<x86.VecGP | 1<<x86.VecPF | 1<<x86.VecAC

// result reads the state after a case: what the exception pushed, and what it left alone.
func (s *soft) result(out *Result) {
	le := binary.LittleEndian
	st := &s.state
	out.Fault = Fault{Vector: s.bus.vector}
	r := &out.Regs
	r.GPR, r.FPU, r.Vec, r.MXCSR = st.GPR, st.FPU, st.Vec, st.MXCSR
	frame := s.mem[stackTop-48 : stackTop]
	r.RIP, r.RFLAGS = le.Uint64(frame[8:]), le.Uint64(frame[24:])
	r.GPR[x86.RSP] = le.Uint64(frame[32:])
	for i := range r.Sel {
		r.Sel[i] = st.Seg[i].Selector
	}
	r.Sel[x86.CS], r.Sel[x86.SS] = le.Uint16(frame[16:]), le.Uint16(frame[40:])
	r.FSBase, r.GSBase = st.Seg[x86.FS].Base, st.Seg[x86.GS].Base
	if v := out.Fault.Vector; v >= 0 && errorCodes>>v&1 != 0 {
		out.Fault.Code = le.Uint32(frame)
	}
	if out.Fault.Vector == x86.VecPF {
		out.Fault.CR2 = st.CR2
	}
	copy(out.Mem[:], s.mem[physData:])
}
