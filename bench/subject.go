package bench

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// qemuName is the name of QEMU's TCG among the subjects.
const qemuName = "qemu-tcg"

// unpackedSuffix marks a subject whose kernel is unpacked by the host.
const unpackedSuffix = "+unpack"

// subject is something that executes the guest program.
type subject struct {
	name   string
	accel  string   // of this monitor; "" for QEMU and for the host itself
	unpack bool     // the monitor unpacks the kernel
	own    bool     // the guest is this module's kernel
	args   []string // for the monitor, besides
}

// command returns the process that runs the guest with a kernel command line.
func (r *run) command(ctx context.Context, s subject, cpus int, cmdline string) *exec.Cmd {
	if s.own {
		return r.kernelCommand(ctx, s, cpus, cmdline)
	}
	c := &r.c
	line := strings.TrimSpace("console=ttyS0 panic=-1 " + cmdline + " " + c.Append)
	switch {
	case s.accel != "":
		return exec.CommandContext(ctx, c.Self, append([]string{"boot", "-v", "--no-reboot",
			"--accel=" + s.accel, "--cpus=" + strconv.Itoa(cpus), fmt.Sprintf("--memory=%dM", c.Memory),
			"--kernel=" + c.Kernel, "--initrd=" + c.Initrd, "--append=" + line, fmt.Sprintf("--unpack=%t", s.unpack)}, s.args...)...)
	case s.name == qemuName:
		return exec.CommandContext(ctx, c.QEMU, append([]string{"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
			"-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", strconv.Itoa(cpus), "-m", fmt.Sprintf("%dM", c.Memory),
			"-kernel", c.Kernel, "-initrd", c.Initrd, "-append", line}, s.args...)...)
	}
	// The kernel hands words with an equals sign to init as environment.
	cmd := exec.CommandContext(ctx, c.Native)
	for _, word := range strings.Fields(cmdline) {
		if strings.Contains(word, "=") {
			cmd.Env = append(cmd.Env, word)
		}
	}
	return cmd
}

// qemuVersion returns the first line of what QEMU says of its version.
func qemuVersion(ctx context.Context, qemu string) (string, error) {
	out, err := exec.CommandContext(ctx, qemu, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", qemu, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}
