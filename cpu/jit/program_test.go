//go:build amd64 && linux

package jit

import (
	"context"
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/conformance/program"
	"dfemu/cpu/interp"
)

// TestPrograms compares generated programs on the interpreter and translated at once, and translated when they are hot.
func TestPrograms(t *testing.T) {
	n := 120
	if testing.Short() {
		n = 10
	}
	rep, err := program.Compare(context.Background(), program.Config{
		Programs: n,
		Reference: program.Subject{Name: "interp", New: func(c cpu.Config) (cpu.Accelerator, error) {
			return interp.New(c)
		}},
		Subjects:      []program.Subject{{Name: "jit", New: NewEager}, {Name: "jit when hot", New: New}},
		MaxMismatches: 3,
		Mismatch:      func(m *program.Mismatch) { t.Error(m) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(rep)
}
