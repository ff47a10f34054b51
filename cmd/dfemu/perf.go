package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfemu/machine"
	"dfemu/perf"
)

// perfFlags are the flags of dfemu perf, besides those of dfemu boot.
type perfFlags struct {
	boot        bootFlags
	symbols     []string
	out, report string
	period      time.Duration
	top         int

	collector *perf.Collector
	run       perf.Run
}

// newPerf is the command that profiles a guest.
func newPerf() *cobra.Command {
	var f perfFlags
	c := &cobra.Command{
		Use:   "perf [linux | DISK | KERNEL]",
		Short: "profile a guest",
		Long: "Boot a guest as dfemu boot does, on a processor in software, and tell where its time\n" +
			"went when it has ended: functions, blocks, accesses to devices, counters. With -o also\n" +
			"as a profile of the guest for go tool pprof. Names come from the kernel that is booted and\n" +
			"from --symbols. The status is that of dfemu boot.",
		Example: "  dfemu perf -o guest.pprof --timeout 20s && go tool pprof -http : guest.pprof\n" +
			"  dfemu perf --kernel bzImage --initrd initrd.img --symbols ./server --report perf.txt",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return f.profile(c, args) },
	}
	f.boot.register(c)
	fl := c.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "write a pprof profile of the guest to this file")
	fl.StringVar(&f.report, "report", "-", "write the report to this file (- is stdout, after the guest's console)")
	fl.StringArrayVar(&f.symbols, "symbols", nil, "take names from `FILE[,kernel|user][,base=ADDR]`: vmlinux, bzImage,\nSystem.map, or an ELF program of the guest")
	fl.DurationVar(&f.period, "period", time.Millisecond, "time between two samples of a CPU")
	fl.IntVar(&f.top, "top", 25, "lines of each table of the report")
	return c
}

// profile boots the guest and writes what came of it.
func (f *perfFlags) profile(c *cobra.Command, args []string) error {
	switch {
	case f.period < 10*time.Microsecond || f.period > time.Minute:
		return usageError{fmt.Errorf("--period %v: must be 10µs to 1m", f.period)}
	case f.top < 1:
		return usageError{fmt.Errorf("--top %d: must be 1 or more", f.top)}
	}
	f.boot.prepare, f.boot.start = f.prepare, f.start
	err := f.boot.run(c.Context(), args)
	if f.run.Elapsed == 0 {
		return err // it has not been started
	}
	r := f.collector.Report(f.run)
	failed := f.writeText(c.OutOrStdout(), r)
	if f.out != "" {
		failed = errors.Join(failed, writeFile(f.out, r.Profile().Write))
	}
	if failed != nil {
		return failed
	}
	return err
}

// writeText writes the report to where the flags say.
func (f *perfFlags) writeText(stdout io.Writer, r *perf.Report) error {
	text := func(w io.Writer) error { return r.Text(w, f.top) }
	if f.report == "-" {
		fmt.Fprintln(stdout)
		return text(stdout)
	}
	return writeFile(f.report, text)
}

// writeFile writes a file, whole or not at all as far as it can be known.
func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// prepare adds the collector to a machine.
func (f *perfFlags) prepare(cfg *machine.Config) error {
	name, err := machine.ResolveAccel(cfg.Accel)
	if err != nil {
		return usageError{err}
	}
	if name == "kvm" {
		if cfg.Accel == name {
			return usageError{errors.New("--accel kvm: a processor in hardware cannot be sampled: take jit or interp")}
		}
		cfg.Accel = "interp"
		if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
			cfg.Accel = "jit"
		}
	}
	kernel, programs, err := f.objects(cfg)
	if err != nil {
		return err
	}
	f.collector = perf.NewCollector(perf.Config{
		CPUs: max(1, cfg.CPUs), Period: f.period, Kernel: kernel, Programs: programs,
	})
	cfg.Sample, cfg.SamplePeriod = f.collector.Sample, f.period
	cfg.Exit = func(e machine.Exit) { f.collector.Exit(e.CPU, e.RIP, exitCause(e)) }
	return nil
}

// exitCause names what an access was to. Where nothing answers it is the port, or the page.
func exitCause(e machine.Exit) perf.Cause {
	c := perf.Cause{Port: e.Port, Write: e.Write, Name: e.Name}
	switch {
	case c.Name != "":
	case e.Port:
		c.Name = fmt.Sprintf("%#x, where nothing is", e.Addr)
	default:
		c.Name = fmt.Sprintf("%#x, where nothing is", e.Addr&^0xfff)
	}
	return c
}

// objects reads what has names: the kernel that is booted, and the files of the flags.
func (f *perfFlags) objects(cfg *machine.Config) (kernel *perf.Object, programs []*perf.Object, err error) {
	if cfg.Kernel != "" {
		kernel, err = perf.Open(cfg.Kernel)
		if err != nil {
			fmt.Fprintf(os.Stderr, "dfemu: the kernel's functions have no names: %v\n", err)
			kernel = nil
		} else {
			kernel.Kernel = true
			if cfg.Unpack || !kernel.Packed() {
				kernel.SetPhysical()
			}
		}
	}
	for _, s := range f.symbols {
		o, err := parseSymbols(s)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--symbols %s: %w", s, err)}
		}
		switch {
		case !o.Kernel:
			programs = append(programs, o)
		case kernel == nil:
			kernel = o
		default:
			if kernel, err = kernel.With(o); err != nil {
				return nil, nil, usageError{fmt.Errorf("--symbols %s: %w", s, err)}
			}
		}
	}
	return kernel, programs, nil
}

// parseSymbols reads FILE[,kernel|user][,base=ADDR] and the file. A comma in the
// name is written twice.
func parseSymbols(s string) (*perf.Object, error) {
	parts := strings.Split(strings.ReplaceAll(s, ",,", "\x00"), ",")
	o, err := perf.Open(strings.ReplaceAll(parts[0], "\x00", ","))
	if err != nil {
		return nil, err
	}
	for _, opt := range parts[1:] {
		key, value, has := strings.Cut(opt, "=")
		switch {
		case key == "kernel" && !has:
			o.Kernel = true
		case key == "user" && !has:
			o.Kernel = false
		case key == "base" && has:
			if o.Base, err = strconv.ParseUint(value, 0, 64); err != nil {
				return nil, fmt.Errorf("base=%s: must be an address", value)
			}
			o.HasBase = true
		default:
			return nil, fmt.Errorf("unknown option %q (known: kernel, user, base=ADDR)", opt)
		}
	}
	return o, nil
}

// start runs the machine and keeps what it counted.
func (f *perfFlags) start(ctx context.Context, m *machine.Machine) (machine.Outcome, error) {
	begin := time.Now()
	out, err := m.Run(ctx)
	f.run = perf.Run{Accel: m.Accel(), Start: begin, Elapsed: time.Since(begin), Stats: m.CPUStats()}
	return out, err
}
