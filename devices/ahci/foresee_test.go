package ahci_test

import (
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/devtest"
)

// TestForesee breaks rules while nobody takes commands: who is to be halted at the write to PxCI hears of it before that
// access ends.
func TestForesee(t *testing.T) {
	read := func(prds ...[2]uint64) command { return queued(2, 8, 8, false, prds...) }
	good := [2]uint64{buffer(2), 4096}
	for name, c := range map[string]struct {
		want  string
		c     command
		spoil func(h *hba)
	}{
		"good":                 {"", read(good), nil},
		"odd address":          {"address 0x840001 is odd", read([2]uint64{buffer(2) + 1, 4096}), nil},
		"odd length":           {"means an odd length", read([2]uint64{buffer(2), 4095}), nil},
		"behind what is moved": {"", read(good, [2]uint64{buffer(2) + 1, 4096}), nil},
		"direction":            {"with the W bit", queued(2, 8, 8, false, good), func(h *hba) { h.put32(listAt(0)+2*32, h.u32(listAt(0)+2*32)|1<<6) }},
		"tag":                  {"queued command with tag 3", queued(3, 8, 8, false, good), nil},
		"FIS length":           {"command FIS of 1 words", read(good), func(h *hba) { h.put32(listAt(0)+2*32, 1<<16|1) }},
		"FIS type":             {"command FIS of type 0x34", read(good), func(h *hba) { h.bytes(tableAt(0, 2), 1)[0] = 0x34 }},
		"table":                {"not aligned to 128 bytes", read(good), func(h *hba) { h.put32(listAt(0)+2*32+8, uint32(tableAt(0, 2)+8)) }},
		"not queued":           {"issued while queued commands are outstanding", command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: 8, Count: 8, Device: 0x40}, prds: [][2]uint64{good}}, nil},
		"reset":                {"SRST set without the C bit", command{Task: ata.Task{Control: 4}, ctl: true}, nil},
		"reset, as it must be": {"", command{Task: ata.Task{Control: 4}, ctl: true, flags: 1 << 10}, nil},
		"table, no memory":     {"command table cannot be accessed", read(good), func(h *hba) { h.put32(listAt(0)+2*32+12, 1) }},
	} {
		for _, prompt := range []bool{true, false} {
			h := newHBA(t, ahci.Options{})
			h.disk(0, ata.Options{}, 1<<20)
			h.start(0)
			h.build(0, 2, c.c)
			if c.spoil != nil {
				c.spoil(h)
			}
			w := &devtest.Recorder{}
			classes := devices.ClassStrict
			if prompt {
				classes |= devices.ClassPrompt
			}
			h.dev.Pause()
			h.dev.Function().Probe().Watch(classes, w, nil)
			h.issue(0, 4)
			l := w.Violations()
			if want := prompt && c.want != ""; (len(l) > 0) != want || want && !strings.Contains(strings.Join(l, "; "), c.want) {
				t.Errorf("%s, prompt %v: %q, want one with %q", name, prompt, l, c.want)
			}
		}
	}
}

// TestBlame looks at what breaches are put down to: accesses to registers, or what a command list holds.
func TestBlame(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	h.disk(0, ata.Options{}, 1<<20)
	h.start(0)
	w := &devtest.Recorder{}
	h.dev.Pause()
	h.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, w, nil)
	h.build(0, 2, queued(2, 8, 8, false, [2]uint64{buffer(2) + 1, 4096}))
	h.issue(0, 4)
	if l := w.Origins(); len(l) != 1 || l[0] != devices.ByQueue {
		t.Errorf("a command: %v", l)
	}
	h.issue(0, 4)
	if l := w.Origins(); len(l) == 0 || l[0] != devices.ByAccess {
		t.Errorf("a busy slot: %v", l)
	}
}
