package tests

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/images"
	"dfemu/machine"
)

// guestPrelude makes a guest of the initial RAM disk: it loads the drivers and defines the words that the scripts
// below are made of. check NAME COMMAND… prints PASS NAME or FAIL NAME; a script's checks are all expected to pass.
const guestPrelude = `
/bin/busybox mkdir -p /proc /sys /dev /tmp /mnt /run /var
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
echo 3 >/proc/sys/kernel/printk
for m in $(cat /drivers/order); do insmod /drivers/$m || echo "FAIL insmod $m"; done
check() {
	name=$1; shift
	if out=$("$@" 2>&1); then echo "PASS $name"; else echo "FAIL $name: status $? from $*: $out"; fi
}
fails() { ! "$@"; }
has() { pattern=$1; shift; text=$("$@" 2>&1); echo "$text" | grep -q -E -- "$pattern" || { echo "$text"; return 1; }; }
waitfor() { i=0; while ! "$@" >/dev/null 2>&1; do i=$((i+1)); [ $i -gt 300 ] && return 1; sleep 0.05; done; }
same() { [ "$1" = "$2" ] || { echo "$1 is not $2"; return 1; }; }
sum() { md5sum "$@" | cut -c1-32; }
zeros() { same "$(dd if=$1 bs=4096 skip=$2 count=$3 iflag=direct 2>/dev/null | sum)" "$(dd if=/dev/zero bs=4096 count=$3 2>/dev/null | sum)"; }
verify() { fio --name=v --filename=$1 --rw=${3:-randwrite} --bs=${4:-4k} --size=$2 --verify=crc32c --verify_fatal=1 --direct=1 --ioengine=libaio --iodepth=32 --end_fsync=1 --minimal; }
logged() { waitfor has "$1" dmesg; }
`

// driverOrder are the kernel modules a guest loads, in order.
func driverOrder(t *testing.T) (dir string, names []string) {
	t.Helper()
	guests, err := images.GuestsDir()
	if err != nil {
		t.Skip(err)
	}
	dir = filepath.Join(guests, "linux-image-amd64")
	list, err := os.ReadFile(need(t, filepath.Join(dir, "drivers", "order"), installRemedy))
	if err != nil {
		t.Fatal(err)
	}
	return dir, strings.Fields(string(list))
}

// unneeded are drivers that the device tests have no use for.
var unneeded = map[string]bool{"ext4.ko": true, "jbd2.ko": true, "mbcache.ko": true, "9p.ko": true, "9pnet.ko": true,
	"9pnet_virtio.ko": true, "netfs.ko": true, "fscache.ko": true, "virtio_balloon.ko": true, "virtio_scsi.ko": true,
	"vsock.ko": true, "vmw_vsock_virtio_transport_common.ko": true, "vmw_vsock_virtio_transport.ko": true}

// userland adds programs of Debian with the libraries that they are linked with.
func userland(t *testing.T, programs []string) []images.File {
	t.Helper()
	guests, err := images.GuestsDir()
	if err != nil {
		t.Skip(err)
	}
	root := filepath.Join(need(t, filepath.Join(guests, "userland", "VERSION"), installRemedy), "..", "root")
	var files []images.File
	seen := map[string]bool{}
	var add func(name, host string)
	add = func(name, host string) {
		if seen[name] {
			return
		}
		seen[name] = true
		files = append(files, images.File{Name: name, From: host})
		f, err := elf.Open(host)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		defer f.Close()
		libs, err := f.ImportedLibraries()
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		for _, lib := range append(libs, "ld-linux-x86-64.so.2") {
			to := "lib/x86_64-linux-gnu/" + lib
			if lib == "ld-linux-x86-64.so.2" {
				to = "lib64/" + lib
			}
			add(to, find(t, root, lib, "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/ceph", "lib64"))
		}
	}
	for _, p := range programs {
		add("usr/bin/"+p, find(t, root, p, "usr/bin", "usr/sbin", "sbin", "bin"))
	}
	return files
}

func find(t *testing.T, root, name string, dirs ...string) string {
	t.Helper()
	for _, d := range dirs {
		if p := filepath.Join(root, d, name); exists(p) {
			return p
		}
	}
	t.Skipf("%s is not in %s: %s", name, root, installRemedy)
	return ""
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

// guest is a Debian kernel that runs a script.
type guest struct {
	machine.Config
	script   string
	programs []string
	files    []images.File // of the initial RAM disk, besides
	drivers  []string      // besides those that all guests load, without .ko
}

// console is what a guest prints. It may be read while the guest runs.
type console struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  bytes.Buffer
	hits int // faults injected; see runAsking
	done bool
	// heard is called when something is printed. It may be nil.
	heard func()
}

func newConsole() *console {
	c := &console{}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.cond.Broadcast()
	if c.heard != nil {
		c.heard()
	}
	return c.buf.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	c.cond.Broadcast()
}

var (
	checkNames = regexp.MustCompile(`(?m)^\s*check (\S+)`)
	verdicts   = regexp.MustCompile(`(?m)^(PASS|FAIL) ([^\s:]+)`)
)

// config completes a guest's machine. The returned console collects what it prints.
func (g *guest) config(t *testing.T) (machine.Config, *console) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a whole guest")
	}
	dir, order := driverOrder(t)
	c := g.Config
	files := userland(t, g.programs)
	files = append(files, images.File{Name: "init", Data: []byte("#!/bin/busybox sh\n" + guestPrelude + g.script + "\necho END of the script\npoweroff -f\n")},
		images.File{Name: "bin/busybox", From: busybox(t)})
	var loaded []string
	for _, m := range order {
		if !unneeded[m] || slices.Contains(g.drivers, strings.TrimSuffix(m, ".ko")) {
			files = append(files, images.File{Name: "drivers/" + m, From: filepath.Join(dir, "drivers", m)})
			loaded = append(loaded, m)
		}
	}
	files = append(files, images.File{Name: "drivers/order", Data: []byte(strings.Join(loaded, "\n") + "\n")},
		images.File{Name: "bin/sh", Link: "busybox"})
	files = append(files, g.files...)
	c.Initrd = filepath.Join(t.TempDir(), "initrd.cpio")
	if err := images.Archive(c.Initrd, files, "proc", "sys", "tmp"); err != nil {
		t.Fatal(err)
	}
	c.Kernel = filepath.Join(dir, "vmlinuz")
	c.Unpack = true
	if c.Cmdline != "" {
		c.Cmdline = " " + c.Cmdline
	}
	c.Cmdline = "console=ttyS0 quiet panic=-1 mitigations=off" + c.Cmdline
	if c.Accel == "" {
		c.Accel = "jit"
	}
	if c.Memory == 0 {
		c.Memory = 768 << 20
	}
	out := newConsole()
	c.Serial[0].Out = out
	return c, out
}

// judge reports the checks of a script that have not passed.
func (g *guest) judge(t *testing.T, text string) {
	t.Helper()
	passed := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		m := verdicts.FindStringSubmatch(lines.Text())
		switch {
		case m == nil:
		case m[1] == "FAIL":
			t.Errorf("%s", lines.Text())
		default:
			passed[m[2]] = true
		}
	}
	n := 0
	for _, m := range checkNames.FindAllStringSubmatch(g.script, -1) {
		n++
		if !passed[m[1]] {
			t.Errorf("%s has not passed", m[1])
		}
	}
	if !strings.Contains(text, "END of the script") {
		t.Errorf("the script has not come to its end")
	}
	if t.Failed() {
		t.Logf("console:\n%s", text)
	} else {
		t.Logf("%d checks passed", n)
	}
}

// run boots the guest and reports each check of its script that has not passed.
func (g *guest) run(t *testing.T) string {
	t.Helper()
	c, out := g.config(t)
	start(t, c, out)()
	g.judge(t, out.String())
	return out.String()
}

// guestLimit ends a guest that hangs: one that has printed nothing for so long. How fast guests are does not matter, which
// depends on the host.
const guestLimit = 2 * time.Minute

var errSilent = fmt.Errorf("nothing on the console for %v", guestLimit)

// start boots a machine in the background. The returned function waits for its end, which must be that it powers
// itself off.
func start(t *testing.T, c machine.Config, out *console) (wait func()) {
	t.Helper()
	_, wait = startControlled(t, c, out)
	return wait
}

// startControlled is start, with the machine's control.
func startControlled(t *testing.T, c machine.Config, out *console) (*machine.Machine, func()) {
	t.Helper()
	c.NoReboot = true
	m, err := machine.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	silence := time.AfterFunc(guestLimit, func() { cancel(errSilent) })
	out.heard = func() { silence.Reset(guestLimit) }
	type end struct {
		o   machine.Outcome
		err error
	}
	ended := make(chan end, 1)
	go func() {
		o, err := m.Run(ctx)
		out.end()
		ended <- end{o, err}
	}()
	var once sync.Once
	wait := func() {
		once.Do(func() {
			e := <-ended
			switch cause := context.Cause(ctx); {
			case cause != nil:
				t.Errorf("ended because of %v, want powered off", cause)
			case e.err != nil:
				t.Error(e.err)
			case e.o.Cause != machine.PoweredOff:
				t.Errorf("ended with %v %s, want powered off", e.o.Cause, e.o.Detail)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			silence.Stop()
			cancel(nil)
		})
	}
	t.Cleanup(func() { cancel(nil); wait() })
	return m, wait
}

// assign is shell text that sets variables.
func assign(pairs ...any) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%v='%v'\n", pairs[i], pairs[i+1])
	}
	return b.String()
}
