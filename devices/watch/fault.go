package watch

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"dfemu/devices"
)

// addressBits are those of addresses that a fault may invert: more than the memory of any guest has.
const addressBits = 40

// Rule is one fault: what it matches and what happens then. ParseRule makes it.
type Rule struct {
	Text string // as it was written

	Device string // pattern
	Op     string // pattern of the command's name, in lower case; or its number
	OpCode int64  // -1: any
	Admin  int8   // -1: any
	Queue  int64  // -1: any
	NSID   int64  // -1: any
	LBA    [2]uint64
	HasLBA bool
	After  int64 // ns: not before this time of the machine
	Until  int64 // 0: no end
	Nth    uint64
	Every  uint64
	Times  uint64  // how often at most; 0: no limit
	P      float64 // probability
	Effect devices.Effect
	AnyBit bool    // Effect.FlipTable is a bit chosen anew each time
	Act    ActKind // 0: none
	For    int64   // ns that a link is down; 0: for good
	Timed  bool    // it goes by time alone: no command is needed
	At     int64   // with Timed: ns of the machine's time

	armed      bool // see schedule
	seen, done uint64
	rng        *rand.Rand
}

// Faults injects faults by rules. The zero value has none. Its methods may be called from any goroutine.
type Faults struct {
	mu    sync.Mutex
	rules []*Rule
	dark  bool // the power is lost: no command is executed any more
	// Event is called when a rule has been applied. It may be nil.
	Event func(device, rule string)
	// Do carries out the act of a rule, on a goroutine of its own. Without it acts do nothing. It is set before the first command.
	Do func(Act)
}

// Add adds a rule; it applies to commands from then on, after those added before. See Watcher.Refresh.
func (f *Faults) Add(r *Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
}

// Remove takes away the rules with a text, or all if it is empty, and returns how many.
func (f *Faults) Remove(text string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.rules)
	f.rules = slices.DeleteFunc(f.rules, func(r *Rule) bool { return text == "" || r.Text == text })
	return n - len(f.rules)
}

// List returns the rules and how often each has been applied.
func (f *Faults) List() (texts []string, applied []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		texts, applied = append(texts, r.Text), append(applied, r.done)
	}
	return texts, applied
}

// concerns reports whether some rule is about a device.
func (f *Faults) concerns(device string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.rules, func(r *Rule) bool { return matches(r.Device, device) || r.Act == PowerLoss })
}

// decide returns the effect of the first rule that applies, and the rule's text.
func (f *Faults) decide(device string, c *devices.Command, now int64) (devices.Effect, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dark {
		return devices.Effect{Hang: true}, ""
	}
	for _, r := range f.rules {
		if r.Timed || !r.matches(device, c, now) {
			continue
		}
		r.seen++
		if r.Nth != 0 && r.seen != r.Nth || r.Every != 0 && r.seen%r.Every != 0 || r.Times != 0 && r.done >= r.Times ||
			r.P < 1 && r.rng.Float64() >= r.P {
			continue
		}
		r.done++
		e := r.Effect
		e.Seed = r.rng.Uint64()
		if r.AnyBit {
			e.FlipTable = 1 << (e.Seed % addressBits)
		}
		f.apply(r, device, c)
		return e, r.Text
	}
	return devices.Effect{}, ""
}

func (r *Rule) matches(device string, c *devices.Command, now int64) bool {
	switch {
	case !matches(r.Device, device),
		r.Op != "" && !matches(r.Op, strings.ToLower(c.Name)),
		r.OpCode >= 0 && uint32(r.OpCode) != c.Opcode,
		r.Admin >= 0 && (r.Admin == 1) != c.Admin,
		r.Queue >= 0 && r.Queue != int64(c.Queue),
		r.NSID >= 0 && r.NSID != int64(c.NSID),
		r.HasLBA && (c.Blocks == 0 || c.LBA > r.LBA[1] || c.LBA+c.Blocks-1 < r.LBA[0]),
		now < r.After, r.Until != 0 && now >= r.Until:
		return false
	}
	return true
}
