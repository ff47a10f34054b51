package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"dfemu/cpu/jit"
	"dfemu/cpu/kvm"
	"dfemu/images"
	"dfemu/machine"
)

// kernelImage builds the guest kernel, or finds it built.
func kernelImage(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("boots whole guests")
	}
	name, err := images.BuildKernel(context.Background(), images.UserCache(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// runKernel boots the kernel on a peer and returns its console.
type runKernel func(t *testing.T, kernel, cmdline string, cpus, mib int) *output

// peers are the machines the same image boots on.
var peers = map[string]runKernel{
	"interp": onDfemu("interp"),
	"jit":    onDfemu("jit"),
	"kvm":    onDfemu("kvm"),
	"qemu": func(t *testing.T, kernel, cmdline string, cpus, mib int) *output {
		path, err := exec.LookPath("qemu-system-x86_64")
		if err != nil {
			t.Skip("QEMU is not installed")
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
		defer cancel()
		var out output
		c := exec.CommandContext(ctx, path, "-M", "q35", "-accel", "tcg", "-m", fmt.Sprint(mib), "-smp", fmt.Sprint(cpus),
			"-kernel", kernel, "-append", cmdline, "-display", "none", "-serial", "stdio", "-no-reboot")
		c.Stdout, c.Stderr = &out, &out
		if err := c.Run(); err != nil {
			t.Errorf("QEMU: %v", err)
		}
		return &out
	},
}

// onDfemu boots the kernel on this monitor.
func onDfemu(accel string) runKernel {
	return func(t *testing.T, kernel, cmdline string, cpus, mib int) *output {
		if accel == "jit" {
			if ok, reason := jit.Usable(); !ok {
				t.Skip(reason)
			}
		}
		if accel == "kvm" {
			if ok, reason := kvm.Usable(); !ok {
				t.Skip(reason)
			}
		}
		return bootKernel(t, accel, kernel, cmdline, cpus, mib)
	}
}

// bootKernel boots the kernel on an accelerator until it powers off.
func bootKernel(t *testing.T, accel, kernel, cmdline string, cpus, mib int) *output {
	var out output
	o := boot(t, machine.Config{
		Accel: accel, CPUs: cpus, Memory: uint64(mib) << 20, Kernel: kernel, Cmdline: cmdline,
		Serial: [4]machine.Serial{{Out: &out}},
	})
	if o.Cause != machine.PoweredOff {
		t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
	}
	return &out
}

// onPeers runs a test on each machine, at each number of CPUs.
func onPeers(t *testing.T, cpus []int, f func(t *testing.T, run runKernel, cpus int)) {
	for name, run := range peers {
		for _, n := range cpus {
			t.Run(fmt.Sprintf("%s/%dcpu", name, n), func(t *testing.T) { f(t, run, n) })
		}
	}
}

// TestKernelSelftests boots the kernel and has it test itself.
func TestKernelSelftests(t *testing.T) {
	kernel := kernelImage(t)
	onPeers(t, []int{1, 2, 4}, func(t *testing.T, run runKernel, cpus int) {
		tests := "all"
		if cpus != 2 {
			tests = "all,-pids" // which takes longer than the rest together, and is the same on one CPU or many
		}
		out := run(t, kernel, "dfly.selftest="+tests+" dfly.run=stress+1;cpus dfly.poweroff", cpus, 256)
		out.expect(t, "Copyright (c)", fmt.Sprintf("SMP: %d CPUs started of %d", cpus, cpus), "Host bridge", "ready after", ", 0 failures")
		m := regexp.MustCompile(`selftest: (\d+) of (\d+) passed`).FindSubmatch(out.Bytes())
		if m == nil || !bytes.Equal(m[1], m[2]) || bytes.Contains(out.Bytes(), []byte("FAIL ")) {
			t.Errorf("not all self-tests passed:\n%s", out.Bytes())
		}
		if strings.Contains(out.String(), "nobody answers") {
			t.Error("the runtime made system calls that the kernel does not have")
		}
	})
}

// TestKernelCPUs boots the kernel with many CPUs, which take turns on those of the host.
func TestKernelCPUs(t *testing.T) {
	kernel := kernelImage(t)
	for _, c := range []struct {
		cpus  int
		tests string
		want  string
	}{
		{8, "threads,owner,priority,interrupt-preempts,preemption-returns,token-exclusive,token-deadlock,token-blocks,ipi,ipi-count,quiesce,slab,objcache,msgport,devfs", "15 of 15 passed"},
		{16, "threads,owner,priority,token-deadlock,ipi,quiesce,objcache,msgport,devfs", "9 of 9 passed"},
		{64, "owner,token-blocks,ipi-count", "3 of 3 passed"},
	} {
		t.Run(fmt.Sprintf("%dcpu", c.cpus), func(t *testing.T) {
			bootKernel(t, "jit", kernel, "dfly.selftest="+c.tests+" dfly.poweroff", c.cpus, 512).expect(t,
				fmt.Sprintf("SMP: %d CPUs started of %d", c.cpus, c.cpus), c.want)
		})
	}
}

// TestKernelSmall boots the kernel in 64 MiB.
func TestKernelSmall(t *testing.T) {
	kernel := kernelImage(t)
	onPeers(t, []int{1}, func(t *testing.T, run runKernel, cpus int) {
		run(t, kernel, "dfly.selftest=gc,nil,timers,memory dfly.poweroff", cpus, 64).expect(t, "4 of 4 passed")
	})
}

// TestKernelKVM boots the kernel on KVM even where that emulates ring 0, if it is asked to: it takes a minute there.
func TestKernelKVM(t *testing.T) {
	kernel := kernelImage(t)
	if ok, reason := kvm.Usable(); !ok && os.Getenv("DFEMU_KVM") == "" {
		t.Skipf("%s; DFEMU_KVM=1 does it all the same", reason)
	}
	bootKernel(t, "kvm", kernel, "dfly.selftest=clock,msgport dfly.poweroff", 1, 64).expect(t, "2 of 2 passed")
}

// TestKernelPanic ends the kernel with a panic: traces of all CPUs, with names and lines, and word to the
// machine.
func TestKernelPanic(t *testing.T) {
	kernel := kernelImage(t)
	var out output
	o := boot(t, machine.Config{
		Accel: "interp", CPUs: 2, Memory: 128 << 20, Kernel: kernel, Cmdline: "dfly.run=panic",
		Serial: [4]machine.Serial{{Out: &out}},
	})
	if o.Cause != machine.Panicked {
		t.Errorf("ended with %v %s, want a guest's panic", o.Cause, o.Detail)
	}
	out.expect(t, "panic: as asked for", "commands_dragonfly_amd64.go:", "cpu0", "cpu1")
}

// TestKernelReadRestart types while who reads the console is sent signals all the time: its system call is made again after each, and no character is lost or
// taken twice.
func TestKernelReadRestart(t *testing.T) {
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprintf("%dcpu", cpus), func(t *testing.T) {
			g := startKernel(t, machine.Config{CPUs: cpus})
			g.expect("poke start", "!poke:")
			for i := range 40 {
				word := fmt.Sprintf("word-%d-%s", i, strings.Repeat("abcdefghij", i%7))
				g.settle(time.Duration(i%5) * time.Millisecond)
				if s := g.sh("%s", word); s != word+"\n"+word+": no such command; help lists them\n" {
					t.Errorf("typed %q, got %q", word, s)
				}
			}
			g.expect("poke stop", `poke: [1-9]\d* signals were sent, [1-9]\d* reads were made again`)
			g.powerOff()
		})
	}
}

// TestKernelPrompt types at the shell. The first characters come before there is a kernel to take them.
func TestKernelPrompt(t *testing.T) {
	kernel := kernelImage(t)
	var out output
	start := time.Now()
	o := boot(t, machine.Config{
		Accel: "interp", CPUs: 1, Memory: 128 << 20, Kernel: kernel,
		Serial: [4]machine.Serial{{In: strings.NewReader("help\rps\rnil\rnonsense\rpoweroff\r"), Out: &out}},
	})
	t.Logf("from nothing to powered off in %v", time.Since(start))
	if o.Cause != machine.PoweredOff {
		t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
	}
	out.expect(t, "dfly# ", "list the commands", "nil pointer dereference", "nonsense: no such command")
}
