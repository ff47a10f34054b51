package watch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"dfemu/devices"
)

// ActKind is what a fault does to a device or to the machine, rather than to a command.
type ActKind uint8

// The kinds.
const (
	LinkDown  ActKind = iota + 1 // the cable is cut
	LinkUp                       // and whole again
	Remove                       // the device or drive is taken away, and the guest not asked
	PowerLoss                    // the plug of the machine is pulled
)

// actNames are the kinds' names in rules.
var actNames = map[string]ActKind{"link-down": LinkDown, "link-up": LinkUp, "remove": Remove, "power-loss": PowerLoss}

// An Act is something that a rule does to a device or to the machine.
type Act struct {
	Kind ActKind
	For  int64 // ns after which a link that went down comes up; 0: never
	Rule string
	// Device is the unit name of what the command was sent to, with the command, or without one (nil) that of what is meant
	// itself: a drive is behind an adapter then.
	Device  string
	Command *devices.Command
}

// schedule sets timers, of the machine's time, for rules that go by that alone.
func (f *Faults) schedule(timer func(func()) devices.Timer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Timed && !r.armed {
			r.armed = true
			timer(func() { f.strike(r) }).Set(r.At)
		}
	}
}

// strike carries out a rule whose time has come.
func (f *Faults) strike(r *Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.done == 0 && slices.Contains(f.rules, r) {
		r.done++
		f.apply(r, r.Device, nil)
	}
}

// apply tells of a rule that is applied, and has its act carried out; mu is held.
func (f *Faults) apply(r *Rule, device string, c *devices.Command) {
	if f.Event != nil {
		f.Event(device, r.Text)
	}
	if r.Act == 0 {
		return
	}
	f.dark = f.dark || r.Act == PowerLoss
	if f.Do != nil {
		// Devices ask with their locks held.
		go f.Do(Act{Kind: r.Act, For: r.For, Rule: r.Text, Device: device, Command: c})
	}
}

// checkTimed looks at whether a rule with at= makes sense. conditional: it asks something of commands.
func (r *Rule) checkTimed(conditional bool) error {
	switch {
	case !r.Timed:
		return nil
	case r.Act == 0 || r.Effect != (devices.Effect{}) && r.Effect != devices.Effect{Hang: true}:
		return errors.New("at= is for link-down, link-up, remove and power-loss; for what is done to commands there are after= and until=")
	case conditional:
		return errors.New("at= excludes other conditions: the time is all there is")
	case r.Act != PowerLoss && strings.ContainsAny(r.Device, "*?["):
		return fmt.Errorf("with at= %q must be the name of one device or drive", r.Device)
	}
	return nil
}
