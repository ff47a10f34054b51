package interp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"

	"dfemu/cpu/x86"
)

// fpRig executes an instruction here and on the host's processor.
type fpRig struct {
	*sysrig
	n     *fpNative
	host  []byte // memory of the instruction on the host
	guest []byte // and here
}

const fpMiddle = 1024 // offset in memory of what RSI points to

func newFPRig(t *testing.T) *fpRig {
	n := newFPNative(t)
	host, err := syscall.Mmap(-1, 0, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(host) })
	rig := newSysrig(t, 1)
	rig.enter(true, selWide3, selData3)
	rig.c.s.CR4 |= x86.CR4_OSXMMEXCPT
	return &fpRig{rig, n, host[:2*fpMiddle], rig.mem[rigData : rigData+2*fpMiddle]}
}

// both executes code in both places, from the state of c and the contents of
// guest; RSI and RDI point into the memory. What the host's processor makes of
// it is in n.f and host.
func (r *fpRig) both(code []byte) status {
	r.t.Helper()
	c, f := r.c, r.n.f
	le := binary.LittleEndian
	fpu := &c.s.FPU
	clear(f.fx[:])
	le.PutUint16(f.fx[0:], fpu.CW)
	le.PutUint16(f.fx[2:], fpu.SW)
	f.fx[4] = fpu.Tag
	le.PutUint32(f.fx[24:], c.s.MXCSR)
	for i := range uint16(8) {
		v := fpu.R[(fpu.SW>>11+i)&7]
		le.PutUint64(f.fx[32+16*i:], v.Mant)
		le.PutUint16(f.fx[40+16*i:], v.SE)
	}
	for i := range c.s.Vec {
		v := &c.s.Vec[i]
		le.PutUint64(f.fx[160+16*i:], v[0])
		le.PutUint64(f.fx[168+16*i:], v[1])
		f.high[i] = [2]uint64{v[2], v[3]}
	}
	copy(f.gpr[:], c.r[:16])
	f.flags = c.arith() | x86.Flag1
	for _, i := range []int{x86.RSI, x86.RDI} {
		f.gpr[i] = addressOf(r.host) + fpMiddle
		c.r[i] = rigData + fpMiddle
	}
	copy(r.host, r.guest)
	r.n.run(code...)
	o := r.op(code)
	return o.fn(c, &o)
}

// differences lists where the two outcomes differ.
func (r *fpRig) differences() (d []string) {
	c, f := r.c, r.n.f
	le := binary.LittleEndian
	fpu := &c.s.FPU
	diff := func(what string, got, want any) {
		d = append(d, fmt.Sprintf("%s is %#x, on the processor %#x", what, got, want))
	}
	if v := le.Uint16(f.fx[0:]); v != fpu.CW {
		diff("CW", fpu.CW, v)
	}
	if v := le.Uint16(f.fx[2:]); v != fpu.SW {
		diff("SW", fpu.SW, v)
	}
	if v := f.fx[4]; v != fpu.Tag {
		diff("Tag", fpu.Tag, v)
	}
	if v := le.Uint32(f.fx[24:]); v != c.s.MXCSR {
		diff("MXCSR", c.s.MXCSR, v)
	}
	top := le.Uint16(f.fx[2:]) >> 11
	for i := range uint16(8) {
		v := fpu.R[(top+i)&7]
		w := x86.F80{Mant: le.Uint64(f.fx[32+16*i:]), SE: le.Uint16(f.fx[40+16*i:])}
		if v != w {
			diff(fmt.Sprintf("ST(%d)", i), v, w)
		}
	}
	for i := range c.s.Vec {
		w := [4]uint64{le.Uint64(f.fx[160+16*i:]), le.Uint64(f.fx[168+16*i:]), f.high[i][0], f.high[i][1]}
		if v := c.s.Vec[i]; v != w {
			diff(fmt.Sprintf("YMM%d", i), v, w)
		}
	}
	for i := range f.gpr {
		switch i {
		case x86.RSP, x86.RBP, x86.R14, x86.RSI, x86.RDI:
		default:
			if f.gpr[i] != c.r[i] {
				diff(fmt.Sprintf("register %d", i), c.r[i], f.gpr[i])
			}
		}
	}
	if v := f.flags & x86.ArithFlags; v != c.arith() {
		diff("RFLAGS", c.arith(), v)
	}
	if !bytes.Equal(r.host, r.guest) {
		for i := range r.host {
			if r.host[i] != r.guest[i] {
				i &^= 15
				diff(fmt.Sprintf("memory at %d", i-fpMiddle), r.guest[i:i+16], r.host[i:i+16])
				break
			}
		}
	}
	return d
}

// Values that elements are made of more often than chance would.
var (
	f32Values = []uint32{0, 1 << 31, 1, 0x80000001, 0x007fffff, 0x00800000, 0x00800001, 0x3f800000, 0xbf800000,
		0x3f800001, 0x40000000, 0x4b000000, 0x4b000001, 0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000, 0x7f7fffff,
		0xff7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffc00123, 0x3f000000, 0x3fc00000, 0x477ff000,
		0x33000000, 0x38800000, 0x387fffff}
	f64Values = []uint64{0, 1 << 63, 1, 1<<63 | 1, 0x000fffffffffffff, 0x0010000000000000, 0x3ff0000000000000,
		0xbff0000000000000, 0x3ff0000000000001, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000,
		0x43e0000000000000, 0xc3e0000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
		0x7ff0000000000001, 0x7ff8000000000000, 0xfff8000000000123, 0x47efffffe0000000, 0x47f0000000000000,
		0x3810000000000000, 0x36a0000000000000, 0x380fffffffffffff, 0x3fe0000000000000, 0x4330000000000001}
)

func randomF32(r *rand.Rand) uint32 {
	switch r.IntN(4) {
	case 0:
		return f32Values[r.IntN(len(f32Values))]
	case 1:
		return r.Uint32()
	case 2: // near one, so that sums and products stay in range
		return r.Uint32()&0x87ffffff | 0x38000000
	}
	return math.Float32bits(float32(r.IntN(2000)-1000) / 4)
}

func randomF64(r *rand.Rand) uint64 {
	switch r.IntN(4) {
	case 0:
		return f64Values[r.IntN(len(f64Values))]
	case 1:
		return r.Uint64()
	case 2:
		return r.Uint64()&0x80ffffffffffffff | 0x3f00000000000000
	}
	return math.Float64bits(float64(r.IntN(2000)-1000) / 4)
}

// randomFloats is a quadword of one or two floating-point values.
func randomFloats(r *rand.Rand) uint64 {
	if r.IntN(2) == 0 {
		return randomF64(r)
	}
	return uint64(randomF32(r)) | uint64(randomF32(r))<<32
}

// single and double tell what an instruction works on, to choose operands.
func vectorFloats(e *x86.Enc, r *rand.Rand) uint64 {
	switch name := e.Op.String(); {
	case e.Op == x86.VCVTPH2PS:
		return r.Uint64() & [...]uint64{^uint64(0), 0x83ff83ff83ff83ff, 0xffff7c00fc017e00}[r.IntN(3)]
	case len(name) > 2 && (name[len(name)-2:] == "PD" || name[len(name)-2:] == "SD"):
		return randomF64(r)
	case len(name) > 2 && (name[len(name)-2:] == "PS" || name[len(name)-2:] == "SS"):
		return uint64(randomF32(r)) | uint64(randomF32(r))<<32
	}
	return randomFloats(r)
}

// TestVectorFloatNative executes every form of every floating-point vector instruction with
// random operands, rounding and flags both here and on the host's processor.
func TestVectorFloatNative(t *testing.T) {
	rig := newFPRig(t)
	c := rig.c
	trials := 120
	if testing.Short() {
		trials = 40
	}
	encs := x86.Encodings()
	tested := 0
	for i := range encs {
		e := &encs[i]
		if e.Exc < x86.Exc1 || e.Exc == x86.ExcGPR || e.Exc > x86.ExcMMXF || e.Attr&x86.Not64 != 0 {
			continue
		}
		if !rig.n.has(e.Feat) {
			t.Logf("the host has no %v", e.Op)
			continue
		}
		r := rand.New(rand.NewPCG(uint64(i), 2))
		bad := 0
		for trial := range trials {
			code, err := x86.Encode(e, randomVectorChoice(r, e, trial%2 == 0))
			if err != nil {
				t.Fatalf("%v: %v", e.Op, err)
			}
			var in x86.Inst
			if err := x86.Decode(x86.Mode64, code, &in); err != nil {
				t.Fatal(err)
			}
			var o Op
			if done, _ := compileVectorFloat(c, &in, &o); !done {
				break
			}
			tested++
			c.s.MXCSR = 0x1f80 | r.Uint32()&0xe07f
			if r.IntN(2) == 0 {
				c.s.MXCSR = 0x1f80 | r.Uint32()&0x3f
			}
			c.s.FPU = x86.FPU{CW: 0x37f}
			for j := range c.s.FPU.R {
				c.s.FPU.R[j] = x86.F80{Mant: vectorFloats(e, r), SE: uint16(r.Uint32())}
			}
			c.s.FPU.SW = uint16(r.IntN(8)) << 11
			c.s.FPU.Tag = uint8(r.Uint32())
			for j := range c.s.Vec {
				for k := range 4 {
					c.s.Vec[j][k] = vectorFloats(e, r)
				}
			}
			for j := range 16 {
				if j != x86.RSP && j != x86.RBP && j != x86.R14 {
					c.r[j] = r.Uint64()
				}
			}
			c.setArith(r.Uint64() & x86.ArithFlags)
			for j := 0; j < len(rig.guest); j += 8 {
				binary.LittleEndian.PutUint64(rig.guest[j:], vectorFloats(e, r))
			}
			mxcsr, before := c.s.MXCSR, c.s.Vec
			if st := rig.both(code); st != stNext {
				t.Fatalf("%v (% x): status %d, exception %d", &in, code, st, c.exc.vec)
			}
			if op := legacyOp(in.Op); op >= x86.RCPPS && op <= x86.RSQRTSS {
				rig.likeHost(uint8(in.Args[0].Reg))
			}
			if d := rig.differences(); d != nil {
				t.Errorf("%v (% x), MXCSR %#x, dst %#x:", &in, code, mxcsr, before[in.Args[0].Reg&15])
				for k := 1; k < int(in.NArgs); k++ {
					if in.Args[k].Kind == x86.KindVec {
						t.Errorf("    source %#x", before[in.Args[k].Reg])
					}
				}
				for _, s := range d {
					t.Errorf("    %s", s)
				}
				if bad++; bad >= 2 {
					break
				}
			}
		}
	}
	t.Logf("%d executions compared", tested)
}

// likeHost takes over the host's result for those elements of a register that
// are as near to it as the approximations of RCPPS and RSQRTPS have to be.
func (r *fpRig) likeHost(reg uint8) {
	v := &r.c.s.Vec[reg]
	host := [4]uint64{2: r.n.f.high[reg][0], 3: r.n.f.high[reg][1]}
	for k := range 2 {
		host[k] = binary.LittleEndian.Uint64(r.n.f.fx[160+16*int(reg)+8*k:])
	}
	for k := range 8 {
		sh := 32 * (k & 1)
		a := float64(math.Float32frombits(uint32(v[k/2] >> sh)))
		b := float64(math.Float32frombits(uint32(host[k/2] >> sh)))
		if math.Abs(a-b) <= 3*math.Abs(b)/4096 {
			v[k/2] = v[k/2]&^(0xffffffff<<sh) | host[k/2]>>sh<<32>>32<<sh
		}
	}
}
