package tests

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/devices/watch"
	"dfemu/machine"
)

// kernelGuest is the guest kernel at its prompt, on a machine whose devices are strict and can be disturbed.
type kernelGuest struct {
	t   *testing.T
	m   *machine.Machine
	ctl *machine.Control
	out *console
	in  *io.PipeWriter
	run chan machine.Outcome

	once sync.Once

	mu         sync.Mutex
	complaints []string
}

// interrupts are the kernel's options that choose how devices interrupt.
var interrupts = map[string]string{"messages": "", "pins": "hw.pci.msi.enable=0 hw.pci.msix.enable=0"}

// kernelPrompt is what the kernel's shell prints when it is ready.
const kernelPrompt = "dfly# "

// startKernel boots the kernel to its prompt, under faults if there are any.
func startKernel(t *testing.T, c machine.Config, faults ...string) *kernelGuest {
	t.Helper()
	g := &kernelGuest{t: t, out: newConsole()}
	in, w := io.Pipe()
	g.in = w
	c.Kernel = kernelImage(t)
	if c.Accel == "" {
		c.Accel = "jit"
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	c.Serial[0] = machine.Serial{In: in, Out: g.out}
	c.Watch = &machine.Watch{Faults: new(watch.Faults), Strict: &watch.Strict{Report: func(e *watch.Event) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.complaints = append(g.complaints, e.Text())
	}}}
	c.NoReboot = true
	m, err := machine.New(c)
	if err != nil {
		t.Fatal(err)
	}
	g.m, g.ctl, g.run = m, m.Control(), make(chan machine.Outcome, 1)
	for _, f := range faults {
		if err := g.ctl.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), guestLimit)
	go func() {
		o, err := m.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		g.run <- o
		g.out.end()
	}()
	t.Cleanup(func() {
		cancel()
		_ = in.Close() // ends a write nobody reads
		g.end()
	})
	g.await(0, kernelPrompt)
	return g
}

// await returns what the console has got from position at on, once a text is in it.
func (g *kernelGuest) await(at int, text string) string {
	g.t.Helper()
	late := time.AfterFunc(guestLimit/2, func() { g.out.cond.Broadcast() })
	defer late.Stop()
	end := time.Now().Add(guestLimit / 2)
	g.out.mu.Lock()
	defer g.out.mu.Unlock()
	for {
		s := g.out.buf.String()
		if at < len(s) && strings.Contains(s[at:], text) {
			return s[at:]
		}
		if g.out.done || time.Now().After(end) {
			g.t.Fatalf("the console lacks %q:\n%s", text, s[min(at, len(s)):])
		}
		g.out.cond.Wait()
	}
}

// mark is the present end of the console.
func (g *kernelGuest) mark() int {
	g.out.mu.Lock()
	defer g.out.mu.Unlock()
	return g.out.buf.Len()
}

// sh runs a command of the kernel's shell and returns what the console has got meanwhile.
func (g *kernelGuest) sh(format string, args ...any) string {
	g.t.Helper()
	at := g.mark()
	if _, err := fmt.Fprintf(g.in, format+"\r", args...); err != nil {
		g.t.Fatal(err)
	}
	s := g.await(at, kernelPrompt)
	return strings.ReplaceAll(s[:strings.Index(s, kernelPrompt)], "\r", "")
}

// expect runs a command whose output must match all of the patterns, and none that begin with !. What the kernel has to say in addition may
// come a little later.
func (g *kernelGuest) expect(command string, patterns ...string) string {
	g.t.Helper()
	at := g.mark()
	s := g.sh("%s", command)
	for _, p := range patterns {
		re := regexp.MustCompile(strings.TrimPrefix(p, "!"))
		if strings.HasPrefix(p, "!") {
			if re.MatchString(s) {
				g.t.Errorf("%s: want no %q in:\n%s", command, p[1:], s)
			}
			continue
		}
		if !g.comes(at, p) {
			g.t.Errorf("%s: want %q in:\n%s", command, p, g.since(at))
		}
	}
	return s
}

// comes reports whether the console gets what matches a pattern, from a position on, within a second.
func (g *kernelGuest) comes(at int, pattern string) bool {
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(time.Second); !re.MatchString(g.since(at)); g.settle(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// since is what the console has got from a position on.
func (g *kernelGuest) since(at int) string {
	g.out.mu.Lock()
	defer g.out.mu.Unlock()
	return strings.ReplaceAll(g.out.buf.String()[at:], "\r", "")
}

// under runs a command under a fault.
func (g *kernelGuest) under(rule, command string, patterns ...string) string {
	g.t.Helper()
	if err := g.ctl.AddFault(rule); err != nil {
		g.t.Fatal(err)
	}
	s := g.expect(command, patterns...)
	if _, applied := g.ctl.Faults().List(); len(applied) == 0 || applied[0] == 0 {
		g.t.Errorf("%s: the fault %s has not happened", command, rule)
	}
	g.ctl.Faults().Remove("")
	return s
}

// judged returns what strict devices have complained of since the last call.
func (g *kernelGuest) judged() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.complaints
	g.complaints = nil
	return c
}

// legal reports complaints of strict devices.
func (g *kernelGuest) legal(what string) {
	g.t.Helper()
	for _, c := range g.judged() {
		g.t.Errorf("%s: a device complains: %s", what, c)
	}
}

// powerOff ends the guest, which must still obey.
func (g *kernelGuest) powerOff() {
	g.t.Helper()
	if _, err := fmt.Fprint(g.in, "poweroff\r"); err != nil {
		g.t.Error(err)
	}
	if o := g.end(); o.Cause != machine.PoweredOff {
		g.t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
	}
	g.legal("all in all")
	// A pin that a handler leaves asserted keeps the threads of its own CPU from running.
	if strings.Contains(g.since(0), "interrupt storm") {
		g.t.Error("an interrupt came without end")
	}
	if g.t.Failed() {
		g.t.Logf("console:\n%s", g.out)
	}
}

// end waits for the guest's end and closes the machine; only the first call does something.
func (g *kernelGuest) end() (o machine.Outcome) {
	g.t.Helper()
	g.once.Do(func() {
		o = <-g.run
		if err := g.m.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return o
}

// replacer returns a function that puts words in place of others.
func replacer(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

var md5Sum = regexp.MustCompile(`MD5 \(\S+\) = ([0-9a-f]{32})`)

// sum is the checksum of the first 512 KiB of a disk, as the kernel reads them.
func (g *kernelGuest) sum(disk string) string {
	g.t.Helper()
	s := g.sh("md5 %s 0 512K", disk)
	m := md5Sum.FindStringSubmatch(s)
	if m == nil {
		g.t.Errorf("%s cannot be read:\n%s", disk, s)
		return ""
	}
	return m[1]
}

// settle lets the guest run for a time.
func (g *kernelGuest) settle(d time.Duration) {
	g.t.Helper()
	select {
	case o := <-g.run:
		g.run <- o
		g.t.Fatalf("ended with %v %s:\n%s", o.Cause, o.Detail, g.out)
	case <-time.After(d):
	}
}
