package tests

import (
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dfemu/kernel/subr/disk/exercise"
	"dfemu/machine"
)

// kernelFault is a fault, what is done under it, and what the console must have then.
type kernelFault struct {
	name, rule, do string
	want           []string
}

// What the kernel's commands say when all went well.
const (
	readsWell  = `MD5 \(`
	writesWell = `written, flushed, read and compared`
	readSome   = "md5 DISK 64K 64K"
	writeSome  = "writetest DISK 1M 64K 3"
)

// kernelFaults are the faults that all kinds of drives know. CTL is the drive's model in rules, UNIT its driver's unit, READ and WRITE are its commands.
var kernelFaults = []kernelFault{
	{"delay", "CTL,op=READ,times=1,delay=100ms", readSome, []string{readsWell, "!error", "!lost", "!reset"}},
	{"duplicate", "CTL,op=READ,duplicate,times=3", readSome, []string{readsWell}},
	{"lose-irq", "CTL,op=READ,times=1,lose-irq", readSome, []string{readsWell, "UNIT.*an interrupt.*was lost"}},
	{"extra-irq", "CTL,op=READ,extra-irq", "diskbench DISK 20", []string{"32 at a time", "!error"}},
	{"flip", "CTL,op=READ,flip=2,times=1", "writetest DISK 1M 64K 3", []string{"DISK: byte \\d+ is .* was written"}},
	{"flip-write", "CTL,op=WRITE,flip=2,times=1", "writetest DISK 1M 64K 3", []string{"DISK: byte \\d+ is .* was written"}},
}

// resetFaults are those after which drivers reset the drive and try again.
var resetFaults = []kernelFault{
	{"hang", "CTL,op=READ,times=1,hang", readSome, []string{readsWell, "UNIT.*not answered"}},
	{"hang-write", "CTL,op=WRITE,times=1,hang", writeSome, []string{writesWell, "UNIT.*not answered"}},
	{"drop", "CTL,op=READ,times=1,drop", readSome, []string{readsWell, "UNIT.*not answered"}},
	{"drop-write", "CTL,op=WRITE,times=1,drop", writeSome, []string{writesWell, "UNIT.*not answered"}},
}

// ahciFaults and nvmeFaults are those whose statuses or consequences are the drive's own.
var ahciFaults = []kernelFault{
	{"fail-once", "CTL,op=READ,times=1,fail", readSome, []string{readsWell, `ahci0\.0: error: .* task file 0x451`}},
	{"fail", "CTL,op=READ,lba=128,fail=0x40", readSome, []string{"!" + readsWell, `da0: read of 65536 bytes at 65536: medium error: error register 0x40`}},
	{"fail-range", "CTL,op=WRITE,lba=2048,fail=0x10", writeSome, []string{"!" + writesWell, "da0: write of 65536 bytes at 1048576: outside the device: error register 0x10"}},
	{"fail-fault", "CTL,op=WRITE,fail=0x6104", writeSome, []string{"!" + writesWell, "da0: write of .*: input/output error: error register 0x04"}},
	{"fail-flush", "CTL,op=flush*,fail", writeSome, []string{"!" + writesWell, "da0: flush of .*: input/output error"}},
	{"fail-lose-irq", "CTL,op=READ,times=1,fail,lose-irq", readSome, []string{readsWell, "ahci0.0: an interrupt was lost"}},
	{"short", "CTL,op=READ,times=1,short=512", "md5 DISK 64K 64K", []string{readsWell + "|da0: read"}},
	{"flip-table", "CTL,op=WRITE,times=1,flip-table,seed=3", writeSome, []string{writesWell + `|byte \d+ is|da0: write`}},
	{"no-memory", "CTL,op=READ,times=1,flip-table=39", readSome, []string{readsWell, `ahci0\.0: error`}},
	{"link-down", "CTL,op=WRITE,times=1,hang,link-down=200ms", writeSome, []string{writesWell, `ahci0\.0: `}},
}

var nvmeFaults = []kernelFault{
	{"fail-once", "CTL,op=READ,times=1,fail=0x281", readSome, []string{readsWell}},
	{"fail", "CTL,op=READ,lba=128,fail=0x281", readSome, []string{"!" + readsWell, `nvme0ns1: read of 65536 bytes at 65536: medium error: status type 2 code 0x81`}},
	{"fail-no-retry", "CTL,op=READ,lba=128,times=1,fail=0x4281", readSome, []string{"!" + readsWell, `nvme0ns1: read of .*: medium error`}},
	{"fail-write", "CTL,op=WRITE,lba=2048,fail=0x280", writeSome, []string{"!" + writesWell, `nvme0ns1: write of 65536 bytes at 1048576: medium error: status type 2 code 0x80`}},
	{"fail-generic", "CTL,op=WRITE,fail=0x6", writeSome, []string{"!" + writesWell, `nvme0ns1: write of .*: input/output error: status type 0 code 0x06`}},
	{"fail-flush", "CTL,op=flush,fail=0x6", writeSome, []string{"!" + writesWell, "nvme0ns1: flush of .*: input/output error"}},
	{"fail-abort", "CTL,op=READ,times=1,hang", "md5 DISK 64K 64K", []string{readsWell, "nvme0: .*: reset"}},
	{"short", "CTL,op=READ,times=1,short=512", "md5 DISK 64K 64K", []string{readsWell + "|nvme0ns1: read"}},
	{"flip-table", "CTL,op=WRITE,times=1,flip-table,seed=3", writeSome, []string{writesWell + `|byte \d+ is|nvme0ns1: write`}},
	{"no-memory", "CTL,op=READ,lba=128,flip-table=39", readSome, []string{"!" + readsWell, `nvme0ns1: read of .*: status type 0 code 0x04`}},
}

var virtioFaults = []kernelFault{
	{"fail-once", "CTL,op=READ,times=1,fail", readSome, []string{readsWell + "|vbd0: read of 65536 bytes at 65536: input/output error"}},
	{"fail", "CTL,op=READ,lba=128,fail", readSome, []string{"!" + readsWell, `vbd0: read of 65536 bytes at 65536: input/output error`}},
	{"fail-write", "CTL,op=WRITE,lba=2048,fail", writeSome, []string{"!" + writesWell, `vbd0: write of 65536 bytes at 1048576: input/output error`}},
	{"hang-always", "CTL,op=READ,lba=128,hang", readSome, []string{"!" + readsWell, "vtblk0.*not answered", "vbd0: read of 65536 bytes at 65536: the device does not answer"}},
	{"hang-flush", "CTL,op=flush,times=1,hang", writeSome, []string{writesWell, "vtblk0.*not answered"}},
	{"drop-flush", "CTL,op=flush,times=1,drop", writeSome, []string{writesWell, "vtblk0.*not answered"}},
	{"fail-unsupported", "CTL,op=WRITE,lba=2048,fail=2", writeSome, []string{"!" + writesWell, `vbd0: write of .*: the device does not do this`}},
	{"fail-flush", "CTL,op=flush,fail", writeSome, []string{"!" + writesWell, "vbd0: flush of .*: input/output error"}},
	{"short", "CTL,op=READ,times=1,short=512", "md5 DISK 64K 64K", []string{readsWell + "|vbd0: read"}},
	{"flip-table", "CTL,op=WRITE,times=1,flip-table,seed=3", writeSome, []string{writesWell + `|byte \d+ is|vbd0: write`}},
	{"no-memory", "CTL,op=READ,lba=128,flip-table=39", readSome, []string{"!" + readsWell, `vbd0: read of .*: input/output error`}},
}

// TestKernelFaults provokes the kernel's handling of errors, one fault after the other: each is survived, with the
// right error in the log, and the devices, which are strict, find nothing that the drivers do against
// the specifications.
func TestKernelFaults(t *testing.T) {
	t.Parallel() // it waits most of the time
	for _, kind := range []struct {
		name, slot, ctl, unit, disk, read, write string
		more                                     []kernelFault
	}{
		{"ahci", "", "ahci0", "ahci0", "da0", "read fpdma*", "write fpdma*", slices.Concat(resetFaults, ahciFaults)},
		{"nvme", ",slot", "nvme0", "nvme0", "nvme0ns1", "read", "write", slices.Concat(resetFaults, nvmeFaults)},
		{"virtio", ",slot", "virtio-blk0", "vtblk0", "vbd0", "in", "out", slices.Concat(resetFaults, virtioFaults)},
	} {
		t.Run(kind.name, func(t *testing.T) {
			g := startKernel(t, machine.Config{
				Cmdline: "dfly.disktimeout=600ms",
				Disks:   []machine.Disk{disk(t, "mem:4M,serial=FAULTY,if="+kind.name+kind.slot)},
			})
			words := replacer("CTL", kind.ctl, "UNIT", kind.unit, "DISK", kind.disk, "READ", kind.read, "WRITE", kind.write)
			g.expect(words("writetest DISK 0 2M 1"), writesWell)
			g.legal("boot, identify, read, write, flush")
			good := g.sum(kind.disk)
			for _, f := range slices.Concat(kernelFaults, kind.more) {
				start := time.Now()
				var want []string
				for _, w := range f.want {
					want = append(want, words(w))
				}
				// An interrupt of a command before, which is late, may make up for one that is lost.
				for try := 1; strings.Contains(f.name, "lose-irq") && try < 5; try++ {
					at := g.mark()
					g.under(words(f.rule), words(f.do), want[0])
					if g.comes(at, want[1]) {
						want = want[:1]
						break
					}
				}
				g.under(words(f.rule), words(f.do), want...)
				g.legal(f.name)
				// What was there before is there still, and what is written now comes back.
				if s := g.sum(kind.disk); s != good {
					t.Errorf("%s: the first 512 KiB have the checksum %s, before %s", f.name, s, good)
				}
				g.expect(words(fmt.Sprintf("writetest DISK 2M 256K %d", len(f.name))), writesWell)
				g.legal("after " + f.name)
				t.Logf("%s took %v", f.name, time.Since(start).Round(time.Millisecond))
			}
			g.under(words("CTL,op=READ,times=1,remove"), words(readSome), words("DISK: "), "!"+readsWell)
			g.until("ls serno", "^(?s:[^F]|F[^A])*$")
			g.legal("remove")
			g.powerOff()
		})
	}
}

// loadFaults come again and again while disks are loaded. CTL, READ and WRITE are as above.
var loadFaults = []string{
	"CTL,op=READ,p=0.01,seed=1,fail", "CTL,op=WRITE,p=0.01,seed=2,fail", "CTL,op=READ,p=0.005,seed=3,lose-irq", "CTL,op=WRITE,p=0.005,seed=4,lose-irq",
	"CTL,op=READ,p=0.02,seed=5,duplicate", "CTL,op=WRITE,p=0.1,times=3,seed=6,hold=2", "CTL,op=READ,p=0.1,times=3,seed=7,hold=3", "CTL,op=WRITE,p=0.02,seed=8,extra-irq",
	"CTL,op=READ,p=0.02,seed=9,delay=2ms", "CTL,op=WRITE,times=1,nth=100,hang", "CTL,op=READ,times=1,nth=100,drop", "CTL,op=WRITE,times=1,nth=200,drop",
}

// TestKernelFaultsUnderLoad disturbs disks on AHCI, NVMe and virtio while all of them are written and read, with checksums, by
// several threads: no write that was acknowledged is lost. Interrupts are messages, then pins.
func TestKernelFaultsUnderLoad(t *testing.T) {
	for name, how := range interrupts {
		t.Run(name, func(t *testing.T) { faultsUnderLoad(t, how) })
	}
}

func faultsUnderLoad(t *testing.T, interrupts string) {
	g := startKernel(t, machine.Config{
		Cmdline: "dfly.disktimeout=600ms " + interrupts,
		Disks:   []machine.Disk{{File: "mem:4M", If: "ahci", Serial: "A"}, {File: "mem:4M", If: "nvme", Serial: "N"}, {File: "mem:4M", If: "virtio", Serial: "V"}},
	})
	for _, d := range []string{"da0", "nvme0ns1", "vbd0"} {
		g.expect("diskload start "+d+" "+d+" 8 256", "!:")
	}
	g.settle(100 * time.Millisecond)
	g.legal("load without faults")
	for _, words := range []func(string) string{
		replacer("CTL", "ahci0", "READ", "read fpdma*", "WRITE", "write fpdma*"), replacer("CTL", "nvme0", "READ", "read", "WRITE", "write"),
		replacer("CTL", "virtio-blk0", "READ", "in", "WRITE", "out"),
	} {
		for _, f := range loadFaults {
			if err := g.ctl.AddFault(words(f)); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	for left := []string{""}; len(left) > 0 || time.Since(start) < time.Second; g.settle(50 * time.Millisecond) {
		left = nil
		rules, applied := g.ctl.Faults().List()
		for i, n := range applied {
			if n == 0 {
				left = append(left, rules[i])
			}
		}
		if time.Since(start) > guestLimit/2 {
			t.Fatalf("these faults have not happened: %q\n%s", left, g.out)
		}
	}
	g.ctl.Faults().Remove("")
	for _, d := range []string{"da0", "nvme0ns1", "vbd0"} {
		g.expect("diskload stop "+d, "load "+d+": [1-9].* reads, [1-9].* 0 blocks wrong")
		g.expect("writetest "+d+" 2M 1M 9", writesWell)
	}
	g.powerOff()
}

// TestKernelPowerLoss pulls the plug while disks with volatile write caches are written: what the kernel said
// was flushed is on them.
func TestKernelPowerLoss(t *testing.T) {
	for i, kind := range []struct{ name, disk string }{{"ahci", "da0"}, {"nvme", "nvme0ns1"}, {"virtio", "vbd0"}} {
		t.Run(kind.name, func(t *testing.T) {
			const blocks = 32
			file := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			g := startKernel(t, machine.Config{Disks: []machine.Disk{disk(t, fmt.Sprintf("%s,if=%s,cache=volatile,seed=%d", file, kind.name, i))}})
			if _, err := fmt.Fprintf(g.in, "journal %s %d\r", kind.disk, blocks); err != nil {
				t.Fatal(err)
			}
			g.await(0, ": 20 flushed")
			if err := g.ctl.PowerLoss(); err != nil {
				t.Fatal(err)
			}
			g.end()
			told := regexp.MustCompile(`: (\d+) flushed\r\n`).FindAllStringSubmatch(g.out.String(), -1)
			last, err := strconv.ParseUint(told[len(told)-1][1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			newer := 0
			for b := range int64(blocks) {
				for s := range exercise.BlockSize / exercise.SectorSize {
					n, err := exercise.Sector(data[b*exercise.BlockSize+int64(s)*exercise.SectorSize:][:exercise.SectorSize], b, s, 0)
					if err != nil {
						t.Errorf("flushed for the %d. time: %v", last, err)
					} else if n < last {
						t.Errorf("block %d sector %d was flushed for the %d. time, but has what was written for the %d.", b, s, last, n)
					} else if n > last {
						newer++
					}
				}
			}
			t.Logf("flushed %d times; %d of %d sectors are newer", last, newer, blocks*exercise.BlockSize/exercise.SectorSize)
			g.legal("power loss")
		})
	}
}

// TestKernelSilentDisks boots with drives that do not answer when they are asked what they are, with one that is slow and one that answers at the second
// attempt: a message names each, and the others are used.
func TestKernelSilentDisks(t *testing.T) {
	var disks []machine.Disk
	for i, kind := range []string{"ahci", "ahci", "ahci", "nvme", "nvme", "virtio"} {
		disks = append(disks, machine.Disk{File: "mem:1M", If: kind, Serial: fmt.Sprint("S", i)})
	}
	g := startKernel(t, machine.Config{Cmdline: "dfly.disktimeout=600ms", Disks: disks},
		"ahci0,queue=0,op=identify*,hang", "ahci0,queue=1,op=identify*,delay=150ms", "ahci0,queue=2,op=identify*,times=1,fail", "nvme0,admin=yes,op=identify,hang")
	boot := g.await(0, kernelPrompt)
	for _, want := range []string{"ahci0.0: identify: the device does not answer", "nvme0: not attached: identify: admin command 0x06: the device does not answer",
		"serial number S1", "serial number S2", "serial number S4-1", "serial number S5"} {
		if !strings.Contains(boot, want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	g.legal("drives that do not answer")
	g.ctl.Faults().Remove("")
	g.expect("ls serno", "S1 ->", "S2 ->", "S4-1 ->", "S5 ->", "!S0 ->", "!S3")
	for _, d := range []string{"S1", "S2", "S4-1", "S5"} {
		g.expect("writetest serno/"+d+" 0 256K", writesWell)
	}
	g.powerOff()
}

// TestKernelFaultsQEMU has QEMU's drives fail to read a sector, under load: the requests that touch it fail with the right error, and no others are lost.
func TestKernelFaultsQEMU(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("QEMU is not installed")
	}
	kernel := kernelImage(t)
	for _, d := range []struct{ name, device, disk, want string }{
		{"ahci", "ide-hd,bus=ide.0,rerror=report", "da0", "input/output error: error register 0x04"},
		{"nvme", "nvme,serial=Q", "nvme0ns1", "medium error: status type 2 code 0x81"},
		{"virtio", "virtio-blk-pci,rerror=report", "vbd0", "input/output error"},
	} {
		t.Run(d.name, func(t *testing.T) {
			data := make([]byte, 4<<20)
			for i := range data {
				data[i] = byte(i >> 9)
			}
			file := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			words := replacer("DISK", d.disk)
			ctx, cancel := context.WithTimeout(context.Background(), guestLimit)
			defer cancel()
			var out output
			c := exec.CommandContext(ctx, path, "-M", "q35", "-accel", "tcg", "-m", "256", "-smp", "2", "-kernel", kernel, "-display", "none", "-serial", "stdio", "-no-reboot",
				"-append", words("dfly.disktimeout=2s dfly.run=md5+DISK+2M+64K;diskload+start+x+DISK+4+64;md5+DISK+2M+64K;md5+DISK+3M+64K;diskload+stop+x dfly.poweroff"),
				"-blockdev", "driver=file,node-name=file,filename="+file,
				"-blockdev", `{"driver":"blkdebug","node-name":"bad","image":"file","inject-error":[{"event":"none","iotype":"read","sector":4098,"errno":5,"once":false}]}`,
				"-device", d.device+",drive=bad")
			c.Stdout, c.Stderr = &out, &out
			if err := c.Run(); err != nil {
				t.Errorf("QEMU: %v", err)
			}
			out.expect(t, words("md5: DISK: read of 65536 bytes at 2097152: "+d.want), words("MD5 (DISK) = ")+fmt.Sprintf("%x", md5.Sum(data[3<<20:][:64<<10])))
			if !regexp.MustCompile(`load x: .* [1-9][0-9]* writes, .* 0 errors, 0 blocks wrong`).Match(out.Bytes()) {
				t.Errorf("other requests have failed:\n%s", out.Bytes())
			}
		})
	}
}

// TestKernelDriverPanic has the handlers of drivers' interrupts use a nil pointer while their disks are loaded: that is a panic of their threads, the drivers are
// restarted, and the disks are there again: names, aliases and descriptors are those of before, and no request fails. Others are not disturbed. Interrupts are messages, then pins.
func TestKernelDriverPanic(t *testing.T) {
	for name, how := range interrupts {
		t.Run(name, func(t *testing.T) {
			g := startKernel(t, machine.Config{Cmdline: how, Disks: []machine.Disk{
				{File: "mem:4M", If: "ahci", Serial: "A"}, {File: "mem:4M", If: "nvme", Serial: "N"}, {File: "mem:4M", If: "virtio", Serial: "V"},
			}})
			units := []struct{ unit, disk, alias string }{{"ahci0", "da0", "serno/A"}, {"nvme0", "nvme0ns1", "serno/N-1"}, {"vtblk0", "vbd0", "serno/V"}}
			for i, u := range units {
				other := units[(i+1)%len(units)].disk
				g.expect("writetest "+u.disk+" 0 512K 1", writesWell)
				good := g.sum(u.disk)
				g.expect("hold h "+u.alias, "!:")
				g.expect("diskload start other "+other+" 2 64", "!:")
				g.expect("diskload start same "+u.alias+" 4 64", "!:")
				g.settle(100 * time.Millisecond)
				at := g.mark()
				g.expect("nil "+u.unit, "!no such")
				g.await(at, u.unit+": its driver is restarted")
				s := g.await(at, u.disk+": is back")
				for _, want := range []string{u.unit + ".*: panic: runtime error: invalid memory address or nil pointer dereference", `kern\.\(\*Interrupt\)\.call`, u.unit + ": its driver has failed"} {
					if !regexp.MustCompile(want).MatchString(s) {
						t.Errorf("%s: want %q in:\n%s", u.unit, want, s)
					}
				}
				g.expect("ls serno", u.alias+" -> "+u.disk+"\n")
				g.expect("diskload stop same", "load same: .* [1-9][0-9]* writes.* 0 errors, 0 blocks wrong", "!gone")
				g.expect("diskload stop other", "load other: .* [1-9][0-9]* writes.* 0 errors, 0 blocks wrong")
				g.expect("hold h", "held h, "+u.disk+": read: <nil>, write: <nil>, flush: <nil>")
				if s := g.since(at); strings.Contains(s, "removed") || strings.Contains(s, "already") {
					t.Errorf("%s was said to have gone:\n%s", u.disk, s)
				}
				g.expect("writetest "+u.disk+" 0 512K 1", writesWell)
				if s := g.sum(u.disk); s != good {
					t.Errorf("%s: the checksum is %s, before %s", u.disk, s, good)
				}
				g.expect("writetest "+u.alias+" 1M 1M 3", writesWell)
				g.legal(u.unit + " is restarted")
			}
			g.powerOff()
		})
	}
}
