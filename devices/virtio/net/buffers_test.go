package net

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"dfemu/devices"
)

// TestStrictBuffers makes receive buffers available: those that are too small for what was negotiated are known at the notification, or when they
// are taken.
func TestStrictBuffers(t *testing.T) {
	const least = 14 + 1500 + hdrSize
	for _, x := range []struct {
		name     string
		features uint64
		mtu      int
		need     int
	}{
		{"plain", plainNIC, 0, least}, {"merged", plainNIC | featureMrgRxbuf, 0, hdrSize}, {"small MTU", plainNIC | featureMTU, 1000, least},
		{"large MTU", plainNIC | featureMTU, 9000, 9000 + 14 + hdrSize}, {"MTU not accepted", plainNIC, 9000, least},
		{"segments", plainNIC | featureGuestCsum | featureGuestTSO6, 0, 65562}, {"checksums", plainNIC | featureGuestCsum, 0, least},
	} {
		for _, room := range []int{x.need - 1, x.need} {
			c := newCard(t, Options{MTU: x.mtu}, newWire(1), x.features)
			c.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, &c.watch, nil)
			c.dev.Pause()
			c.watch.Forget()
			c.rx[0].Add(nil, room)
			c.rx[0].Kick()
			want := fmt.Sprintf("virtio 1.2, 5.1.6.3.1: a receive buffer of %d bytes: at least %d are needed with the features negotiated", room, x.need)
			if l := c.watch.Violations(); len(l) != x.need-room || len(l) == 1 && l[0] != want {
				t.Errorf("%s, buffer of %d: %q at the notification, want %q", x.name, room, l, want)
			}
			c.dev.Resume()
			c.w.receive(frame(60, broadcast))
			if l := c.watch.Violations(); len(l) != 0 {
				t.Errorf("%s, buffer of %d: %q when it is taken", x.name, room, l)
			}
			c.dev.Function().Probe().Watch(devices.ClassStrict, &c.watch, nil)
			c.rx[0].Add(nil, room)
			c.rx[0].Kick()
			c.w.receive(frame(60, broadcast))
			// More than once if it is put back, as two that do not hold the frame together.
			if l := slices.Compact(c.watch.Violations()); len(l) != x.need-room || len(l) == 1 && l[0] != want {
				t.Errorf("%s, buffer of %d: %q, want %q", x.name, room, l, want)
			}
		}
	}
	// A frame that no driver can expect.
	c := newCard(t, Options{}, newWire(1), plainNIC)
	c.dev.Function().Probe().Watch(devices.ClassStrict, &c.watch, nil)
	c.rx[0].Add(nil, least)
	c.rx[0].Kick()
	c.w.receive(frame(2000, broadcast))
	if l := c.watch.Violations(); len(l) != 1 || !strings.Contains(l[0], "the frame and its header have 2012") {
		t.Errorf("%q", l)
	}
}
