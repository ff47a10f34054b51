package tests

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dfemu/machine"
)

// kernelDisk is a disk that the guest kernel shall read.
type kernelDisk struct {
	kind, serial, file string
	sum                [md5.Size]byte
}

// kernelDisks makes a disk of each kind with contents of its own. The first sectors of some have a partition
// table.
func kernelDisks(t *testing.T) []kernelDisk {
	t.Helper()
	var out []kernelDisk
	for i, kind := range []string{"ahci", "nvme", "virtio"} {
		data := make([]byte, 2<<20)
		_, _ = rand.New(rand.NewSource(int64(i))).Read(data) // cannot fail
		clear(data[:512])
		data[510], data[511] = 0x55, 0xaa
		// Two slices; the second is outside the disk when the number is odd.
		for j, e := range [][2]uint32{{64, 1000}, {2048, 1000 + uint32(i%2)*10000}} {
			b := data[446+16*j:]
			b[4] = 0x6c
			binary.LittleEndian.PutUint32(b[8:], e[0])
			binary.LittleEndian.PutUint32(b[12:], e[1])
		}
		d := kernelDisk{kind, "SER" + kind, filepath.Join(t.TempDir(), kind), md5.Sum(data)}
		if err := os.WriteFile(d.file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// diskPeers are machines with disks of all kinds.
var diskPeers = map[string]func(t *testing.T, kernel, cmdline string, disks []kernelDisk) *output{
	"dfemu": func(t *testing.T, kernel, cmdline string, disks []kernelDisk) *output {
		var out output
		c := machine.Config{Accel: "jit", CPUs: 2, Memory: 256 << 20, Kernel: kernel, Cmdline: cmdline, Serial: [4]machine.Serial{{Out: &out}}}
		for _, d := range disks {
			c.Disks = append(c.Disks, machine.Disk{File: d.file, If: d.kind, Serial: d.serial})
		}
		if o := boot(t, c); o.Cause != machine.PoweredOff {
			t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
		}
		return &out
	},
	"qemu": func(t *testing.T, kernel, cmdline string, disks []kernelDisk) *output {
		path, err := exec.LookPath("qemu-system-x86_64")
		if err != nil {
			t.Skip("QEMU is not installed")
		}
		args := []string{"-M", "q35", "-accel", "tcg", "-m", "256", "-smp", "2", "-kernel", kernel, "-append", cmdline,
			"-display", "none", "-serial", "stdio", "-no-reboot"}
		device := map[string]string{"ahci": "ide-hd,bus=ide.1", "nvme": "nvme", "virtio": "virtio-blk-pci"}
		for _, d := range disks {
			args = append(args, "-drive", "if=none,format=raw,id="+d.kind+",file="+d.file, "-device", device[d.kind]+",drive="+d.kind+",serial="+d.serial)
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
		defer cancel()
		var out output
		c := exec.CommandContext(ctx, path, args...)
		c.Stdout, c.Stderr = &out, &out
		if err := c.Run(); err != nil {
			t.Errorf("QEMU: %v", err)
		}
		return &out
	},
}

// TestKernelDisks reads all disks' contents on AHCI, NVMe and virtio, writes to each, and finds in the host's file what
// was written.
func TestKernelDisks(t *testing.T) {
	kernel := kernelImage(t)
	for name, run := range diskPeers {
		t.Run(name, func(t *testing.T) {
			disks := kernelDisks(t)
			out := run(t, kernel, "dfly.selftest=disks dfly.run=md5;ls;writetest+da0s1+4K+256K+7;writetest+nvme0ns1s1+4K+256K+7;writetest+vbd0s1+4K+256K+7 dfly.poweroff", disks)
			out.expect(t, "ahci0: AHCI", "da0s1", "nvme0: <", "vbd0s1", "-> vbd0", "serno/SERahci -> da0", "serno/SERnvme-1 -> nvme0ns1", "serno/SERvirtio -> vbd0",
				"PASS disks", "nvme0ns1: slice 2, 11000 sectors at 2048, is outside the disk")
			written := map[string]bool{}
			for _, d := range disks {
				if want := fmt.Sprintf("%x serial %s", d.sum, d.serial); !bytes.Contains(out.Bytes(), []byte(want)) {
					t.Errorf("%s: the kernel has not read what is there: no %q", d.kind, want)
				}
				data, err := os.ReadFile(d.file)
				if err != nil {
					t.Fatal(err)
				}
				at := 64*512 + 4096
				written[string(data[at:at+256<<10])] = true
				if md5.Sum(data) == d.sum {
					t.Errorf("%s: nothing was written", d.kind)
				}
			}
			if len(written) != 1 {
				t.Errorf("what was written to the three disks differs")
			}
			if n := strings.Count(out.String(), "262144 bytes written, flushed, read and compared"); n != 3 {
				t.Errorf("%d of 3 write tests ended well", n)
			}
		})
	}
}

// TestKernelDebugger stops at a breakpoint, steps, looks around and goes on.
func TestKernelDebugger(t *testing.T) {
	kernel := kernelImage(t)
	var out output
	in := strings.Join([]string{"", "ddb", "ps", "show registers", "show cpus", "show ipiq", "show pci", "show msgport", "show ahci",
		"break main.mem", "x main.mem 16", "c", "mem", "trace", "s 3", "delete", "c", "poweroff", ""}, "\r")
	o := boot(t, machine.Config{
		Accel: "interp", CPUs: 2, Memory: 128 << 20, Kernel: kernel,
		Disks:  []machine.Disk{{File: kernelDisks(t)[0].file, If: "ahci"}},
		Serial: [4]machine.Serial{{In: strings.NewReader(in), Out: &out}},
	})
	if o.Cause != machine.PoweredOff {
		t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
	}
	out.expect(t, "stopped by the operator", "ddb> ", "ID CPU PRI", "rip 00007f80", "port devfs", "ahci0.0: GOOD", "main.mem+0x0", "breakpoint\r\n",
		"(*Shell).exec+0x", "pages: ")
}
