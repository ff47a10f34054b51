package virtiotest

import (
	"fmt"
	"strings"
	"sync"

	"dfemu/devices"
)

// Recorder watches a device and disturbs it. Attach it to the probe with
// Watch(^devices.Class(0), r, r).
type Recorder struct {
	mu  sync.Mutex
	log []string
	// Effects are what happens to commands, by name; each is used once for each time that it is there.
	effects map[string][]devices.Effect
}

// Disturb has an effect done to the next command of this name.
func (r *Recorder) Disturb(name string, e devices.Effect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.effects == nil {
		r.effects = map[string][]devices.Effect{}
	}
	r.effects[name] = append(r.effects[name], e)
}

// Log returns what has been recorded, one event a line.
func (r *Recorder) Log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, "\n")
}

// Has reports whether an event has all the words.
func (r *Recorder) Has(words ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
next:
	for _, l := range r.log {
		for _, w := range words {
			if !strings.Contains(l, w) {
				continue next
			}
		}
		return true
	}
	return false
}

func (r *Recorder) add(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, a...))
}

// Access implements devices.Observer.
func (r *Recorder) Access(a devices.RegisterAccess) {
	name := "?"
	if a.Bank != nil {
		g, _, _ := a.Bank.Find(a.Off)
		name = g.String()
	}
	r.add("register %s write=%v value=%#x err=%v", name, a.Write, a.Value, a.Err)
}

// Command implements devices.Observer.
func (r *Recorder) Command(c *devices.Command) {
	text := ""
	if c.Fields != nil {
		for _, f := range c.Fields() {
			text += fmt.Sprintf(" %s=%d", f.Name, f.Value)
		}
	}
	r.add("command %s queue=%d bytes=%d%s", c.Name, c.Queue, c.Bytes, text)
}

// Completion implements devices.Observer.
func (r *Recorder) Completion(c *devices.Command, s devices.Status) {
	r.add("completion %s code=%d %s", c.Name, s.Code, s.Name)
}

// Interrupt implements devices.Observer.
func (r *Recorder) Interrupt(i devices.Interrupt) { r.add("interrupt %d", i.Vector) }

// DMA implements devices.Observer.
func (r *Recorder) DMA(t devices.Transfer) {
	r.add("dma %s bytes=%d write=%v", t.What, t.Bytes, t.Write)
}

// Violation implements devices.Observer.
func (r *Recorder) Violation(v devices.Violation) { r.add("violation %s: %s", v.Clause, v.Text) }

// State implements devices.Observer.
func (r *Recorder) State(what string) { r.add("state %s", what) }

// Decide implements devices.Faults.
func (r *Recorder) Decide(c *devices.Command) devices.Effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.effects[c.Name]
	if len(l) == 0 {
		return devices.Effect{}
	}
	r.effects[c.Name] = l[1:]
	return l[0]
}
