package machine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dfemu/cpu"
)

func TestAccelName(t *testing.T) {
	for _, name := range []string{"", "tcg", "KVM", "auto,kvm"} {
		_, err := chooseAccel(name, t.Logf)
		if err == nil || !strings.Contains(err.Error(), "must be one of auto, kvm, jit, interp") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestAccelChoice sees that the choice and why it was made are told, and that
// "auto" always finds something.
func TestAccelChoice(t *testing.T) {
	for _, name := range []string{"auto", "interp"} {
		var said []string
		a, err := chooseAccel(name, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bits, err := a.physBits()
		if err != nil || bits < 36 || bits > 52 {
			t.Errorf("%s: %d physical address bits, %v", name, bits, err)
		}
		acc, err := a.new(cpu.Config{
			CPUs: 1, Clock: cpuClock{newClock(time.Unix(0, 0))}, NewBus: func(int) cpu.Bus { return nil }, TSCHz: tscHz,
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := "accel: " + acc.Name() + ": "
		if len(said) == 0 || !strings.HasPrefix(said[0], want) || len(said[0]) < len(want)+5 {
			t.Errorf("%s: chose %s and said %q", name, acc.Name(), said)
		}
		if name != auto && acc.Name() != name {
			t.Errorf("%s: chose %s", name, acc.Name())
		}
		if err := acc.Close(); err != nil {
			t.Error(err)
		}
	}
	names := Accelerators()
	if names[0] != auto || !slices.Contains(names, "interp") {
		t.Errorf("accelerators are %v", names)
	}
}
