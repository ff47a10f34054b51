package tests

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dfemu/devices/network"
	"dfemu/devices/pci"
	"dfemu/devices/virtio/rng"
	"dfemu/devices/watch"
	"dfemu/images"
	"dfemu/machine"
	"dfemu/perf"
)

// strictScript exercises all kinds of devices.
const strictScript = `
waitfor test -b /dev/vda; waitfor test -b /dev/sda; waitfor test -b /dev/nvme0n1
for d in vda sda nvme0n1; do
	verify /dev/$d 512k >/dev/null
	blkdiscard -o 0 -l 65536 /dev/$d 2>/dev/null
done
for i in 0 1; do ip link set eth$i up; ip addr add 10.0.2.1$i/24 dev eth$i; done
ping -c 2 -W 1 10.0.2.2 >/dev/null
check alive true
`

// linuxBreaches are what drivers of Linux 6.1 do against the specifications.
var linuxBreaches = []string{
	"AHCI 1.3.1, 10.3.1: PxCMD.ST set without a device",                      // ports without drives are started too
	"82574 datasheet, 10.2.5.1: the receiver is enabled without a ring",      // as part of flushing the descriptor rings
	"82574 datasheet, 10.2.5.9: RDH[0] is written while the unit is enabled", //
	"82574 datasheet, 10.2.1: read of 4 bytes at 0xfc",                       // a register of other adapters
	"82574 datasheet, 10.2: access to offset 0xfc",                           //
}

// TestStrictLinux lets the devices judge Linux's drivers. They find what is known, and nothing else: neither where commands are taken nor
// at the doorbells.
func TestStrictLinux(t *testing.T) {
	for _, name := range []string{"when taken", "at once"} {
		t.Run(name, func(t *testing.T) {
			g := guest{script: strictScript, programs: []string{"fio", "ip"}, Config: machine.Config{
				Disks: []machine.Disk{disk(t, "mem:4M,if=virtio"), disk(t, "mem:4M,if=ahci"), disk(t, "mem:4M,if=nvme")},
				NICs:  []network.Options{nic(t, "user"), nic(t, "hub,model=e1000e")},
			}}
			c, screen := g.config(t)
			strict := &watch.Strict{Report: func(e *watch.Event) {
				s := e.Clause + ": " + e.Name
				if !slices.ContainsFunc(linuxBreaches, func(known string) bool { return strings.HasPrefix(s, known) }) {
					t.Errorf("%s: %s", e.Device, s)
				}
			}}
			if name == "at once" {
				strict.Stop = func(*watch.Event) {}
			}
			c.Watch = &machine.Watch{Strict: strict}
			start(t, c, screen)()
			g.judge(t, screen.String())
			if strict.Count() == 0 {
				t.Error("nothing was found: is anybody looking?")
			}
		})
	}
}

// TestStrictStop has a guest misuse a capability of PCI configuration space, and looks at where the machine halts.
func TestStrictStop(t *testing.T) {
	f := rng.New(rng.Options{Name: "virtio-rng0"}).Function()
	window := 0
	for off := int(f.Config(pci.RegCapPtr, 1)); off != 0; off = int(f.Config(off+1, 1)) {
		if f.Config(off, 1) == pci.CapVendor && f.Config(off+3, 1) == 5 {
			window = off
		}
	}
	g := guest{
		script: assign("at", window) + `
f=/sys/bus/pci/devices/0000:00:01.0/config
printf '\004' | dd of=$f bs=1 seek=$((at+4)) conv=notrunc 2>/dev/null
printf '\003\000\000\000' | dd of=$f bs=4 seek=$(((at+12)/4)) conv=notrunc 2>/dev/null
echo BEFORE
dd if=$f bs=4 skip=$(((at+16)/4)) count=1 of=/dev/null 2>/dev/null
echo AFTER
`,
		Config: machine.Config{Cmdline: "nokaslr", CPUs: 2},
	}
	text, report := halts(t, g, "virtio-rng0: cap.length 3")
	if !strings.Contains(text, "BEFORE") || strings.Contains(text, "AFTER") {
		t.Errorf("the guest has not halted where it should:\n%s", text)
	}
	inOrder(t, report,
		`^dfemu: halted at \d+\.\d+ s by virtio-rng0: cap\.length 3: must be 1, 2 or 4 \[virtio 1\.2, 4\.1\.4\.9\]`,
		`^cpu\d, which accessed the device at 0xffffffff[0-9a-f]+ pci_conf1_read\+0x`,
		`^  RIP=ffffffff[0-9a-f]{8} pci_conf1_read\+0x`,
		`RAX=[0-9a-f]{16}`, `CR3=[0-9a-f]+`,
		`^registers of virtio-rng0`,
		`^  device_status = 0x\w+  \{ACKNOWLEDGE`,
		`^  num_queues = 0x1`)
	if t.Failed() {
		t.Logf("report:\n%s", report)
	}
}

// halts runs a guest with strict devices that halt the machine, and checks that one does so, with a reason. It returns what the guest
// printed and the report.
func halts(t *testing.T, g guest, reason string) (text, report string) {
	t.Helper()
	c, screen := g.config(t)
	symbols, err := perf.Open(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	c.Watch = &machine.Watch{Strict: &watch.Strict{}, Symbol: symbols.Name, Stopped: func(s string) { report = s }}
	m, err := machine.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	o, err := m.Run(ctx)
	if err != nil || o.Cause != machine.Breach || !strings.Contains(o.Detail, reason) {
		t.Errorf("ended with %v %s, %v", o.Cause, o.Detail, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	return screen.String(), report
}

// TestStrictStopVirtio has a driver make a request available that breaks a rule: the processor halts where it notifies the device.
func TestStrictStopVirtio(t *testing.T) {
	g := guest{
		script: `
waitfor test -b /dev/sda
sg_raw -s 0 /dev/sda 00 00 00 00 00 00
echo BEFORE
sg_raw /dev/sda 00 00 00 07 00 00
echo AFTER
`,
		programs: []string{"sg_raw"}, drivers: []string{"virtio_scsi"},
		Config: machine.Config{Cmdline: "nokaslr", CPUs: 2, Disks: []machine.Disk{disk(t, "mem:4M,if=scsi")}},
	}
	text, report := halts(t, g, "virtio-scsi0: TEST UNIT READY: bits 0x7 of byte 3")
	if !strings.Contains(text, "BEFORE") || strings.Contains(text, "AFTER") {
		t.Errorf("the guest has not halted where it should:\n%s", text)
	}
	inOrder(t, report,
		`^dfemu: halted at \d+\.\d+ s by virtio-scsi0: TEST UNIT READY: bits 0x7 of byte 3 .* \[SPC-4, TEST UNIT READY\]`,
		`^cpu\d, which accessed the device at 0xffffffff[0-9a-f]+ iowrite16\+0x`,
		`^  RIP=ffffffff[0-9a-f]{8} iowrite16\+0x`,
		`^registers of virtio-scsi0`,
		`^queue [23] of virtio-scsi0`)
	if t.Failed() {
		t.Logf("report:\n%s", report)
	}
}

// TestStrictVirtio has Linux use virtio devices that would halt the machine for any breach, at its notification: there is none.
// (There is one in that of the balloon: see TestStrictBalloon.)
func TestStrictVirtio(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "v")
	serveUnix(t, path+"_5000", func(c net.Conn) { _, _ = io.Copy(c, c) })
	g := guest{
		script: `
waitfor test -b /dev/vda -a -b /dev/vdb -a -b /dev/sda
check split verify /dev/vda 1M
check packed verify /dev/vdb 1M
check scsi verify /dev/sda 1M
check discard blkdiscard -o 0 -l 65536 /dev/vda
check discard-packed blkdiscard -o 0 -l 65536 /dev/vdb
check unmap blkdiscard -o 0 -l 65536 /dev/sda
check inquiry sg_inq /dev/sda
check opcodes sg_opcodes /dev/sda
check luns sg_luns /dev/sda
mkdir /work
check mount mount -t 9p -o trans=virtio,version=9p2000.L,msize=65536 work /work
check share verify /work/file 1M
check folders eval "mkdir -p /work/a/b; touch /work/a/b/c; mv /work/a /work/d; ls -lR /work; rm -r /work/d"
check umount umount /work
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
check ping ping -c 3 -W 5 10.0.2.2
check sockets waitfor test -e /dev/vsock
dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>/dev/null
check echo same "$(vsockcat connect 2 5000 </tmp/data | sum)" "$(sum </tmp/data)"
check refused has "reset|refused" vsockcat connect 2 5999
i=0; while [ $i -lt 20 ]; do echo $i | vsockcat connect 2 5000 >/tmp/e$i & i=$((i+1)); done; wait
check many same "$(cat /tmp/e? /tmp/e1? | sort -n | wc -l)" 20
`,
		programs: []string{"fio", "ip", "sg_inq", "sg_opcodes", "sg_luns"},
		drivers: []string{"virtio_scsi", "9p", "9pnet", "9pnet_virtio", "netfs", "fscache",
			"vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"},
		files: []images.File{guestProgram(t, "vsockcat")},
		Config: machine.Config{
			Vsock:  &machine.Vsock{CID: 42, Path: path},
			Memory: 512 << 20, CPUs: 2, Shares: []machine.Share{{Dir: dir, Tag: "work"}}, NICs: []network.Options{nic(t, "user")},
			Disks: []machine.Disk{disk(t, "mem:4M,if=virtio"), disk(t, "mem:4M,if=virtio,packed"), disk(t, "mem:4M,if=scsi")},
		},
	}
	c, screen := g.config(t)
	c.Watch = &machine.Watch{Strict: &watch.Strict{}, Stopped: func(s string) { t.Errorf("the machine halts:\n%s", s) }}
	start(t, c, screen)()
	g.judge(t, screen.String())
}

// TestStrictBalloon has Linux use a balloon that judges each request at its notification. Its driver tells of its buffer for statistics
// before DRIVER_OK, and does nothing else that is wrong.
func TestStrictBalloon(t *testing.T) {
	const ram, taken = 512 << 20, 64 << 20
	strict := &watch.Strict{
		Report: func(e *watch.Event) {
			if s := e.Clause + ": " + e.Name; s != "virtio 1.2, 3.1.1: the queue is notified before DRIVER_OK" {
				t.Errorf("%s: %s", e.Device, s)
			}
		},
		Stop: func(*watch.Event) {}, // so that all is judged promptly
	}
	g := guest{
		script: `
pages() { awk "/^balloon_$1/ {print \$2}" /proc/vmstat; }
check driver test -e /sys/bus/virtio/drivers/virtio_balloon
check in waitfor eval '[ $(pages inflate) -ge 16384 ]'
check out waitfor eval '[ $(pages deflate) -ge 16384 ]'
dd if=/dev/zero of=/tmp/big bs=1M count=200 2>/dev/null; rm /tmp/big
check in-again waitfor eval '[ $(pages inflate) -ge 32768 ]'
check out-again waitfor eval '[ $(pages deflate) -ge 32768 ]'
`,
		drivers: []string{"virtio_balloon"}, Config: machine.Config{Memory: ram, Balloon: true},
	}
	config, screen := g.config(t)
	config.Watch = &machine.Watch{Strict: strict}
	m, wait := startControlled(t, config, screen)
	for i := range 4 {
		size := uint64(ram - taken)
		if i%2 != 0 {
			size = ram
		}
		if err := m.Control().Balloon(size); err != nil {
			t.Fatal(err)
		}
		got := uint64(0)
		for range 1200 {
			var err error
			if got, err = m.Control().BalloonSize(); err != nil {
				t.Fatal(err)
			}
			if got == size {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got != size {
			t.Fatalf("the guest has %d bytes, want %d", got, size)
		}
		if _, err := m.Control().BalloonStats(); err != nil {
			t.Error(err)
		}
	}
	wait()
	g.judge(t, screen.String())
	if strict.Count() == 0 {
		t.Error("nothing was found: is anybody looking?")
	}
}
