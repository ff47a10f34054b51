package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"dfemu/images"
)

// fake is a shell script that stands for this monitor and for QEMU: it says
// what a guest would, and waits for the end of its input when the guest is to
// be idle.
const fake = `#!/bin/sh
case "$* bench=$bench" in
*--version*) echo "QEMU emulator version 1.2.3"; echo "Copyright"; exit;;
*CPUS=3*) echo "no such machine" >&2; exit 4;;
esac
echo "[    0.000000] Linux version 6.1"
printf '[    1.0] half a line\n'
echo "dfemu-bench: init"
case "$* bench=$bench" in
*bench=idle*) cat;;
*bench=work*)
	printf 'dfemu-bench: result int 2500.000 1000\r\n'
	echo "dfemu-bench: result sort 1e3 5"
	echo "dfemu-bench: skip avx2"
	echo "dfemu-bench: result broken";;
esac
echo "dfemu-bench: done"
echo "dfemu: powered off; 3000000 instructions, 5 exits, 6 blocks" >&2
`

// fakeRun is the configuration of a run with a shell script in place of this monitor.
func fakeRun(t *testing.T, script string, rows ...string) Config {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil || runtime.GOOS != "linux" {
		t.Skip("needs Linux's /proc and a shell")
	}
	name := filepath.Join(t.TempDir(), "fake")
	if err := os.WriteFile(name, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return Config{
		Self: name, Accels: []string{"interp"}, Kernel: "k", Initrd: "i", CPUs: []int{1}, Memory: 64, Rounds: 1,
		Rows: rows, Time: 1, Idle: 1, Timeout: time.Minute,
	}
}

// wantTable looks for lines in a report as it is printed; spaces do not count.
func wantTable(t *testing.T, rep *Report, lines ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := rep.Print(&b); err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range lines {
		if !strings.Contains(flat, want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestRun(t *testing.T) {
	var progress bytes.Buffer
	c := fakeRun(t, fake, "boot", "int", "avx2")
	c.QEMU, c.Native, c.Rounds, c.Progress = c.Self, c.Self, 3, &progress
	rep, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if rep.QEMU != "QEMU emulator version 1.2.3" || len(rep.Failures) > 0 {
		t.Errorf("QEMU %q, failures %q", rep.QEMU, rep.Failures)
	}
	values := map[string]Result{}
	for _, m := range rep.Results {
		values[m.Quantity+"/"+m.Subject] = m
		if len(m.Values) != 3 || m.CPUs != 1 || m.Median <= 0 {
			t.Errorf("%+v, want a value of each round", m)
		}
	}
	if m := values["integer loop, 1000 rounds/native"]; m.Median != 2.5 {
		t.Errorf("integer loop on the host: %+v, want 2.5 µs", m)
	}
	if m := values["instructions/interp"]; m.Median != 3 {
		t.Errorf("instructions: %+v, want 3 million", m)
	}
	for _, q := range []string{"init/interp", "init/interp+unpack", "init/qemu-tcg", "power-off/qemu-tcg", "first kernel line/interp"} {
		if _, ok := values[q]; !ok {
			t.Errorf("no value for %s", q)
		}
	}
	if strings.Count(progress.String(), "\n") != 3*(3+3) {
		t.Errorf("progress:\n%s", progress.String())
	}
	// The second round begins with another subject than the first.
	lines := strings.Split(progress.String(), "\n")
	if !strings.HasSuffix(lines[0], "interp: boot") || !strings.HasSuffix(lines[6], "interp+unpack: boot") {
		t.Errorf("subjects do not take turns:\n%s", progress.String())
	}
}

func TestRunIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until a guest counts as idle")
	}
	c := fakeRun(t, fake, "idle")
	c.Idle = 10 * time.Millisecond
	rep, err := Run(context.Background(), c)
	if err != nil || len(rep.Failures) > 0 {
		t.Fatal(err, rep.Failures)
	}
	if len(rep.Results) != 4 {
		t.Errorf("results %+v", rep.Results)
	}
}

// TestRunFails sees that a guest which fails is in the report, with what it
// said last, and that the others are measured.
func TestRunFails(t *testing.T) {
	c := fakeRun(t, fake, "boot", "int")
	c.Append, c.Native = "CPUS=3", c.Self
	rep, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Failures) != 3 || !strings.Contains(rep.Failures[0], "exit status 4") || !strings.Contains(rep.Failures[0], "no such machine") {
		t.Errorf("failures %q", rep.Failures)
	}
	if !slices.ContainsFunc(rep.Results, func(m Result) bool { return m.Subject == "native" }) {
		t.Error("what works was not measured")
	}
}

func TestCheck(t *testing.T) {
	good := Config{Accels: []string{"interp"}, CPUs: []int{1}, Rounds: 1, Time: 1, Idle: 1, Timeout: 1}
	for name, change := range map[string]func(*Config){
		"row":     func(c *Config) { c.Rows = []string{"boot", "nothing"} },
		"rounds":  func(c *Config) { c.Rounds = 0 },
		"CPUs":    func(c *Config) { c.CPUs = nil },
		"times":   func(c *Config) { c.Idle = 0 },
		"nothing": func(c *Config) { c.Accels = nil },
	} {
		c := good
		change(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := Median(tt.in); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestGuestMemory(t *testing.T) {
	smaps := func(kb ...int) []byte {
		var b bytes.Buffer
		for i := 0; i < len(kb); i += 2 {
			fmt.Fprintf(&b, "7f0000000000-7f0000001000 rw-p 00000000 00:00 0\nSize: %13d kB\nKernelPageSize: 4 kB\nRss: %14d kB\nPss: 1 kB\n", kb[i], kb[i+1])
		}
		return b.Bytes()
	}
	for _, tt := range []struct {
		mib   int
		smaps []byte
		want  int64
	}{
		{512, smaps(512<<10, 300, 64<<10, 5000), 300 << 10},
		{512, smaps(513<<10, 300, 511<<10, 5000), 300 << 10},
		{4096, smaps(2<<20, 1000, 2<<20, 2000, 1000, 500), 3000 << 10},
		{512, nil, 0},
	} {
		if got, err := guestMemory(tt.smaps, tt.mib); got != tt.want || err != nil {
			t.Errorf("%d MiB: %d, %v, want %d", tt.mib, got, err, tt.want)
		}
	}
	if _, err := guestMemory([]byte("Size: much kB\n"), 512); err == nil {
		t.Error("a size that is no number was taken")
	}
}

func TestPrint(t *testing.T) {
	add := func(row, q, unit, s string, v float64) Result {
		return Result{Row: row, Quantity: q, Unit: unit, CPUs: 2, Subject: s, Values: []float64{v}, Median: v}
	}
	rep := Report{
		Host: Host{CPU: "a processor", Cores: 2, Kernel: "6.1", Go: "go1"}, Kernel: "vmlinuz", Memory: 512, Rounds: 1, QEMU: "QEMU 1",
		Results: []Result{
			add("boot", "init", "s", "qemu-tcg", 4), add("boot", "init", "s", "jit", 2), add("boot", "init", "s", "jit+unpack", 1),
			add("int", "integer loop", "µs", "jit", 10), add("int", "integer loop", "µs", "native", 5), add("int", "integer loop", "µs", "qemu-tcg", 25),
		},
		Failures: []string{"something"},
	}
	wantTable(t, &rep,
		"boot, 2 CPU jit jit+unpack qemu-tcg qemu-tcg/jit init, s 2.00 1.00 4.00 2.00",
		"jit qemu-tcg native qemu-tcg/jit jit/native integer loop, µs 10.0 25.0 5.00 2.50 2.00",
		"failed: something")
}

// TestGuest builds the guest program and lets it measure on the host.
func TestGuest(t *testing.T) {
	if testing.Short() || runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("builds a program, for Linux on amd64")
	}
	g, err := NewGuest(context.Background(), images.Cache{Dir: t.TempDir()}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	if st, err := os.Stat(g.Initrd); err != nil || st.Size() < 1<<20 {
		t.Errorf("the initial RAM disk: %v", err)
	}
	r := &run{c: Config{Native: g.Program, Time: time.Millisecond, Timeout: time.Minute}, rep: &Report{}}
	if err := r.work(context.Background(), subject{name: "native"}, 1); err != nil {
		t.Error(err)
	}
	for _, w := range workloads {
		if !slices.ContainsFunc(r.rep.Results, func(m Result) bool { return m.Row == w.name && m.Values[0] > 0 }) && w.name != "avx2" {
			t.Errorf("no result for %s", w.name)
		}
	}
}
