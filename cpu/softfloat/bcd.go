package softfloat

// BCD is a packed decimal integer as FBLD and FBSTP have it in memory: 18
// digits in nine bytes, least significant first, and the sign in bit 7 of the
// last byte (SDM vol. 1, section 4.7).
type BCD [10]byte

// BCDToF80 loads b (FBLD), always exactly.  Digits above nine count for what
// they are; the SDM leaves them undefined.
func BCDToF80(b BCD) F80 {
	var mag uint64
	for i := 8; i >= 0; i-- {
		mag = mag*100 + uint64(b[i]>>4)*10 + uint64(b[i]&15)
	}
	n := integer(mag, false)
	n.neg = b[9]>>7 != 0
	return pack80(n)
}

// F80ToBCD stores a, rounded by Env.Round (FBSTP).  For NaNs and values of
// more than 18 digits it raises IE and returns the packed BCD indefinite.
func (e *Env) F80ToBCD(a F80) BCD {
	e.RoundedUp = false
	n := unpack80(a)
	mag, r, ok := magnitude(n, e.Round)
	if !ok || mag >= 1e18 {
		e.Flags |= IE
		return BCD{7: 0xc0, 8: 0xff, 9: 0xff}
	}
	e.inexact(r)
	var b BCD
	for i := range 9 {
		pair := byte(mag % 100)
		mag /= 100
		b[i] = pair/10<<4 | pair%10
	}
	if n.neg {
		b[9] = 0x80
	}
	return b
}
