package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestMaskMoveFaults: elements that the mask leaves out do not fault; a store that faults writes nothing.
func TestMaskMoveFaults(t *testing.T) {
	const next = rigData + pageSize
	low4 := [4]uint64{ones, ones, 0, 0} // elements 0 to 3 of doublewords
	for _, tt := range []struct {
		name string
		mask [4]uint64
		at   uint64 // address of the operand
		cr2  uint64 // 0: no fault
		code []byte
	}{
		{"VPMASKMOVD load", low4, next - 16, 0, []byte{0xc4, 0xe2, 0x75, 0x8c, 0x06}},
		{"VPMASKMOVD store", low4, next - 16, 0, []byte{0xc4, 0xe2, 0x75, 0x8e, 0x06}},
		{"VPMASKMOVD load", low4, next - 12, next, []byte{0xc4, 0xe2, 0x75, 0x8c, 0x06}},
		{"VPMASKMOVD store", low4, next - 12, next, []byte{0xc4, 0xe2, 0x75, 0x8e, 0x06}},
		{"VPMASKMOVQ load", low4, next - 16, 0, []byte{0xc4, 0xe2, 0xf5, 0x8c, 0x06}},
		{"VMASKMOVPD store", low4, next - 12, next, []byte{0xc4, 0xe2, 0x75, 0x2f, 0x06}},
		{"no element", [4]uint64{}, next, 0, []byte{0xc4, 0xe2, 0x75, 0x8e, 0x06}},
		{"MASKMOVDQU", [4]uint64{ones}, next - 16, 0, []byte{0x66, 0x0f, 0xf7, 0xc1}},
		{"MASKMOVDQU", [4]uint64{ones}, next - 8, next, []byte{0x66, 0x0f, 0xf7, 0xc1}},
	} {
		r := vecRig(t)
		r.pte(next, 0)
		r.c.s.Vec[1] = tt.mask
		r.c.r[x86.RSI], r.c.r[x86.RDI] = tt.at, tt.at
		before := r.state()
		old := string(r.mem[rigData:next])
		vec, _ := r.exec(tt.code...)
		st := r.state()
		if tt.cr2 == 0 {
			if vec >= 0 {
				t.Errorf("%s at %#x: exception %d, CR2 %#x", tt.name, tt.at, vec, st.CR2)
			}
			continue
		}
		if vec != x86.VecPF || st.CR2 != tt.cr2 {
			t.Errorf("%s at %#x: exception %d, CR2 %#x", tt.name, tt.at, vec, st.CR2)
		}
		if st.Vec != before.Vec || old != string(r.mem[rigData:next]) {
			t.Errorf("%s at %#x: the fault changed something", tt.name, tt.at)
		}
	}
}

// TestGatherFault: a gather that faults has done the elements before, and goes on when executed again.
func TestGatherFault(t *testing.T) {
	const next = rigData + pageSize
	r := vecRig(t)
	r.pte(next, 0)
	r.put64(rigData, 0x1111111111111111)
	r.put64(rigData+8, 0x2222222222222222)
	r.put64(next, 0x3333333333333333)
	r.c.s.Vec[1] = [4]uint64{0, 8, pageSize, 0}                 // indices
	r.c.s.Vec[2] = [4]uint64{1 << 63, 1 << 63, 1<<63 | 5, 0x7f} // mask
	last := r.c.s.Vec[0][3]
	code := []byte{0xc4, 0xe2, 0xed, 0x91, 0x04, 0x0e} // VPGATHERQQ YMM0, [RSI+YMM1], YMM2
	if vec, _ := r.exec(code...); vec != x86.VecPF || r.c.s.CR2 != next || r.c.rip != rigCode {
		t.Fatalf("exception %d, CR2 %#x, RIP %#x", vec, r.c.s.CR2, r.c.rip)
	}
	if d := r.c.s.Vec[0]; d[0] != 0x1111111111111111 || d[1] != 0x2222222222222222 {
		t.Errorf("elements before the fault: %#x", d)
	}
	if m := r.c.s.Vec[2]; m[0] != 0 || m[1] != 0 || m[2]>>63 == 0 || m[3]>>63 != 0 {
		t.Errorf("mask after the fault: %#x", m)
	}
	r.pte(next, next|pteP|pteU|pteW)
	r.put64(rigData, 0) // not read again
	if vec, _ := r.exec(code...); vec >= 0 {
		t.Fatalf("exception %d", vec)
	}
	want := [4]uint64{0x1111111111111111, 0x2222222222222222, 0x3333333333333333, last}
	if r.c.s.Vec[0] != want || r.c.s.Vec[2] != [4]uint64{} {
		t.Errorf("%#x, mask %#x", r.c.s.Vec[0], r.c.s.Vec[2])
	}
}
