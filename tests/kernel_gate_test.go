package tests

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dfemu/machine"
)

// gateBoots is how often the gate boots the kernel at each number of CPUs unless DFEMU_GATE says otherwise.
const gateBoots = 2

var allPassed = regexp.MustCompile(`selftest: (\d+) of (\d+) passed`)

// TestKernelGate boots the guest kernel again and again at 2 and at 4 CPUs, with all self-tests and a second of stress:
// none may fail. The environment variable DFEMU_GATE is how often (the full gate is 50), DFEMU_GATE_ACCEL on what:
//
//	DFEMU_GATE=50 DFEMU_GATE_ACCEL=jit go test ./tests -run TestKernelGate -v -timeout 2h
func TestKernelGate(t *testing.T) {
	kernel := kernelImage(t)
	boots, accel := gateBoots, "auto"
	if v := os.Getenv("DFEMU_GATE"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("DFEMU_GATE=%s: must be a number of boots", v)
		}
		boots = n
	}
	if v := os.Getenv("DFEMU_GATE_ACCEL"); v != "" {
		accel = v
	}
	accel, err := machine.ResolveAccel(accel)
	if err != nil {
		t.Fatal(err)
	}
	for _, cpus := range []int{2, 4} {
		t.Run(fmt.Sprintf("%s/%dcpu", accel, cpus), func(t *testing.T) {
			var times []time.Duration
			failed := 0
			for range boots {
				start := time.Now()
				if !gateBoot(t, kernel, accel, cpus) {
					failed++
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			t.Logf("%d of %d boots failed; median time %v, longest %v", failed, boots, times[len(times)/2], times[len(times)-1])
		})
	}
}

// stressSeconds is how long the stress test takes unless DFEMU_STRESS says otherwise.
const stressSeconds = 2

// TestKernelStress has collections, goroutines, threads, tokens and nil dereferences on all CPUs while disks of all kinds are written and read with checksums.
// The environment variable DFEMU_STRESS is for how many seconds at each number of CPUs, DFEMU_GATE_ACCEL on what:
//
//	DFEMU_STRESS=300 go test ./tests -run TestKernelStress -v -timeout 1h
func TestKernelStress(t *testing.T) {
	seconds, accel := stressSeconds, "jit"
	if v := os.Getenv("DFEMU_STRESS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("DFEMU_STRESS=%s: must be a number of seconds", v)
		}
		seconds = n
	}
	if v := os.Getenv("DFEMU_GATE_ACCEL"); v != "" {
		accel = v
	}
	for _, cpus := range []int{2, 4} {
		t.Run(fmt.Sprintf("%s/%dcpu", accel, cpus), func(t *testing.T) {
			g := startKernel(t, machine.Config{Accel: accel, CPUs: cpus, Disks: []machine.Disk{
				{File: "mem:8M", If: "ahci", Serial: "A"}, {File: "mem:8M", If: "nvme", Serial: "N"}, {File: "mem:8M", If: "virtio", Serial: "V"},
			}})
			disks := []string{"da0", "nvme0ns1", "vbd0"}
			for _, d := range disks {
				g.expect("diskload start "+d+" "+d+" 4 512", "!:")
			}
			for left := seconds; left > 0; left -= 20 { // well within what a command may take
				t.Log(strings.TrimSpace(g.expect(fmt.Sprintf("stress %d", min(left, 20)), ", 0 failures")))
			}
			for _, d := range disks {
				t.Log(strings.TrimSpace(g.expect("diskload stop "+d, "load "+d+": .* reads, [1-9].* writes.*, 0 errors, 0 blocks wrong")))
			}
			g.expect("cpus", "cpu0: ", "!nobody answers")
			g.expect("mem", `\d+ collections`)
			g.powerOff()
		})
	}
}

// gateBoot boots once and reports whether all was well.
func gateBoot(t *testing.T, kernel, accel string, cpus int) bool {
	t.Helper()
	var out output
	o := boot(t, machine.Config{
		Accel: accel, CPUs: cpus, Memory: 256 << 20, Kernel: kernel,
		Cmdline: "dfly.selftest=all,-pids dfly.run=stress+1;cpus dfly.poweroff",
		Serial:  [4]machine.Serial{{Out: &out}},
	})
	text := out.Bytes()
	m := allPassed.FindSubmatch(text)
	if o.Cause == machine.PoweredOff && m != nil && bytes.Equal(m[1], m[2]) && bytes.Contains(text, []byte(", 0 failures")) &&
		!bytes.Contains(text, []byte("nobody answers")) {
		return true
	}
	t.Errorf("ended with %v %s:\n%s", o.Cause, o.Detail, text)
	return false
}
