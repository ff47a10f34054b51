package interp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// f80Values are x87 values that come up more often than chance would have it.
var f80Values = []x86.F80{
	{}, {SE: 0x8000}, {Mant: 1 << 63, SE: 0x3fff}, {Mant: 1 << 63, SE: 0xbfff}, {Mant: 1<<63 | 1, SE: 0x3fff},
	{Mant: 1 << 63, SE: 0x4000}, {Mant: 3 << 62, SE: 0x3fff}, {Mant: 1 << 63, SE: 0x3ffe},
	{Mant: 1}, {Mant: 1<<63 - 1, SE: 0x8000}, {Mant: 1 << 63}, {Mant: 1 << 63, SE: 1}, {Mant: 1 << 62, SE: 0x1234},
	{Mant: ^uint64(0), SE: 0x7ffe}, {Mant: 1 << 63, SE: 0x7fff}, {Mant: 1 << 63, SE: 0xffff}, {SE: 0x7fff},
	{Mant: 3 << 62, SE: 0xffff}, {Mant: 3<<62 | 5, SE: 0x7fff}, {Mant: 1<<63 | 1, SE: 0x7fff}, {Mant: 1<<63 | 9<<32, SE: 0xffff},
	{Mant: 0xfffffffe00000000, SE: 0x401d}, {Mant: 1 << 63, SE: 0x401e}, {Mant: 1 << 63, SE: 0xc01e}, {Mant: 1 << 63, SE: 0xc00e},
	{Mant: ^uint64(0), SE: 0x403d}, {Mant: 1 << 63, SE: 0x403e}, {Mant: 1 << 63, SE: 0xc03e}, {Mant: 0x8000000000000401, SE: 0x43fe},
	{Mant: 0xffffffffffffffff, SE: 0x3f80}, {Mant: 0xffffffffffffffff, SE: 0x407e}, {Mant: 1 << 63, SE: 0x3c00},
	{Mant: 1 << 63, SE: 0x4080}, {Mant: 1 << 63, SE: 0x403c},
}

func randomF80(r *rand.Rand) x86.F80 {
	switch r.IntN(4) {
	case 0:
		return f80Values[r.IntN(len(f80Values))]
	case 1:
		return x86.F80{Mant: r.Uint64(), SE: uint16(r.Uint32())}
	case 2:
		return x86.F80{Mant: r.Uint64() | 1<<63, SE: uint16(0x3ff0+r.IntN(32)) | uint16(r.IntN(2)<<15)}
	}
	return x86.F80(softfloat.I64ToF80(int64(r.IntN(2000) - 1000)))
}

// transcendental instructions are computed to the last place only approximately
// by processors.
func transcendental(op x86.Op) bool {
	switch op {
	case x86.F2XM1, x86.FYL2X, x86.FYL2XP1, x86.FPTAN, x86.FPATAN, x86.FSIN, x86.FCOS, x86.FSINCOS:
		return true
	}
	return false
}

// randomX87Memory fills the place that RSI points to with an operand of n bytes.
func randomX87Memory(r *rand.Rand, e *x86.Enc, n uint8, p []byte) {
	le := binary.LittleEndian
	name := e.Op.String()
	switch {
	case n == 10 && e.Op == x86.FBLD:
		for i := range p[:9] {
			p[i] = byte(r.IntN(10)<<4 | r.IntN(10))
		}
		p[9] = byte(r.IntN(2) << 7)
	case n == 10:
		v := randomF80(r)
		le.PutUint64(p, v.Mant)
		le.PutUint16(p[8:], v.SE)
	case name[1] == 'I' || n == 2:
		le.PutUint64(p, r.Uint64()>>r.IntN(64))
		if r.IntN(4) == 0 {
			le.PutUint64(p, 1<<[...]int{15, 31, 63, 0}[r.IntN(4)])
		}
	case n == 8:
		le.PutUint64(p, randomF64(r))
	default:
		le.PutUint32(p, randomF32(r))
	}
}

// TestX87Native executes every x87 instruction with random registers, tags, control and
// status both here and on the host's processor, exceptions masked and not.
func TestX87Native(t *testing.T) {
	rig := newFPRig(t)
	c := rig.c
	trials := 500
	if testing.Short() {
		trials = 200
	}
	encs := x86.Encodings()
	tested, near := 0, 0
	for i := range encs {
		e := &encs[i]
		if e.Exc != x86.ExcX87 || e.Op >= x86.FLDENV || e.Op == x86.FWAIT {
			continue
		}
		r := rand.New(rand.NewPCG(uint64(i), 3))
		bad := 0
		for range trials {
			ch := x86.Choice{Mode: x86.Mode64, Mem: x86.Mem{Seg: x86.DS, Base: x86.RSI, Index: x86.NoReg}}
			size := uint8(0)
			for k, s := range e.Args {
				info := s.Info()
				ch.Args[k].Kind = info.Kind
				if info.Mem {
					ch.Args[k].Kind = x86.KindMem
				}
				ch.Args[k].Reg = uint16(r.IntN(8))
			}
			code, err := x86.Encode(e, ch)
			if err != nil {
				t.Fatalf("%v: %v", e.Op, err)
			}
			var in x86.Inst
			if err := x86.Decode(x86.Mode64, code, &in); err != nil {
				t.Fatal(err)
			}
			for k := range in.NArgs {
				if in.Args[k].Kind == x86.KindMem {
					size = in.Args[k].Size
				}
			}
			fpu := &c.s.FPU
			*fpu = x86.FPU{CW: 0x37f}
			if r.IntN(2) == 0 {
				fpu.CW = uint16(r.Uint32())&0xf3f | 0x40
				if r.IntN(2) == 0 {
					fpu.CW |= 0x3f
				}
				if fpu.CW>>8&3 == 1 {
					fpu.CW |= 0x300 // the reserved precision
				}
			}
			fpu.SW = uint16(r.Uint32()) &^ (swES | swB | ^fpu.CW&0x3f)
			fpu.Tag = 0xff
			switch r.IntN(4) {
			case 0:
				fpu.Tag = uint8(r.Uint32())
			case 1: // room to push
				fpu.Tag &^= 1 << (fpu.SW>>11 - 1&7)
			case 2:
				fpu.Tag = ^(1 << (fpu.SW>>11 - 1&7)) | uint8(1<<r.IntN(8))
			}
			for j := range fpu.R {
				fpu.R[j] = randomF80(r)
			}
			c.setArith(r.Uint64() & x86.ArithFlags)
			for j := range rig.guest {
				rig.guest[j] = byte(r.Uint32())
			}
			randomX87Memory(r, e, size, rig.guest[fpMiddle:])
			c.s.MXCSR = 0x1f80
			before := *fpu
			st0, st1 := fpu.R[fpu.SW>>11&7], fpu.R[(fpu.SW>>11+1)&7]
			if e.Op == x86.FYL2XP1 && st0.SE&0x7fff > 0x3ffd && st0.SE&0x7fff != 0x7fff || e.Op == x86.F2XM1 && st0.SE&0x7fff >= 0x3fff {
				continue // beyond what the instruction is defined for
			}
			tested++
			if st := rig.both(code); st != stNext {
				t.Fatalf("%v (% x): status %d, exception %d", &in, code, st, c.exc.vec)
			}
			if transcendental(e.Op) && rig.lastPlace() {
				near++
			}
			if d := rig.differences(); d != nil {
				top := before.SW >> 11
				t.Errorf("%v (% x), CW %#x, SW %#x, TOP %d, Tag %#x, ST(0) %#x, ST(1) %#x, operand %#x, memory % x:", &in, code,
					before.CW, before.SW, top&7, before.Tag, st0, st1,
					before.R[(top+in.Args[max(in.NArgs, 1)-1].Reg)&7], rig.guest[fpMiddle:fpMiddle+10])
				for _, s := range d {
					t.Errorf("    %s", s)
				}
				if bad++; bad >= 3 {
					break
				}
			}
		}
	}
	t.Logf("%d executions compared, %d of them with another last place", tested, near)
}

// nearF80 tells whether two numbers differ by a few units in the last place at most.
func nearF80(a, b x86.F80) bool {
	if a.SE > b.SE {
		a, b = b, a
	}
	switch b.SE - a.SE {
	case 0:
		return a.Mant-b.Mant+8 <= 16
	case 1:
		return b.Mant>>63 != 0 && (b.Mant<<1-a.Mant) <= 16
	}
	return false
}

// lastPlace takes over the host's registers, and C1, where they differ by a few units in the last place
// at most.
func (r *fpRig) lastPlace() (differ bool) {
	le := binary.LittleEndian
	fpu := &r.c.s.FPU
	sw := le.Uint16(r.n.f.fx[2:])
	if sw&^swC1 != fpu.SW&^swC1 {
		return false
	}
	for i := range uint16(8) {
		v := &fpu.R[(fpu.SW>>11+i)&7]
		w := x86.F80{Mant: le.Uint64(r.n.f.fx[32+16*i:]), SE: le.Uint16(r.n.f.fx[40+16*i:])}
		if *v != w && nearF80(*v, w) {
			*v = w
			differ = true
		}
	}
	if fpu.SW&uint16(softfloat.PE) != 0 {
		differ = differ || sw != fpu.SW
		fpu.SW = sw
	}
	return differ
}
