package machine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/tests/tiny"
)

// capture collects a guest's output and calls seen once it contains a text.
type capture struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	seen func()
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.buf.Write(p)
	hit := c.seen != nil && strings.Contains(c.buf.String(), c.want)
	f := c.seen
	if hit {
		c.seen = nil
	}
	c.mu.Unlock()
	if hit {
		f()
	}
	return len(p), nil
}

func (c *capture) String() string { c.mu.Lock(); defer c.mu.Unlock(); return c.buf.String() }

// write puts an image into a file.
func write(t testing.TB, image []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// start makes a small machine for an image.
func start(t testing.TB, image []byte, change func(*Config)) *Machine {
	t.Helper()
	cfg := Config{Accel: "interp", Memory: 16 << 20, Kernel: write(t, image)}
	if change != nil {
		change(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// finish runs a machine to its end, which a test must come to by itself.
func finish(t testing.TB, m *Machine) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o, err := m.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOutcome(t *testing.T) {
	const panicText = "[    1.0] Kernel panic - not syncing: no init\r\n[    1.1] ---[ end Kernel panic - not syncing: no init ]---\r\n"
	for _, tt := range []struct {
		name   string
		image  []byte
		reboot bool
		want   Outcome
	}{
		{"power off", tiny.PowerOff(), false, Outcome{Cause: PoweredOff}},
		{"exit 0", tiny.Exit(0), false, Outcome{Cause: GuestExit, Code: 1}},
		{"exit 0x15", tiny.Exit(0x15), false, Outcome{Cause: GuestExit, Code: 0x2b}},
		{"pvpanic", tiny.Panic(), false, Outcome{Cause: Panicked, Detail: "reported through pvpanic"}},
		{"panic on the console", tiny.PrintHang(panicText), false, Outcome{Cause: Panicked, Detail: "Kernel panic - not syncing: no init"}},
		{"panic without its end", tiny.PrintHang("Kernel panic - not syncing: half\n"), false, Outcome{Cause: Panicked, Detail: "Kernel panic - not syncing: half"}},
		{"words of a panic in a line", tiny.Print("he said: Kernel panic - not syncing: x\n"), false, Outcome{Cause: PoweredOff}},
		{"reset", tiny.Reset(), false, Outcome{Cause: Rebooted}},
		{"resets", tiny.CountResets(3), true, Outcome{Cause: GuestExit, Code: 7}},
		{"triple fault", tiny.TripleFault(), false, Outcome{Cause: TripleFault, Detail: "cpu0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := start(t, tt.image, func(c *Config) { c.NoReboot = !tt.reboot })
			if got := finish(t, m); got != tt.want {
				t.Errorf("ended with %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestEnds ends guests that would not end themselves.
func TestEnds(t *testing.T) {
	for _, image := range []struct {
		name string
		code []byte
	}{{"halted", tiny.Hang()}, {"busy", tiny.Spin()}} {
		t.Run(image.name, func(t *testing.T) {
			for _, tt := range []struct {
				name string
				run  func(m *Machine) (Outcome, error)
				want Cause
			}{
				{"stop", func(m *Machine) (Outcome, error) { m.Stop(); return m.Run(context.Background()) }, Stopped},
				{"cancel", func(m *Machine) (Outcome, error) {
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					return m.Run(ctx)
				}, Stopped},
				{"deadline", func(m *Machine) (Outcome, error) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					defer cancel()
					return m.Run(ctx)
				}, TimedOut},
			} {
				o, err := tt.run(start(t, image.code, func(c *Config) { c.CPUs = 2 }))
				if err != nil || o.Cause != tt.want {
					t.Errorf("%s: ended with %v, %v, want %v", tt.name, o.Cause, err, tt.want)
				}
			}
		})
	}
}

// TestEcho talks to a guest over its serial port, and stops it meanwhile.
func TestEcho(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	out := &capture{want: "ready"}
	out.seen = func() { fmt.Fprint(w, "hello") }
	m := start(t, tiny.Echo(), func(c *Config) { c.Serial[0] = Serial{In: r, Out: out} })
	next := make(chan struct{})
	go func() {
		<-next
		m.Pause()
		at := m.clock.Now()
		if now := m.clock.Now(); now != at {
			t.Errorf("time goes on while the machine is paused: %d, %d", at, now)
		}
		m.Resume()
		fmt.Fprint(w, "q")
	}()
	first := out.seen
	out.seen = func() {
		first()
		out.mu.Lock()
		out.want, out.seen = "hello", func() { close(next) }
		out.mu.Unlock()
	}
	if o := finish(t, m); o.Cause != PoweredOff {
		t.Errorf("ended with %+v", o)
	}
	if got := out.String(); got != "ready\r\nhelloq" {
		t.Errorf("console %q", got)
	}
}

// TestDate sees that the guest's clock shows the date: the host's, or the one
// asked for.
func TestDate(t *testing.T) {
	date := func(wall time.Time) string {
		var out capture
		m := start(t, tiny.CMOS(7, 3), func(c *Config) {
			c.Wall = wall
			c.Serial[0].Out = &out
		})
		if o := finish(t, m); o.Cause != PoweredOff {
			t.Fatalf("ended with %+v", o)
		}
		return fmt.Sprintf("%x", out.String()) // day, month, year in BCD
	}
	if got := date(time.Date(1999, 2, 3, 12, 0, 0, 0, time.UTC)); got != "030299" {
		t.Errorf("date %s, want 030299", got)
	}
	before := time.Now().UTC().Format("020106")
	got := date(time.Time{})
	if after := time.Now().UTC().Format("020106"); got != before && got != after {
		t.Errorf("date %s, want the host's, %s", got, after)
	}
}

// TestLA57 sees that 5-level paging is announced only when it is asked for.
func TestLA57(t *testing.T) {
	for _, on := range []bool{false, true} {
		o := finish(t, start(t, tiny.LA57(), func(c *Config) { c.LA57 = on }))
		if o.Cause != GuestExit || (o.Code == 3) != on {
			t.Errorf("LA57 %v: ended with %+v", on, o)
		}
	}
}

// TestRouting sees that ACPI tells of interrupts what the chipset does.
func TestRouting(t *testing.T) {
	m := start(t, tiny.Hang(), nil)
	tables, err := m.pc.acpi()
	if err != nil {
		t.Fatal(err)
	}
	var dsdt []byte
	for _, f := range tables.Loader() {
		if i := bytes.Index(f.Data, []byte("DSDT")); i >= 0 {
			dsdt = f.Data[i:]
		}
	}
	router := m.pc.host.Router()
	for dev := range 32 {
		for pin := range 4 {
			// A package of 4 elements: DWord address, pin, 0, GSI.
			gsi := byte(sharedGSI + router.Route(dev, pin))
			want := []byte{4, 0x0c, 0xff, 0xff, byte(dev), 0, 0x0a, byte(pin), 0, 0x0a, gsi}
			switch pin {
			case 0, 1:
				want = []byte{4, 0x0c, 0xff, 0xff, byte(dev), 0, byte(pin), 0, 0x0a, gsi}
			}
			if dev == 0 {
				want = append([]byte{4, 0x0b, 0xff, 0xff}, want[6:]...)
			}
			if !bytes.Contains(dsdt, want) {
				t.Errorf("_PRT lacks device %d pin %d at GSI %d (% x)", dev, pin, gsi, want)
			}
		}
	}
}

// TestSharedInput raises one input of the I/O APIC from two devices.
func TestSharedInput(t *testing.T) {
	var level bool
	w := &wiredOR{out: lineFunc(func(l bool) { level = l })}
	a, b := w.source(), w.source()
	for i, step := range []struct {
		a, b, want bool
	}{{true, false, true}, {true, true, true}, {false, true, true}, {false, true, true}, {false, false, false}} {
		a.Set(step.a)
		b.Set(step.b)
		if level != step.want {
			t.Errorf("step %d: level %v", i, level)
		}
	}
}

type lineFunc func(bool)

func (f lineFunc) Set(level bool) { f(level) }
