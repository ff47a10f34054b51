// Package bench measures guests: on this machine monitor with any accelerator,
// on QEMU's TCG beside it with the same kernel, initial RAM disk, memory and
// number of processors, and the guests' workloads on the host itself.
//
// All subjects take turns in one run, so that what the host does besides
// falls on all of them, and medians are reported. Times are taken from outside
// for what a user waits for (from starting a process to a line on its console)
// and by the guest's own monotonic clock for workloads. The guest's only
// program is in the directory guest; host.go starts processes and looks at
// them, table.go prints.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Config says what to measure.
type Config struct {
	// Self is the executable of this program, which is started with "boot".
	Self string
	// Accels are the values of --accel to measure.
	Accels []string
	// QEMU is the executable of qemu-system-x86_64; "" leaves it out.
	QEMU string

	Kernel string // a bzImage
	Initrd string // with the guest program as /init: see [Guest.Initrd]
	Native string // the guest program, for the host; "" leaves it out
	Append string // added to the kernel's command line
	// GuestKernel is this module's kernel, an ELF file, which the row kernel boots; "" leaves that out.
	GuestKernel string
	// Devices are what the rows of disks and networks measure.
	Devices Devices

	CPUs   []int // numbers of processors to measure with
	Memory int   // MiB

	Rows    []string      // of [Rows]; none: all
	Rounds  int           // how often each is measured
	Time    time.Duration // how long each workload is measured
	Idle    time.Duration // how long an idle guest is watched
	Timeout time.Duration // of one run of a guest

	// Progress receives a line before each run. It may be nil.
	Progress io.Writer
}

// workloads are the rows that the guest program measures, and what one
// operation is.
var workloads = []struct{ name, what string }{
	{"int", "integer loop, 1000 rounds"},
	{"sha256", "SHA-256 of 4 KiB"},
	{"gzip", "gzip of 64 KiB"},
	{"sort", "sort 10000 numbers"},
	{"float", "scalar floating point, 1000 steps"},
	{"sse", "SSE2 multiply and add, 16384"},
	{"avx2", "AVX2 fused multiply-add, 16384"},
	{"syscall", "system call"},
	{"fork", "fork, exec and wait"},
	{"pipe", "pipe ping-pong"},
	{"fault", "page fault"},
	{"go", "Go: trees, maps, goroutines"},
}

// Names of the rows that are not workloads.
const (
	rowBoot = "boot"
	rowIdle = "idle"
)

// Rows returns the names of all rows.
func Rows() []string {
	names := []string{rowBoot, rowIdle}
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// Result is one quantity of one subject.
type Result struct {
	Row      string    `json:"row"`      // one of Rows
	Quantity string    `json:"quantity"` // what was measured
	Unit     string    `json:"unit"`
	CPUs     int       `json:"cpus"`
	Subject  string    `json:"subject"` // which accelerator, "qemu-tcg" or "native"
	Values   []float64 `json:"values"`  // one of each round
	Median   float64   `json:"median"`
}

// Report is the result of a run.
type Report struct {
	Host    Host     `json:"host"`
	Kernel  string   `json:"kernel"`
	Memory  int      `json:"memoryMiB"`
	Rounds  int      `json:"rounds"`
	QEMU    string   `json:"qemu,omitempty"` // its version
	Results []Result `json:"results"`
	// Remarks say what could not be measured here, and why, and what was not as usual.
	Remarks []string `json:"remarks,omitempty"`
	// Failures are the runs that gave no result.
	Failures []string `json:"failures,omitempty"`
}

// check refuses what cannot be measured.
func (c *Config) check() error {
	for _, r := range c.Rows {
		if !slices.Contains([]string{rowKernel, rowDisk, rowNet}, r) && !slices.Contains(Rows(), r) {
			return fmt.Errorf("row %q: must be of %s", r, strings.Join(Rows(), ", "))
		}
	}
	if err := c.checkKernel(); err != nil {
		return err
	}
	if err := c.checkDevices(); err != nil {
		return err
	}
	switch {
	case len(c.Accels) == 0 && c.QEMU == "":
		return errors.New("nothing to measure: neither an accelerator nor QEMU")
	case c.Rounds < 1:
		return fmt.Errorf("%d rounds: must be at least 1", c.Rounds)
	case len(c.CPUs) == 0:
		return errors.New("no number of CPUs")
	case c.Time <= 0 || c.Idle <= 0 || c.Timeout <= 0:
		return errors.New("times must be positive")
	}
	return nil
}

// wants reports whether a row is to be measured.
func (c *Config) wants(row string) bool { return len(c.Rows) == 0 || slices.Contains(c.Rows, row) }

// Run measures. A run of a guest that fails is noted in the report; the error is
// for what makes measuring impossible.
func Run(ctx context.Context, c Config) (rep *Report, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	r := &run{c: c, rep: &Report{Host: ThisHost(), Kernel: c.Kernel, Memory: c.Memory, Rounds: c.Rounds}}
	if c.QEMU != "" {
		v, err := qemuVersion(ctx, c.QEMU)
		if err != nil {
			return nil, err
		}
		r.rep.QEMU = v
	}
	var disks string // the folder of their images
	if slices.Contains(c.Rows, rowDisk) {
		if disks, err = r.makeImages(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(disks)) }()
	}
	for round := range c.Rounds {
		for _, cpus := range c.CPUs {
			if c.GuestKernel != "" && c.wants(rowKernel) {
				r.each(ctx, round, cpus, rowKernel, r.subjects(), r.guestKernel)
			}
			if slices.Contains(c.Rows, rowDisk) {
				r.each(ctx, round, cpus, rowDisk, r.subjects(), r.disk(disks))
			}
			if slices.Contains(c.Rows, rowNet) {
				r.each(ctx, round, cpus, rowNet, r.subjects(), r.net)
			}
			if c.wants(rowBoot) {
				r.each(ctx, round, cpus, rowBoot, r.bootSubjects(), r.boot)
			}
			if c.wants(rowIdle) {
				r.each(ctx, round, cpus, rowIdle, r.subjects(), r.idle)
			}
			if names := r.workloads(); len(names) > 0 {
				subjects := r.subjects()
				if c.Native != "" && cpus == c.CPUs[0] {
					subjects = append(subjects, subject{name: "native"})
				}
				r.each(ctx, round, cpus, strings.Join(names, ","), subjects, r.work)
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	for i := range r.rep.Results {
		m := &r.rep.Results[i]
		m.Median = Median(m.Values)
	}
	return r.rep, nil
}

// run is one call of Run.
type run struct {
	c   Config
	rep *Report
}

// workloads returns the names of the workloads that are to be measured.
func (r *run) workloads() (names []string) {
	for _, w := range workloads {
		if r.c.wants(w.name) {
			names = append(names, w.name)
		}
	}
	return names
}

// subjects are what executes guests here.
func (r *run) subjects() (all []subject) {
	for _, a := range r.c.Accels {
		all = append(all, subject{name: a, accel: a, unpack: true})
	}
	if r.c.QEMU != "" {
		all = append(all, subject{name: qemuName})
	}
	return all
}

// bootSubjects are the same, with each accelerator booting the bzImage both
// ways.
func (r *run) bootSubjects() (all []subject) {
	for _, s := range r.subjects() {
		if s.accel != "" {
			packed := s
			packed.unpack = false
			s.name += unpackedSuffix
			all = append(all, packed)
		}
		all = append(all, s)
	}
	return all
}

// each measures every subject once, beginning with another one in each round.
func (r *run) each(ctx context.Context, round, cpus int, what string, subjects []subject, f func(context.Context, subject, int) error) {
	for i := range subjects {
		s := subjects[(i+round)%len(subjects)]
		if ctx.Err() != nil {
			return
		}
		if r.c.Progress != nil {
			fmt.Fprintf(r.c.Progress, "round %d of %d, %d CPU, %s: %s\n", round+1, r.c.Rounds, cpus, s.name, what)
		}
		if err := f(ctx, s, cpus); err != nil {
			r.rep.Failures = append(r.rep.Failures, fmt.Sprintf("%s with %d CPU, %s: %v", what, cpus, s.name, err))
		}
	}
}

// add enters one value.
func (r *run) add(row, quantity, unit string, cpus int, s subject, v float64) {
	for i := range r.rep.Results {
		m := &r.rep.Results[i]
		if m.Row == row && m.Quantity == quantity && m.CPUs == cpus && m.Subject == s.name {
			m.Values = append(m.Values, v)
			return
		}
	}
	r.rep.Results = append(r.rep.Results, Result{Row: row, Quantity: quantity, Unit: unit, CPUs: cpus, Subject: s.name, Values: []float64{v}})
}

// boot measures how long a guest takes to its init and to its end.
func (r *run) boot(ctx context.Context, s subject, cpus int) error {
	p, err := r.start(ctx, s, cpus, "bench=boot")
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.wait(); err != nil {
		return err
	}
	for _, q := range []struct {
		name string
		at   time.Duration
	}{{"first kernel line", p.kernel}, {"init", p.init}, {"power-off", p.end}} {
		if q.at == 0 {
			return fmt.Errorf("the guest never came to %s", q.name)
		}
		r.add(rowBoot, q.name, "s", cpus, s, q.at.Seconds())
	}
	if p.instructions > 0 {
		r.add(rowBoot, "instructions", "10⁶", cpus, s, float64(p.instructions)/1e6)
		r.add(rowBoot, "instruction rate", "10⁶/s", cpus, s, float64(p.instructions)/1e6/p.end.Seconds())
	}
	return nil
}

// settle is how long a guest is left alone before it counts as idle.
const settle = 2 * time.Second

// idle measures what a guest costs that waits for input.
func (r *run) idle(ctx context.Context, s subject, cpus int) error {
	p, err := r.start(ctx, s, cpus, "bench=idle")
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.untilInit(); err != nil {
		return err
	}
	if err := p.sleep(settle); err != nil {
		return err
	}
	share, err := p.share(r.c.Idle)
	if err != nil {
		return err
	}
	mem, err := p.memory(r.c.Memory)
	if err != nil {
		return err
	}
	r.add(rowIdle, "host CPU", "% of a core", cpus, s, 100*share)
	r.add(rowIdle, "peak resident", "MB", cpus, s, float64(mem.peak)/1e6)
	r.add(rowIdle, "of it guest memory", "MB", cpus, s, float64(mem.guest)/1e6)
	r.add(rowIdle, "beyond guest memory", "MB", cpus, s, float64(mem.peak-mem.guest)/1e6)
	return nil
}

// work measures all workloads in one guest, or on the host.
func (r *run) work(ctx context.Context, s subject, cpus int) error {
	p, err := r.start(ctx, s, cpus, "quiet bench=work:"+strings.Join(r.workloads(), ",")+" benchtime="+r.c.Time.String())
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.wait(); err != nil {
		return err
	}
	for _, w := range workloads {
		if ns, ok := p.results[w.name]; ok {
			r.add(w.name, w.what, "µs", cpus, s, ns/1e3)
		}
	}
	if len(p.failed) > 0 {
		return errors.New(strings.Join(p.failed, "; "))
	}
	return nil
}

// Median returns the middle of the values, or the mean of the two in the
// middle; 0 for none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
