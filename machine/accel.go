package machine

import (
	"fmt"
	"slices"
	"strings"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/jit"
	"dfemu/cpu/kvm"
)

// accelerators are the words that Config.Accel takes.
var accelerators = []string{"auto", "kvm", "jit", "interp"}

// checkAccel refuses a word that is none of accelerators.
func checkAccel(name string) error {
	if !slices.Contains(accelerators, name) {
		return fmt.Errorf("accelerator %q: must be one of %s", name, strings.Join(accelerators, ", "))
	}
	return nil
}

// newAccel makes the processors with the accelerator that name asks for. The
// choice and its reason are told to logf.
//
// "auto" measures: KVM is taken where it opens and runs guests at hardware
// speed, for there are hosts whose KVM is an emulator slower than this one.
func newAccel(name string, cfg cpu.Config, logf func(string, ...any)) (cpu.Accelerator, error) {
	if err := checkAccel(name); err != nil {
		return nil, err
	}
	if name == "auto" {
		fast, reason := kvm.Usable()
		name = "interp"
		if fast {
			name = "kvm"
		}
		logf("accel: %s: %s", name, reason)
	} else {
		logf("accel: %s: as asked for", name)
	}
	if name == "kvm" {
		cfg.TSCHz = 0 // the host's: not every host can scale it
		return kvm.New(cfg)
	}
	if name == "jit" {
		return jit.New(cfg)
	}
	acc, err := interp.New(cfg)
	if err != nil {
		return nil, err
	}
	return acc, nil
}
