package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dfemu/bench"
	"dfemu/images"
	"dfemu/machine"
)

// benchFlags are the flags of dfemu bench.
type benchFlags struct {
	accels              []string
	qemu, kernel, extra string
	cpus                []int
	memory              string
	rounds              int
	time, idle, timeout time.Duration
	native, json        bool
	guest               string // of dfemu bench kernel: the guest kernel
	// The rows of dfemu bench kernel, disk and net.
	guestRows []string
	// Of dfemu bench disk and net.
	devices bench.Devices
}

// newBench is the command that measures.
func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [ROW…]",
		Short: "measure guests beside QEMU",
		Long: "Measure the same guest on this monitor and on QEMU's TCG (where qemu-system-x86_64\n" +
			"is installed), taking turns in one run, and workloads also on the host itself.\n" +
			"Without rows all are measured: " + strings.Join(bench.Rows(), ", ") + ".",
		Example: "  dfemu bench boot --accel interp,jit --cpus 1,2\n  dfemu bench int sha256 gzip --rounds 5 --json\n" +
			"  dfemu bench boot --accel kvm --qemu none --rounds 1 --timeout 40m",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return slices.DeleteFunc(bench.Rows(), func(r string) bool { return slices.Contains(args, r) }), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: f.run,
	}
	fl := f.register(c, []int{1, 2}, "how long each workload is measured")
	fl.StringVar(&f.kernel, "kernel", "", "kernel to boot (default Debian's cloud kernel, see tests/install-debian,\nor the built-in one)")
	fl.StringVar(&f.extra, "append", "", "added to the kernel's command line")
	fl.DurationVar(&f.idle, "idle", 10*time.Second, "how long an idle guest is watched")
	fl.BoolVar(&f.native, "native", true, "measure the workloads on the host, too")
	c.AddCommand(newBenchKernel(&f), newBenchDisk(), newBenchNet())
	return c
}

// register declares the flags that all these commands have, with the default of --cpus and what --time is of.
func (f *benchFlags) register(c *cobra.Command, cpus []int, timeUsage string) *pflag.FlagSet {
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringSliceVar(&f.accels, "accel", []string{"auto"}, "accelerators to measure: "+strings.Join(machine.Accelerators(), ", "))
	fl.StringVar(&f.qemu, "qemu", "", "QEMU's executable; none leaves it out (default qemu-system-x86_64 if installed)")
	fl.IntSliceVar(&f.cpus, "cpus", cpus, "numbers of CPUs to measure with")
	fl.StringVar(&f.memory, "memory", "512M", "memory of the guest")
	fl.IntVar(&f.rounds, "rounds", 3, "how often each is measured; medians are printed")
	fl.DurationVar(&f.time, "time", time.Second, timeUsage)
	fl.DurationVar(&f.timeout, "timeout", 10*time.Minute, "at most this long for one guest")
	fl.BoolVar(&f.json, "json", false, "print all values in JSON")
	completeAccel(c, "accel")
	return fl
}

// newBenchKernel is the command that measures this module's kernel beside Linux.
func newBenchKernel(f *benchFlags) *cobra.Command {
	linux := true
	c := &cobra.Command{
		Use:   "kernel",
		Short: "measure the guest kernel beside Linux",
		Long: "Measure the guest kernel: from the start of the process to its prompt, and what its shell's\n" +
			"bench command measures: context switches, messages, tokens, calls between CPUs, interrupts.\n" +
			"Beside it, in the same machine, Linux to its init, its system call and its pipe ping-pong.",
		Example: "  dfemu bench kernel --accel jit --cpus 1,2 --rounds 5",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if f.guest, err = images.BuildKernel(c.Context(), images.UserCache(), c.ErrOrStderr()); err != nil {
				return err
			}
			f.native = false
			f.guestRows = []string{"kernel"}
			if linux {
				f.guestRows = append(f.guestRows, bench.LinuxLike()...)
			}
			return f.run(c, nil)
		},
	}
	fl := f.register(c, []int{1, 2}, "how long each of Linux's workloads is measured")
	fl.StringVar(&f.kernel, "kernel", "", "Linux kernel to boot, as of dfemu bench")
	fl.BoolVar(&linux, "linux", true, "measure Linux, too")
	return c
}

// run measures and prints.
func (f *benchFlags) run(c *cobra.Command, rows []string) (err error) {
	cfg, err := f.config(rows)
	if err != nil {
		return err
	}
	ctx := c.Context()
	g, err := f.newGuest(c, &cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	cfg.Initrd = g.Initrd
	if f.native {
		cfg.Native = g.Program
	}
	cfg.Progress = c.ErrOrStderr()
	rep, err := bench.Run(ctx, cfg)
	if ctx.Err() != nil {
		return outcomeError{status: statusStopped}
	}
	if err != nil {
		return err
	}
	if err := f.print(c.OutOrStdout(), rep); err != nil {
		return err
	}
	if n := len(rep.Failures); n > 0 {
		return outcomeError{status: 1, message: fmt.Sprintf("%d measurements failed", n)}
	}
	return nil
}

// config checks the flags and makes a configuration of them.
func (f *benchFlags) config(rows []string) (bench.Config, error) {
	cfg := bench.Config{
		Append: f.extra, Kernel: f.kernel, CPUs: f.cpus, Rows: rows,
		GuestKernel: f.guest, Devices: f.devices, Rounds: f.rounds, Time: f.time, Idle: f.idle, Timeout: f.timeout,
	}
	for _, r := range rows {
		if !slices.Contains(bench.Rows(), r) {
			return cfg, usageError{fmt.Errorf("row %q: must be of %s", r, strings.Join(bench.Rows(), ", "))}
		}
	}
	if len(f.guestRows) > 0 {
		cfg.Rows = f.guestRows
	}
	size, err := parseSize(f.memory)
	if err == nil {
		err = checkMemory(size)
	}
	if err != nil {
		return cfg, usageError{fmt.Errorf("--memory %s: %w", f.memory, err)}
	}
	cfg.Memory = int(size >> 20)
	for _, n := range f.cpus {
		if err := checkCPUs(n); err != nil {
			return cfg, usageError{fmt.Errorf("--cpus %d: %w", n, err)}
		}
	}
	if f.rounds < 1 || f.time <= 0 || f.idle <= 0 || f.timeout <= 0 {
		return cfg, usageError{errors.New("--rounds, --time, --idle and --timeout must be positive")}
	}
	if f.kernel != "" {
		if _, err := os.Stat(f.kernel); err != nil {
			return cfg, usageError{fmt.Errorf("--kernel: %w", err)}
		}
	}
	for _, a := range f.accels {
		name, err := machine.ResolveAccel(a)
		if err != nil {
			return cfg, usageError{fmt.Errorf("--accel: %w", err)}
		}
		if !slices.Contains(cfg.Accels, name) {
			cfg.Accels = append(cfg.Accels, name)
		}
	}
	switch f.qemu {
	case "none":
	case "":
		cfg.QEMU, _ = exec.LookPath("qemu-system-x86_64") // it may be missing
	default:
		if cfg.QEMU, err = exec.LookPath(f.qemu); err != nil {
			return cfg, usageError{fmt.Errorf("--qemu: %w", err)}
		}
	}
	cfg.Self, err = os.Executable()
	return cfg, err
}

// newGuest finds the kernel and makes the initial RAM disk that are measured.
func (f *benchFlags) newGuest(c *cobra.Command, cfg *bench.Config) (*bench.Guest, error) {
	if f.hasDevices() {
		kernel, drivers, err := bench.DriverKernel()
		if err != nil {
			return nil, err
		}
		cfg.Kernel = kernel
		return bench.NewDriverGuest(c.Context(), images.UserCache(), c.ErrOrStderr(), filepath.Join(filepath.Dir(kernel), "drivers"), drivers)
	}
	if cfg.Kernel == "" {
		var err error
		if cfg.Kernel, err = benchKernel(c); err != nil {
			return nil, err
		}
	}
	return bench.NewGuest(c.Context(), images.UserCache(), c.ErrOrStderr())
}

// benchKernel finds the kernel that is booted unless another one is asked for.
func benchKernel(c *cobra.Command) (string, error) {
	dir, err := images.GuestsDir()
	if err == nil {
		name := filepath.Join(dir, "linux-image-cloud-amd64", "vmlinuz")
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	fmt.Fprintln(c.ErrOrStderr(), "Debian's cloud kernel is not there (tests/install-debian fetches it): measuring with the built-in kernel")
	return images.LinuxKernel(c.Context())
}

func (f *benchFlags) print(w io.Writer, rep *bench.Report) error {
	if !f.json {
		return rep.Print(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rep)
}
