package ahci

import "testing"

func TestBank(t *testing.T) {
	for _, ports := range []int{1, 6, 32} {
		if err := newBank("ahci", ports).Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestFlipBits(t *testing.T) {
	// Deterministic, inside the data, and the same however it is cut up.
	a, b := make([]byte, 64), make([]byte, 64)
	flipBits([][]byte{a}, 64, 9, 5)
	flipBits([][]byte{b[:7], b[7:20], b[20:]}, 64, 9, 5)
	if string(a) != string(b) {
		t.Errorf("% x\n% x", a, b)
	}
}
