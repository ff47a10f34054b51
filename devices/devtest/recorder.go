package devtest

import (
	"fmt"
	"strings"
	"sync"

	"dfemu/devices"
)

// Recorder watches a device and disturbs it. Attach it to the probe with
// Watch(^devices.Class(0), r, r). The zero value is ready. Its methods may be called from any
// goroutine.
//
// Each event is a line: its kind (register, command, completion, interrupt, dma, violation or state) and what there is
// to know, numbers as NAME=VALUE.
type Recorder struct {
	mu  sync.Mutex
	log []string
	// origins are those of breaches.
	origins []devices.Origin
	// effects are what happens to commands, by name; each is used once for each time that it is there.
	effects map[string][]devices.Effect
	decide  func(*devices.Command) devices.Effect
}

// Disturb has an effect done to the next command of this name that has no effect yet.
func (r *Recorder) Disturb(name string, e devices.Effect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.effects == nil {
		r.effects = map[string][]devices.Effect{}
	}
	r.effects[name] = append(r.effects[name], e)
}

// DisturbBy has commands from now on suffer what f says, in place of what Disturb was told; nil ends that.
func (r *Recorder) DisturbBy(f func(*devices.Command) devices.Effect) {
	r.mu.Lock()
	r.decide = f
	r.mu.Unlock()
}

// Log returns what has been recorded and not taken, one event a line.
func (r *Recorder) Log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, "\n")
}

// Has reports whether an event of the log has all the words.
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

// Take removes the events of a kind from the log and returns them, without the kind.
func (r *Recorder) Take(kind string) []string { return r.take(kind, true) }

// Violations takes the breaches, as "clause: text".
func (r *Recorder) Violations() []string { return r.take("violation", true) }

// Lines takes all events but the breaches.
func (r *Recorder) Lines() []string { return r.take("violation", false) }

// Forget empties the log.
func (r *Recorder) Forget() {
	r.mu.Lock()
	r.log = nil
	r.mu.Unlock()
}

// take removes the events that are of a kind, or those that are not.
func (r *Recorder) take(kind string, want bool) (l []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := r.log[:0]
	for _, line := range r.log {
		if text, is := strings.CutPrefix(line, kind+" "); is == want {
			l = append(l, text)
		} else {
			rest = append(rest, line)
		}
	}
	r.log = rest
	return l
}

func (r *Recorder) add(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	r.mu.Lock()
	r.log = append(r.log, line)
	r.mu.Unlock()
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
	if c.NSID != 0 {
		text += fmt.Sprintf(" nsid=%d", c.NSID)
	}
	if c.Blocks != 0 {
		text += fmt.Sprintf(" lba=%d+%d", c.LBA, c.Blocks)
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
func (r *Recorder) Violation(v devices.Violation) {
	r.add("violation %s: %s", v.Clause, v.Text)
	r.mu.Lock()
	r.origins = append(r.origins, v.Origin)
	r.mu.Unlock()
}

// Origins takes where the breaches were found that have been reported since it was called last.
func (r *Recorder) Origins() []devices.Origin {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.origins
	r.origins = nil
	return l
}

// Rang implements devices.Observer.
func (r *Recorder) Rang(queue int) { r.add("rang queue=%d", queue) }

// State implements devices.Observer.
func (r *Recorder) State(what string) { r.add("state %s", what) }

// Decide implements devices.Faults.
func (r *Recorder) Decide(c *devices.Command) devices.Effect {
	r.mu.Lock()
	if f := r.decide; f != nil {
		r.mu.Unlock()
		return f(c)
	}
	defer r.mu.Unlock()
	l := r.effects[c.Name]
	if len(l) == 0 {
		return devices.Effect{}
	}
	r.effects[c.Name] = l[1:]
	return l[0]
}
