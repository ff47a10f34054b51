package x86

import (
	"encoding/binary"
	"errors"
)

// The errors of Decode.
var (
	// ErrTruncated means that the bytes end before the instruction does.
	ErrTruncated = errors.New("x86: instruction is truncated: more bytes are needed")
	// ErrTooLong means more than MaxInstLen bytes: #GP(0).
	ErrTooLong = errors.New("x86: instruction is longer than 15 bytes (#GP)")
	// ErrUndefined means an instruction that does not exist: #UD.
	ErrUndefined = errors.New("x86: instruction is undefined (#UD)")
)

// slack is how many bytes beyond MaxInstLen the decoder may look at before it
// checks the length: map and opcode, ModRM, SIB, displacement and immediates
// after fifteen prefixes.
const slack = 32

// Decode decodes the instruction at the start of code into in. On an error
// what is in in is not defined. Decode does not allocate, and does not look
// at CPUID: whether the processor has Enc.Feat, and what depends on control
// registers and privilege, is for the caller to check.
func Decode(mode Mode, code []byte, in *Inst) error {
	if len(code) >= MaxInstLen+slack {
		return decode(mode, code, MaxInstLen, in)
	}
	// Near the end of a page: with zeros appended there is one place that
	// checks the length.
	var buf [MaxInstLen + slack]byte
	n := copy(buf[:MaxInstLen], code)
	return decode(mode, buf[:], n, in)
}

// lengthError returns the error for an instruction that extends to byte pos
// where n bytes are there, or otherwise err.
func lengthError(pos, n int, err error) error {
	switch {
	case pos <= n:
		return err
	case n < MaxInstLen:
		return ErrTruncated
	}
	return ErrTooLong
}

// decode decodes the instruction in the first n bytes of code, which has at
// least slack more.
func decode(mode Mode, code []byte, n int, in *Inst) error {
	var p prefixes
	pos := p.read(mode, code)
	if pos >= n {
		return lengthError(pos+1, n, nil)
	}
	*in = Inst{}

	// The opcode's map and the opcode.
	m := MapOne
	op := code[pos]
	pos++
	switch {
	case op == 0x0f:
		m = Map0F
		op = code[pos]
		pos++
		switch op {
		case 0x38:
			m = Map0F38
			op = code[pos]
			pos++
		case 0x3a:
			m = Map0F3A
			op = code[pos]
			pos++
		}
	case op&0xfe == 0xc4 && (mode == Mode64 || code[pos] >= 0xc0):
		if pos >= n {
			return lengthError(pos+1, n, nil)
		}
		vm, size, ok := p.readVEX(mode, code[pos-1:])
		pos += size - 1
		if !ok {
			return lengthError(pos, n, ErrUndefined)
		}
		in.VEX = true
		m = vm
		op = code[pos]
		pos++
	}
	if pos > n {
		return lengthError(pos, n, nil)
	}

	// Sizes, and the key that selects the row.
	osize, asize := uint8(4), uint8(4)
	key := uint32(1<<keyOSShift | 1<<keyASShift)
	if mode == Mode16 != p.opsz {
		osize = 2
		key &^= 3 << keyOSShift
	}
	switch mode {
	case Mode64:
		key |= keyMode64
		if p.w {
			osize = 8
			key = key&^(3<<keyOSShift) | 2<<keyOSShift
		}
		if !p.adsz {
			asize = 8
			key = key&^(3<<keyASShift) | 2<<keyASShift
		}
	case Mode32:
		if p.adsz {
			asize = 2
			key &^= 3 << keyASShift
		}
	default:
		if !p.adsz {
			asize = 2
			key &^= 3 << keyASShift
		}
	}
	switch {
	case p.rep == 0xf3:
		key |= keyF3
	case p.rep == 0xf2:
		key |= keyF2
	case p.opsz:
		key |= key66
	}
	if p.w {
		key |= keyW
	}
	if p.l {
		key |= keyL
	}
	if p.b != 0 {
		key |= keyREXB
	}
	sp := index[m][op]
	var modrm byte
	if sp.modrm {
		modrm = code[pos]
		pos++
		if pos > n {
			return lengthError(pos, n, nil)
		}
		key |= uint32(modrm)
		if modrm >= 0xc0 {
			key |= keyReg
		}
	}
	var c *candidate
	for i := range candidates[sp.off : int(sp.off)+int(sp.n)] {
		k := &candidates[int(sp.off)+i]
		if key&k.mask == k.val {
			c = k
			break
		}
	}
	if c == nil {
		return ErrUndefined
	}
	e := c.enc
	if in.VEX && !c.vvvv && p.vvvv != 0 {
		return ErrUndefined
	}
	if p.lock && (e.Attr&Lockable == 0 || modrm >= 0xc0) {
		return ErrUndefined
	}
	in.Op = e.Op
	in.Enc = e
	in.ModRM = modrm
	in.Lock = p.lock
	in.AddrSize = asize
	in.OpSize = e.opSize(mode, osize, p.w, in.VEX)
	switch c.vec {
	case vecMMX:
		in.VecLen = 8
	case vecXMM:
		in.VecLen = 16
	case vecL:
		in.VecLen = 16
		if p.l {
			in.VecLen = 32
		}
	}
	if p.rep != 0 && e.Attr&(Rep|RepZ) != 0 {
		in.Rep = p.rep == 0xf3
		in.Repne = p.rep == 0xf2
	}
	if sp.modrm && modrm < 0xc0 && e.Attr&IgnoreMod == 0 {
		size, ok := in.Mem.readMem(mode, asize, &p, modrm, code[pos:], e.Attr&Gather != 0)
		if !ok {
			return ErrUndefined
		}
		pos += size
	}
	pos, ok := in.operands(mode, &p, op, modrm, code, pos)
	if pos > n || !ok {
		return lengthError(pos, n, ErrUndefined)
	}
	in.Len = uint8(pos)
	return nil
}

// opSize returns the operand size of an instruction of row e, where osize is
// the one that mode, 66 and W select in general.
func (e *Enc) opSize(mode Mode, osize uint8, w, vex bool) uint8 {
	switch e.Size {
	case SizeB:
		return 1
	case SizeV:
		if !vex && e.Prefix != P66 {
			return osize
		}
		// 66 is part of the opcode.
	case SizeD64:
		if mode == Mode64 && osize == 4 {
			return 8
		}
		return osize
	case SizeF64:
		if mode == Mode64 {
			return 8
		}
		return osize
	case SizeMode:
		if mode == Mode64 {
			return 8
		}
		return 4
	case SizeZ:
		return min(osize, 4)
	}
	if w && mode == Mode64 {
		return 8
	}
	return 4
}

// operands fills in.Args. Immediates are at code[pos:]; it returns the
// position after them. ok is false if an operand is undefined.
func (in *Inst) operands(mode Mode, p *prefixes, op, modrm byte, code []byte, pos int) (end int, ok bool) {
	for i, s := range in.Enc.Args {
		if s == NoArg {
			break
		}
		in.NArgs = uint8(i + 1)
		f := &specs[s]
		a := &in.Args[i]
		a.Kind = f.Kind
		a.Size = f.RegSize.Bytes(in.OpSize, in.VecLen, mode)
		var reg uint8
		switch f.Where {
		case InRM:
			if modrm < 0xc0 && in.Enc.Attr&IgnoreMod == 0 {
				a.Kind = KindMem
				a.Size = f.MemSize.Bytes(in.OpSize, in.VecLen, mode)
				continue
			}
			reg = modrm&7 | p.b
		case InReg:
			reg = modrm>>3&7 | p.r
		case InOpcode:
			reg = op&7 | p.b
		case InVvvv:
			reg = p.vvvv
		case InIs4:
			reg = code[pos] >> 4
			if mode != Mode64 {
				reg &= 7
			}
			pos++
		case InImm:
			pos = in.immediate(a, s, f, mode, p, code, pos)
			continue
		case InNothing:
			in.implied(a, s, f, mode, p)
			continue
		}
		a.Reg = uint16(reg)
		switch f.Kind {
		case KindReg:
			if a.Size == 1 && p.rex == 0 && reg >= 4 {
				a.Reg -= 4
				a.High = true
			}
		case KindMMX, KindX87:
			a.Reg &= 7
		case KindSeg:
			a.Reg &= 7
			if a.Reg > GS || i == 0 && a.Reg == CS {
				return pos, false
			}
		case KindCR:
			if reg > 8 || 1<<reg&(1<<0|1<<2|1<<3|1<<4|1<<8) == 0 {
				return pos, false
			}
		case KindDR:
			if reg > 7 {
				return pos, false
			}
		}
	}
	if in.Enc.Attr&Gather != 0 {
		d, x, m := in.Args[0].Reg, uint16(in.Mem.Index), in.Args[2].Reg
		if d == x || d == m || x == m {
			return pos, false
		}
	}
	return pos, true
}

// implied fills in an operand that no bits encode.
func (in *Inst) implied(a *Arg, s Spec, f *SpecInfo, mode Mode, p *prefixes) {
	switch a.Kind {
	case KindNone:
		a.Kind = KindMem
		a.Size = f.MemSize.Bytes(in.OpSize, in.VecLen, mode)
		in.Mem = Mem{Seg: DS, Base: f.Fixed, Index: NoReg}
		switch {
		case s == Yv: // cannot be overridden
			in.Mem.Seg = ES
		case p.seg != noSeg:
			in.Mem.Seg = p.seg
		}
	case KindImm:
		a.Imm = int64(f.Fixed)
	default:
		a.Reg = uint16(f.Fixed)
	}
}

// immediate fills in an operand that is encoded at code[pos:] and returns the
// position after it.
func (in *Inst) immediate(a *Arg, s Spec, f *SpecInfo, mode Mode, p *prefixes, code []byte, pos int) int {
	b := code[pos:]
	switch s {
	case Ib:
		a.Imm = int64(b[0])
	case Is, Jb:
		a.Imm = int64(int8(b[0]))
	case Iw:
		a.Imm = int64(binary.LittleEndian.Uint16(b))
	case Ap:
		if in.OpSize == 2 {
			a.Imm = int64(binary.LittleEndian.Uint16(b))
			a.Reg = binary.LittleEndian.Uint16(b[2:])
		} else {
			a.Imm = int64(binary.LittleEndian.Uint32(b))
			a.Reg = binary.LittleEndian.Uint16(b[4:])
		}
	case Ob, Ov:
		a.Kind = KindMem
		a.Size = f.MemSize.Bytes(in.OpSize, in.VecLen, mode)
		in.Mem = Mem{Seg: DS, Base: NoReg, Index: NoReg}
		if p.seg != noSeg {
			in.Mem.Seg = p.seg
		}
		switch in.AddrSize {
		case 2:
			in.Mem.Disp = int64(binary.LittleEndian.Uint16(b))
		case 4:
			in.Mem.Disp = int64(binary.LittleEndian.Uint32(b))
		default:
			in.Mem.Disp = int64(binary.LittleEndian.Uint64(b))
		}
		return pos + int(in.AddrSize)
	default: // Iz, Iv, Jz
		switch a.Size {
		case 2:
			a.Imm = int64(int16(binary.LittleEndian.Uint16(b)))
		case 4:
			a.Imm = int64(int32(binary.LittleEndian.Uint32(b)))
		default:
			a.Imm = int64(binary.LittleEndian.Uint64(b))
		}
	}
	return pos + int(a.Size)
}
