package bench

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

// fakeDevices stands for a monitor whose guest measures devices: the monitor with NVMe and AHCI disks, QEMU with NVMe alone.
const fakeDevices = `#!/bin/sh
case "$*" in
*--version*) echo "QEMU emulator version 1.2.3"; exit;;
*--disk=*nvme,if=nvme,format=raw,cache=none*--disk=*) exit 9;;
*--disk=*ahci,if=ahci,format=raw,cache=none*--disk=*nvme,if=nvme*bench=disk:nvme,ahci*) exit 9;;
*bench=disk:nvme,ahci*--disk=*ahci,if=ahci,format=raw,cache=none*--disk=*nvme,if=nvme*) ns=10000;;
*bench=disk:nvme,ahci*file=*ahci,format=raw,cache=none*ide-hd*file=*nvme,*nvme,drive=nvme*) ns=20000;;
*bench=net:*,2,4*--nic=user,net=10.9.2.0/24,queues=1,model=virtio,mac=52:54:00:00:00:02*--nic=user,net=10.9.4.0/24*) ns=1000;;
*) echo "unexpected: $*" >&2; exit 8;;
esac
echo "dfemu-bench: init"
echo "dfemu-bench: result nvme/randread-1 $ns 7"
echo "dfemu-bench: result nvme/read ${ns}0 7"
echo "dfemu-bench: result nic2/out ${ns}000 7"
echo "dfemu-bench: still nvme/read 61"
echo "dfemu-bench: fail ahci no such drive"
echo "dfemu-bench: done"
`

func TestDisks(t *testing.T) {
	dir := t.TempDir()
	c := fakeRun(t, fakeDevices, rowDisk)
	c.QEMU, c.Devices = c.Self, Devices{Disks: []string{"nvme", "ahci"}, Cache: "none", Dir: dir}
	rep, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Failures) != 2 || !strings.Contains(rep.Failures[0], "ahci no such drive") {
		t.Errorf("failures %q, want one of each subject", rep.Failures)
	}
	wantTable(t, rep,
		"disks, rates, 1 CPU interp qemu-tcg interp/qemu-tcg",
		"NVMe 4 KiB random read, depth 1, IOPS 100000 50000 2.00",
		"remark: qemu-tcg: nvme/read took 61 s",
		"NVMe 1 MiB sequential read, depth 4, MiB/s 10000 5000 2.00")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestNetworks measures NICs that need no tap interface.
func TestNetworks(t *testing.T) {
	c := fakeRun(t, fakeDevices, rowNet)
	c.Devices.NICs = []string{"virtio-user", "e1000e-user"}
	rep, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	// 1 MiB in a millisecond.
	if len(rep.Results) != 1 || rep.Results[0].Quantity != "virtio-net, user, out" || int(rep.Results[0].Median) != 8388 {
		t.Errorf("results %+v, failures %q", rep.Results, rep.Failures)
	}
}

func TestCheckDevices(t *testing.T) {
	for name, c := range map[string]Config{
		"no device": {Rows: []string{rowDisk}},
		"floppy":    {Rows: []string{rowDisk}, Devices: Devices{Disks: []string{"floppy"}, Cache: "none"}},
		"cache":     {Rows: []string{rowDisk}, Devices: Devices{Disks: []string{"nvme"}, Cache: "later"}},
		"token":     {Rows: []string{rowNet}, Devices: Devices{NICs: []string{"token"}}},
	} {
		if err := c.checkDevices(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if slices.Contains(Rows(), rowDisk) {
		t.Error("disks are measured without being asked for")
	}
}

// TestPeer moves data both ways over a connection, and closes with one open.
func TestPeer(t *testing.T) {
	p, err := newPeer()
	if err != nil {
		t.Skip(err)
	}
	dial := func(direction byte, n uint64) net.Conn {
		c, err := net.Dial("tcp4", p.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(binary.LittleEndian.AppendUint64([]byte{direction}, n)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	const size = 300_001
	in := dial('i', size)
	defer in.Close()
	if n, err := io.Copy(io.Discard, in); n != size || err != nil {
		t.Errorf("%d bytes in, %v, want %d", n, err, size)
	}
	out := dial('o', size)
	defer out.Close()
	if _, err := out.Write(make([]byte, size)); err != nil {
		t.Error(err)
	}
	if answer, err := io.ReadAll(out); len(answer) != 1 || err != nil {
		t.Errorf("answer %x, %v, want one byte", answer, err)
	}
	wrong := dial('x', 1)
	defer wrong.Close()
	if n, err := io.Copy(io.Discard, wrong); n != 0 {
		t.Errorf("%d bytes for a direction that there is not, %v", n, err)
	}
	open := dial('o', size)
	defer open.Close()
	p.close()
}
