package conformance

import (
	"encoding/binary"
	"math"
	"strings"

	"dfemu/cpu/x86"
)

// flavor is the type that an instruction takes its operands to be.
type flavor uint8

const (
	flavorInt flavor = iota
	flavorF32
	flavorF64
	flavorF80
	flavorF16
	flavorBCD
	numFlavors
)

// flavorOf returns the flavour of a row's operands.
func flavorOf(e *x86.Enc, in *x86.Inst) flavor {
	name := e.Op.String()
	if e.Exc == x86.ExcX87 {
		switch {
		case strings.HasPrefix(name, "FB"):
			return flavorBCD
		case strings.HasPrefix(name, "FI") && e.Op != x86.FINCSTP:
			return flavorInt
		}
		for i := range in.Args {
			if a := &in.Args[i]; a.Kind == x86.KindMem {
				switch a.Size {
				case 4:
					return flavorF32
				case 8:
					return flavorF64
				}
			}
		}
		return flavorF80
	}
	for _, p := range [...]struct {
		part string
		f    flavor
	}{{"PH2", flavorF16}, {"PS2", flavorF32}, {"SS2", flavorF32}, {"PD2", flavorF64}, {"SD2", flavorF64},
		{"DQ2", flavorInt}, {"SI2", flavorInt}, {"PI2", flavorInt}} {
		if strings.Contains(name, p.part) {
			return p.f
		}
	}
	switch {
	case strings.HasSuffix(name, "PS"), strings.HasSuffix(name, "SS"):
		return flavorF32
	case strings.HasSuffix(name, "PD"), strings.HasSuffix(name, "SD") && e.Op != x86.MOVS:
		return flavorF64
	}
	return flavorInt
}

// integer returns an integer of size bytes: the boundaries more often than not.
func (r *rng) integer(size int) uint64 {
	bits := 8 * size
	if bits == 0 || bits > 64 {
		bits = 64
	}
	v := r.u64()
	switch r.n(12) {
	case 0:
		v = 0
	case 1:
		v = math.MaxUint64
	case 2:
		v &= 0xf
	case 3:
		v = 1 << (bits - 1)
	case 4:
		v = 1<<(bits-1) - 1
	case 5:
		v = 1<<(bits-1) + v%3 - 1
	case 6:
		v = 1<<(v%uint64(bits)) + v>>32%3 - 1
	case 7:
		v = uint64(int64(v) >> r.n(64))
	case 8:
		v = uint64(v&0xff) * 0x0101010101010101
	}
	if bits < 64 {
		// The bits above are those of a register that is wider.
		v = v&(1<<bits-1) | r.u64()<<bits
	}
	return v
}

// special32, special64 and special80 are the values at which arithmetic changes its mind.
var special32 = []uint32{
	0, 1 << 31, 0x3f800000, 0xbf800000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x00800001,
	0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffa00000, 0x7fd12345,
	0x3f000000, 0x3fc00000, 0x40200000, 0xc0200000, 0x3effffff, 0x4b000001, 0x4b7fffff, 0x4effffff, 0x4f000000,
	0xcf000000, 0xcf000001, 0x4f7fffff, 0x4f800000, 0x5effffff, 0x5f000000, 0xdf000000, 0x3f7fffff, 0x3f800001,
	0x33800000, 0x477fe000, 0x477ff000, 0x38800000, 0x33000000, 0x33000001, 0x387fe000,
}

var special64 = []uint64{
	0, 1 << 63, 0x3ff0000000000000, 0xbff0000000000000, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
	0x8010000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
	0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001, 0xfff4000000000000, 0x7ff8000012345678,
	0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000, 0xc004000000000000, 0x3fdfffffffffffff,
	0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000200000, 0x43dfffffffffffff,
	0x43e0000000000000, 0xc3e0000000000000, 0x47efffffe0000000, 0x47efffffefffffff, 0x47effffff0000000,
	0x380fffffe0000000, 0x36a0000000000000, 0x3690000000000000, 0x3690000000000001, 0x4330000000000001, 0x3ff0000000000001,
	0x3fefffffffffffff, 0x41dfffffffe00000, 0x41dfffffffdfffff,
}

var special80 = []x86.F80{
	{}, {SE: 0x8000}, {Mant: 1 << 63, SE: 0x3fff}, {Mant: 1 << 63, SE: 0xbfff}, // 0, 1
	{Mant: 1}, {Mant: 1<<63 - 1, SE: 0x8000}, {Mant: 1 << 63}, // denormals, a pseudo-denormal
	{Mant: 1 << 63, SE: 1}, {Mant: 1<<63 + 1, SE: 0x8001}, // least normal
	{Mant: math.MaxUint64, SE: 0x7ffe}, {Mant: math.MaxUint64, SE: 0xfffe},
	{Mant: 1 << 63, SE: 0x7fff}, {Mant: 1 << 63, SE: 0xffff}, // infinities
	{Mant: 3 << 62, SE: 0x7fff}, {Mant: 3 << 62, SE: 0xffff}, // quiet NaN, default NaN
	{Mant: 1<<63 + 1, SE: 0x7fff}, {Mant: 5 << 61, SE: 0xffff}, // signalling NaNs
	{Mant: 1, SE: 0x7fff}, {SE: 0x7fff}, {Mant: 1 << 62, SE: 0x4000}, {Mant: 0, SE: 0x3fff}, // unsupported
	{Mant: 1 << 63, SE: 0x3ffe}, {Mant: 3 << 62, SE: 0x3fff}, {Mant: 5 << 61, SE: 0x4000}, // 0.5, 1.5, 2.5
	{Mant: 1 << 63, SE: 0x403e}, {Mant: 1 << 63, SE: 0xc03e}, {Mant: math.MaxUint64, SE: 0x403d}, // 2⁶³
	{Mant: 1 << 63, SE: 0x401e}, {Mant: 1 << 63, SE: 0xc01e}, {Mant: 0xffffffff00000000, SE: 0x401d}, {Mant: 0xffffffff80000000, SE: 0x401d},
	{Mant: 1 << 63, SE: 0x400e}, {Mant: 0xffff000000000000, SE: 0x400d}, {Mant: 0xffff800000000000, SE: 0x400d},
	{Mant: 0xc90fdaa22168c235, SE: 0x4000}, {Mant: 0xc90fdaa22168c235, SE: 0x3ffe}, // π, π/4
	{Mant: 0xb504f333f9de6484, SE: 0x3fff}, {Mant: 0xde0b6b3a763fffe0, SE: 0x403a}, {Mant: 0xde0b6b3a76400000, SE: 0x403a}, // √2, 10¹⁸
	{Mant: math.MaxUint64, SE: 0x3ffe}, {Mant: 1<<63 + 1, SE: 0x3fff},
	{Mant: 1 << 63, SE: 0x3c00}, {Mant: math.MaxUint64, SE: 0x43fe}, {Mant: 0xfffffffffffff800, SE: 0x43fe}, {Mant: 0xfffffffffffffc00, SE: 0x43fe},
	{Mant: 1 << 63, SE: 0x3f80}, {Mant: 0xffffff0000000000, SE: 0x407e}, {Mant: 0xffffff8000000000, SE: 0x407e},
}

func (r *rng) f32() uint32 {
	switch r.n(10) {
	case 0, 1, 2:
		return pick(r, special32)
	case 3:
		return uint32(r.u64())
	case 4: // few bits
		return uint32(r.u64())&0x80000000 | uint32(120+r.n(16))<<23 | uint32(r.n(16))<<19
	case 5: // an integer
		return math.Float32bits(float32(int64(r.u64()) >> r.n(64)))
	}
	return uint32(r.u64())&0x807fffff | uint32(127-8+r.n(17))<<23
}

func (r *rng) f64() uint64 {
	switch r.n(10) {
	case 0, 1, 2:
		return pick(r, special64)
	case 3:
		return r.u64()
	case 4:
		return r.u64()&(1<<63) | uint64(1016+r.n(16))<<52 | uint64(r.n(16))<<48
	case 5:
		return math.Float64bits(float64(int64(r.u64()) >> r.n(64)))
	case 6: // within the range of a single
		return r.u64()&^(0x7ff<<52) | uint64(1023-150+r.n(280))<<52
	}
	return r.u64()&^(0x7ff<<52) | uint64(1023-8+r.n(17))<<52
}

func (r *rng) f80() x86.F80 {
	switch r.n(10) {
	case 0, 1, 2:
		return pick(r, special80)
	case 3:
		return x86.F80{Mant: r.u64(), SE: uint16(r.u64())}
	case 4:
		return x86.F80{Mant: 1<<63 | uint64(r.n(16))<<59, SE: uint16(r.u64())&0x8000 | uint16(0x3ff8+r.n(16))}
	case 5: // an integer
		n := r.n(64)
		return x86.F80{Mant: 1<<63 | r.u64()<<n>>n<<n, SE: uint16(r.u64())&0x8000 | uint16(0x3fff+r.n(70))}
	case 6: // any magnitude
		return x86.F80{Mant: 1<<63 | r.u64(), SE: uint16(r.u64())}
	case 7: // within the range of a double
		return x86.F80{Mant: 1<<63 | r.u64()<<(r.n(2)*11), SE: uint16(r.u64())&0x8000 | uint16(0x3fff-1100+r.n(2200))}
	}
	return x86.F80{Mant: 1<<63 | r.u64(), SE: uint16(r.u64())&0x8000 | uint16(0x3fff-8+r.n(17))}
}

// bcd returns ten bytes of packed decimal, mostly valid.
func (r *rng) bcd() (b [10]byte) {
	for i := range 9 {
		b[i] = byte(r.n(10) | r.n(10)<<4)
	}
	b[9] = byte(r.u64())
	if r.pct(15) {
		clear(b[r.n(9):9])
	}
	return b
}

// fill fills b with values of a flavour. Some lanes repeat what was made before, or nearly.
func (g *generator) fill(b []byte, fl flavor) {
	r := &g.r
	for len(b) > 0 {
		var v [10]byte
		n := 8
		switch fl {
		case flavorF32:
			binary.LittleEndian.PutUint32(v[:], r.f32())
			n = 4
		case flavorF64:
			binary.LittleEndian.PutUint64(v[:], r.f64())
		case flavorF16:
			binary.LittleEndian.PutUint16(v[:], uint16(r.u64()))
			n = 2
		case flavorF80:
			f := r.f80()
			binary.LittleEndian.PutUint64(v[:], f.Mant)
			binary.LittleEndian.PutUint16(v[8:], f.SE)
			n = 10
		case flavorBCD:
			v = r.bcd()
			n = 10
		default:
			n = 1 << r.n(4)
			binary.LittleEndian.PutUint64(v[:], r.integer(n))
		}
		b = b[copy(b, v[:n]):]
	}
}

// fillVec fills the vector registers. A few lanes of a register are those of
// the register before it, or nearly so, for equal and for cancelling operands.
func (g *generator) fillVec() {
	r := &g.r
	var b [32]byte
	for i := range g.c.Regs.Vec {
		v := &g.c.Regs.Vec[i]
		g.fill(b[:], g.flavor)
		for j := range v {
			v[j] = binary.LittleEndian.Uint64(b[8*j:])
			if i > 0 && r.pct(15) {
				v[j] = g.c.Regs.Vec[r.n(i)][j]
				switch r.n(4) {
				case 0:
					v[j] ^= 1 << 63
				case 1:
					v[j] ^= 0x8000000080000000
				case 2:
					v[j] += uint64(r.n(3)) - 1
				}
			}
		}
	}
}
