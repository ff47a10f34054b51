package virtio

import "testing"

func TestRegisterTable(t *testing.T) {
	if err := commonRegisters.Check(); err != nil {
		t.Error(err)
	}
}
