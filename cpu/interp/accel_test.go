//go:build unix

package interp

import (
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
)

func newAccel(cfg cpu.Config) (cpu.Accelerator, error) { return New(cfg) }

func TestGuests(t *testing.T) { cputest.Run(t, newAccel, nil) }
func TestKicks(t *testing.T)  { cputest.Kicks(t, newAccel) }
func TestStates(t *testing.T) { cputest.State(t, newAccel) }
