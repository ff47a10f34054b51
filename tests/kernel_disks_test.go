package tests

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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
		return qemuDisks(t, path, kernel, cmdline, disks, "ide.1", "-M", "q35")
	},
}

// qemuDisks runs the kernel on QEMU, with the SATA disk on a bus, and returns the console.
func qemuDisks(t *testing.T, path, kernel, cmdline string, disks []kernelDisk, bus string, machine ...string) *output {
	args := append(machine, "-accel", "tcg", "-m", "256", "-smp", "2", "-kernel", kernel, "-append", cmdline, "-display", "none", "-serial", "stdio", "-no-reboot")
	device := map[string]string{"ahci": "ide-hd,bus=" + bus, "nvme": "nvme", "virtio": "virtio-blk-pci"}
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

// TestKernelPC reads and loads disks of all kinds on a machine of 1996: configuration space is behind ports, and where pins lead is what firmware has noted.
func TestKernelPC(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("QEMU is not installed")
	}
	kernel := kernelImage(t)
	for name, how := range interrupts {
		t.Run(name, func(t *testing.T) {
			disks := kernelDisks(t)
			out := qemuDisks(t, path, kernel, how+" dfly.run=md5;diskload+start+a+da0+4+64;diskload+start+n+nvme0ns1+4+64;diskload+start+v+vbd0+4+64;diskbench+vbd0+300;"+
				"diskload+stop+a;diskload+stop+n;diskload+stop+v;pciconf dfly.poweroff", disks, "hba.0", "-M", "pc", "-device", "ahci,id=hba")
			for _, d := range disks {
				if want := fmt.Sprintf("%x serial %s", d.sum, d.serial); !strings.Contains(out.String(), want) {
					t.Errorf("%s: the kernel has not read what is there: no %q", d.kind, want)
				}
			}
			if n := strings.Count(out.String(), "0 errors, 0 blocks wrong"); n != 3 {
				t.Errorf("%d of 3 loads ended well", n)
			}
			if n := strings.Count(out.String(), "interrupts: irq "); how != "" && n != 3 || how == "" && n != 0 {
				t.Errorf("%d functions use their pins", n)
			}
			for _, p := range []string{"interrupt storm", "interrupt was lost", "not attached"} {
				if strings.Contains(out.String(), p) {
					t.Errorf("the kernel says %q", p)
				}
			}
			if t.Failed() {
				t.Logf("console:\n%s", out.Bytes())
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

// bootRecord makes a sector a boot record of slices {type, start, count}.
func bootRecord(sector []byte, slices ...[3]uint32) {
	sector[510], sector[511] = 0x55, 0xaa
	for i, s := range slices {
		b := sector[446+16*i:]
		b[4] = byte(s[0])
		binary.LittleEndian.PutUint32(b[8:], s[1])
		binary.LittleEndian.PutUint32(b[12:], s[2])
	}
}

// gptTable makes a disk one with a GPT of entries {first, last}, and its backup.
func gptTable(disk []byte, entries ...[2]uint64) {
	le := binary.LittleEndian
	last := uint64(len(disk)/512 - 1)
	bootRecord(disk, [3]uint32{0xee, 1, uint32(last)})
	for _, at := range [][2]uint64{{1, 2}, {last, last - 32}} {
		table := disk[at[1]*512:][:128*128]
		for i, e := range entries {
			b := table[128*i:]
			b[0], b[16] = 1, byte(i+1)
			le.PutUint64(b[32:], e[0])
			le.PutUint64(b[40:], e[1])
		}
		h := disk[at[0]*512:][:512]
		copy(h, "EFI PART")
		le.PutUint32(h[12:], 92)
		le.PutUint64(h[24:], at[0])
		le.PutUint64(h[40:], 34)
		le.PutUint64(h[48:], last-33)
		le.PutUint64(h[72:], at[1])
		le.PutUint32(h[80:], 128)
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(table))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	}
}

// label64 makes a disk one with a disklabel64 of partitions {offset, size} in bytes.
func label64(disk []byte, parts ...[2]uint64) {
	le := binary.LittleEndian
	le.PutUint32(disk[512:], 0xc4464c59)
	le.PutUint32(disk[524:], 16)
	for i, p := range parts {
		le.PutUint64(disk[712+64*i:], p[0])
		le.PutUint64(disk[720+64*i:], p[1])
	}
	le.PutUint32(disk[516:], crc32.ChecksumIEEE(disk[512:712+16*64]))
}

// TestKernelDamagedDisks boots with disks whose tables are damaged in many ways: a message names each, and the kernel goes on
// to use what is sound of them.
func TestKernelDamagedDisks(t *testing.T) {
	kernel := kernelImage(t)
	var out output
	c := machine.Config{
		Accel: "jit", CPUs: 2, Memory: 256 << 20, Kernel: kernel, Serial: [4]machine.Serial{{Out: &out}},
		Cmdline: "dfly.selftest=disks dfly.run=md5 dfly.poweroff",
	}
	var sums, want []string
	for _, d := range []struct {
		kind   string
		damage func(b []byte)
		want   []string
	}{
		{"ahci", func(b []byte) {
			bootRecord(b, [3]uint32{0x0f, 100, 500}, [3]uint32{0x6c, 700, 100})
			bootRecord(b[100*512:], [3]uint32{0x6c, 1, 20}, [3]uint32{5, 100, 100})
			copy(b[200*512:], b[100*512:101*512])
		}, []string{"da0: the chain of logical slices comes back to sector 200", "da0: MBR: da0s2 da0s5 da0s6"}},
		{"ahci", func(b []byte) { gptTable(b, [2]uint64{40, 100}); b[512+60]++ },
			[]string{"da1: the first GPT header has a wrong checksum", "da1: GPT: da1s0"}},
		{"ahci", func(b []byte) { label64(b, [2]uint64{4096, 8192}); b[720]++ }, []string{"da2: slice 0: the label has a wrong checksum"}},
		{"ahci", func(b []byte) {
			label64(b, [2]uint64{4096, 8192}, [2]uint64{1 << 19, 1 << 20}, [2]uint64{1<<64 - 512, 1024})
		},
			[]string{"da3: slice 0: partition b, 1048576 bytes at 524288, does not fit", "da3: slice 0: partition c", "da3: disklabel64: da3a"}},
		{"nvme", func(b []byte) { gptTable(b, [2]uint64{40, 100}); b[512+60]++; b[len(b)-512+60]++ },
			[]string{"nvme0ns1: the first GPT header has a wrong checksum", "nvme0ns1: the backup GPT header has a wrong checksum"}},
		{"nvme", func(b []byte) {
			gptTable(b, [2]uint64{40, 100}, [2]uint64{90, 120}, [2]uint64{200, 1 << 40}, [2]uint64{300, 200}, [2]uint64{400, 500})
		},
			[]string{"nvme1ns1: GPT entry 1, sectors 90 to 120, overlaps another", "nvme1ns1: GPT entry 2, sectors 200 to 1099511627776, is outside",
				"nvme1ns1: GPT entry 3", "nvme1ns1: GPT: nvme1ns1s0 nvme1ns1s4"}},
		{"virtio", func(b []byte) {
			bootRecord(b, [3]uint32{0x6c, 100, 200}, [3]uint32{0x83, 250, 100}, [3]uint32{0x83, 1000, 1 << 31})
		},
			[]string{"vbd0: slice 2, sectors 250 to 349, overlaps another", "vbd0: slice 3, 2147483648 sectors at 1000, is outside", "vbd0: MBR: vbd0s1"}},
	} {
		data := make([]byte, 1<<20)
		d.damage(data)
		file := filepath.Join(t.TempDir(), d.kind)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Disks = append(c.Disks, machine.Disk{File: file, If: d.kind, Serial: fmt.Sprint("BAD", len(c.Disks))})
		sums = append(sums, fmt.Sprintf("%x serial BAD%d", md5.Sum(data), len(sums)))
		want = append(want, d.want...)
	}
	if o := boot(t, c); o.Cause != machine.PoweredOff {
		t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
	}
	out.expect(t, append(append(want, sums...), "PASS disks")...)
}

// TestKernelMounts mounts devices once more, as for a jail: rules hide what is not for it, also what comes later, and aliases with their devices.
func TestKernelMounts(t *testing.T) {
	g := startKernel(t, machine.Config{Disks: []machine.Disk{{File: "mem:1M", If: "ahci", Serial: "FIRST"}}})
	g.expect("mount /jail/dev jail", "!:")
	g.expect("mount", "devfs on /dev\ndevfs on /jail/dev \\(jail\\)\n")
	g.expect("ls /jail/dev", " null\n", " da0\n", "serno/FIRST -> da0\n")
	g.expect("rule jail hide", "!:")
	g.expect("rule on /jail/dev show null", "!:")
	if _, err := g.ctl.PlugDisk(disk(t, "mem:1M,if=ahci,serial=SECOND")); err != nil {
		t.Fatal(err)
	}
	g.until("ls /dev/serno", "serno/SECOND -> da1\n")
	g.expect("ls /jail/dev", " null\n", "!zero", "!da0", "!da1", "!serno/")
	g.expect("ls", " zero\n", " da0\n", " da1\n")
	g.expect("rule clear", "!:")
	g.expect("ls /jail/dev", " zero\n", "serno/SECOND -> da1\n")
	g.expect("umount /jail/dev", "!:")
	g.expect("mount", "!jail")
	g.expect("selftest devfs", "1 of 1 passed")
	g.powerOff()
}
