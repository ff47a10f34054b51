//go:build amd64 && linux

package jit

import (
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
)

// newHot makes processors that translate everything the first time it is executed.
func newHot(cfg cpu.Config) (cpu.Accelerator, error) { return newAccel(cfg, 0) }

func TestGuests(t *testing.T) {
	for name, mk := range map[string]cputest.Make{"first time": newHot, "often": New} {
		t.Run(name, func(t *testing.T) { cputest.Run(t, mk, nil) })
	}
}

func TestKicks(t *testing.T)  { cputest.Kicks(t, newHot) }
func TestStates(t *testing.T) { cputest.State(t, newHot) }
