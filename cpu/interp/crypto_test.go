package interp

import (
	"bytes"
	"crypto/aes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"testing"
)

func laneFrom(b []byte) lane {
	return lane{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (v lane) slice() []byte { b := v.bytes(); return b[:] }

// TestAES encrypts and decrypts the example of FIPS 197, appendix C.1.
func TestAES(t *testing.T) {
	key, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	plain, _ := hex.DecodeString("00112233445566778899aabbccddeeff")
	want, _ := hex.DecodeString("69c4e0d86a7b0430d8cdb78070b4c55a")
	var k [11]lane
	k[0] = laneFrom(key)
	rcon := uint64(1)
	for i := range 10 {
		t := aeskeygenassist(lane{}, k[i], rcon).hi >> 32
		w, s := k[i], k[i]
		for range 3 {
			s = s.shiftLeft(4)
			w = w.xor(s)
		}
		k[i+1] = w.xor(lane{t | t<<32, t | t<<32})
		rcon = xtime(rcon)
	}
	v := laneFrom(plain).xor(k[0])
	for i := 1; i < 10; i++ {
		v = aesenc(v, k[i], 0)
	}
	v = aesenclast(v, k[10], 0)
	if !bytes.Equal(v.slice(), want) {
		t.Errorf("encrypted %x, want %x", v.slice(), want)
	}
	if c, err := aes.NewCipher(key); err == nil {
		ref := make([]byte, 16)
		c.Encrypt(ref, plain)
		if !bytes.Equal(ref, want) {
			t.Error("the example is wrong")
		}
	}
	v = v.xor(k[10])
	for i := 9; i > 0; i-- {
		v = aesdec(v, aesimc(lane{}, k[i], 0), 0)
	}
	v = aesdeclast(v, k[0], 0)
	if !bytes.Equal(v.slice(), plain) {
		t.Errorf("decrypted %x, want %x", v.slice(), plain)
	}
}

func TestSubstitutionTables(t *testing.T) {
	for i := range 256 {
		if aesInvSbox[aesSbox[i]] != uint8(i) {
			t.Errorf("%#x is not substituted back", i)
		}
	}
}

// abcBlock is the padded message "abc".
func abcBlock() (b [64]byte) {
	copy(b[:], "abc\x80")
	b[63] = 24
	return b
}

// messageLane returns four big-endian words of b, the first lowest (SHA-256) or highest (SHA-1).
func messageLane(b []byte, firstHigh bool) lane {
	w := [4]uint32{}
	for i := range w {
		w[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	if firstHigh {
		return lane4(w[3], w[2], w[1], w[0])
	}
	return lane4(w[0], w[1], w[2], w[3])
}

func TestSHA1(t *testing.T) {
	b := abcBlock()
	var m [20]lane
	for i := range 4 {
		m[i] = messageLane(b[16*i:], true)
	}
	for i := 4; i < 20; i++ {
		m[i] = sha1msg2(sha1msg1(m[i-4], m[i-3], 0).xor(m[i-2]), m[i-1], 0)
	}
	start := lane4(0x10325476, 0x98badcfe, 0xefcdab89, 0x67452301)
	e := lane4(0, 0, 0, 0xc3d2e1f0)
	s, prev := start, lane{}
	for i := range 20 {
		w := lane{m[i].lo, m[i].hi + e.hi>>32<<32}
		if i > 0 {
			w = sha1nexte(prev, m[i], 0)
		}
		prev = s
		s = sha1rnds4(s, w, uint64(i/5))
	}
	d0, c0, b0, a0 := s.dwords()
	d1, c1, b1, a1 := start.dwords()
	e1 := uint32(sha1nexte(prev, e, 0).hi >> 32)
	var got []byte
	for _, w := range []uint32{a0 + a1, b0 + b1, c0 + c1, d0 + d1, e1} {
		got = binary.BigEndian.AppendUint32(got, w)
	}
	if want := sha1.Sum([]byte("abc")); !bytes.Equal(got, want[:]) {
		t.Errorf("%x, want %x", got, want)
	}
}

// sha256K returns the constants of FIPS 180-4, 4.2.2: the first 32 bits of the
// fractions of the cube roots of the first 64 primes.
func sha256K() (k [64]uint32) {
	n := 0
	for p := uint64(2); n < 64; p++ {
		prime := true
		for q := uint64(2); q*q <= p; q++ {
			prime = prime && p%q != 0
		}
		if !prime {
			continue
		}
		// The greatest r with r^3 < p * 2^96, by bits; the cube root of a prime is no whole number.
		var r uint64
		for bit := 34; bit >= 0; bit-- {
			c := r | 1<<bit
			hi, lo := bits.Mul64(c, c)
			// c^3 in three words, compared with p<<96.
			h1, _ := bits.Mul64(lo, c)
			h2, l2 := bits.Mul64(hi, c)
			mid, carry := bits.Add64(h1, l2, 0)
			top := h2 + carry
			if top == 0 && mid < p<<32 {
				r = c
			}
		}
		k[n] = uint32(r)
		n++
	}
	return k
}

func TestSHA256(t *testing.T) {
	b := abcBlock()
	var m [16]lane
	for i := range 4 {
		m[i] = messageLane(b[16*i:], false)
	}
	for i := 4; i < 16; i++ {
		x := sha256msg1(m[i-4], m[i-3], 0)
		y := palignr(m[i-1], m[i-2], 4)
		x = lane{paddd(x.lo, y.lo), paddd(x.hi, y.hi)}
		m[i] = sha256msg2(x, m[i-1], 0)
	}
	r := vecRig(t)
	k := sha256K()
	abef := lane4(0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667)
	cdgh := lane4(0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372)
	v := &r.c.s.Vec
	v[1], v[2] = [4]uint64{abef.lo, abef.hi}, [4]uint64{cdgh.lo, cdgh.hi}
	for i := range 32 { // two rounds each
		w := m[i/2]
		x := w.lo
		if i&1 != 0 {
			x = w.hi
		}
		v[0][0] = paddd(x, uint64(k[2*i])|uint64(k[2*i+1])<<32)
		code := []byte{0x0f, 0x38, 0xcb, 0xd1} // SHA256RNDS2 XMM2, XMM1
		if i&1 != 0 {
			code[3] = 0xca // XMM1, XMM2
		}
		if vec, _ := r.exec(code...); vec >= 0 {
			t.Fatalf("exception %d", vec)
		}
	}
	f, e, bb, a := r.c.xmm(1).dwords()
	h, g, d, c := r.c.xmm(2).dwords()
	f0, e0, b0, a0 := abef.dwords()
	h0, g0, d0, c0 := cdgh.dwords()
	var got []byte
	for _, w := range []uint32{a + a0, bb + b0, c + c0, d + d0, e + e0, f + f0, g + g0, h + h0} {
		got = binary.BigEndian.AppendUint32(got, w)
	}
	if want := sha256.Sum256([]byte("abc")); !bytes.Equal(got, want[:]) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestPCLMULQDQ(t *testing.T) {
	for _, tt := range []struct{ a, b, hi, lo uint64 }{
		{0x63746f725d53475d, 0x5b477565726f6e5d, 0x1d4d84c85c3440c0, 0x929633d5d36f0451},
		{1 << 63, 1 << 63, 1 << 62, 0},
		{ones, ones, 0x5555555555555555, 0x5555555555555555},
		{0, ones, 0, 0},
		{1, 0x123456789abcdef0, 0, 0x123456789abcdef0},
	} {
		if r := clmul(tt.a, tt.b); r.hi != tt.hi || r.lo != tt.lo {
			t.Errorf("%#x * %#x = %#x, want %#x %#x", tt.a, tt.b, r, tt.hi, tt.lo)
		}
	}
	a, b := lane{3, 5}, lane{7, 11}
	for imm, want := range map[uint64]lane{0x00: clmul(3, 7), 0x01: clmul(5, 7), 0x10: clmul(3, 11), 0x11: clmul(5, 11)} {
		if r := pclmulqdq(a, b, imm); r != want {
			t.Errorf("imm %#x: %v, want %v", imm, r, want)
		}
	}
}
