package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dfemu/devices/network"
	"dfemu/machine"
)

// ddbPrompt is what the kernel's debugger prints when it is ready.
const ddbPrompt = "ddb> "

// stop types what enters the debugger.
func (g *kernelGuest) stop(keys string) {
	g.t.Helper()
	at := g.mark()
	if _, err := fmt.Fprint(g.in, keys); err != nil {
		g.t.Fatal(err)
	}
	g.await(at, ddbPrompt)
}

// ddb runs a command of the debugger, whose output must match the patterns, and none that begin with !.
func (g *kernelGuest) ddb(command string, patterns ...string) string {
	g.t.Helper()
	at := g.mark()
	if _, err := fmt.Fprint(g.in, command+"\r"); err != nil {
		g.t.Fatal(err)
	}
	s := g.await(at+len(command), ddbPrompt)
	s = strings.ReplaceAll(s[:strings.Index(s, ddbPrompt)], "\r", "")
	for _, p := range patterns {
		if bad := strings.HasPrefix(p, "!"); regexp.MustCompile(strings.TrimPrefix(p, "!")).MatchString(s) == bad {
			g.t.Errorf("ddb: %s: want %q in:\n%s", command, p, s)
		}
	}
	return s
}

// proceed leaves the debugger.
func (g *kernelGuest) proceed() {
	g.t.Helper()
	if _, err := fmt.Fprint(g.in, "c\r"); err != nil {
		g.t.Fatal(err)
	}
}

// looks has the debugger show all that it can show.
func (g *kernelGuest) looks() {
	g.t.Helper()
	g.ddb("ps", `ID CPU PRI`, ` ahci0\.0\n`, ` nvme0\n`, ` devfs core\n`)
	g.ddb("show cpus", `cpu0: APIC 0 `, `cpu2: `)
	g.ddb("show ipiq", `cpu0: sent \d+ processed \d+`, `to cpu1: written \d+ taken \d+ executed \d+`)
	g.ddb("show token", `no thread has tokens|exclusive|shared`)
	g.ddb("show msgport", `port disk: priority 0 normal \d+`, `port devfs: `)
	g.ddb("show pci", `class 0x10601 command 0x\w+ ahci0\n`, `nvme0\n`, `vtblk0\n`)
	if s := g.ddb("show ahci", `ahci0\.0: GOOD `, `ahci0\.5: NEED_INIT`); strings.Count(s, "ahci0.0:") != 1 {
		g.t.Errorf("a port is shown more than once:\n%s", s)
	}
	if s := g.ddb("show nvme", `nvme0: CSTS 0x1 .* mapping optimal`, `sq 1 cq 1: depth`, `cq 3: head`); strings.Count(s, "nvme0:") != 1 {
		g.t.Errorf("a controller is shown more than once:\n%s", s)
	}
	thread := regexp.MustCompile(`(\d+) +\d+ +\d+ \S+ +0x\w+ devfs core\n`).FindStringSubmatch(g.ddb("ps"))
	if thread == nil {
		g.t.Fatal("ps does not list the thread of devfs")
	}
	g.ddb("trace "+thread[1], `pc64\.kcall`, `msgport\.\(\*Port\)\.WaitFor\+0x\w+ \S+port\.go:\d+`, `devfs\.\(\*Core\)\.run`)
	g.ddb("show registers "+thread[1], `rip 00007f80\w{8}`, `fs  \w{16}`)
	g.ddb("x main.mem 16", `^\n?\w{16}  (\w\w ){15}\w\w\n`)
	g.ddb("sym main.mem", `main\.mem\+0x0 \S+:\d+`)
	for command, want := range map[string]string{
		"trace 99999": "no such thread", "show registers x": "no such thread", "show nothing": "there is none", "x": "examine what", "x nothing": "neither a number nor a function",
		"x main.mem 5000": "at most 4096", "x 0 8": "(-- ?){8}", "x 0xfffffffffffffff8 16": "(-- ?){16}", "b nothing": "neither", "b 0": "not in the kernel's text", "d 7": "no breakpoint",
		"sym": "which address", "nonsense": "no such command", "x main.mem 99999999999999999999999": "at most", "x 0x7f00fee00000 4": "-- -- -- --",
	} {
		g.ddb(command, want)
	}
}

// TestKernelDebuggerCommands uses all of ddb's commands, with wrong words, too: when it is entered by key, after drivers were restarted, and when the system
// panics.
func TestKernelDebuggerCommands(t *testing.T) {
	g := startKernel(t, machine.Config{CPUs: 3, Cmdline: "dfly.ddb=panic", Disks: []machine.Disk{
		{File: "mem:1M", If: "ahci", Serial: "A"}, {File: "mem:1M", If: "nvme", Serial: "N"}, {File: "mem:1M", If: "virtio", Serial: "V"},
	}})
	g.stop("\x1d")
	g.looks()
	g.proceed()
	g.stop("ddb\r") // in a thread
	for _, bad := range []string{"s 0", "s x", "step 99999999999999999999999"} {
		g.ddb(bad, "step how often")
	}
	// The thread goes on, and does not step.
	at := g.mark()
	g.proceed()
	g.await(at, kernelPrompt)
	if s := g.since(at); strings.Contains(s, ddbPrompt) {
		t.Errorf("it has stopped again:\n%s", s)
	}
	for _, u := range []string{"ahci0", "nvme0"} {
		at := g.mark()
		g.expect("nil "+u, "!no such")
		g.await(at, ": is back")
		g.expect("pciconf", u) // once the bus has done
	}
	g.stop("\x1d")
	g.ddb("", "^\n$") // not what was done last time: to go on
	g.looks()
	g.ddb("b main.mem", `main\.mem\+0x0`)
	g.ddb("b", `main\.mem\+0x0`)
	g.proceed()
	g.stop("mem\r")
	g.ddb("trace", `main\.mem\+0x0`, `\(\*Shell\)\.exec\+0x`)
	g.ddb("s", `main\.mem\+0x\w+`)
	g.ddb("", `main\.mem\+0x\w+`)
	g.ddb("s 20", `0x7f80\w+`)
	g.ddb("d main.mem")
	g.ddb("b", `^\n?$`)
	at = g.mark()
	g.proceed()
	g.await(at, "pages: ")
	g.await(at, kernelPrompt)
	g.stop("panic\r")
	if s := g.since(0); !strings.Contains(s, "stopped by the panic") {
		t.Errorf("the debugger was not entered by the panic:\n%s", s)
	}
	g.ddb("", "^\n$")
	g.looks()
	g.ddb("s", "no thread was stopped that can be stepped")
	g.ddb("trace", `runtime\.`, `main\.commands`)
	g.powerOff()
}

// TestKernelBreakpointsInLoad sets breakpoints where the kernel cannot be stopped, which take themselves away, and where threads of all CPUs run into them at once, and
// takes them away again.
func TestKernelBreakpointsInLoad(t *testing.T) {
	g := startKernel(t, machine.Config{CPUs: 4, Disks: []machine.Disk{{File: "mem:1M", If: "ahci", Serial: "A"}}})
	g.stop("\x1d")
	at := g.mark()
	for _, f := range []string{"lwkt.(*CPU).Switch", "lwkt.(*CPU).ProcessIPIs", "pc64.kexit"} {
		g.ddb("b "+f, `\+0x0`)
	}
	g.proceed()
	g.settle(100 * time.Millisecond)
	g.expect("selftest wait-wake threads token-deadlock", "3 of 3 passed")
	if n := strings.Count(g.since(at), "is where the kernel cannot be stopped: it is taken away"); n != 3 {
		t.Errorf("%d breakpoints were taken away:\n%s", n, g.since(at))
	}
	g.expect("diskload start a da0 8 64", "!:")
	for i := range 12 {
		g.stop("\x1d")
		g.ddb("b exercise.Fill")
		g.ddb("b exercise.Sector")
		g.stop("c\r")
		for range i % 4 {
			g.ddb([]string{"c", "s 3"}[i%2])
		}
		g.ddb("d")
		g.proceed()
		g.settle(20 * time.Millisecond)
	}
	g.expect("diskload stop a", "load a: [1-9].* 0 errors, 0 blocks wrong")
	g.expect("selftest gc disks", "2 of 2 passed")
	g.powerOff()
}

// TestKernelOptions boots with words that the kernel does not know, or not so: it says which, and does the rest.
func TestKernelOptions(t *testing.T) {
	g := startKernel(t, machine.Config{Memory: 64 << 20, Cmdline: "dfly.selftets=all console=ttyS0 dfly.ddb=pnic dfly.gdb=wait,pnic hw.pci.msi.enable=no dfly.poweroff=0 DFLY.POWEROFF " +
		"dfly.disktimeout=5 dfly.run dfly.selftest=clokc,clock"})
	g.expect("dmesg", `\] dfly\.selftets: no such option\n`, `\] DFLY\.POWEROFF: no such option\n`, `dfly\.ddb=pnic: "pnic" is none of panic\n`,
		`dfly\.gdb=wait,pnic: "pnic" is none of wait, panic\n`, `hw\.pci\.msi\.enable=no: "no" is none of 0, 1\n`, `dfly\.disktimeout=5: not a time of at least 10ms\n`,
		`dfly\.run: it must have a value\n`, "!console")
	if s := g.since(0); !strings.Contains(s, "FAIL clokc: no such test") || !strings.Contains(s, "PASS clock ") {
		t.Errorf("the self-tests were not run:\n%s", s)
	}
	g.powerOff()
}

// TestKernelPanicEnd has QEMU, which is not told of panics by itself, see what the kernel does after one.
func TestKernelPanicEnd(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("QEMU is not installed")
	}
	kernel := kernelImage(t)
	for end, want := range map[string]string{"poweroff": "", "halt": "the system has halted"} {
		t.Run(end, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
			defer cancel()
			out := newConsole()
			// Without -no-reboot a reset is none to QEMU: it would boot, and panic, again and again.
			c := exec.CommandContext(ctx, path, "-M", "q35", "-accel", "tcg", "-m", "128", "-kernel", kernel, "-append", "dfly.run=panic dfly.panic="+end, "-display", "none", "-serial", "stdio")
			c.Stdout, c.Stderr = out, out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			if want != "" {
				g := &kernelGuest{t: t, out: out}
				g.await(0, want)
				cancel()
				<-ended
				return
			}
			if err := <-ended; err != nil || strings.Count(out.String(), "panic: as asked for") != 1 {
				t.Errorf("it did not power off: %v\n%s", err, out)
			}
		})
	}
}

// TestKernelManyInterrupts has more interrupts than a processor has vectors, with a queue for each CPU on each of several disks: all attach, also one that comes later.
func TestKernelManyInterrupts(t *testing.T) {
	c := machine.Config{CPUs: 48, Memory: 1 << 30}
	for i := range 4 {
		c.Disks = append(c.Disks, machine.Disk{File: "mem:1M", If: "nvme", Serial: fmt.Sprint("N", i)})
	}
	for i := range 2 {
		c.Disks = append(c.Disks, machine.Disk{File: "mem:1M", If: "virtio", Serial: fmt.Sprint("V", i)})
	}
	g := startKernel(t, c)
	for i := range 4 {
		g.expect("ls serno", fmt.Sprintf(`serno/N%d-1 -> nvme\dns1\n`, i))
	}
	g.expect("ls serno", `serno/V0 -> vbd\d\n`, `serno/V1 -> vbd\d\n`)
	if _, err := g.ctl.PlugDisk(disk(t, "mem:1M,if=nvme,serial=LATE")); err != nil {
		t.Fatal(err)
	}
	g.until("ls serno", "serno/LATE-1 -> nvme4ns1\n")
	g.expect("dmesg", "!not attached", "!interrupt was lost")
	g.expect("selftest disks", "1 of 1 passed")
	g.powerOff()
}

// TestKernelOddDisks has disks of sizes that are no round numbers, and with sectors of 4096 bytes.
func TestKernelOddDisks(t *testing.T) {
	var c machine.Config
	c.CPUs = 3
	type odd struct{ name, options, size string }
	disks := []odd{
		{"da0", "if=ahci", "512"}, {"da1", "if=ahci", "1000001"}, {"da2", "if=ahci,logical=4096", "28672"},
		{"nvme0ns1", "if=nvme", "513"}, {"nvme1ns1", "if=nvme,logical=4096", "12800"},
		{"vbd0", "if=virtio", "1533"}, {"vbd1", "if=virtio,logical=4096", "20580"},
	}
	for i, d := range disks {
		file := filepath.Join(t.TempDir(), d.name)
		var size int64
		if _, err := fmt.Sscan(d.size, &size); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("odd"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		c.Disks = append(c.Disks, disk(t, fmt.Sprintf("%s,%s,serial=ODD%d", file, d.options, i)))
	}
	g := startKernel(t, c)
	sectors := map[string][2]int{"da0": {1, 512}, "da1": {1953, 512}, "da2": {7, 4096}, "nvme0ns1": {1, 512}, "nvme1ns1": {3, 4096}, "vbd0": {2, 512}, "vbd1": {5, 4096}}
	for name, s := range sectors {
		size := s[0] * s[1]
		g.expect("dmesg", fmt.Sprintf(`%s: \S+ \(%d %d byte sectors\)`, name, s[0], s[1]))
		g.expect("md5 "+name, fmt.Sprintf(`MD5 \(%s\) = \w{32} .* %d bytes`, name, size))
		g.expect(fmt.Sprintf("writetest %s %d %d 3", name, size-s[1], s[1]), writesWell)
		g.expect(fmt.Sprintf("writetest %s %d %d", name, size-s[1], 2*s[1]), "outside the device")
		g.expect(fmt.Sprintf("hexdump %s %d 1", name, size-1), `^\S.*\n0*[0-9a-f]+  \w\w `)
		g.expect(fmt.Sprintf("hexdump %s %d 2", name, size-1), "outside the device")
		g.expect(fmt.Sprintf("writetest %s 0 %d", name, s[1]/2), "not a multiple of sectors")
		g.expect("hold h "+name, "!:")
		g.expect("hold h", `read: <nil>, write: <nil>, flush: <nil>`)
	}
	g.expect("selftest disks", "1 of 1 passed")
	g.powerOff()
}

// TestKernelQueues has NVMe controllers with as many queues as CPUs can use, and with fewer: how they are shared out, and that all works in each way.
func TestKernelQueues(t *testing.T) {
	c := machine.Config{CPUs: 8, Memory: 512 << 20}
	modes := []struct {
		queues int
		want   string
	}{
		{16, "optimal: 16 submission and 8 completion queues"}, {8, "nominal: 8 submission and 8 completion queues"}, {5, "rw-sep: 4 submission and 2 completion queues"},
		{3, "basic: 2 submission and 1 completion queues"}, {1, "minimal: 1 submission and 1 completion queues"},
	}
	for _, m := range modes {
		c.Disks = append(c.Disks, disk(t, fmt.Sprintf("mem:2M,if=nvme,queues=%d,serial=Q%d", m.queues, m.queues)))
	}
	g := startKernel(t, c)
	for _, m := range modes {
		unit := regexp.MustCompile(fmt.Sprintf(`serno/Q%d-1 -> (nvme\d)ns1`, m.queues)).FindStringSubmatch(g.sh("ls serno"))
		if unit == nil {
			t.Fatalf("the disk with %d queues is not there", m.queues)
		}
		g.expect("dmesg", unit[1]+": mapping "+m.want)
		g.expect(fmt.Sprintf("diskload start q%d serno/Q%d-1 16 64", m.queues, m.queues), "!:")
	}
	g.settle(time.Second)
	for _, m := range modes {
		g.expect(fmt.Sprintf("diskload stop q%d", m.queues), "load q.*: [1-9].* 0 errors, 0 blocks wrong")
	}
	g.expect("selftest disks", "1 of 1 passed")
	g.powerOff()
}

// TestKernelDriverOutOfUse has a driver fail again and again under load: each time its disk is back, and no request fails, until it is out of use. Then the disk is gone, and
// who has it open is told so.
func TestKernelDriverOutOfUse(t *testing.T) {
	for _, u := range []struct{ kind, unit, alias string }{{"ahci", "ahci0", "serno/X"}, {"nvme", "nvme0", "serno/X-1"}, {"virtio", "vtblk0", "serno/X"}} {
		t.Run(u.kind, func(t *testing.T) {
			beside := map[string]string{"ahci": "nvme", "nvme": "virtio", "virtio": "ahci"}[u.kind]
			g := startKernel(t, machine.Config{Disks: []machine.Disk{{File: "mem:1M", If: u.kind, Serial: "X"}, {File: "mem:1M", If: beside, Serial: "BESIDE"}}})
			g.expect("hold h "+u.alias, "!:")
			g.expect("diskload start l "+u.alias+" 4 64", "!:")
			for range 3 {
				g.settle(50 * time.Millisecond)
				at := g.mark()
				g.expect("nil "+u.unit, "!no such")
				g.await(at, ": is back")
				g.expect("diskload show", "load l: .* 0 errors, 0 blocks wrong")
				g.expect("pciconf", u.unit) // once the bus has done
			}
			at := g.mark()
			g.expect("nil "+u.unit, "!no such")
			g.await(at, u.unit+": its driver fails again and again: out of use")
			g.expect("diskload wait l", "load l: .* 0 blocks wrong, gone")
			g.expect("hold h", "read: the device is gone, write: the device is gone, flush: the device is gone")
			g.until("ls serno", "^(?s:[^X]*)$")
			g.expect("selftest disks", "1 of 1 passed")
			g.powerOff()
		})
	}
}

// TestKernelNICPanic has the handler of a NIC's interrupts use a nil pointer: the driver is restarted, and the interface has its address again.
func TestKernelNICPanic(t *testing.T) {
	g := startKernel(t, machine.Config{NICs: []network.Options{nic(t, "user,model=virtio")}})
	g.expect("ifconfig vtnet0 10.0.2.15/24 10.0.2.2")
	g.expect("ping -c 2 -i 0.05 10.0.2.2", "2 packets received")
	for range 2 {
		at := g.mark()
		g.expect("nil vtnet0", "!no such")
		g.await(at, "vtnet0: link state changed to UP")
		g.expect("ifconfig vtnet0", `status: active`, `inet 10\.0\.2\.15/24 gateway 10\.0\.2\.2`)
		g.expect("ping -c 2 -i 0.05 10.0.2.2", "2 packets received")
	}
	g.powerOff()
}
