package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"dfemu/devices/block"
	"dfemu/devices/network"
	"dfemu/firmware/boot"
	"dfemu/images"
	"dfemu/machine"

	"github.com/spf13/cobra"
)

// bootFlags are the flags of dfemu boot.
type bootFlags struct {
	kernel, initrd, cmdline, firmware string
	cpus                              int
	memory                            string
	accel                             string
	lockstep                          bool
	disks, nics, serial, consoles     []string
	control                           string
	watch                             watchFlags
	extra                             extraFlags
	device                            deviceFlags
	debugcon                          string
	timeout                           time.Duration
	noReboot, snapshot, unpack        bool
	verbose, la57                     bool
	// What another command does besides: prepare changes the configuration, start is called instead of
	// the machine's Run. Both may be nil.
	prepare func(*machine.Config) error
	start   func(context.Context, *machine.Machine) (machine.Outcome, error)
}

func newBoot() *cobra.Command {
	var f bootFlags
	c := &cobra.Command{
		Use:   "boot [kernel | linux | DISK | KERNEL]",
		Short: "boot a guest",
		Long: "Boot a guest on a Q35-like PC: without an image the guest kernel of this module (also\n" +
			"called kernel), with linux the built-in Linux guest, otherwise a disk image (through\n" +
			"SeaBIOS) or a kernel (bzImage, PVH or Multiboot ELF).\n" +
			"On a terminal, Ctrl-A h lists the keys of the console.",
		Example: "  dfemu boot\n  dfemu boot kernel --disk disk.img,if=nvme --cpus 2\n  dfemu boot disk.img --memory 2G --cpus 2 --snapshot\n" +
			"  dfemu boot --kernel bzImage --initrd initrd.img --append console=ttyS0",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), args) },
	}
	c.SetHelpTemplate(`{{.Long}}

Usage: {{.UseLine}}

Examples:
{{.Example}}

Flags:
{{.LocalFlags.FlagUsages}}
In the manual page (dfemu man DIR): --` + strings.Join(rareFlags, " --") + `

` + statusHelp + "\n")
	f.register(c)
	help := c.HelpFunc()
	c.SetHelpFunc(func(c *cobra.Command, args []string) {
		for _, name := range rareFlags {
			_ = c.Flags().MarkHidden(name)
		}
		help(c, args)
	})
	return c
}

// rareFlags are left to the manual page, so that the help fits on a screen.
var rareFlags = []string{"debugcon", "la57", "lockstep", "trace-file", "trace-format", "trace-symbols", "virtio-console"}

// register adds the flags to a command that boots a guest.
func (f *bootFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.kernel, "kernel", "", "start this kernel directly")
	fl.StringVar(&f.initrd, "initrd", "", "initial RAM disk for the kernel")
	fl.StringVar(&f.cmdline, "append", "", "kernel command line (added to the built-in guest's)")
	fl.StringVar(&f.firmware, "firmware", "", "start this firmware image, mapped below 4 GiB")
	fl.IntVar(&f.cpus, "cpus", 1, "number of CPUs, 1 to 255")
	fl.StringVar(&f.memory, "memory", "512M", "memory, as 512M or 4G")
	fl.StringArrayVar(&f.disks, "disk", nil, "attach `FILE[,opt]`: if=virtio|ahci|nvme|scsi serial=S ro snapshot format=F …; see docs/devices.md")
	fl.StringArrayVar(&f.nics, "nic", nil, "attach `tap|user|hub[,opt]`: model=virtio|e1000e mac=M hostfwd=… pcap=F …")
	f.extra.register(fl)
	f.device.register(fl)
	fl.StringArrayVar(&f.serial, "serial", nil, "COM1, then COM2 …: stdio file:F pty socket:F none")
	fl.StringArrayVar(&f.consoles, "virtio-console", nil, "attach virtio consoles, as --serial")
	fl.StringVar(&f.debugcon, "debugcon", "", "write ports 0xe9 and 0x402 to this file (- is stderr)")
	fl.BoolVar(&f.lockstep, "lockstep", false, "compare what --accel=jit translates with the interpreter, block by block")
	fl.StringVar(&f.accel, "accel", "auto", "what executes the guest: "+strings.Join(machine.Accelerators(), ", "))
	fl.BoolVar(&f.la57, "la57", false, "announce 5-level paging to the guest")
	fl.DurationVar(&f.timeout, "timeout", 0, "stop after this time, as 90s or 5m")
	fl.BoolVar(&f.noReboot, "no-reboot", false, "end instead of resetting the machine")
	fl.BoolVar(&f.snapshot, "snapshot", false, "discard all writes to disks at the end")
	fl.BoolVar(&f.unpack, "unpack", true, "unpack a bzImage on the host")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "say what is done, and why, on stderr")
	fl.StringVar(&f.control, "control", "", "listen for dfemu ctl (QMP) at this socket")
	f.watch.register(fl)
	completeAccel(c, "accel")
	for _, flag := range []string{"serial", "virtio-console"} {
		completeWords(c, flag, "stdio", "file:", "pty", "socket:", "none")
	}
}

// usageArgs marks errors of positional arguments as bad usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// run boots the guest and waits for its end.
func (f *bootFlags) run(ctx context.Context, args []string) (err error) {
	if asked, err := f.device.help(os.Stdout); asked {
		return err
	}
	cfg, err := f.config(ctx, args)
	if err != nil {
		return err
	}
	if f.prepare != nil {
		if err := f.prepare(&cfg); err != nil {
			return err
		}
	}
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), slots(&cfg)))
	debug.SetGCPercent(50) // most of the heap is decoded code, which lives long
	con := newConsole(os.Stdin, os.Stdout, os.Stderr)
	trace, err := f.watch.configure(&cfg, os.Stderr, f.control != "")
	if trace != nil {
		defer func() { err = errors.Join(err, trace.Close()) }()
	}
	if err != nil {
		return err
	}
	closers, err := f.connect(&cfg, con)
	defer func() {
		for _, c := range closers {
			err = errors.Join(err, c.Close())
		}
	}()
	if err != nil {
		return err
	}
	log := &serialLog{out: cfg.Serial[0].Out}
	if f.control != "" {
		cfg.Serial[0].Out = log
	}
	m, err := machine.New(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if f.control != "" {
		s, err := listenControl(f.control, m, &cfg, log)
		if err != nil {
			return err
		}
		defer s.Close()
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	if err := con.attach(m); err != nil {
		return err
	}
	defer con.detach()
	start := f.start
	if start == nil {
		start = func(ctx context.Context, m *machine.Machine) (machine.Outcome, error) { return m.Run(ctx) }
	}
	out, err := start(ctx, m)
	con.detach()
	if err != nil {
		return err
	}
	if f.verbose {
		s := m.Stats()
		fmt.Fprintf(os.Stderr, "dfemu: %v; %d instructions, %d exits, %d blocks\n", out.Cause, s.Instructions, s.Exits, s.Blocks)
	}
	return outcome(out)
}

// config turns flags into a machine.
func (f *bootFlags) config(ctx context.Context, args []string) (machine.Config, error) {
	cfg := machine.Config{
		CPUs: f.cpus, Accel: f.accel, LA57: f.la57, Lockstep: f.lockstep,
		Kernel: f.kernel, Initrd: f.initrd, Cmdline: f.cmdline, Firmware: f.firmware, Unpack: f.unpack,
		NoReboot: f.noReboot, Snapshot: f.snapshot,
	}
	if f.verbose {
		cfg.Logf = func(format string, args ...any) { fmt.Fprintf(os.Stderr, "dfemu: "+format+"\r\n", args...) }
	}
	var err error
	if cfg.Memory, err = parseSize(f.memory); err == nil {
		err = checkMemory(cfg.Memory)
	}
	if err != nil {
		return cfg, usageError{fmt.Errorf("--memory %s: %w", f.memory, err)}
	}
	if err := checkCPUs(f.cpus); err != nil {
		return cfg, usageError{fmt.Errorf("--cpus %d: %w", f.cpus, err)}
	}
	switch {
	case f.timeout < 0:
		return cfg, usageError{fmt.Errorf("--timeout %v: must not be negative", f.timeout)}
	case !slices.Contains(machine.Accelerators(), f.accel):
		return cfg, usageError{fmt.Errorf("--accel %s: must be one of %s", f.accel, strings.Join(machine.Accelerators(), ", "))}
	}
	for _, s := range f.disks {
		d, err := machine.ParseDisk(s)
		if err != nil {
			return cfg, usageError{fmt.Errorf("--disk %s: %w", s, err)}
		}
		cfg.Disks = append(cfg.Disks, d)
	}
	for _, s := range f.nics {
		o, err := network.ParseNIC(s)
		if err != nil {
			return cfg, usageError{fmt.Errorf("--nic: %w", err)}
		}
		cfg.NICs = append(cfg.NICs, o)
	}
	if err := f.extra.configure(&cfg); err != nil {
		return cfg, err
	}
	if err := f.device.configure(&cfg); err != nil {
		return cfg, err
	}
	if err := f.image(ctx, &cfg, args); err != nil {
		return cfg, err
	}
	for flag, name := range map[string]string{"--kernel": cfg.Kernel, "--initrd": cfg.Initrd, "--firmware": cfg.Firmware} {
		if name == "" {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return cfg, usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	if cfg.Kernel != "" && cfg.Firmware != "" {
		return cfg, usageError{errors.New("--kernel and --firmware exclude each other")}
	}
	if cfg.Initrd != "" && cfg.Kernel == "" {
		return cfg, usageError{errors.New("--initrd needs --kernel")}
	}
	return cfg, nil
}

// slots is how many scheduler slots the Go runtime needs for a machine. Processors in software occupy one each while they execute: devices
// need some besides. A write past the host's page cache keeps its slot for tens of microseconds after it began to wait, until the runtime
// takes it away; with a few more the others that are under way need not wait for that.
func slots(cfg *machine.Config) int {
	n := cfg.CPUs + 2
	if slices.ContainsFunc(cfg.Disks, func(d machine.Disk) bool { return d.Store.Cache == block.CacheNone }) {
		n += 8
	}
	return n
}

// image decides what is booted: the argument, the flags, or the built-in guest.
func (f *bootFlags) image(ctx context.Context, cfg *machine.Config, args []string) error {
	what := ""
	if len(args) > 0 {
		what = args[0]
	}
	if what != "" && (f.kernel != "" || f.firmware != "" && (what == "kernel" || what == "linux")) {
		return usageError{fmt.Errorf("%s: an image to boot and --kernel or --firmware exclude each other", what)}
	}
	switch {
	case what == "kernel" || what == "" && f.kernel == "" && f.firmware == "" && len(f.disks) == 0:
		var err error
		cfg.Kernel, err = images.BuildKernel(ctx, images.UserCache(), os.Stderr)
		return err
	case what == "linux":
		g, err := images.Linux(ctx, images.UserCache(), os.Stderr)
		if err != nil {
			return err
		}
		cfg.Kernel = g.Kernel
		if cfg.Initrd == "" {
			cfg.Initrd = g.Initrd
		}
		cfg.Cmdline = g.Cmdline
		if f.cmdline != "" {
			cfg.Cmdline += " " + f.cmdline
		}
		return nil
	case what != "":
		kernel, err := isKernel(what)
		if err != nil {
			return usageError{err}
		}
		if kernel {
			cfg.Kernel = what
			return nil
		}
		cfg.Disks = append([]machine.Disk{{File: what}}, cfg.Disks...)
	case f.kernel != "":
		return nil
	}
	if cfg.Firmware == "" {
		bios, err := findBIOS()
		if err != nil {
			return err
		}
		cfg.Firmware = bios
	}
	return nil
}

// isKernel tells a kernel from a disk image by its first bytes. A boot sector
// is a disk's.
func isKernel(name string) (bool, error) {
	file, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	kind, _ := boot.Detect(head[:n])
	switch kind {
	case boot.Linux, boot.PVH, boot.Multiboot1, boot.Multiboot2, boot.ELF:
		return true, nil
	}
	return n >= 4 && string(head[:4]) == "\x7fELF", nil
}

// biosPaths is where distributions put SeaBIOS.
var biosPaths = []string{
	"/usr/share/seabios/bios-256k.bin",
	"/usr/share/qemu/bios-256k.bin",
	"/usr/share/seabios/bios.bin",
}

func findBIOS() (string, error) {
	for _, p := range biosPaths {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("no BIOS to boot a disk with: install SeaBIOS (Debian: apt-get install seabios) or give --firmware")
}
