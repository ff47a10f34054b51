// Package entropy is the kernel's random source: a key that everything added to it changes, and that ChaCha20 (RFC 8439) stretches. It
// does not allocate, block or lock: the bottom layer uses it.
package entropy

import (
	"encoding/binary"
	"math/bits"
)

// Pool is a random source. The zero Pool gives what anybody can compute until something is added. Its users take turns.
type Pool struct {
	key   [8]uint32
	nonce [2]uint32 // counts, so that no block comes twice
	added uint64
}

// Added is how many bytes have been added.
func (p *Pool) Added() uint64 { return p.added }

// Add mixes b into the pool. What was in it before is not lost, and b cannot be computed from what comes out.
func (p *Pool) Add(b []byte) {
	p.added += uint64(len(b))
	for {
		var chunk [32]byte
		n := copy(chunk[:], b)
		for i := range p.key {
			p.key[i] ^= binary.LittleEndian.Uint32(chunk[4*i:])
		}
		// The length tells a short chunk from one that ends in zeros.
		p.rekey(uint32(n))
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
}

// rekey replaces the key by what cannot be turned back.
func (p *Pool) rekey(tweak uint32) {
	var out [16]uint32
	p.block(&out, 0x80000000|tweak)
	copy(p.key[:], out[:8])
}

// Read fills b. What it gives cannot be found from the pool afterwards.
func (p *Pool) Read(b []byte) {
	var out [16]uint32
	for i := uint32(0); len(b) > 0; i++ {
		p.block(&out, i&0x7fffffff)
		var bytes [64]byte
		for j, w := range out {
			binary.LittleEndian.PutUint32(bytes[4*j:], w)
		}
		b = b[copy(b, bytes[:]):]
	}
	p.rekey(0)
}

// block computes the next block of the key stream.
func (p *Pool) block(out *[16]uint32, counter uint32) {
	if p.nonce[0]++; p.nonce[0] == 0 {
		p.nonce[1]++
	}
	*out = Block(&p.key, counter, [3]uint32{0, p.nonce[0], p.nonce[1]})
}

// Block is the block function of ChaCha20 (RFC 8439, section 2.3), as little-endian words.
func Block(key *[8]uint32, counter uint32, nonce [3]uint32) [16]uint32 {
	s := [16]uint32{
		0x61707865, 0x3320646e, 0x79622d32, 0x6b206574,
		key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
		counter, nonce[0], nonce[1], nonce[2],
	}
	x := s
	for range 10 {
		quarter(&x, 0, 4, 8, 12)
		quarter(&x, 1, 5, 9, 13)
		quarter(&x, 2, 6, 10, 14)
		quarter(&x, 3, 7, 11, 15)
		quarter(&x, 0, 5, 10, 15)
		quarter(&x, 1, 6, 11, 12)
		quarter(&x, 2, 7, 8, 13)
		quarter(&x, 3, 4, 9, 14)
	}
	for i := range x {
		x[i] += s[i]
	}
	return x
}

func quarter(x *[16]uint32, a, b, c, d int) {
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 16)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 12)
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 8)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 7)
}
