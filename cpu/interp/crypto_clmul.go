package interp

// clmul multiplies two polynomials over GF(2).
func clmul(a, b uint64) (r lane) {
	// Four bits of b at a time, from the top: table[i] is a times i.
	var table [16]lane
	table[1].lo = a
	for i := 2; i < 16; i += 2 {
		half := table[i/2]
		even := lane{half.lo << 1, half.hi<<1 | half.lo>>63}
		table[i] = even
		table[i+1] = lane{even.lo ^ a, even.hi}
	}
	for range 16 {
		t := &table[b>>60]
		b <<= 4
		r.hi = (r.hi<<4 | r.lo>>60) ^ t.hi
		r.lo = r.lo<<4 ^ t.lo
	}
	return r
}

// pclmulqdq multiplies one quadword of each source.
func pclmulqdq(a, b lane, imm uint64) lane { return clmul(a.half(imm), b.half(imm>>4)) }
