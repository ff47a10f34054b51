package virtiotest

import (
	"strings"

	"dfemu/devices"
)

// Audience is a [Recorder] whose record is read piece by piece, and that may decide about
// each command.
type Audience struct {
	Recorder
	// Effect decides what happens to a command; nil leaves it to the Recorder.
	Effect func(*devices.Command) devices.Effect
}

// take returns the events since the last call that are violations, or that are not.
func (a *Audience) take(violations bool) (l []string) {
	const prefix = "violation "
	a.mu.Lock()
	defer a.mu.Unlock()
	rest := a.log[:0]
	for _, line := range a.log {
		if text, is := strings.CutPrefix(line, prefix); is == violations {
			l = append(l, text)
		} else {
			rest = append(rest, line)
		}
	}
	a.log = rest
	return l
}

// Lines returns what was reported since the last call, without violations.
func (a *Audience) Lines() []string { return a.take(false) }

// Violations returns the breaches reported since the last call, as "clause: text".
func (a *Audience) Violations() []string { return a.take(true) }

// Decide implements devices.Faults.
func (a *Audience) Decide(c *devices.Command) devices.Effect {
	if a.Effect == nil {
		return a.Recorder.Decide(c)
	}
	return a.Effect(c)
}
