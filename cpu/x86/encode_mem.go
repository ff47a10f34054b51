package x86

import (
	"errors"
	"math"
)

// memory encodes the ModRM memory operand.
func (n *encoder) memory() error {
	m := n.c.Mem
	gather := n.e.Attr&Gather != 0
	if m.VSIB != gather || gather && m.Index == NoReg {
		return errors.New("VSIB addressing where it is not allowed, or none where it is needed")
	}
	def := uint8(DS)
	if m.Base == RSP || m.Base == RBP {
		def = SS
	}
	if err := n.override(def); err != nil {
		return err
	}
	n.modrm &= 0x38
	if n.asize == 2 {
		return n.mem16(m)
	}
	return n.mem32(m)
}

// mem16 encodes 16-bit addressing.
func (n *encoder) mem16(m Mem) error {
	if m.Disp < math.MinInt16 || m.Disp > math.MaxInt16 || m.Scale != 0 || m.VSIB {
		return errors.New("not a 16-bit address")
	}
	if m.Base == NoReg && m.Index == NoReg {
		n.modrm |= 6
		n.disp, n.dispSize = m.Disp, 2
		return nil
	}
	for rm, r := range mem16 {
		if r == [2]uint8{m.Base, m.Index} {
			n.modrm |= uint8(rm)
			n.displacement(m.Disp, 2, rm == 6)
			return nil
		}
	}
	return errors.New("registers cannot be used in a 16-bit address")
}

// displacement chooses mod and the size of the displacement, which is 0, 1 or
// wide bytes; never 0 if needed is set.
func (n *encoder) displacement(d int64, wide uint8, needed bool) {
	n.disp = d
	want := n.c.DispSize
	switch {
	case d == 0 && !needed && want == 0:
		n.dispSize = 0
	case d == int64(int8(d)) && want < 2:
		n.dispSize = 1
		n.modrm |= 0x40
	default:
		n.dispSize = wide
		n.modrm |= 0x80
	}
}

// mem32 encodes 32- and 64-bit addressing.
func (n *encoder) mem32(m Mem) error {
	regs := uint8(8)
	if n.c.Mode == Mode64 {
		regs = 16
	}
	switch {
	case m.Disp != int64(int32(m.Disp)):
		return errors.New("displacement does not fit into 4 bytes")
	case m.Index != NoReg && (m.Index >= regs || m.Index == RSP && !m.VSIB) || m.Scale > 3:
		return errors.New("no such index register or scale")
	case m.Base == RIPBase:
		if n.c.Mode != Mode64 || m.Index != NoReg {
			return errors.New("not a RIP-relative address")
		}
		n.modrm |= 5
		n.disp, n.dispSize = m.Disp, 4
		return nil
	case m.Base == NoReg && m.Index == NoReg && n.c.Mode != Mode64:
		n.modrm |= 5
		n.disp, n.dispSize = m.Disp, 4
		return nil
	case m.Base != NoReg && m.Base >= regs:
		return errors.New("no such base register")
	}
	if m.Index != NoReg || m.Base == NoReg || m.Base&7 == RSP {
		n.hasSIB = true
		n.modrm |= 4
		n.sib = RSP << 3
		if m.Index != NoReg {
			n.sib = m.Scale<<6 | m.Index&7<<3
			n.x = m.Index >> 3
		}
		if m.Base == NoReg {
			n.sib |= 5
			n.disp, n.dispSize = m.Disp, 4
			return nil
		}
		n.sib |= m.Base & 7
	} else {
		n.modrm |= m.Base & 7
	}
	n.b = m.Base >> 3
	n.displacement(m.Disp, 4, m.Base&7 == RBP)
	return nil
}
