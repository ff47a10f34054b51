package interp

// Arithmetic between the elements of a lane.

// joinWords adds (or, with neg set, subtracts) the two words of each doubleword
// of lo and hi, giving four words; joinWordsSat saturates; joinDwords does it with doublewords.
func joinWords(lo, hi uint64, neg bool) (r uint64) {
	for i, d := range [4]uint64{lo, lo >> 32, hi, hi >> 32} {
		a, b := uint16(d), uint16(d>>16)
		if neg {
			b = -b
		}
		r |= uint64(a+b) << (16 * i)
	}
	return r
}

func joinWordsSat(lo, hi uint64, neg bool) (r uint64) {
	for i, d := range [4]uint64{lo, lo >> 32, hi, hi >> 32} {
		a, b := int32(int16(d)), int32(int16(d>>16))
		if neg {
			b = -b
		}
		r |= uint64(uint16(clampWord(a+b))) << (16 * i)
	}
	return r
}

func joinDwords(lo, hi uint64, neg bool) uint64 {
	b, d := uint32(lo>>32), uint32(hi>>32)
	if neg {
		b, d = -b, -d
	}
	return uint64(uint32(lo)+b) | uint64(uint32(hi)+d)<<32
}

func phaddw(a, b lane, _ uint64) lane {
	return lane{joinWords(a.lo, a.hi, false), joinWords(b.lo, b.hi, false)}
}

func phsubw(a, b lane, _ uint64) lane {
	return lane{joinWords(a.lo, a.hi, true), joinWords(b.lo, b.hi, true)}
}

func phaddsw(a, b lane, _ uint64) lane {
	return lane{joinWordsSat(a.lo, a.hi, false), joinWordsSat(b.lo, b.hi, false)}
}

func phsubsw(a, b lane, _ uint64) lane {
	return lane{joinWordsSat(a.lo, a.hi, true), joinWordsSat(b.lo, b.hi, true)}
}

func phaddd(a, b lane, _ uint64) lane {
	return lane{joinDwords(a.lo, a.hi, false), joinDwords(b.lo, b.hi, false)}
}

func phsubd(a, b lane, _ uint64) lane {
	return lane{joinDwords(a.lo, a.hi, true), joinDwords(b.lo, b.hi, true)}
}

// phminposuw finds the least word of b and its index.
func phminposuw(_, b lane, _ uint64) lane {
	least := uint64(0xffff<<16 | 7)
	for i := range uint64(8) {
		w := b.half(i>>2) >> (16 * (i & 3)) & 0xffff
		least = min(least, w<<16|i)
	}
	return lane{lo: least>>16 | least&7<<16}
}

// mpsadbw sums the absolute differences of a four-byte block of b and of each of
// eight consecutive blocks of a.
func mpsadbw(a, b lane, imm uint64) lane {
	block := b.dword(imm)
	a = a.shiftRight(imm >> 2 & 1 * 4)
	var r [2]uint64
	for i := range 8 {
		r[i>>2] |= psadbw(a.lo&0xffffffff, block) << (16 * (i & 3))
		a = a.shiftRight(1)
	}
	return lane{r[0], r[1]}
}
