package e1000e

import (
	"slices"
	"strings"
	"testing"

	"dfemu/devices"
)

// TestBlame looks at what breaches are put down to, and at a unit that is started with descriptors waiting.
func TestBlame(t *testing.T) {
	c := newCard(t)
	c.start(rctlBAM)
	c.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, c.watch, nil)
	check := func(what string, want ...devices.Origin) {
		t.Helper()
		if !slices.Equal(c.watch.origins, want) {
			t.Errorf("%s: %v, want %v; %q", what, c.watch.origins, want, c.watch.violations)
		}
		c.watch.violations, c.watch.origins = nil, nil
	}
	c.dev.Pause()
	tctl := c.get(0x400)
	c.put(0x400, tctl&^tctlEN)
	c.desc(0, 1<<40, 100|cmdEOP<<24, 0) // no memory
	c.put(0x3818, c.tail[0])
	check("while the unit stands still")
	c.put(0x400, tctl)
	check("the start", devices.ByQueue)
	if !slices.Equal(c.watch.rang, []int{0, 1}) {
		t.Errorf("the start rings %v", c.watch.rang)
	}
	c.put(0x400, tctl)
	check("a start that is none")
	c.put(0x2810, 1)
	check("the head", devices.ByAccess)
}

// TestForeseeReceive gives the device receive descriptors, some of them without memory: that is known at the write of the tail, or of what
// turns the receiver on.
func TestForeseeReceive(t *testing.T) {
	for _, x := range []struct {
		bad  int // descriptor whose buffer is no memory
		late bool
		want string
	}{{-1, false, ""}, {5, false, "the buffer of receive descriptor 5"}, {5, true, "the buffer of receive descriptor 5"}, {12, false, ""}, {-1, true, ""}} {
		c := newCard(t)
		c.start(rctlBAM)
		c.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, c.watch, nil)
		c.dev.Pause()
		c.buffers(0, 15)
		ring := uint64(c.get(0x2800)) | uint64(c.get(0x2804))<<32
		if x.bad >= 0 {
			b, err := c.ram.View(ring+uint64(x.bad)*descSize, 8)
			if err != nil {
				t.Fatal(err)
			}
			le.PutUint64(b, 1<<40)
		}
		rctl := c.get(0x100)
		if x.late {
			c.put(0x100, rctl&^rctlEN)
		}
		c.put(0x2818, 4)
		c.put(0x2818, 9)
		if x.late {
			if len(c.watch.violations) != 0 {
				t.Errorf("%+v: %q while the receiver is off", x, c.watch.violations)
			}
			c.put(0x100, rctl)
		}
		if l := c.watch.violations; x.want == "" && len(l) != 0 || x.want != "" && (len(l) != 1 || !strings.Contains(l[0], x.want) || c.watch.origins[0] != devices.ByAccess) {
			t.Errorf("%+v: %q", x, l)
		}
	}
}

// TestReserved looks at the bits that drivers are to write as 0, and at what drivers of Linux write.
func TestReserved(t *testing.T) {
	for _, x := range []struct {
		off       uint64
		bad, good uint64
	}{
		{0x00c4, 1 << 16, 0xffff}, {0x00ec, 1 << 31, 0xffff}, {0x0100, 1, 0x0600803e}, {0x0400, 1 << 2, 0x3103f0fa}, {0x00e4, 1 << 20, 0x800ba98f},
		{0x2808, 1 << 20, 0xfff80}, {0x3908, 1 << 31, 0xfff80}, {0x2810, 1 << 16, 0xffff}, {0x2918, 1 << 16, 0xffff}, {0x3810, 1 << 16, 0xffff}, {0x3818, 1 << 16, 0xffff},
		{0x2820, 1 << 16, 1<<31 | 0xffff}, {0x282c, 1 << 31, 0xffff}, {0x3820, 1 << 30, 1<<31 | 0xffff}, {0x382c, 1 << 16, 0xffff}, {0x5000, 1 << 14, 0x3bff},
		{0x0000, 0, 0xffffffff}, {0x0018, 0, 0xffffffff}, {0x00d8, 0, 0xffffffff}, {0x3828, 0, 0xffffffff}, // what drivers keep or may write as they like
	} {
		if r, _, ok := registers.Find(x.off); !ok || r.Reserved&x.bad != x.bad || r.Reserved&x.good != 0 {
			t.Errorf("%v: reserved %#x", r, r.Reserved)
		}
	}
}
