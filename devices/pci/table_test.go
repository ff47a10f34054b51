package pci

import "testing"

func TestRegisterTable(t *testing.T) {
	if err := chipsetRegisters.Check(); err != nil {
		t.Error(err)
	}
}
