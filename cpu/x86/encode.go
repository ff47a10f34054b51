package x86

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Choice is what Encode needs to know beyond the row. The zero value of a
// field leaves the choice to the encoder.
type Choice struct {
	Mode     Mode
	OpSize   uint8 // Inst.OpSize
	AddrSize uint8 // Inst.AddrSize
	VecLen   uint8 // 16 or 32

	Lock  bool
	Rep   bool
	Repne bool

	// Args are the operands. Kind chooses between register and memory for
	// the forms that allow both; of registers Reg and High matter, of
	// immediates Imm, of far pointers both. Implied operands are not looked at.
	Args [4]Arg
	// Mem is the memory operand; its Seg is the effective segment.
	Mem Mem

	// The rest chooses among encodings of the same instruction.

	DispSize uint8 // bytes of displacement, if the operand allows (1, 2 or 4)
	REX      bool  // a REX prefix even if none is needed
	W        bool  // set W where it is ignored
	L        bool  // set VEX.L where it is ignored
	VEX3     bool  // the three-byte VEX prefix
	Spare    uint8 // ModRM.reg and rm where they are ignored
}

// ErrChoice means that a row cannot encode what is asked of it.
var ErrChoice = errors.New("x86: the choice cannot be encoded")

// encoder holds the parts of an instruction as they are found.
type encoder struct {
	e     *Enc
	c     *Choice
	asize uint8
	osize uint8 // Inst.OpSize

	seg      uint8 // override, or noSeg
	opsz     bool
	w        bool
	l        bool
	needREX  bool // for SPL, BPL, SIL, DIL
	noREX    bool // for AH, CH, DH, BH
	r, x, b  uint8
	vvvv     uint8
	opReg    uint8
	modrm    byte
	sib      byte
	hasSIB   bool
	disp     int64
	dispSize uint8
	imm      []byte
}

// Encode returns an instruction of row e. Decode gives back the choice, with
// in.Enc a row equal to e. The error wraps ErrChoice.
func Encode(e *Enc, c Choice) ([]byte, error) {
	n := encoder{e: e, c: &c, seg: noSeg}
	if err := n.sizes(); err != nil {
		return nil, err
	}
	n.modrm = c.Spare & 7 << 3
	hasMem := false
	for i, s := range e.Args {
		if s == NoArg {
			break
		}
		mem, err := n.operand(s, &c.Args[i])
		if err != nil {
			return nil, fmt.Errorf("%w: %v, operand %d: %s", ErrChoice, e.Op, i, err.Error())
		}
		hasMem = hasMem || mem
	}
	switch {
	case e.ModRM&FixedRM != 0:
		n.modrm = byte(e.ModRM)
	case e.ModRM != 0:
		if !hasMem {
			n.modrm |= 0xc0
		}
		if !e.Uses(InRM) {
			n.modrm |= c.Spare & 7
		}
		if d, ok := e.ModRM.Digit(); ok {
			n.modrm = n.modrm&^0x38 | d<<3
		}
	}
	code, err := n.bytes()
	if err != nil {
		return nil, err
	}
	var in Inst
	if err := Decode(c.Mode, code, &in); err != nil {
		return nil, fmt.Errorf("%w: %v: % x: %s", ErrChoice, e.Op, code, err.Error())
	}
	if *in.Enc != *e {
		return nil, fmt.Errorf("%w: %v: % x is %v", ErrChoice, e.Op, code, in.Op)
	}
	return code, nil
}

// addrSize returns the address size in mode without and with prefix 67.
func addrSize(mode Mode, prefix bool) uint8 {
	sizes := [3][2]uint8{{2, 4}, {4, 2}, {8, 4}}[mode%3]
	if prefix {
		return sizes[1]
	}
	return sizes[0]
}

// operandSize returns the operand size that mode, 66 and W select in general.
func operandSize(mode Mode, opsz, w bool) uint8 {
	switch {
	case mode == Mode64 && w:
		return 8
	case mode == Mode16 != opsz:
		return 2
	}
	return 4
}

// allows reports whether e can have 66 and W so in mode, and the operand size then.
func (e *Enc) allows(mode Mode, opsz, w bool) (size uint8, ok bool) {
	vex := e.Map.IsVEX()
	os := operandSize(mode, opsz, w)
	switch {
	case w && mode != Mode64 && !vex,
		vex && opsz,
		e.W == W0 && w, e.W == W1 && !w,
		e.Prefix == PNP && opsz, e.Prefix == P66 && !opsz && !vex,
		e.Attr&(OnlyOS16|OnlyOS32|OnlyOS64) != 0 &&
			(e.Attr&OnlyOS16 != 0) != (os == 2),
		e.Attr&OnlyOS32 != 0 && os != 4, e.Attr&OnlyOS64 != 0 && os != 8,
		!e.ValidIn(mode):
		return 0, false
	}
	return e.opSize(mode, os, w, vex), true
}

// ValidIn reports whether the row exists in mode.
func (e *Enc) ValidIn(mode Mode) bool {
	return !(e.Attr&Not64 != 0 && mode == Mode64 || e.Attr&Only64 != 0 && mode != Mode64)
}

// OpSizes returns the values that Inst.OpSize can have for the row in mode.
func (e *Enc) OpSizes(mode Mode) []uint8 {
	var have [9]bool
	var sizes []uint8
	for i := range 4 {
		if s, ok := e.allows(mode, i&1 != 0, i&2 != 0); ok && !have[s] {
			have[s] = true
			sizes = append(sizes, s)
		}
	}
	return sizes
}

// VecLens returns the values that Inst.VecLen can have for the row.
func (e *Enc) VecLens() []uint8 {
	switch {
	case e.vecRule() == vecNone:
		return []uint8{0}
	case e.vecRule() == vecMMX:
		return []uint8{8}
	case e.vecRule() == vecXMM || e.L == L0:
		return []uint8{16}
	case e.L == L1:
		return []uint8{32}
	}
	return []uint8{16, 32}
}

// sizes chooses 66, 67, W and L.
func (n *encoder) sizes() error {
	c, e := n.c, n.e
	n.asize = c.AddrSize
	if n.asize == 0 {
		n.asize = addrSize(c.Mode, false)
		for _, a := range [3]Attr32{OnlyAS16, OnlyAS32, OnlyAS64} {
			if e.Attr&a != 0 {
				n.asize = uint8(a / OnlyAS16 << 1)
			}
		}
	}
	if n.asize != addrSize(c.Mode, false) && n.asize != addrSize(c.Mode, true) {
		return fmt.Errorf("%w: %v: address size %d", ErrChoice, e.Op, n.asize)
	}
	found := false
	for i := range 4 {
		// The first without W, unless it is asked for, then without 66.
		opsz, w := i&1 != 0, i&2 != 0
		if c.W {
			w = !w
		}
		if s, ok := e.allows(c.Mode, opsz, w); ok && (s == c.OpSize || c.OpSize == 0) {
			n.opsz, n.w, n.osize = opsz, w, s
			found = true
			break
		}
	}
	if !found {
		return fmt.Errorf("%w: %v: operand size %d", ErrChoice, e.Op, c.OpSize)
	}
	n.l = e.L == L1 || c.VecLen == 32 || c.L && e.L == LAny && e.vecRule() != vecL
	if c.VecLen == 32 && (e.vecRule() != vecL || e.L == L0) || c.VecLen == 16 && e.L == L1 {
		return fmt.Errorf("%w: %v: vector length %d", ErrChoice, e.Op, c.VecLen)
	}
	return nil
}

// operand encodes one operand. It reports whether it is ModRM memory.
func (n *encoder) operand(s Spec, a *Arg) (mem bool, err error) {
	f := s.Info()
	if f.Where == InRM && f.Mem && (a.Kind == KindMem || f.Kind == KindNone) {
		return true, n.memory()
	}
	if f.Where == InImm {
		return false, n.immediate(s, f, a)
	}
	if f.Where == InNothing {
		if f.Kind == KindNone {
			if s == Yv {
				return false, n.override(ES)
			}
			return false, n.override(DS)
		}
		return false, nil
	}
	limit := uint16(8)
	if n.c.Mode == Mode64 && f.Kind != KindMMX && f.Kind != KindX87 && f.Kind != KindSeg && f.Kind != KindDR {
		limit = 16
	}
	if a.Reg >= limit {
		return false, errors.New("no such register")
	}
	reg := uint8(a.Reg)
	if f.Kind == KindReg && f.RegSize.Bytes(n.osize, 0, n.c.Mode) == 1 {
		switch {
		case a.High && reg > 3:
			return false, errors.New("no such high byte")
		case a.High:
			reg += 4
			n.noREX = true
		case reg >= 4 && reg < 8 && n.c.Mode != Mode64:
			return false, errors.New("the low byte of the register is accessible in 64-bit mode only")
		case reg >= 4:
			n.needREX = true
		}
	} else if a.High {
		return false, errors.New("not a byte register")
	}
	switch f.Where {
	case InReg:
		n.modrm = n.modrm&^0x38 | reg&7<<3
		n.r = reg >> 3
	case InRM:
		n.modrm = n.modrm&^7 | reg&7
		n.b = reg >> 3
	case InOpcode:
		n.opReg = reg & 7
		n.b = reg >> 3
	case InVvvv:
		n.vvvv = reg
	case InIs4:
		n.imm = append(n.imm, reg<<4)
	}
	return false, nil
}

// override chooses the segment override for a memory operand whose default
// segment is def.
func (n *encoder) override(def uint8) error {
	seg := n.c.Mem.Seg
	switch {
	case seg == def:
		return nil
	case seg > GS || def == ES:
		return errors.New("segment cannot be overridden")
	case n.c.Mode == Mode64 && seg < FS:
		return errors.New("segment is not usable in 64-bit mode")
	}
	n.seg = seg
	return nil
}

// immediate appends an operand after the ModRM bytes.
func (n *encoder) immediate(s Spec, f SpecInfo, a *Arg) error {
	v, size, signed := a.Imm, int(f.RegSize.Bytes(n.osize, 0, n.c.Mode)), true
	switch s {
	case Ib, Iw:
		signed = false
	case Ap:
		size -= 2
		signed = false
	case Ob, Ov:
		v, size, signed = n.c.Mem.Disp, int(n.asize), false
		if err := n.override(DS); err != nil {
			return err
		}
	}
	if size < 8 && (!signed && uint64(v)>>(8*size) != 0 || signed && v != v<<(64-8*size)>>(64-8*size)) {
		return fmt.Errorf("immediate %#x does not fit into %d bytes", v, size)
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	n.imm = append(n.imm, b[:size]...)
	if s == Ap {
		n.imm = binary.LittleEndian.AppendUint16(n.imm, a.Reg)
	}
	return nil
}

// bytes puts the parts together.
func (n *encoder) bytes() ([]byte, error) {
	c, e := n.c, n.e
	var out []byte
	if n.seg != noSeg {
		out = append(out, [6]byte{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65}[n.seg])
	}
	if n.asize != addrSize(c.Mode, false) {
		out = append(out, 0x67)
	}
	if c.Lock {
		out = append(out, 0xf0)
	}
	rep := c.Rep || c.Repne
	if rep && (e.Attr&(Rep|RepZ) == 0 || c.Rep && c.Repne) {
		return nil, fmt.Errorf("%w: %v: REP", ErrChoice, e.Op)
	}
	if e.Map.IsVEX() {
		return append(n.vex(out), n.tail()...), nil
	}
	if n.opsz {
		out = append(out, 0x66)
	}
	switch {
	case e.Prefix == PF3 || c.Rep:
		out = append(out, 0xf3)
	case e.Prefix == PF2 || c.Repne:
		out = append(out, 0xf2)
	}
	rex := 0x40 | n.r<<2 | n.x<<1 | n.b
	if n.w {
		rex |= 8
	}
	if rex != 0x40 || n.needREX || c.REX {
		if n.noREX || c.Mode != Mode64 {
			return nil, fmt.Errorf("%w: %v: REX with a high byte, or outside of 64-bit mode", ErrChoice, e.Op)
		}
		out = append(out, rex)
	}
	switch e.Map {
	case Map0F:
		out = append(out, 0x0f)
	case Map0F38:
		out = append(out, 0x0f, 0x38)
	case Map0F3A:
		out = append(out, 0x0f, 0x3a)
	}
	return append(out, n.tail()...), nil
}

// vex appends the VEX prefix.
func (n *encoder) vex(out []byte) []byte {
	last := ^n.vvvv & 15 << 3
	if n.l {
		last |= 4
	}
	switch n.e.Prefix {
	case P66:
		last |= 1
	case PF3:
		last |= 2
	case PF2:
		last |= 3
	}
	if n.e.Map == MapVEX1 && n.x == 0 && n.b == 0 && !n.w && !n.c.VEX3 {
		return append(out, 0xc5, (n.r^1)<<7|last)
	}
	if n.w {
		last |= 0x80
	}
	return append(out, 0xc4, (n.r^1)<<7|(n.x^1)<<6|(n.b^1)<<5|uint8(n.e.Map-MapVEX1+1), last)
}

// tail returns the bytes from the opcode on.
func (n *encoder) tail() []byte {
	out := []byte{n.e.Code + n.opReg}
	if n.e.ModRM != 0 {
		out = append(out, n.modrm)
	}
	if n.hasSIB {
		out = append(out, n.sib)
	}
	var d [8]byte
	binary.LittleEndian.PutUint64(d[:], uint64(n.disp))
	out = append(out, d[:n.dispSize]...)
	return append(out, n.imm...)
}
