package interp

import (
	"math"
	"testing"

	"dfemu/cpu/x86"
)

// BenchmarkFloat measures single floating-point instructions, with MXCSR as a program
// leaves it that has computed something inexact.
func BenchmarkFloat(b *testing.B) {
	rig := newSysrig(b, 1)
	rig.enter(true, selWide3, selData3)
	c := rig.c
	for _, k := range []struct {
		name string
		code []byte
	}{
		{"ADDSD", []byte{0xf2, 0x0f, 0x58, 0xc1}},
		{"MULSD", []byte{0xf2, 0x0f, 0x59, 0xc1}},
		{"DIVSD", []byte{0xf2, 0x0f, 0x5e, 0xc1}},
		{"ADDSDmem", []byte{0xf2, 0x0f, 0x58, 0x06}},
		{"ADDSS", []byte{0xf3, 0x0f, 0x58, 0xc1}},
		{"ADDPD", []byte{0x66, 0x0f, 0x58, 0xc1}},
		{"ADDPS", []byte{0x0f, 0x58, 0xc1}},
		{"UCOMISD", []byte{0x66, 0x0f, 0x2e, 0xc1}},
		{"CVTSI2SD", []byte{0xf2, 0x48, 0x0f, 0x2a, 0xc0}},
		{"CVTTSD2SI", []byte{0xf2, 0x48, 0x0f, 0x2c, 0xc1}},
		{"SQRTSD", []byte{0xf2, 0x0f, 0x51, 0xc1}},
		{"VFMADD231SD", []byte{0xc4, 0xe2, 0xe9, 0xb9, 0xc1}},
		{"FADD", []byte{0xd8, 0xc1}},
		{"FLD+FSTP", nil},
	} {
		b.Run(k.name, func(b *testing.B) {
			c.s.MXCSR = 0x1fa0
			for i := range c.s.Vec {
				for j := range c.s.Vec[i] {
					c.s.Vec[i][j] = math.Float64bits(1 + float64(i)/1e9)
					if k.name[len(k.name)-1] == 'S' {
						c.s.Vec[i][j] = 0x3f8000013f800001
					}
				}
			}
			c.s.FPU = x86.FPU{CW: 0x37f, Tag: 0x0f}
			for i := range c.s.FPU.R {
				c.s.FPU.R[i] = x86.F80{Mant: 1<<63 | uint64(i)<<11, SE: 0x3ff0}
			}
			c.r[x86.RSI] = rigData
			rig.put64(rigData, math.Float64bits(1e-9))
			ops := []Op{rig.op(k.code)}
			if k.code == nil {
				ops = []Op{rig.op([]byte{0xdd, 0x06}), rig.op([]byte{0xdd, 0x1e})}
			}
			b.ReportAllocs()
			for b.Loop() {
				for i := range ops {
					if st := ops[i].fn(c, &ops[i]); st != stNext {
						b.Fatal(st)
					}
				}
			}
		})
	}
}

// op compiles one instruction of 64-bit mode.
func (r *sysrig) op(code []byte) (o Op) {
	if len(code) == 0 {
		return o
	}
	var in x86.Inst
	if err := x86.Decode(r.c.mode, code, &in); err != nil {
		r.t.Fatalf("% x: %v", code, err)
	}
	o = Op{next: uint16(in.Len), size: in.OpSize, legacy: r.c.mode != x86.Mode64}
	if hasMem(&in) {
		o.bindMem(&in)
	}
	r.c.compile(&in, &o)
	return o
}
