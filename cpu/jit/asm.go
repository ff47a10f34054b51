//go:build amd64 && linux

package jit

import "encoding/binary"

// reg is a register of the host.
type reg uint8

// The registers of the host.
const (
	rAX reg = iota
	rCX
	rDX
	rBX
	rSP
	rBP
	rSI
	rDI
	r8
	r9
	r10
	r11
	r12
	r13
	r14
	r15
	noReg reg = 0xff
)

// rm is a register or memory operand of the host.
type rm struct {
	mem   bool
	reg   reg // the register, or the base
	index reg
	scale uint8
	disp  int32
}

func inReg(r reg) rm             { return rm{reg: r} }
func at(base reg, disp int32) rm { return rm{mem: true, reg: base, index: noReg, disp: disp} }

// The opcode maps.
const (
	mapOne = iota
	map0F
	map0F38
	map0F3A
)

// asm assembles host code.
type asm struct {
	b    []byte
	base uintptr // where b[0] will be executed
}

func (a *asm) byte(b ...byte) { a.b = append(a.b, b...) }
func (a *asm) u32(v uint32)   { a.b = binary.LittleEndian.AppendUint32(a.b, v) }
func (a *asm) here() uintptr  { return a.base + uintptr(len(a.b)) }

// modrm appends ModRM, SIB and displacement.
func (a *asm) modrm(r uint8, m rm) {
	r = r & 7 << 3
	if !m.mem {
		a.byte(0xc0 | r | uint8(m.reg)&7)
		return
	}
	base := uint8(m.reg) & 7
	sib := m.index != noReg || base == 4
	var mod uint8
	switch {
	case m.reg == noReg:
		mod = 0
	case m.disp == 0 && base != 5:
		mod = 0
	case m.disp == int32(int8(m.disp)):
		mod = 0x40
	default:
		mod = 0x80
	}
	if m.reg == noReg {
		x := uint8(4)
		if m.index != noReg {
			x = uint8(m.index) & 7
		}
		a.byte(r|4, m.scale<<6|x<<3|5)
		a.u32(uint32(m.disp))
		return
	}
	if sib {
		x := uint8(4)
		if m.index != noReg {
			x = uint8(m.index) & 7
		}
		a.byte(mod|r|4, m.scale<<6|x<<3|base)
	} else {
		a.byte(mod | r | base)
	}
	switch mod {
	case 0x40:
		a.byte(uint8(m.disp))
	case 0x80:
		a.u32(uint32(m.disp))
	}
}

// rex returns the R, X and B bits for a register field and an operand.
func rexBits(r uint8, m rm) uint8 {
	v := r >> 3 & 1 << 2
	if m.reg != noReg {
		v |= uint8(m.reg) >> 3 & 1
	}
	if m.mem && m.index != noReg {
		v |= uint8(m.index) >> 3 & 1 << 1
	}
	return v
}

// op appends a legacy-encoded instruction up to its displacement. pfx is a mandatory prefix or 0; need forces REX.
func (a *asm) op(pfx byte, w, need bool, m uint8, code byte, r uint8, x rm) {
	if pfx != 0 {
		a.byte(pfx)
	}
	rex := rexBits(r, x)
	if w {
		rex |= 8
	}
	if rex != 0 || need {
		a.byte(0x40 | rex)
	}
	switch m {
	case map0F:
		a.byte(0x0f)
	case map0F38:
		a.byte(0x0f, 0x38)
	case map0F3A:
		a.byte(0x0f, 0x3a)
	}
	a.byte(code)
	a.modrm(r, x)
}

// The instructions that translated code is held together with. None of mov, lea, and jumps changes flags.

func (a *asm) mov64(d, s reg)      { a.op(0, true, false, mapOne, 0x8b, uint8(d), inReg(s)) }
func (a *asm) mov32(d, s reg)      { a.op(0, false, false, mapOne, 0x8b, uint8(d), inReg(s)) }
func (a *asm) load64(d reg, m rm)  { a.op(0, true, false, mapOne, 0x8b, uint8(d), m) }
func (a *asm) load32(d reg, m rm)  { a.op(0, false, false, mapOne, 0x8b, uint8(d), m) }
func (a *asm) store64(m rm, s reg) { a.op(0, true, false, mapOne, 0x89, uint8(s), m) }
func (a *asm) store32(m rm, s reg) { a.op(0, false, false, mapOne, 0x89, uint8(s), m) }
func (a *asm) lea64(d reg, m rm) {
	switch {
	case m.reg == noReg || m.index != noReg || m.disp != 0:
		a.op(0, true, false, mapOne, 0x8d, uint8(d), m)
	case m.reg != d:
		a.mov64(d, m.reg) // processors may do it by renaming
	}
}

func (a *asm) lea32(d reg, m rm) { a.op(0, false, false, mapOne, 0x8d, uint8(d), m) }

// storeImm32 stores 4 bytes.
func (a *asm) storeImm32(m rm, v uint32) {
	a.op(0, false, false, mapOne, 0xc7, 0, m)
	a.u32(v)
}

// alu is one of the eight operations on 64 bits: 0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp.
func (a *asm) alu64(n uint8, d reg, m rm) { a.op(0, true, false, mapOne, n<<3|3, uint8(d), m) }

// aluImm is the same with a constant, on 64 or 32 bits.
func (a *asm) aluImm(n uint8, w bool, m rm, v int32) {
	if v == int32(int8(v)) {
		a.op(0, w, false, mapOne, 0x83, n, m)
		a.byte(uint8(v))
		return
	}
	a.op(0, w, false, mapOne, 0x81, n, m)
	a.u32(uint32(v))
}

// cmp8 compares a byte of memory with a constant.
func (a *asm) cmp8(m rm, v uint8) {
	a.op(0, false, false, mapOne, 0x80, 7, m)
	a.byte(v)
}

func (a *asm) shrImm64(d reg, n uint8) {
	a.op(0, true, false, mapOne, 0xc1, 5, inReg(d))
	a.byte(n)
}

// rotate is RORX: it turns s right into d and changes no flags.
func (a *asm) rotate(d, s reg, n uint8) {
	a.byte(0xc4, ^rexBits(uint8(d), inReg(s))<<5&0xe0|3, 0xfb, 0xf0)
	a.modrm(uint8(d), inReg(s))
	a.byte(n)
}

// jump appends a jump with a 32-bit displacement to be patched, and returns where that is.
func (a *asm) jump() int {
	a.byte(0xe9)
	a.u32(0)
	return len(a.b) - 4
}

// The condition codes in use.
const (
	ccO  = 0
	ccB  = 2
	ccAE = 3
	ccE  = 4
	ccNE = 5
	ccBE = 6
	ccA  = 7
	ccG  = 15
)

// jcc is jump for a conditional one.
func (a *asm) jcc(cc uint8) int {
	a.byte(0x0f, 0x80|cc)
	a.u32(0)
	return len(a.b) - 4
}

// jccShort appends a jump with an 8-bit displacement to be patched by landShort.
func (a *asm) jccShort(cc uint8) int {
	a.byte(0x70|cc, 0)
	return len(a.b) - 1
}

// jumpShort is jccShort for one that is always taken.
func (a *asm) jumpShort() int {
	a.byte(0xeb, 0)
	return len(a.b) - 1
}

func (a *asm) landShort(at int) { a.b[at] = uint8(len(a.b) - at - 1) }

// land makes the jump whose displacement is at go to the present place.
func (a *asm) land(at int) { binary.LittleEndian.PutUint32(a.b[at:], uint32(len(a.b)-at-4)) }

// aim makes it go to an address.
func (a *asm) aim(at int, to uintptr) {
	binary.LittleEndian.PutUint32(a.b[at:], uint32(to-a.base-uintptr(at)-4))
}

func (a *asm) jumpTo(to uintptr)          { a.aim(a.jump(), to) }
func (a *asm) jccTo(cc uint8, to uintptr) { a.aim(a.jcc(cc), to) }
func (a *asm) callTo(to uintptr) {
	a.byte(0xe8)
	a.u32(uint32(to - a.here() - 4))
}
func (a *asm) ret() { a.byte(0xc3) }

// push and pop are for the first eight registers.
func (a *asm) push(r reg) { a.byte(0x50 | byte(r)) }
func (a *asm) pop(r reg)  { a.byte(0x58 | byte(r)) }
