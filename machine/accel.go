package machine

import (
	"fmt"
	"strings"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/jit"
	"dfemu/cpu/kvm"
)

// auto is the value of Config.Accel that leaves the choice to the machine.
const auto = "auto"

// softPhysBits is how many physical address bits the processors in software have.
const softPhysBits = 46

// accelerator is one way to execute guests.
type accelerator struct {
	name string // the value of Config.Accel
	// usable reports whether "auto" may take it on this host, and the reason in
	// one line. Nil means that it is taken only when asked for.
	usable func() (ok bool, reason string)
	new    func(cpu.Config) (cpu.Accelerator, error)
	// physBits returns how many physical address bits guests are shown.
	physBits func() (int, error)
}

// accelerators lists the ways to execute guests in the order in which "auto"
// tries them; the last works everywhere.
func accelerators() []accelerator {
	soft := func() (int, error) { return softPhysBits, nil }
	return []accelerator{
		{name: "kvm", usable: kvm.Usable, physBits: kvm.PhysBits, new: func(c cpu.Config) (cpu.Accelerator, error) {
			c.TSCHz = 0 // the host's: not every host can scale it
			return kvm.New(c)
		}},
		{name: "jit", usable: jit.Usable, physBits: soft, new: jit.New},
		{name: "interp", physBits: soft,
			usable: func() (bool, string) { return true, "it works everywhere" },
			new: func(c cpu.Config) (cpu.Accelerator, error) {
				a, err := interp.New(c)
				if err != nil {
					return nil, err // not a nil *interp.Accel
				}
				return a, nil
			},
		},
	}
}

// Accelerators returns the values that Config.Accel takes.
func Accelerators() []string {
	names := []string{auto}
	for _, a := range accelerators() {
		names = append(names, a.name)
	}
	return names
}

// ResolveAccel returns the accelerator that a value of Config.Accel means on
// this host: itself, but for "auto".
func ResolveAccel(name string) (string, error) {
	a, err := chooseAccel(name, func(string, ...any) {})
	return a.name, err
}

// chooseAccel returns the accelerator that name asks for. The choice and its
// reason are told to logf.
//
// "auto" measures: KVM is taken where it opens and runs guests at hardware
// speed, for there are hosts whose KVM is an emulator slower than software.
func chooseAccel(name string, logf func(string, ...any)) (accelerator, error) {
	var reasons []string
	for _, a := range accelerators() {
		switch {
		case name == a.name:
			logf("accel: %s: as asked for", name)
			return a, nil
		case name == auto && a.usable != nil:
			ok, reason := a.usable()
			reasons = append(reasons, reason)
			if ok {
				logf("accel: %s: %s", a.name, strings.Join(reasons, "; "))
				return a, nil
			}
		}
	}
	return accelerator{}, fmt.Errorf("accelerator %q: must be one of %s", name, strings.Join(Accelerators(), ", "))
}
