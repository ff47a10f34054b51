package x86

import "encoding/binary"

// mem16 are the base and index registers of 16-bit addressing, by ModRM.rm
// (Intel SDM vol. 2, table 2-1).
var mem16 = [8][2]uint8{
	{RBX, RSI}, {RBX, RDI}, {RBP, RSI}, {RBP, RDI},
	{RSI, NoReg}, {RDI, NoReg}, {RBP, NoReg}, {RBX, NoReg},
}

// readMem decodes the memory operand of ModRM byte modrm (mod is not 3), whose
// SIB and displacement are at the start of code. It returns their length. ok
// is false where vsib is set and the operand has no SIB byte.
func (m *Mem) readMem(mode Mode, addrSize uint8, p *prefixes, modrm byte, code []byte, vsib bool) (n int, ok bool) {
	mod, rm := modrm>>6, modrm&7
	m.Seg, m.Base, m.Index, m.Scale, m.VSIB = DS, NoReg, NoReg, 0, false
	if addrSize == 2 {
		if vsib {
			return 0, false
		}
		n = m.read16(mod, rm, code)
	} else {
		if vsib && rm != 4 {
			return 0, false
		}
		n = m.read32(mode, p, mod, rm, code, vsib)
	}
	if p.seg != noSeg {
		m.Seg = p.seg
	}
	return n, true
}

// read16 is readMem for 16-bit addressing.
func (m *Mem) read16(mod, rm byte, code []byte) int {
	if mod == 0 && rm == 6 {
		m.Disp = int64(int16(binary.LittleEndian.Uint16(code)))
		return 2
	}
	m.Base, m.Index = mem16[rm][0], mem16[rm][1]
	if m.Base == RBP {
		m.Seg = SS
	}
	switch mod {
	case 1:
		m.Disp = int64(int8(code[0]))
		return 1
	case 2:
		m.Disp = int64(int16(binary.LittleEndian.Uint16(code)))
		return 2
	}
	m.Disp = 0
	return 0
}

// read32 is readMem for 32- and 64-bit addressing (Intel SDM vol. 2, tables
// 2-2 and 2-3; 2.2.1.6 for RIP-relative addressing).
func (m *Mem) read32(mode Mode, p *prefixes, mod, rm byte, code []byte, vsib bool) int {
	n := 0
	base := rm
	if rm == 4 {
		sib := code[0]
		n = 1
		base = sib & 7
		index := sib>>3&7 | p.x
		if index != RSP || vsib {
			m.Index = index
			m.Scale = sib >> 6
			m.VSIB = vsib
		}
	}
	switch {
	case base != 5 || mod != 0:
		if base == RSP || base == RBP {
			if p.b == 0 {
				m.Seg = SS
			}
		}
		m.Base = base | p.b
	case rm == 5 && mode == Mode64:
		m.Base = RIPBase
		mod = 2
	default:
		mod = 2 // a displacement and no base
	}
	switch mod {
	case 1:
		m.Disp = int64(int8(code[n]))
		return n + 1
	case 2:
		m.Disp = int64(int32(binary.LittleEndian.Uint32(code[n:])))
		return n + 4
	}
	m.Disp = 0
	return n
}
