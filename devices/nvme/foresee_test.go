package nvme_test

import (
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// TestForesee breaks rules while nobody takes commands: who is to be halted at the doorbell hears of it before the doorbell's
// access ends.
func TestForesee(t *testing.T) {
	bad := rw(2, 0, 16)
	bad.prp1, bad.prp2 = 0x600000, 0x601010
	list := rw(2, 0, 64)
	list.prp1, list.prp2 = 0x600000, 0x601004
	entry := rw(1, 0, 64)
	entry.prp1, entry.prp2 = 0x600000, 0x700000
	sgl := rw(2, 0, 1)
	sgl.psdt, sgl.prp1, sgl.prp2 = 1, 0x600000, 7<<60|512
	good := rw(2, 0, 8)
	good.prp1 = 0x600000
	fused := rw(1, 0, 1)
	fused.fuse, fused.prp1 = 2, 0x600002
	for _, c := range []struct {
		want string
		c    sqe
	}{
		{"PRP entry 2 is 0x601010", bad},
		{"the PRP list is at 0x601004", list},
		{"the PRP list at 0x700000 has an entry 0x1", entry},
		{"the SGL descriptor in the command has type 0x7", sgl},
		{"is for namespace 0x9", sqe{op: 2, nsid: 9}},
		{"I/O command 0x77 is not supported", sqe{op: 0x77, nsid: 1}},
		{"of 8 blocks at 8190", rw(2, 8190, 8)},
		{"", good},
		{"", fused}, // its partner may be missing or not: that shows when it is taken
	} {
		d := newDriver(t, nvme.Options{})
		q := d.boot()
		le.PutUint64(d.bytes(0x700000, 8), 1)
		for _, prompt := range []bool{true, false} {
			w := &devtest.Recorder{}
			classes := devices.ClassStrict
			if prompt {
				classes |= devices.ClassPrompt
			}
			d.dev.Function().Probe().Watch(classes, w, nil)
			d.dev.Pause()
			before := good
			before.prp1 = 0x680000
			q.add(before)
			cid := q.submit(c.c)
			l := w.Violations()
			if want := prompt && c.want != ""; (len(l) == 1) != want || want && !strings.Contains(l[0], c.want) {
				t.Errorf("prompt %v: %q, want one with %q", prompt, l, c.want)
			}
			d.dev.Resume()
			q.wait(cid)
		}
	}
}
