package interp

import "math/bits"

// The SHA extensions (FIPS 180-4; Intel SDM vol. 2, SHA1RNDS4 and following).
// Doublewords are numbered from the lowest.

// dwords returns the doublewords of v; lane4 is the reverse.
func (v lane) dwords() (a, b, c, d uint32) {
	return uint32(v.lo), uint32(v.lo >> 32), uint32(v.hi), uint32(v.hi >> 32)
}

func lane4(a, b, c, d uint32) lane {
	return lane{uint64(a) | uint64(b)<<32, uint64(c) | uint64(d)<<32}
}

// choose, parity and majority are Ch, Parity and Maj of FIPS 180-4, 4.1.
func choose(x, y, z uint32) uint32   { return x&y ^ ^x&z }
func parity(x, y, z uint32) uint32   { return x ^ y ^ z }
func majority(x, y, z uint32) uint32 { return x&y ^ x&z ^ y&z }

// sha1rnds4 does four rounds of SHA-1; imm selects the function and the constant.
func sha1rnds4(s, w lane, imm uint64) lane {
	d, c, b, a := s.dwords()
	w3, w2, w1, w0 := w.dwords() // w0 has E added
	var e uint32
	for _, m := range [4]uint32{w0, w1, w2, w3} {
		var f uint32
		switch imm & 3 {
		case 0:
			f = choose(b, c, d) + 0x5a827999
		case 1:
			f = parity(b, c, d) + 0x6ed9eba1
		case 2:
			f = majority(b, c, d) + 0x8f1bbcdc
		default:
			f = parity(b, c, d) + 0xca62c1d6
		}
		a, b, c, d, e = f+bits.RotateLeft32(a, 5)+m+e, a, bits.RotateLeft32(b, 30), c, d
	}
	return lane4(d, c, b, a)
}

func sha1nexte(s, w lane, _ uint64) lane {
	return lane{w.lo, w.hi + uint64(bits.RotateLeft32(uint32(s.hi>>32), 30))<<32}
}

func sha1msg1(a, b lane, _ uint64) lane {
	return lane{a.lo ^ b.hi, a.hi ^ a.lo}
}

func sha1msg2(a, b lane, _ uint64) lane {
	a0, a1, a2, a3 := a.dwords()
	w13, w14, w15 := uint32(b.hi), uint32(b.lo>>32), uint32(b.lo)
	w16 := bits.RotateLeft32(a3^w13, 1)
	w17 := bits.RotateLeft32(a2^w14, 1)
	w18 := bits.RotateLeft32(a1^w15, 1)
	w19 := bits.RotateLeft32(a0^w16, 1)
	return lane4(w19, w18, w17, w16)
}

// The functions of FIPS 180-4, 4.1.2.
func bigSigma0(x uint32) uint32 {
	return bits.RotateLeft32(x, -2) ^ bits.RotateLeft32(x, -13) ^ bits.RotateLeft32(x, -22)
}

func bigSigma1(x uint32) uint32 {
	return bits.RotateLeft32(x, -6) ^ bits.RotateLeft32(x, -11) ^ bits.RotateLeft32(x, -25)
}

func sigma0(x uint32) uint32 {
	return bits.RotateLeft32(x, -7) ^ bits.RotateLeft32(x, -18) ^ x>>3
}

func sigma1(x uint32) uint32 {
	return bits.RotateLeft32(x, -17) ^ bits.RotateLeft32(x, -19) ^ x>>10
}

func sha256msg1(a, b lane, _ uint64) lane {
	w0, w1, w2, w3 := a.dwords()
	w4 := uint32(b.lo)
	return lane4(w0+sigma0(w1), w1+sigma0(w2), w2+sigma0(w3), w3+sigma0(w4))
}

func sha256msg2(a, b lane, _ uint64) lane {
	a0, a1, a2, a3 := a.dwords()
	w16 := a0 + sigma1(uint32(b.hi))
	w17 := a1 + sigma1(uint32(b.hi>>32))
	return lane4(w16, w17, a2+sigma1(w16), a3+sigma1(w17))
}

// sha256rnds2 does two rounds of SHA-256 with the words and constants in XMM0.
func sha256rnds2(cpu *CPU, o *Op) status {
	if !cpu.sseReady() {
		return stFault
	}
	src, ok := cpu.source128(o)
	if !ok {
		return stFault
	}
	h, g, d, c := cpu.xmm(o.dst).dwords()
	f, e, b, a := src.dwords()
	wk := cpu.s.Vec[0][0]
	for range 2 {
		t := choose(e, f, g) + bigSigma1(e) + uint32(wk) + h
		a, b, c, d, e, f, g, h = t+majority(a, b, c)+bigSigma0(a), a, b, c, t+d, e, f, g
		wk >>= 32
	}
	cpu.setXMM(o, lane4(f, e, b, a))
	return stNext
}
