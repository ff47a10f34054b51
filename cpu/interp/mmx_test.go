package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestMMXState: MMX instructions set TOP and tags, and the exponents of what they write.
func TestMMXState(t *testing.T) {
	for _, tt := range []struct {
		name  string
		code  []byte
		tag   uint8
		top   uint16
		wrote int // register, -1 for none
		v     uint64
	}{
		{"MOVQ MM3, [RSI]", []byte{0x0f, 0x6f, 0x1e}, 0xff, 0, 3, 0x0706050403020100},
		{"MOVD MM3, [RSI]", []byte{0x0f, 0x6e, 0x1e}, 0xff, 0, 3, 0x03020100},
		{"MOVD MM3, EAX", []byte{0x0f, 0x6e, 0xd8}, 0xff, 0, 3, 0x55667788},
		{"MOVQ MM3, RAX", []byte{0x48, 0x0f, 0x6e, 0xd8}, 0xff, 0, 3, 0x1122334455667788},
		{"MOVQ [RSI], MM3", []byte{0x0f, 0x7f, 0x1e}, 0xff, 0, -1, 0},
		{"PADDB MM3, MM4", []byte{0x0f, 0xfc, 0xdc}, 0xff, 0, 3, 0x0303030303030303 + 0x0404040404040404},
		{"PUNPCKLBW MM3, [RSI]", []byte{0x0f, 0x60, 0x1e}, 0xff, 0, 3, 0x0303020301030003},
		{"PSLLW MM3, 4", []byte{0x0f, 0x71, 0xf3, 4}, 0xff, 0, 3, 0x3030303030303030},
		{"PMOVMSKB EAX, MM3", []byte{0x0f, 0xd7, 0xc3}, 0xff, 0, -1, 0},
		{"MOVDQ2Q MM3, XMM0", []byte{0xf2, 0x0f, 0xd6, 0xd8}, 0xff, 0, 3, 0x0101123456789abc},
		{"MOVQ2DQ XMM0, MM3", []byte{0xf3, 0x0f, 0xd6, 0xc3}, 0xff, 0, -1, 0},
		{"MASKMOVQ MM3, MM4", []byte{0x0f, 0xf7, 0xdc}, 0xff, 0, -1, 0},
		{"EMMS", []byte{0x0f, 0x77}, 0, 0, -1, 0},
	} {
		r := vecRig(t)
		st := r.state()
		st.FPU.SW = 5 << 11
		st.FPU.Tag = 0x24
		for i := range st.FPU.R {
			st.FPU.R[i] = x86.F80{Mant: uint64(i) * 0x0101010101010101, SE: 0x3fff}
		}
		st.GPR[x86.RAX] = 0x1122334455667788
		r.set(&st)
		if vec, _ := r.exec(tt.code...); vec >= 0 {
			t.Errorf("%s: exception %d", tt.name, vec)
			continue
		}
		f := r.state().FPU
		if f.Tag != tt.tag || f.SW>>11&7 != tt.top {
			t.Errorf("%s: tag %#x, TOP %d", tt.name, f.Tag, f.SW>>11&7)
		}
		want := st.FPU.R
		if tt.wrote >= 0 {
			want[tt.wrote] = x86.F80{Mant: tt.v, SE: 0xffff}
		}
		if f.R != want {
			t.Errorf("%s: registers %#x, want %#x", tt.name, f.R, want)
		}
	}
}
