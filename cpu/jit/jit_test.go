//go:build amd64 && linux

package jit

import (
	"testing"

	"dfemu/cpu/cputest"
)

func TestGuests(t *testing.T) {
	for name, mk := range map[string]cputest.Make{"first time": NewEager, "often": New} {
		t.Run(name, func(t *testing.T) { cputest.Run(t, mk, nil) })
	}
}

func TestKicks(t *testing.T)  { cputest.Kicks(t, NewEager) }
func TestStates(t *testing.T) { cputest.State(t, NewEager) }
