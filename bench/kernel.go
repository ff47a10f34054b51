package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// rowKernel is the row of the guest kernel of this module.
const rowKernel = "kernel"

// LinuxLike are the rows of Linux that stand beside those of the guest kernel: its boot, and what it has
// instead of messages and switches.
func LinuxLike() []string { return []string{rowBoot, "syscall", "pipe"} }

// markKernel begins the lines of the guest kernel's shell command bench.
const markKernel = "bench: "

// Lines of the guest kernel's console.
const (
	kernelFirst  = "Copyright (c)"
	kernelPrompt = "ready after"
)

// kernelLine looks at a line of the guest kernel's console, which says name, time and unit; p.mu is held.
func (p *process) kernelLine(line string) {
	words := strings.Fields(line)
	if len(words) < 3 || words[2] != "ns," {
		return
	}
	if ns, err := strconv.ParseFloat(words[1], 64); err == nil {
		if _, ok := p.results[words[0]]; !ok {
			p.order = append(p.order, words[0])
		}
		p.results[words[0]] = ns
	}
}

// guestKernel measures how long the guest kernel takes to its prompt, and then what its shell's bench command
// does.
func (r *run) guestKernel(ctx context.Context, s subject, cpus int) error {
	s.own = true
	p, err := r.start(ctx, s, cpus, "dfly.run=bench dfly.poweroff")
	if err != nil {
		return err
	}
	defer p.kill()
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case p.err != nil:
		return p.fail(fmt.Sprintf("the guest kernel did not end well: %v", p.err))
	case p.init == 0:
		return p.fail("the guest kernel never came to its prompt")
	case len(p.order) == 0:
		return p.fail("the guest kernel measured nothing")
	}
	r.add(rowKernel, "start to first line", "µs", cpus, s, float64(p.kernel.Microseconds()))
	r.add(rowKernel, "start to prompt", "µs", cpus, s, float64(p.init.Microseconds()))
	for _, name := range p.order {
		r.add(rowKernel, name, "µs", cpus, s, p.results[name]/1e3)
	}
	return nil
}

// kernelCommand returns the process that runs the guest kernel.
func (r *run) kernelCommand(ctx context.Context, s subject, cpus int, cmdline string) *exec.Cmd {
	c := &r.c
	if s.accel != "" {
		return exec.CommandContext(ctx, c.Self, "boot", "-v", "--no-reboot", "--accel="+s.accel, "--cpus="+strconv.Itoa(cpus),
			fmt.Sprintf("--memory=%dM", c.Memory), "--kernel="+c.GuestKernel, "--append="+cmdline)
	}
	return exec.CommandContext(ctx, c.QEMU, "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", strconv.Itoa(cpus), "-m", fmt.Sprintf("%dM", c.Memory),
		"-kernel", c.GuestKernel, "-append", cmdline)
}

// checkKernel refuses the guest kernel's row without a guest kernel.
func (c *Config) checkKernel() error {
	if slices.Contains(c.Rows, rowKernel) && c.GuestKernel == "" {
		return errors.New("no guest kernel to measure")
	}
	return nil
}
