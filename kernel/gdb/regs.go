package gdb

import "fmt"

// Regs are a thread's registers.
type Regs struct {
	// GP are RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8 to R15.
	GP        [16]uint64
	IP, Flags uint64
	CS, SS    uint64
	FS, GS    uint64 // bases
	// FP is the first 512 bytes of the XSAVE area (Intel SDM volume 1, section 13.4), if HasFP: a thread that made a system call has none.
	FP    [512]byte
	HasFP bool
}

// The numbers of gdb's registers, as the description lists them, and where they are in the image that g and G carry.
const (
	regIP     = 16
	regFlags  = 17
	regCS     = 18
	regST     = 24
	regFCtrl  = 32
	regXMM    = 40
	regMXCSR  = 56
	regFSBase = 57
	nregs     = 59
	imageSize = 17*8 + 7*4 + 8*10 + 8*4 + 16*16 + 4 + 2*8
)

// place is where a register is in the image.
func place(n int) (off, size int) {
	switch {
	case n < regFlags:
		return 8 * n, 8
	case n < regST:
		return 136 + 4*(n-regFlags), 4
	case n < regFCtrl:
		return 164 + 10*(n-regST), 10
	case n < regXMM:
		return 244 + 4*(n-regFCtrl), 4
	case n < regMXCSR:
		return 276 + 16*(n-regXMM), 16
	case n == regMXCSR:
		return 532, 4
	}
	return 536 + 8*(n-regFSBase), 8
}

// floating tells whether a register is of the vector state.
func floating(n int) bool { return n >= regST && n <= regMXCSR }

func put(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
}

func value(b []byte) (v uint64) {
	for i := range b {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// The fields of the FXSAVE area of gdb's FCTRL and what follows: offset and size in bytes; FISEG and FOSEG are not kept in 64-bit mode.
var control = [8][2]int{{0, 2}, {2, 2}, {4, 1}, {0, 0}, {8, 4}, {0, 0}, {16, 4}, {6, 2}}

// toImage makes an image of regs.
func (s *Server) toImage() {
	r := &s.regs
	at := func(n int) []byte {
		off, size := place(n)
		return s.img[off : off+size]
	}
	clear(s.img[:])
	for i, v := range r.GP {
		put(at(i), v)
	}
	put(at(regIP), r.IP)
	put(at(regFlags), r.Flags)
	put(at(regCS), r.CS)
	put(at(regCS+1), r.SS)
	put(at(regFSBase), r.FS)
	put(at(regFSBase+1), r.GS)
	for i := range 8 {
		copy(at(regST+i), r.FP[32+16*i:])
		put(at(regFCtrl+i), value(r.FP[control[i][0]:][:control[i][1]]))
	}
	put(at(regFCtrl+2), uint64(fullTags(r)))
	for i := range 16 {
		copy(at(regXMM+i), r.FP[160+16*i:])
	}
	put(at(regMXCSR), value(r.FP[24:28]))
}

// fullTags is the x87 tag word as gdb has it, two bits a register by its physical number: here valid and empty are told apart only.
func fullTags(r *Regs) uint16 {
	tags := uint16(0)
	for i := range 8 {
		if r.FP[4]>>i&1 == 0 {
			tags |= 3 << (2 * i)
		}
	}
	return tags
}

// fromImage makes regs of an image. What cannot be changed, as segments, stays.
func (s *Server) fromImage() {
	r := &s.regs
	at := func(n int) []byte {
		off, size := place(n)
		return s.img[off : off+size]
	}
	for i := range r.GP {
		r.GP[i] = value(at(i))
	}
	r.IP, r.Flags, r.FS = value(at(regIP)), value(at(regFlags)), value(at(regFSBase))
	if !r.HasFP {
		return
	}
	for i := range 8 {
		copy(r.FP[32+16*i:][:10], at(regST+i))
		if i == 2 {
			continue
		}
		c := control[i]
		copy(r.FP[c[0]:][:c[1]], at(regFCtrl+i))
	}
	tags := value(at(regFCtrl + 2))
	r.FP[4] = 0
	for i := range 8 {
		if tags>>(2*i)&3 != 3 {
			r.FP[4] |= 1 << i
		}
	}
	for i := range 16 {
		copy(r.FP[160+16*i:][:16], at(regXMM+i))
	}
	// The upper bits are reserved: to load one that is set is a fault.
	r.FP[24], r.FP[25] = at(regMXCSR)[0], at(regMXCSR)[1]
}

// description is the target description (appendix G): the features that gdb wants of an x86-64.
func description() []byte {
	var b []byte
	add := func(format string, args ...any) { b = fmt.Appendf(b, format+"\n", args...) }
	reg := func(name string, bits int, typ string) {
		add(`<reg name="%s" bitsize="%d" type="%s"/>`, name, bits, typ)
	}
	add(`<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">`)
	add(`<target version="1.0"><architecture>i386:x86-64</architecture>`)
	add(`<feature name="org.gnu.gdb.i386.core">`)
	for i, n := range []string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"} {
		if i >= 6 {
			reg(n, 64, "data_ptr")
		} else {
			reg(n, 64, "int64")
		}
	}
	for i := 8; i < 16; i++ {
		reg(fmt.Sprintf("r%d", i), 64, "int64")
	}
	reg("rip", 64, "code_ptr")
	for _, n := range []string{"eflags", "cs", "ss", "ds", "es", "fs", "gs"} {
		reg(n, 32, "int32")
	}
	for i := range 8 {
		reg(fmt.Sprintf("st%d", i), 80, "i387_ext")
	}
	for _, n := range []string{"fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"} {
		add(`<reg name="%s" bitsize="32" type="int" group="float"/>`, n)
	}
	add(`</feature><feature name="org.gnu.gdb.i386.sse">`)
	add(`<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>`)
	add(`<vector id="v16b" type="int8" count="16"/><vector id="v4i" type="int32" count="4"/><vector id="v2l" type="int64" count="2"/>`)
	add(`<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16b"/>`)
	add(`<field name="v4_int32" type="v4i"/><field name="v2_int64" type="v2l"/><field name="uint128" type="uint128"/></union>`)
	for i := range 16 {
		reg(fmt.Sprintf("xmm%d", i), 128, "vec128")
	}
	add(`<reg name="mxcsr" bitsize="32" type="int" group="vector"/>`)
	add(`</feature><feature name="org.gnu.gdb.i386.segments">`)
	reg("fs_base", 64, "int")
	reg("gs_base", 64, "int")
	add(`</feature></target>`)
	return b
}
