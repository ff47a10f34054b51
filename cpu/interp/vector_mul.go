package interp

// Packed multiplications inside one quadword.

func pmullw(a, b uint64) (r uint64) {
	for i := 0; i < 64; i += 16 {
		r |= uint64(uint16(a>>i)*uint16(b>>i)) << i
	}
	return r
}

func pmulhw(a, b uint64) (r uint64) {
	for i := 0; i < 64; i += 16 {
		r |= uint64(uint16(int32(int16(a>>i))*int32(int16(b>>i))>>16)) << i
	}
	return r
}

func pmulhuw(a, b uint64) (r uint64) {
	for i := 0; i < 64; i += 16 {
		r |= uint64(uint32(uint16(a>>i))*uint32(uint16(b>>i))>>16) << i
	}
	return r
}

// pmulhrsw multiplies fractions of 15 bits and rounds.
func pmulhrsw(a, b uint64) (r uint64) {
	for i := 0; i < 64; i += 16 {
		p := int32(int16(a>>i)) * int32(int16(b>>i))
		r |= uint64(uint16((p>>14+1)>>1)) << i
	}
	return r
}

func pmulld(a, b uint64) uint64 {
	return uint64(uint32(a)*uint32(b)) | uint64(uint32(a>>32)*uint32(b>>32))<<32
}

func pmuludq(a, b uint64) uint64 { return uint64(uint32(a)) * uint64(uint32(b)) }
func pmuldq(a, b uint64) uint64  { return uint64(int64(int32(a)) * int64(int32(b))) }

func pmaddwd(a, b uint64) (r uint64) {
	for i := 0; i < 64; i += 32 {
		s := int32(int16(a>>i))*int32(int16(b>>i)) + int32(int16(a>>(i+16)))*int32(int16(b>>(i+16)))
		r |= uint64(uint32(s)) << i
	}
	return r
}

// pmaddubsw multiplies unsigned bytes of a by signed bytes of b.
func pmaddubsw(a, b uint64) (r uint64) {
	for i := 0; i < 64; i += 16 {
		s := int32(uint8(a>>i))*int32(int8(b>>i)) + int32(uint8(a>>(i+8)))*int32(int8(b>>(i+8)))
		r |= uint64(uint16(clampWord(s))) << i
	}
	return r
}

// clampWord saturates to a signed word.
func clampWord(v int32) int16 { return int16(min(max(v, -0x8000), 0x7fff)) }

// psadbw sums the absolute differences of the bytes.
func psadbw(a, b uint64) (r uint64) {
	d := pick(above(h8, a, b, 8), packedSub(h8, a, b), packedSub(h8, b, a))
	for range 8 {
		r += d & 0xff
		d >>= 8
	}
	return r
}
