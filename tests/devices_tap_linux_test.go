package tests

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"dfemu/devices/network"
)

// TestDevicesTap joins two machines by tap interfaces and a bridge, in a network namespace of its own: the test runs
// itself there.
func TestDevicesTap(t *testing.T) {
	if testing.Short() {
		t.Skip("boots whole guests")
	}
	const inside = "DFEMU_TEST_NETNS"
	if os.Getenv(inside) == "" {
		if os.Geteuid() != 0 {
			t.Skip("making a network namespace needs root: run the tests as root")
		}
		need(t, "/dev/net/tun", "load the kernel module tun")
		unshare := need(t, "/usr/bin/unshare", "install util-linux")
		need(t, "/sbin/ip", installRemedy)
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(unshare, "--net", self, "-test.run=^TestDevicesTap$", "-test.v")
		c.Env = append(os.Environ(), inside+"=1")
		out, err := c.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	run(t, "/sbin/ip", "link", "set", "lo", "up")
	run(t, "/sbin/ip", "link", "add", "br0", "type", "bridge")
	run(t, "/sbin/ip", "link", "set", "br0", "up")
	end := func(n int, model string) network.Options {
		return nic(t, fmt.Sprintf("tap,model=%s,ifname=dft%d,bridge=br0,mac=52:54:00:00:00:%02d", model, n, n))
	}
	pair(t, end(1, "virtio"), end(2, "virtio"), nil)
}
