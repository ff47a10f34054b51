package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dfemu/machine"
)

// plug puts the disk with the serial number HOT-1 somewhere and returns the name of the device there; the alias must lead
// to the node want, which may be a pattern.
func (g *kernelGuest) plug(spec, want string) string {
	g.t.Helper()
	name, err := g.ctl.PlugDisk(disk(g.t, spec))
	if err != nil {
		g.t.Fatal(err)
	}
	g.until("ls serno", `serno/HOT-1 -> `+want+"\n")
	return name
}

// until repeats a command until its output matches a pattern.
func (g *kernelGuest) until(command, pattern string) {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	s := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); g.settle(20 * time.Millisecond) {
		if s = g.sh("%s", command); re.MatchString(s) {
			return
		}
	}
	g.t.Fatalf("%s: want %q in:\n%s\nconsole:\n%s", command, pattern, s, g.out)
}

// TestKernelHotPlug has a disk go from port to port and from AHCI to NVMe while it is written and read. Its alias follows
// it; descriptors of where it was say that the device is gone; new ones work; another disk is not disturbed. Interrupts are messages, then pins.
func TestKernelHotPlug(t *testing.T) {
	for name, how := range interrupts {
		t.Run(name, func(t *testing.T) { hotPlug(t, how) })
	}
}

func hotPlug(t *testing.T, interrupts string) {
	file := filepath.Join(t.TempDir(), "hot")
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startKernel(t, machine.Config{Cmdline: interrupts, Disks: []machine.Disk{{File: "mem:4M", If: "ahci", Serial: "STAYS"}}})
	g.expect("diskload start stays da0 2 64", "!:")
	written := ""
	for i, step := range []struct {
		spec, node string
		polite     bool
	}{
		{"if=ahci,serial=HOT-1", "da1", false},
		{"if=ahci,serial=HOT-1", "da1", false}, // the same port again
		{"if=ahci,serial=HOT-1", "da2", false}, // another one: see below
		{"if=nvme,serial=HOT", "nvme0ns1", false},
		{"if=nvme,serial=HOT", "nvme0ns1", true},
		{"if=ahci,serial=HOT-1", "da2", false},
		{"if=nvme,serial=HOT", "nvme0ns1", false},
	} {
		what := fmt.Sprintf("step %d, %s", i, step.spec)
		if i == 2 { // the first free port is taken
			if _, err := g.ctl.PlugDisk(disk(t, "mem:1M,if=ahci,serial=BESIDE")); err != nil {
				t.Fatal(err)
			}
			g.until("ls serno", "serno/BESIDE -> da1\n")
		}
		name := g.plug(file+","+step.spec, step.node)
		if i > 0 {
			// What was written last time, wherever that was, is there.
			if s := md5Sum.FindStringSubmatch(g.sh("md5 serno/HOT-1 1M 1M")); s == nil || s[1] != written {
				t.Errorf("%s: it has the checksum %q, want %s", what, s, written)
			}
		}
		g.expect(fmt.Sprintf("writetest serno/HOT-1 1M 1M %d", i), writesWell)
		if s := md5Sum.FindStringSubmatch(g.sh("md5 serno/HOT-1 1M 1M")); s != nil {
			written = s[1]
		}
		g.expect("hold h serno/HOT-1", "!:")
		g.expect("diskload start hot serno/HOT-1 4 64", "!:")
		g.settle(100 * time.Millisecond)
		g.legal(what)
		if err := g.ctl.Unplug(name, !step.polite); err != nil {
			t.Fatal(err)
		}
		g.expect("diskload wait hot", "load hot: .* [1-9][0-9]* writes.* 0 blocks wrong, gone")
		g.until("ls serno", "^(?s:[^H]|H[^O])*$")
		g.expect("hold h", "held h, "+step.node+": read: the device is gone, write: the device is gone, flush: the device is gone")
		g.legal(what + ", taken away")
		if step.polite {
			for i := 0; !gone(g.ctl, name); i++ {
				if i > 100 {
					t.Fatalf("%s is still in the machine", name)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
	g.expect("diskload stop stays", "load stays: [1-9].* 0 errors, 0 blocks wrong")
	g.powerOff()
}

// TestKernelHotPlugHasty takes drives away while they are being attached: whatever the drivers are at, they let go, and the next drive is taken in.
func TestKernelHotPlugHasty(t *testing.T) {
	for _, kind := range []string{"ahci", "nvme"} {
		t.Run(kind, func(t *testing.T) {
			g := startKernel(t, machine.Config{Cmdline: "dfly.disktimeout=2s", Disks: []machine.Disk{{File: "mem:4M", If: "ahci", Serial: "STAYS"}}})
			g.expect("diskload start stays da0 2 64", "!:")
			for i := range 16 {
				name, err := g.ctl.PlugDisk(disk(t, "mem:1M,serial=HASTY,if="+kind))
				if err != nil {
					t.Fatal(err)
				}
				// AHCI's probe takes some milliseconds; a slot waits a tenth of a second before it looks.
				g.settle(time.Duration(i*i) * time.Millisecond)
				if err := g.ctl.Unplug(name, true); err != nil {
					t.Fatal(err)
				}
			}
			// A slot's button, which is pressed as a card is put in, means that the card is to leave if one is known to be there: the last must be forgotten.
			g.settle(300 * time.Millisecond)
			g.until("pciconf", "^(?s:[^n]|n[^v])*$")
			if _, err := g.ctl.PlugDisk(disk(t, "mem:4M,serial=LAST,if="+kind)); err != nil {
				t.Fatal(err)
			}
			g.until("ls serno", "serno/LAST(-1)? -> ")
			g.until("ls serno", "^(?s:[^H]|H[^A])*$")
			g.expect("writetest "+map[string]string{"ahci": "serno/LAST", "nvme": "serno/LAST-1"}[kind]+" 0 1M 1", writesWell)
			g.expect("diskload stop stays", "load stays: [1-9].* 0 errors, 0 blocks wrong")
			g.powerOff()
		})
	}
}

// TestKernelLink takes the cable of a loaded drive away for a short time, again and again: its unit, its alias and open descriptors stay, and no request fails.
// Then for longer: the drive is gone, and comes again.
func TestKernelLink(t *testing.T) {
	g := startKernel(t, machine.Config{Disks: []machine.Disk{{File: "mem:4M", If: "ahci", Serial: "CABLE"}, {File: "mem:4M", If: "ahci", Serial: "STAYS"}}})
	link := func(up bool) {
		t.Helper()
		if err := g.ctl.SetLink("ahci0.0", up); err != nil {
			t.Fatal(err)
		}
	}
	g.expect("diskload start stays da1 2 64", "!:")
	g.expect("diskload start cable da0 4 64", "!:")
	g.expect("hold h da0", "!:")
	for i := range 6 {
		g.settle(100 * time.Millisecond)
		at := g.mark()
		link(false)
		g.settle(time.Duration(i) * 30 * time.Millisecond)
		link(true)
		g.await(at, "ahci0.0: the connection was lost, and is back after ")
		if s := g.since(at); regexp.MustCompile(`removed|was connected|da0:`).MatchString(s) {
			t.Errorf("it was said to have gone:\n%s", s)
		}
	}
	g.expect("hold h", "held h, da0: read: <nil>, write: <nil>, flush: <nil>")
	g.expect("diskload stop cable", "load cable: .* [1-9][0-9]* writes.* 0 errors, 0 blocks wrong")
	g.expect("ls serno", "serno/CABLE -> da0\n")
	g.legal("a cable taken away for a short time")
	g.expect("hold h da0", "!:")
	link(false)
	g.until("ls serno", "^(?s:[^C]|C[^A])*$")
	g.expect("hold h", "held h, da0: read: the device is gone, write: the device is gone")
	link(true)
	g.until("ls serno", "serno/CABLE -> da0\n")
	g.expect("writetest serno/CABLE 0 1M 1", writesWell)
	g.expect("diskload stop stays", "load stays: [1-9].* 0 errors, 0 blocks wrong")
	g.powerOff()
}

// TestKernelPowerCycle takes a drive's power away for a short time: it is still the disk that it was, but the flush of what its cache may have lost fails.
func TestKernelPowerCycle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d := disk(t, file+",if=ahci,serial=OFF-ON,cache=volatile,seed=1")
	g := startKernel(t, machine.Config{Disks: []machine.Disk{d}}, "ahci0,op=write*,delay=5ms")
	name := "ahci0.0"
	offOn := func(want string) {
		t.Helper()
		at := g.mark()
		if err := g.ctl.Unplug(name, true); err != nil {
			t.Fatal(err)
		}
		var err error
		if name, err = g.ctl.PlugDisk(d); err != nil {
			t.Fatal(err)
		}
		if s := g.await(at, "is back after"); regexp.MustCompile(`removed|was connected`).MatchString(s) {
			t.Errorf("it was said to have gone:\n%s", s)
		}
		g.await(at, want)
	}
	g.expect("hold h da0", "!:")
	at := g.mark()
	if _, err := fmt.Fprint(g.in, "journal da0 64\r"); err != nil {
		t.Fatal(err)
	}
	g.await(at, ": 1 flushed")
	g.settle(100 * time.Millisecond) // some blocks have been written for the second time
	offOn("ahci0.0: the drive was without power: what was written since the last flush may be lost")
	s := g.await(at, "journal: da0: flush of 0 bytes at 0: input/output error: the drive was without power")
	g.await(at, kernelPrompt)
	t.Logf("flushed %d times", strings.Count(s, " flushed\r"))
	g.ctl.Faults().Remove("")
	g.expect("hold h", "held h, da0: read: <nil>, write: <nil>, flush: <nil>")
	g.expect("hold h da0", "!:")
	offOn("ahci0.0: the drive was without power; all that was written had been flushed")
	g.expect("hold h", "held h, da0: read: <nil>, write: <nil>, flush: <nil>")
	g.expect("ls serno", "serno/OFF-ON -> da0\n")
	g.expect("writetest da0 0 1M 1", writesWell)
	g.legal("power lost for a short time")
	g.powerOff()
}
