package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"dfemu/machine"
	"dfemu/tests/tiny"
)

const balloonScript = `
pages() { awk "/^balloon_$1/ {print \$2}" /proc/vmstat; }
order=/sys/module/page_reporting/parameters/page_reporting_order
check driver test -e /sys/bus/virtio/drivers/virtio_balloon
ask stats
echo 11 >$order # no reports for now
dd if=/dev/zero of=/tmp/big bs=1M count=240 2>/dev/null
ask used
rm /tmp/big
ask inflate
check pages-taken same "$(pages inflate)" 16384
echo 9 >$order
dd if=/dev/zero of=/tmp/big bs=1M count=16 2>/dev/null; rm /tmp/big
ask reported
ask deflate
check pages-back same "$(pages deflate)" 16384
ask inflate
check disk-works eval "dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null; dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null; dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | cmp - /tmp/data; rm /tmp/data"
ask deflate
check memory-works eval "dd if=/dev/urandom of=/tmp/again bs=1M count=100 2>/dev/null; md5sum /tmp/again | cut -c1-32 >/tmp/s; echo 3 >/proc/sys/vm/drop_caches; md5sum /tmp/again | grep -q -f /tmp/s"
check no-oops fails has "BUG:|Oops|Out of puff" dmesg
`

// resident is how many MiB of anonymous memory this process has, the guest's among it: also what a host that is short of
// memory has put elsewhere.
func resident(t *testing.T) (mib int) {
	t.Helper()
	p, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for l := range strings.Lines(string(p)) {
		if f := strings.Fields(l); len(f) > 1 && (f[0] == "RssAnon:" || f[0] == "VmSwap:") {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			found = found || f[0] == "RssAnon:"
			mib += n >> 10
		}
	}
	if !found {
		t.Fatal("no RssAnon in /proc/self/status")
	}
	return mib
}

// TestDevicesBalloon takes memory from a Linux guest and gives it back.
func TestDevicesBalloon(t *testing.T) {
	const ram, taken = 512 << 20, 64 << 20
	g := guest{
		script: balloonScript, drivers: []string{"virtio_balloon"},
		Config: machine.Config{Memory: ram, Balloon: true, Disks: []machine.Disk{disk(t, "mem:4M")}},
	}
	full := 0
	within := func(what string, ok func() bool) error {
		for range 600 {
			if ok() {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		return fmt.Errorf("%s: %d MiB resident of at first %d", what, resident(t), full)
	}
	g.runAsking(t, func(c *machine.Control, words []string) error {
		size := func() uint64 {
			n, err := c.BalloonSize()
			if err != nil {
				t.Error(err)
			}
			return n
		}
		switch words[0] {
		case "stats":
			s, err := c.BalloonStats()
			if err == nil && (s["stat-total-memory"] < ram/2 || s["stat-total-memory"] > ram || s["stat-free-memory"] == 0) {
				err = fmt.Errorf("statistics %v", s)
			}
			return err
		case "used":
			if full = resident(t); full < 240 {
				return fmt.Errorf("%d MiB resident", full)
			}
			return nil
		case "inflate":
			if err := c.Balloon(ram - taken); err != nil {
				return err
			}
			return within("inflate", func() bool { return size() == ram-taken && (full == 0 || resident(t) < full-50) })
		case "reported":
			return within("reports", func() bool { return resident(t) < full-180 })
		case "deflate":
			if err := c.Balloon(ram); err != nil {
				return err
			}
			full = 0
			return within("deflate", func() bool { return size() == ram })
		}
		return fmt.Errorf("nobody knows %q", words)
	})
}

// TestBalloonMissing asks for memory of a machine without a balloon.
func TestBalloonMissing(t *testing.T) {
	kernel := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(kernel, tiny.ELF(), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := machine.New(machine.Config{Kernel: kernel, Memory: 16 << 20, Accel: "interp"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Control().Balloon(1 << 20); err == nil {
		t.Error("a balloon that is not there takes memory")
	}
}
