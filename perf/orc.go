package perf

import (
	"debug/elf"
	"encoding/binary"
	"sort"
)

// orc are the unwind tables of a Linux kernel (Documentation/arch/x86/orc-unwinder.rst): for each address of its
// text how to find the caller's stack pointer and frame pointer. .orc_unwind_ip has the addresses, relative to
// themselves and ascending; .orc_unwind has 6 bytes for each: offsets of SP and BP, and 16 bits that tell from
// which registers, and what kind of frame it is.
type orc struct {
	ips     []byte
	va      uint64 // of ips
	entries []byte
	// How the 16 bits are to be read has changed twice.
	newKinds bool // Linux 6.4: kinds have three bits and other numbers
	newRegs  bool // since then registers have other numbers, too
}

const orcEntry = 6

// orcReg is what an offset is from: ORC_REG_*, with the numbers of Linux 6.
type orcReg uint8

const (
	orcUndefined  orcReg = 0
	orcPrevSP     orcReg = 1
	orcBP         orcReg = 4
	orcSP         orcReg = 5
	orcBPIndirect orcReg = 8
	orcSPIndirect orcReg = 9
	orcOther      orcReg = 15 // a register that a sample does not have
)

// reg returns the register with a number of the table.
func (o *orc) reg(n uint16) orcReg {
	if !o.newRegs {
		return orcReg(n)
	}
	switch n {
	case 0:
		return orcUndefined
	case 3:
		return orcSP
	case 4:
		return orcBP
	case 8:
		return orcPrevSP
	case 9:
		return orcSPIndirect
	case 10:
		return orcBPIndirect
	}
	return orcOther
}

// orcKind is the kind of a frame.
type orcKind uint8

const (
	orcNone    orcKind = iota // there is no caller, or it cannot be found
	orcCall                   // the return address is below the caller's stack pointer
	orcRegs                   // struct pt_regs is there
	orcPartial                // what an interrupt pushes is there
)

// orcRule is how to unwind at one address.
type orcRule struct {
	spOff, bpOff int16
	spReg, bpReg orcReg
	kind         orcKind
}

// newORC returns the tables of a kernel, nil if it has none that can be used.
func newORC(f *elf.File) *orc {
	ipSection, entrySection := f.Section(".orc_unwind_ip"), f.Section(".orc_unwind")
	if ipSection == nil || entrySection == nil {
		return nil
	}
	ips, err := ipSection.Data()
	if err != nil {
		return nil
	}
	entries, err := entrySection.Data()
	if err != nil {
		return nil
	}
	return makeORC(ips, ipSection.Addr, entries)
}

// makeORC is newORC for the contents of the sections.
func makeORC(ips []byte, va uint64, entries []byte) *orc {
	o := &orc{ips: ips, va: va, entries: entries}
	n := len(o.ips) / 4
	if n == 0 || len(o.entries)/orcEntry != n {
		return nil
	}
	var kinds, regs [16]int
	last := uint64(0)
	for i := range n {
		ip := o.ip(i)
		if ip < last {
			return nil
		}
		last = ip
		if flags := o.flags(i); flags&15 != 0 {
			kinds[flags>>8&7]++
			regs[flags&15]++
		}
	}
	// Most rules are of frames of calls, which had the number 0 and then 2, and are told by SP, which
	// had 5 and then 3.
	o.newKinds, o.newRegs = kinds[2] > kinds[0], regs[3] > regs[5]
	return o
}

func (o *orc) ip(i int) uint64 {
	return o.va + uint64(4*i) + uint64(int64(int32(binary.LittleEndian.Uint32(o.ips[4*i:]))))
}

func (o *orc) flags(i int) uint16 { return binary.LittleEndian.Uint16(o.entries[orcEntry*i+4:]) }

// lookup returns the rule for an address, as linked.
func (o *orc) lookup(pc uint64) (r orcRule) {
	n := len(o.ips) / 4
	i := sort.Search(n, func(i int) bool { return o.ip(i) > pc }) - 1
	if i < 0 {
		return r
	}
	e := o.entries[orcEntry*i:]
	flags := o.flags(i)
	r.spOff, r.bpOff = int16(binary.LittleEndian.Uint16(e)), int16(binary.LittleEndian.Uint16(e[2:]))
	r.spReg, r.bpReg = o.reg(flags&15), o.reg(flags>>4&15)
	kind := flags >> 8 & 3
	if o.newKinds {
		kind = flags>>8&7 - 2
	}
	if kind < 3 && r.spReg != orcUndefined {
		r.kind = orcCall + orcKind(kind)
	}
	return r
}

// frame is what is known of a function's activation.
type frame struct {
	ip, sp, bp uint64
	exact      bool // ip is the next instruction, not what a call returns to
	user       bool // it is an interrupted program's
	bpKnown    bool
}

// Where struct pt_regs has its fields (arch/x86/include/asm/ptrace.h), in bytes.
const (
	ptBP  = 4 * 8
	ptIP  = 16 * 8
	ptCS  = 17 * 8
	ptSP  = 19 * 8
	ptEnd = 21 * 8
)

// step returns the caller of a frame. slide is how far the kernel has moved from where it is linked.
func (o *orc) step(read reader, f frame, slide uint64) (frame, bool) {
	pc := f.ip - slide
	if !f.exact {
		pc--
	}
	r := o.lookup(pc)
	if r.kind == orcNone {
		return f, false
	}
	var sp uint64
	switch r.spReg {
	case orcSP:
		sp = f.sp + uint64(int64(r.spOff))
	case orcBP:
		sp = f.bp + uint64(int64(r.spOff))
	case orcSPIndirect:
		v, ok := read.u64(f.sp)
		if !ok {
			return f, false
		}
		sp = v + uint64(int64(r.spOff))
	case orcBPIndirect:
		v, ok := read.u64(f.bp + uint64(int64(r.spOff)))
		if !ok {
			return f, false
		}
		sp = v
	default:
		return f, false // in a register that a sample does not have
	}
	if (r.spReg == orcBP || r.spReg == orcBPIndirect) && !f.bpKnown || sp&7 != 0 {
		return f, false
	}
	out := frame{bp: f.bp, bpKnown: f.bpKnown}
	switch r.kind {
	case orcCall:
		ip, ok := read.u64(sp - 8)
		if !ok || sp <= f.sp && r.spReg != orcSPIndirect {
			return f, false
		}
		out.ip, out.sp = ip, sp
	default:
		var regs [ptEnd]byte
		p := regs[:]
		at := sp
		if r.kind == orcPartial {
			p = regs[ptIP:]
		}
		if read(at, p) != len(p) {
			return f, false
		}
		le := binary.LittleEndian
		out.ip, out.sp = le.Uint64(regs[ptIP:]), le.Uint64(regs[ptSP:])
		out.exact, out.user = true, regs[ptCS]&3 != 0
		// Before all registers are saved the frame pointer is still the interrupted code's.
		if r.kind == orcRegs {
			out.bp, out.bpKnown = le.Uint64(regs[ptBP:]), true
		}
	}
	switch r.bpReg {
	case orcUndefined:
	case orcPrevSP:
		out.bp, out.bpKnown = read.u64(sp + uint64(int64(r.bpOff)))
	case orcBP:
		if !f.bpKnown {
			out.bpKnown = false
			break
		}
		out.bp, out.bpKnown = read.u64(f.bp + uint64(int64(r.bpOff)))
	default:
		out.bpKnown = false
	}
	return out, true
}

// u64 reads 8 bytes.
func (r reader) u64(va uint64) (uint64, bool) {
	var b [8]byte
	if r(va, b[:]) != 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}
