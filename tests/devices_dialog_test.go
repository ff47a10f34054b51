package tests

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"dfemu/devices/watch"
	"dfemu/machine"
)

// dialogPrelude defines ask WORDS, with which a guest asks the test to do something to its machine; it returns when that
// is done.
const dialogPrelude = `
stty -echo 2>/dev/null
ask() { echo "ASK $*"; while read -r reply; do [ "$reply" = done ] && return; done; }
`

// runAsking boots a guest whose script asks for things. The words go to act; "fault RULE", "hit", which waits until a rule
// has been applied since, and "nofault" are answered here.
func (g *guest) runAsking(t *testing.T, act func(c *machine.Control, words []string) error) string {
	t.Helper()
	g.script = dialogPrelude + g.script
	config, out := g.config(t)
	config.Watch = &machine.Watch{Faults: &watch.Faults{Event: func(_, _ string) { out.hit(1) }}}
	if config.Balloon {
		config.Watch.Strict = &watch.Strict{Report: func(e *watch.Event) {
			if strings.Contains(e.Name, "given to the balloon") {
				t.Errorf("%s: %s", e.Device, e.Name)
			}
		}}
	}
	in, reply := io.Pipe()
	config.Serial[0].In = in
	m, wait := startControlled(t, config, out)
	control := m.Control()
	for asked := 0; out.waitAsk(asked); asked++ {
		words := out.ask(asked)
		var err error
		switch {
		case words[0] == "fault":
			out.hit(0)
			err = control.AddFault(strings.Join(words[1:], " "))
		case words[0] == "hit":
			out.waitHit()
		case words[0] == "nofault":
			control.Faults().Remove("")
		case act != nil:
			err = act(control, words)
		default:
			err = fmt.Errorf("nobody knows %q", words)
		}
		if err != nil {
			t.Errorf("%q: %v", words, err)
		}
		if _, err := fmt.Fprintln(reply, "done"); err != nil {
			t.Error(err)
		}
	}
	wait()
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	g.judge(t, out.String())
	return out.String()
}

// asks returns the whole lines in which the guest asks.
func (c *console) asks() (l [][]string) {
	lines := strings.Split(c.buf.String(), "\n")
	for _, line := range lines[:len(lines)-1] {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "ASK" {
			l = append(l, words[1:])
		}
	}
	return l
}

// hit notes that a fault has been injected, or with 0 forgets those so far.
func (c *console) hit(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits = n
	c.cond.Broadcast()
}

// waitHit waits for a fault, or the guest's end.
func (c *console) waitHit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.hits == 0 && !c.done {
		c.cond.Wait()
	}
}

// waitAsk returns true when the guest has asked more than n times, and false when it has ended before.
func (c *console) waitAsk(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.asks()) <= n {
		if c.done {
			return false
		}
		c.cond.Wait()
	}
	return true
}

func (c *console) ask(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asks()[n]
}
