package program

import (
	"encoding/binary"

	"dfemu/cpu/x86"
)

// The tables, in physical memory: PML4, then the others in the order they are needed. The table of each
// window is at a place known beforehand, because programs edit entries.
const (
	tablePML4   = physTables
	tableLow    = physTables + 1*pageSize // PDPT of the first 512 GiB
	tableDir    = physTables + 2*pageSize // PD of the first GiB
	tableKernel = physTables + 3*pageSize // PDPT of kernelBase
	tableLarge  = physTables + 4*pageSize // PD with the large page
	tableCode   = physTables + 5*pageSize // page tables, of 2 MiB each
	tableAlias  = physTables + 6*pageSize
	tableData   = physTables + 7*pageSize
	tableOther  = physTables + 8*pageSize
)

// pageTables are the windows of 2 MiB: linear address and table.
var pageTables = [...]struct{ va, table uint64 }{
	{codeBase, tableCode}, {aliasBase, tableAlias}, {dataBase, tableData}, {deviceBase, tableOther},
}

// entryAddress returns the address, for the supervisor, of the page-table entry of va.
func entryAddress(va uint64) int64 {
	for _, t := range pageTables {
		if va&^(1<<21-1) == t.va {
			return int64(-1<<63>>16) + int64(t.table+va>>12&511*8)
		}
	}
	return 0
}

// build fills ram with the program, its kernel and its tables.
func (p *Program) build(ram []byte) {
	le := binary.LittleEndian
	put := func(at, v uint64) { le.PutUint64(ram[at:], v) }

	gdt := [...]uint64{0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff}
	for n, d := range gdt {
		put(physGDT+8*uint64(n), d)
	}
	tss := uint64(kernelBase + physTSS)
	put(physGDT+selTSS, 0x67|tss&0xffffff<<16|0x8b<<40|tss>>24&0xff<<56)
	put(physGDT+selTSS+8, tss>>32)
	const top = kernelBase + physExc + 2*pageSize
	put(physTSS+4, top)    // RSP0
	put(physTSS+0x24, top) // IST1
	le.PutUint16(ram[physTSS+0x66:], 0x68)

	for vec, h := range p.kernel.entries {
		if h == 0 {
			continue
		}
		gate := h&0xffff | selKernelCode<<16 | 0x8e<<40 | h>>16&0xffff<<48
		if vec >= vecNothing && vec < vecExternal || vec == x86.VecBP {
			gate |= 3 << 45
		}
		if p.CPL == 0 {
			gate |= 1 << 32
		}
		put(physIDT+16*uint64(vec), gate)
		put(physIDT+16*uint64(vec)+8, h>>32)
	}
	copy(ram[physKernel:physCode], p.kernel.code)
	copy(ram[physCode:physCode+codePages*pageSize], p.Code)
	copy(ram[physSwap:physSwap+pageSize], p.swap[0])
	copy(ram[physSwap+pageSize:physSwap+2*pageSize], p.swap[1])
	copy(ram[physData:physStack], p.data)
	put(physCtrl+ctrlTables, uint64(entryAddress(dataBase)))

	table := uint64(pteP | pteW | pteU | pteA)
	put(tablePML4, tableLow|table)
	put(tablePML4+256*8, tableKernel|pteP|pteW|pteA)
	put(tableLow, tableDir|table)
	put(tableKernel, tableLarge|pteP|pteW|pteA)
	put(tableLarge, pteP|pteW|pteA|pteD|ptePS|pteG)
	for _, t := range pageTables {
		put(tableDir+t.va>>21&511*8, t.table|table)
	}
	user := uint64(0)
	if p.CPL == 3 {
		user = pteU
	}
	pages := func(va, pa uint64, n int, attr uint64) {
		for k := range uint64(n) {
			put(uint64(entryAddress(va+k*pageSize))&(ramSize-1), pa+k*pageSize|attr|user)
		}
	}
	pages(codeBase, physCode, codePages, pteP|pteW|pteA)
	pages(swapBase, physSwap, 2, pteP|pteA)
	pages(aliasBase, physCode, codePages, pteP|pteW|pteNX)
	pages(dataBase, physData, dataPages, pteP|pteW|pteNX)
	pages(stackBase, physStack, stackPages, pteP|pteW|pteNX)
	pages(deviceBase, physDevice, 1, pteP|pteW|pteNX)
	pages(ctrlBase, physCtrl, 1, pteP|pteW|pteNX)
}

// start fills in the state that the program starts in, from that of a processor at power-on.
func (p *Program) start(s *x86.State) {
	q := &p.state
	s.GPR, s.RIP, s.RFLAGS = q.GPR, q.RIP, q.RFLAGS
	s.Vec, s.FPU, s.MXCSR = q.Vec, q.FPU, q.MXCSR
	const attr = x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed | x86.AttrG
	code := x86.Segment{Selector: selKernelCode, Limit: 0xffffffff, Attr: attr | x86.AttrL | x86.AttrCode}
	data := x86.Segment{Selector: selKernelData, Limit: 0xffffffff, Attr: attr | x86.AttrDB}
	if p.CPL == 3 {
		code.Selector, data.Selector = selUserCode, selUserData
		code.Attr |= x86.AttrDPL
		data.Attr |= x86.AttrDPL
	}
	s.Seg = [6]x86.Segment{data, code, data, data, data, data}
	s.GDTR = x86.Table{Base: kernelBase + physGDT, Limit: gdtSize - 1}
	s.IDTR = x86.Table{Base: kernelBase + physIDT, Limit: pageSize - 1}
	s.LDTR = x86.Segment{Attr: x86.AttrUnusable}
	s.TR = x86.Segment{Selector: selTSS, Base: kernelBase + physTSS, Limit: 0x67, Attr: 0x8b}
	s.CR0 = x86.CR0_PE | x86.CR0_MP | x86.CR0_ET | x86.CR0_NE | x86.CR0_WP | x86.CR0_AM | x86.CR0_PG
	s.CR3 = tablePML4
	s.CR4 = x86.CR4_DE | x86.CR4_PAE | x86.CR4_MCE | x86.CR4_PGE | x86.CR4_OSFXSR | x86.CR4_OSXMMEXCPT |
		x86.CR4_UMIP | x86.CR4_FSGSBASE | x86.CR4_OSXSAVE | x86.CR4_SMEP | x86.CR4_SMAP
	s.XCR0 = x86.XCR0_X87 | x86.XCR0_SSE | x86.XCR0_AVX
	s.MSR.EFER = x86.EFER_SCE | x86.EFER_LME | x86.EFER_LMA | x86.EFER_NXE
	s.MSR.STAR = selKernelCode<<32 | selKernelData<<48
	s.MSR.LSTAR = p.kernel.syscall
	s.MSR.FMASK = x86.TF | x86.IF | x86.DF | x86.AC | x86.NT
	s.MSR.APICBase &^= 1 << 11 // so that the interrupt line is the processor's INTR pin
	s.Run = x86.Running
}
