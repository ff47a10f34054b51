package interp

import "encoding/binary"

// Permutations of the elements of a lane.

// bytes returns the bytes of v, lowest first.
func (v lane) bytes() (b [16]byte) {
	binary.LittleEndian.PutUint64(b[0:], v.lo)
	binary.LittleEndian.PutUint64(b[8:], v.hi)
	return b
}

// half returns the quadword of v that bit 0 of n selects.
func (v lane) half(n uint64) uint64 {
	if n&1 != 0 {
		return v.hi
	}
	return v.lo
}

// dword returns the doubleword of v that bits 0 and 1 of n select.
func (v lane) dword(n uint64) uint64 { return v.half(n>>1) >> (n & 1 * 32) & 0xffffffff }

// spreadBytes puts the four bytes of v (which has no others) into words, spreadWords two words
// into doublewords.
func spreadBytes(v uint64) uint64 {
	v = (v | v<<16) & 0x0000ffff0000ffff
	return (v | v<<8) & 0x00ff00ff00ff00ff
}

func spreadWords(v uint64) uint64 { return (v | v<<16) & 0x0000ffff0000ffff }

// interleaveX makes a lane of the elements of two quadwords in turn.
func interleaveBytes(a, b uint64) lane {
	return lane{
		spreadBytes(a&0xffffffff) | spreadBytes(b&0xffffffff)<<8,
		spreadBytes(a>>32) | spreadBytes(b>>32)<<8,
	}
}

func interleaveWords(a, b uint64) lane {
	return lane{
		spreadWords(a&0xffffffff) | spreadWords(b&0xffffffff)<<16,
		spreadWords(a>>32) | spreadWords(b>>32)<<16,
	}
}

func interleaveDwords(a, b uint64) lane {
	return lane{a&0xffffffff | b<<32, a>>32 | b>>32<<32}
}

func punpcklbw(a, b lane, _ uint64) lane  { return interleaveBytes(a.lo, b.lo) }
func punpcklwd(a, b lane, _ uint64) lane  { return interleaveWords(a.lo, b.lo) }
func punpckldq(a, b lane, _ uint64) lane  { return interleaveDwords(a.lo, b.lo) }
func punpcklqdq(a, b lane, _ uint64) lane { return lane{a.lo, b.lo} }
func punpckhbw(a, b lane, _ uint64) lane  { return interleaveBytes(a.hi, b.hi) }
func punpckhwd(a, b lane, _ uint64) lane  { return interleaveWords(a.hi, b.hi) }
func punpckhdq(a, b lane, _ uint64) lane  { return interleaveDwords(a.hi, b.hi) }
func punpckhqdq(a, b lane, _ uint64) lane { return lane{a.hi, b.hi} }
func movhlps(a, b lane, _ uint64) lane    { return lane{b.hi, a.hi} }

// packWords saturates the four signed words of v to bytes between low and
// high; packDwords two signed doublewords to words.
func packWords(v uint64, low, high int16) (r uint64) {
	for i := 0; i < 4; i++ {
		r |= uint64(uint8(min(max(int16(v>>(16*i)), low), high))) << (8 * i)
	}
	return r
}

func packDwords(v uint64, low, high int32) uint64 {
	return uint64(uint16(min(max(int32(v), low), high))) |
		uint64(uint16(min(max(int32(v>>32), low), high)))<<16
}

func packsswb(a, b lane, _ uint64) lane {
	return lane{
		packWords(a.lo, -0x80, 0x7f) | packWords(a.hi, -0x80, 0x7f)<<32,
		packWords(b.lo, -0x80, 0x7f) | packWords(b.hi, -0x80, 0x7f)<<32,
	}
}

func packuswb(a, b lane, _ uint64) lane {
	return lane{
		packWords(a.lo, 0, 0xff) | packWords(a.hi, 0, 0xff)<<32,
		packWords(b.lo, 0, 0xff) | packWords(b.hi, 0, 0xff)<<32,
	}
}

func packssdw(a, b lane, _ uint64) lane {
	return lane{
		packDwords(a.lo, -0x8000, 0x7fff) | packDwords(a.hi, -0x8000, 0x7fff)<<32,
		packDwords(b.lo, -0x8000, 0x7fff) | packDwords(b.hi, -0x8000, 0x7fff)<<32,
	}
}

func packusdw(a, b lane, _ uint64) lane {
	return lane{
		packDwords(a.lo, 0, 0xffff) | packDwords(a.hi, 0, 0xffff)<<32,
		packDwords(b.lo, 0, 0xffff) | packDwords(b.hi, 0, 0xffff)<<32,
	}
}

func pshufb(a, b lane, _ uint64) lane {
	src := a.bytes()
	var r lane
	for i := 0; i < 64; i += 8 {
		r.lo |= uint64(src[b.lo>>i&15]) << i
		r.hi |= uint64(src[b.hi>>i&15]) << i
	}
	return lane{r.lo &^ fill(b.lo&h8, 8), r.hi &^ fill(b.hi&h8, 8)}
}

// shuffleWords picks four words of v by the pairs of bits of imm.
func shuffleWords(v, imm uint64) uint64 {
	return v>>(imm&3*16)&0xffff | v>>(imm>>2&3*16)&0xffff<<16 |
		v>>(imm>>4&3*16)&0xffff<<32 | v>>(imm>>6&3*16)<<48
}

func pshuflw(_, b lane, imm uint64) lane { return lane{shuffleWords(b.lo, imm), b.hi} }
func pshufhw(_, b lane, imm uint64) lane { return lane{b.lo, shuffleWords(b.hi, imm)} }
func pshufd(_, b lane, imm uint64) lane  { return shufps(b, b, imm) }

func shufps(a, b lane, imm uint64) lane {
	return lane{a.dword(imm) | a.dword(imm>>2)<<32, b.dword(imm>>4) | b.dword(imm>>6)<<32}
}

func shufpd(a, b lane, imm uint64) lane { return lane{a.half(imm), b.half(imm >> 1)} }

// shiftRight shifts v right by n bytes, of which there are zeros above; n may
// be anything. shiftLeft likewise.
func (v lane) shiftRight(n uint64) lane {
	if n >= 8 {
		return lane{lo: v.hi >> (8 * min(n-8, 8))}
	}
	return lane{v.lo>>(8*n) | v.hi<<(64-8*n), v.hi >> (8 * n)}
}

func (v lane) shiftLeft(n uint64) lane {
	if n >= 8 {
		return lane{hi: v.lo << (8 * min(n-8, 8))}
	}
	return lane{v.lo << (8 * n), v.hi<<(8*n) | v.lo>>(64-8*n)}
}

func psrldq(_, b lane, imm uint64) lane { return b.shiftRight(imm) }
func pslldq(_, b lane, imm uint64) lane { return b.shiftLeft(imm) }

func palignr(a, b lane, imm uint64) lane {
	if imm >= 16 {
		return a.shiftRight(imm - 16)
	}
	l, h := b.shiftRight(imm), a.shiftLeft(16-imm)
	return lane{l.lo | h.lo, l.hi | h.hi}
}

// expandBits makes a mask of elements w bits wide (16 or 32) in one quadword from
// the low bits of imm.
func expandBits(imm uint64, w uint) (m uint64) {
	for i := uint(0); i < 64; i += w {
		m |= imm & 1 << i
		imm >>= 1
	}
	return fill(m<<(w-1), w)
}

func pblendw(a, b lane, imm uint64) lane {
	return lane{pick(expandBits(imm, 16), b.lo, a.lo), pick(expandBits(imm>>4, 16), b.hi, a.hi)}
}

func blendps(a, b lane, imm uint64) lane {
	return lane{pick(expandBits(imm, 32), b.lo, a.lo), pick(expandBits(imm>>2, 32), b.hi, a.hi)}
}

func blendpd(a, b lane, imm uint64) lane {
	return lane{pick(-(imm & 1), b.lo, a.lo), pick(-(imm >> 1 & 1), b.hi, a.hi)}
}

// vpermilps and vpermilpd with the selectors in b, and with them in an immediate.
func vpermilps(a, b lane, _ uint64) lane {
	return lane{
		a.dword(b.lo) | a.dword(b.lo>>32)<<32,
		a.dword(b.hi) | a.dword(b.hi>>32)<<32,
	}
}

func vpermilpd(a, b lane, _ uint64) lane { return lane{a.half(b.lo >> 1), a.half(b.hi >> 1)} }

func vpermilpdImm(_, b lane, imm uint64) lane { return lane{b.half(imm), b.half(imm >> 1)} }
