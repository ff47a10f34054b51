package tests

import (
	"regexp"
	"strings"
	"testing"

	"dfemu/machine"
)

// TestKernelMemory uses all memory up, in each of the ways that there are: who asks for more is told so by name, drives included, and once it is given back
// all goes on. A load of a disk may meet errors meanwhile, but finds nothing wrong.
func TestKernelMemory(t *testing.T) {
	for _, c := range []struct {
		way, says string
		// full tells that all who ask get nothing more until memory is given back.
		full bool
	}{
		{"ask", `hog: \d{5,} KiB asked for, then: out of memory: \d+ bytes are asked for, there is room for \d+`, true},
		{"dma", `hog: \d{5,} KiB for devices, then: out of memory: no 4096 contiguous bytes`, true},
		{"heap", `thread \d+ \(hog\) gets no page for(?s:.*)hog: \d{5,} KiB of the heap, then a panic: runtime error`, false},
	} {
		t.Run(c.way, func(t *testing.T) {
			g := startKernel(t, machine.Config{Memory: 96 << 20, Disks: []machine.Disk{
				{File: "mem:4M", If: "ahci", Serial: "STAYS"}, {File: "mem:4M", If: "virtio", Serial: "LOADED"},
			}})
			g.expect("writetest da0 0 1M 1", writesWell)
			good := g.sum("da0")
			g.expect("diskload start l vbd0 2 64", "!:")
			for round := range 3 {
				at := g.mark()
				g.expect("hog "+c.way, c.says)
				if c.full {
					g.expect("md5 da0 0 64K", "md5: out of memory: 1048576 bytes are asked for")
					g.expect("diskload start x da0 256 4096", "diskload: out of memory")
					g.sh("hog %s", c.way) // the rest
					// A drive that comes now cannot be used, and is none the worse for it.
					name, err := g.ctl.PlugDisk(disk(t, "mem:1M,if=nvme,serial=LATE"))
					if err != nil {
						t.Fatal(err)
					}
					g.until("dmesg", "nvme0: not attached: .*out of memory(?s:.*)")
					if err := g.ctl.Unplug(name, true); err != nil {
						t.Fatal(err)
					}
				}
				g.until("hog free", `there is room for [3-9]\d{4} KiB`)
				if s := g.sum("da0"); s != good {
					t.Errorf("round %d: da0 has the checksum %s, before %s", round, s, good)
				}
				g.expect("writetest da0 2M 1M 9", writesWell)
				if s := g.since(at); round == 0 && !strings.Contains(s, "memory is low") {
					g.until("dmesg", "memory is low: there is room for")
				}
			}
			g.expect("diskload stop l", "load l: [1-9].* 0 blocks wrong")
			g.expect("selftest gc memory disks", "3 of 3 passed")
			g.powerOff()
		})
	}
}

// TestKernelOutOfMemory has the Go runtime itself find no memory: the system ends with a message that says so.
func TestKernelOutOfMemory(t *testing.T) {
	var out output
	o := boot(t, machine.Config{
		Accel: "jit", CPUs: 2, Memory: 64 << 20, Kernel: kernelImage(t), Cmdline: "dfly.run=hog+goroutines",
		Serial: [4]machine.Serial{{Out: &out}},
	})
	if o.Cause != machine.Panicked {
		t.Errorf("ended with %v %s, want a guest's panic", o.Cause, o.Detail)
	}
	out.expect(t, "out of memory: ", "the Go runtime needs the page at", " for thread ", "panic: out of memory", "cpu0", "cpu1")
	// The first trace is that of the thread, not of the fault's handling, in which the other CPU may be for want of memory as well.
	first := regexp.MustCompile(`panic: out of memory\r?\ncpu\d in thread \d+:\r?\n((?:  .*\n)+)`).FindStringSubmatch(out.String())
	if first == nil || strings.Contains(first[1], "pc64.vectored ") || !strings.Contains(first[1], " runtime.") {
		t.Errorf("the trace %q does not show what the thread did:\n%s", first, out.String())
	}
}

// TestKernelThreads starts threads without end: who wants one more waits, the drivers' interrupts included among those that do not, and all goes on once some have ended.
func TestKernelThreads(t *testing.T) {
	g := startKernel(t, machine.Config{Memory: 96 << 20, Disks: []machine.Disk{{File: "mem:4M", If: "ahci", Serial: "STAYS"}}})
	g.expect("writetest da0 0 1M 1", writesWell)
	good := g.sum("da0")
	for range 2 {
		g.expect("hog threads", `threads: there are \d+, and no more can be had: hog waits`, `hog: \d{3,} threads, then: one more waits until one ends`)
		if s := g.sum("da0"); s != good {
			t.Errorf("da0 has the checksum %s, before %s", s, good)
		}
		// A controller's threads are those of its interrupts and one that outranks others.
		name, err := g.ctl.PlugDisk(disk(t, "mem:1M,if=nvme,serial=LATE"))
		if err != nil {
			t.Fatal(err)
		}
		g.until("hog free", `there is room for \d+ KiB`)
		g.until("ls serno", "serno/LATE-1 -> nvme0ns1\n")
		g.expect("writetest serno/LATE-1 0 512K 9", writesWell)
		if err := g.ctl.Unplug(name, true); err != nil {
			t.Fatal(err)
		}
		g.until("ls serno", "^(?s:[^L]|L[^A])*$")
	}
	g.expect("selftest threads owner gc", "3 of 3 passed")
	g.powerOff()
}
