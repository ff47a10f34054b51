package machine

import (
	"fmt"

	"dfemu/cpu"
	"dfemu/cpu/interp"
)

// Accelerators are the words that Config.Accel takes.
var accelerators = []string{"auto", "interp"}

// newAccel makes the processors with the accelerator that name asks for. The
// choice and its reason are told to logf.
func newAccel(name string, cfg cpu.Config, logf func(string, ...any)) (cpu.Accelerator, error) {
	switch name {
	case "auto", "interp":
		logf("accel: interp")
		return interp.New(cfg)
	}
	return nil, fmt.Errorf("accelerator %q: must be one of %v", name, accelerators)
}
