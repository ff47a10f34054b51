package interp

import (
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// sysrig is a machine of a few processors and 4 MiB of RAM for tests of system instructions.
type sysrig struct {
	t   testing.TB
	acc *Accel
	c   *CPU
	mem []byte
	clk sysClock
	io  sysBus
}

type sysClock struct{ now int64 }

func (k *sysClock) Now() int64                { return k.now }
func (k *sysClock) Wall() time.Time           { return time.Unix(1_000_000_000, 5).Add(time.Duration(k.now)) }
func (k *sysClock) NewTimer(func()) cpu.Timer { return sysTimer{} }

type sysTimer struct{}

func (sysTimer) Set(int64) {}
func (sysTimer) Stop()     {}

// sysBus answers reads of ports with inverted port numbers and records writes.
type sysBus struct {
	port uint16
	size int
	out  uint32
}

func (b *sysBus) In(port uint16, size int) uint32     { b.port, b.size = port, size; return ^uint32(port) }
func (b *sysBus) Out(port uint16, size int, v uint32) { b.port, b.size, b.out = port, size, v }
func (b *sysBus) Read(uint64, int) uint64             { return ^uint64(0) }
func (b *sysBus) Write(uint64, int, uint64)           {}

type sysPlatform struct{}

func (sysPlatform) AckINTR() uint8 { return 0x30 }
func (sysPlatform) EOI(uint8)      {}

const sysRAM = 4 << 20

// Where the rig's structures are.
const (
	rigGDT    = 0x1000
	rigIDT    = 0x2000
	rigTSS    = 0x3000
	rigTSS2   = 0x3800
	rigStack0 = 0x8000 // stack of the rig's code
	rigStackI = 0x7000 // ring 0 stack of the TSS
	rigCode   = 0x9000
	rigIntr   = 0xa000 // handler of vector v: + 16*v
	rigPML4   = 0x10000
	rigData   = 0x20000
)

// Selectors of the rig's GDT.
const (
	selCode0  = 0x08
	selData0  = 0x10
	selCode3  = 0x18 | 3
	selData3  = 0x20 | 3
	selTSS    = 0x28 // 16 bytes
	selCode16 = 0x38
	selData16 = 0x40
	selConf   = 0x48 // conforming code, DPL 0
	selWide0  = 0x50 // 64-bit code
	selWide3  = 0x58 | 3
	selGone   = 0x60 // data, not present
	selLDT    = 0x68 // 16 bytes
	selGate   = 0x78 // 16 bytes
	selTSS2   = 0x88 // 16 bytes
	selRO     = 0x98
	selTask   = 0xa0 // task gate
	selExec   = 0xa8 // execute-only code
	gdtLimit  = 0xb7
)

func newSysrig(t testing.TB, cpus int) *sysrig {
	t.Helper()
	mem, err := syscall.Mmap(-1, 0, sysRAM, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	r := &sysrig{t: t, mem: mem}
	r.acc, err = New(cpu.Config{
		CPUs:     cpus,
		Memory:   []cpu.Slot{{GPA: 0, Data: mem}},
		Clock:    &r.clk,
		Platform: sysPlatform{},
		NewBus:   func(int) cpu.Bus { return &r.io },
		TSCHz:    2_000_000_000,
		Logf:     t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.c = r.acc.cpus[0]
	r.c.setFeatures(r.c.sys.features.With(x86.FeatVME))
	return r
}

func (r *sysrig) put(at uint64, b ...byte)     { copy(r.mem[at:], b) }
func (r *sysrig) put16(at uint64, v uint16)    { binary.LittleEndian.PutUint16(r.mem[at:], v) }
func (r *sysrig) put32(at uint64, v uint32)    { binary.LittleEndian.PutUint32(r.mem[at:], v) }
func (r *sysrig) put64(at uint64, v uint64)    { binary.LittleEndian.PutUint64(r.mem[at:], v) }
func (r *sysrig) get16(at uint64) uint16       { return binary.LittleEndian.Uint16(r.mem[at:]) }
func (r *sysrig) get32(at uint64) uint32       { return binary.LittleEndian.Uint32(r.mem[at:]) }
func (r *sysrig) get64(at uint64) uint64       { return binary.LittleEndian.Uint64(r.mem[at:]) }
func (r *sysrig) desc(sel uint16, v uint64)    { r.put64(rigGDT+uint64(sel&^7), v) }
func (r *sysrig) descOf(sel uint16) descriptor { return rawDesc(r.get64(rigGDT + uint64(sel&^7))) }

func rawDesc(v uint64) descriptor {
	return descriptor{raw: v, attr: x86.Attr(v>>40) & 0xf0ff}
}

// mkdesc makes a descriptor; the limit is in bytes, and G follows from it.
func mkdesc(base, limit uint32, attr x86.Attr) uint64 {
	if limit > 0xfffff {
		limit >>= 12
		attr |= x86.AttrG
	}
	return uint64(limit&0xffff) | uint64(base&0xffffff)<<16 | uint64(attr)<<40 |
		uint64(limit>>16)<<48 | uint64(base>>24)<<56
}

// mkgate makes an 8-byte gate.
func mkgate(sel uint16, off uint32, kind, dpl, count uint64) uint64 {
	return uint64(off&0xffff) | uint64(sel)<<16 | count<<32 | kind<<40 | dpl<<45 | 1<<47 | uint64(off>>16)<<48
}

func (r *sysrig) gate(vec int, v uint64) { r.put64(rigIDT+uint64(vec)*8, v) }

func (r *sysrig) wideGate(vec int, sel uint16, off uint64, kind, dpl, ist uint64) {
	r.put64(rigIDT+uint64(vec)*16, mkgate(sel, uint32(off), kind, dpl, ist))
	r.put64(rigIDT+uint64(vec)*16+8, off>>32)
}

const (
	attrCode = x86.AttrP | x86.AttrS | x86.AttrCode | x86.AttrRW
	attrData = x86.AttrP | x86.AttrS | x86.AttrRW
	attrDPL3 = x86.AttrDPL
)

// tables fills the descriptor tables.
func (r *sysrig) tables(long bool) {
	const max = 0xffffffff
	r.desc(selCode0, mkdesc(0, max, attrCode|x86.AttrDB))
	r.desc(selData0, mkdesc(0, max, attrData|x86.AttrDB))
	r.desc(selCode3, mkdesc(0, max, attrCode|x86.AttrDB|attrDPL3))
	r.desc(selData3, mkdesc(0, max, attrData|x86.AttrDB|attrDPL3))
	r.desc(selTSS, mkdesc(rigTSS, 0x2068, x86.AttrP|typeTSS))
	r.desc(selCode16, mkdesc(0, 0xffff, attrCode))
	r.desc(selData16, mkdesc(0, 0xffff, attrData))
	r.desc(selConf, mkdesc(0, max, attrCode|x86.AttrDC|x86.AttrDB))
	r.desc(selWide0, mkdesc(0, max, attrCode|x86.AttrL))
	r.desc(selWide3, mkdesc(0, max, attrCode|x86.AttrL|attrDPL3))
	r.desc(selGone, mkdesc(0, max, attrData&^x86.AttrP|x86.AttrDB))
	r.desc(selLDT, mkdesc(rigGDT, gdtLimit, x86.AttrP|typeLDT))
	r.desc(selTSS2, mkdesc(rigTSS2, 0x67, x86.AttrP|typeTSS))
	r.desc(selRO, mkdesc(0, max, attrData&^x86.AttrRW|x86.AttrDB))
	r.desc(selTask, mkgate(selTSS2, 0, typeTaskGate, 3, 0))
	r.desc(selExec, mkdesc(0, max, attrCode&^x86.AttrRW|x86.AttrDB))
	for v := range 32 {
		if long {
			r.wideGate(v, selWide0, rigIntr+uint64(v)*16, typeInt, 0, 0)
		} else {
			r.gate(v, mkgate(selCode0, rigIntr+uint32(v)*16, typeInt, 0, 0))
		}
	}
	if long {
		r.put64(rigTSS+4, rigStackI)
		for i := range uint64(7) {
			r.put64(rigTSS+36+8*i, 0x6000+0x100*i)
		}
	} else {
		r.put32(rigTSS+4, rigStackI)
		r.put16(rigTSS+8, selData0)
	}
	r.put16(rigTSS+102, 104)
}

// enter sets the processor's state directly: protected mode (long: IA-32e mode with paging, one to
// one, user-accessible) with segments cs and ss, whose RPL is CPL.
func (r *sysrig) enter(long bool, cs, ss uint16) {
	r.t.Helper()
	r.tables(long)
	var s x86.State
	r.c.powerOn(&s)
	s.CR0 = x86.CR0_PE | x86.CR0_ET | x86.CR0_NE
	s.CR4 = x86.CR4_OSFXSR | x86.CR4_OSXSAVE
	s.XCR0 = 7
	s.RFLAGS = x86.Flag1
	s.GDTR = x86.Table{Base: rigGDT, Limit: gdtLimit}
	s.IDTR = x86.Table{Base: rigIDT, Limit: 32*8 - 1}
	d := rawDesc(r.get64(rigGDT + uint64(selTSS)))
	s.TR = d.segment(selTSS)
	s.TR.Attr |= 2
	r.put(rigGDT+selTSS+5, byte(s.TR.Attr))
	load := func(sel uint16) x86.Segment {
		d := r.descOf(sel)
		g := d.segment(sel)
		g.Attr |= x86.AttrAccessed
		return g
	}
	s.Seg[x86.CS] = load(cs)
	s.Seg[x86.SS] = load(ss)
	for _, i := range []int{x86.DS, x86.ES, x86.FS, x86.GS} {
		s.Seg[i] = load(selData3)
	}
	s.LDTR = nullSegment(0, 0)
	if long {
		s.IDTR.Limit = 32*16 - 1
		s.CR4 |= x86.CR4_PAE
		s.CR0 |= x86.CR0_PG
		s.MSR.EFER = x86.EFER_LME | x86.EFER_LMA | x86.EFER_SCE | x86.EFER_NXE
		s.CR3 = rigPML4
		r.identity(pteU | pteW | pteP)
	}
	s.GPR[x86.RSP] = rigStack0
	s.RIP = rigCode
	r.set(&s)
}

// identity maps the first 2 MiB one to one with 4 KiB pages of 4-level paging.
func (r *sysrig) identity(flags uint64) {
	r.put64(rigPML4, rigPML4+0x1000|pteU|pteW|pteP)
	r.put64(rigPML4+0x1000, rigPML4+0x2000|pteU|pteW|pteP)
	r.put64(rigPML4+0x2000, rigPML4+0x3000|pteU|pteW|pteP)
	for i := range uint64(512) {
		r.put64(rigPML4+0x3000+8*i, i<<12|flags)
	}
}

// pte changes the entry of one page of identity.
func (r *sysrig) pte(va, v uint64) {
	r.put64(rigPML4+0x3000+va>>12*8, v)
	r.c.flushTLB()
}

// enterVM puts the processor into virtual-8086 mode.
func (r *sysrig) enterVM(iopl uint64, cr4 uint64) {
	r.enter(false, selCode3, selData3)
	s := r.state()
	s.RFLAGS = x86.Flag1 | x86.VM | iopl<<12
	s.CR4 |= cr4
	for i := range s.Seg {
		s.Seg[i] = vmSegment(0)
	}
	s.Seg[x86.CS] = vmSegment(rigCode >> 4)
	s.Seg[x86.SS] = vmSegment(0x500)
	s.RIP = 0
	s.GPR[x86.RSP] = 0x1000
	r.set(&s)
}

func (r *sysrig) state() (s x86.State) {
	r.t.Helper()
	if err := r.c.State(&s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *sysrig) set(s *x86.State) {
	r.t.Helper()
	if err := r.c.SetState(s); err != nil {
		r.t.Fatal(err)
	}
	r.c.sys.trapDB = 0
	r.c.dropAll()
}

// code puts an instruction at CS:RIP.
func (r *sysrig) code(b ...byte) {
	at := r.c.rip + r.c.segBase[x86.CS]
	r.put(at, b...)
	r.c.dropAll()
}

// exec executes one instruction without delivering what it raises. It returns the
// exception's vector and code, -1 for none.
func (r *sysrig) exec(b ...byte) (vec int, code uint32) {
	r.code(b...)
	r.c.exc = exception{}
	st := r.c.single()
	if st == stFault || st == stTrap {
		return int(r.c.exc.vec), r.c.exc.code
	}
	return -1, 0
}

// step does what Run does until one instruction is done or one exception delivered. It returns false
// when the processor has shut down.
func (r *sysrig) step() bool {
	c := r.c
	if p := c.pending.Load(); p != 0 {
		if exit, leave := c.service(p); leave {
			return exit.Reason != cpu.ExitShutdown
		}
	}
	st := stFault
	if c.pending.Load()&pendSlow != 0 {
		st = c.single()
	} else if b := c.find(c.key | keySingle); b != nil {
		st = c.single()
	}
	if st == stFault || st == stTrap {
		return c.deliverFault()
	}
	return true
}

// run puts code at CS:RIP and steps n times.
func (r *sysrig) run(n int, b ...byte) bool {
	r.code(b...)
	for range n {
		if !r.step() {
			return false
		}
	}
	return true
}

// at checks CS:RIP, CPL and RSP.
func (r *sysrig) at(cs uint16, rip uint64, cpl uint8, rsp uint64) {
	r.t.Helper()
	c := r.c
	if c.s.Seg[x86.CS].Selector != cs || c.rip != rip || c.cpl != cpl || c.r[x86.RSP] != rsp {
		r.t.Fatalf("at %#x:%#x, CPL %d, RSP %#x; want %#x:%#x, CPL %d, RSP %#x (exception %d %#x)",
			c.s.Seg[x86.CS].Selector, c.rip, c.cpl, c.r[x86.RSP], cs, rip, cpl, rsp, c.exc.vec, c.exc.code)
	}
}

// stack checks the words of n bytes at the top of the stack (a flat one).
func (r *sysrig) stack(n int, want ...uint64) {
	r.t.Helper()
	sp := r.c.r[x86.RSP]
	if r.c.stackMask() == 0xffff {
		sp &= 0xffff
	}
	sp += r.c.s.Seg[x86.SS].Base
	for i, w := range want {
		var v uint64
		at := sp + uint64(i*n)
		switch n {
		case 2:
			v = uint64(r.get16(at))
		case 4:
			v = uint64(r.get32(at))
		default:
			v = r.get64(at)
		}
		if v != w {
			r.t.Fatalf("word %d of the stack at %#x is %#x, want %#x", i, sp, v, w)
		}
	}
}

func handlerOf(vec int) uint64 { return rigIntr + uint64(vec)*16 }
