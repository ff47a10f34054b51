package virtio_test

import (
	"fmt"
	"strings"
	"testing"

	"dfemu/devices/virtio/virtiotest"
)

func TestInspect(t *testing.T) {
	for features, wants := range map[uint64][]string{
		0:                 {"available index = 0x1", "next to take = 0x0", "descriptor length = 0x5"},
		virtiotest.Packed: {"next to take = 0x8000", "descriptor length = 0x5", "buffer id = 0x"},
	} {
		dev, d, a := attend(t)
		q := ready(d, features)
		q.Add([][]byte{[]byte("hello")})
		q.Publish()
		regs, state := dev.Inspect(0)
		for _, want := range []string{"device_status = 0xf  {ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK}", "num_queues = 0x2"} {
			if !strings.Contains(fmt.Sprint(regs), want) {
				t.Errorf("no %q in %v", want, regs)
			}
		}
		for _, want := range append(wants, "queue_size = 0x10", "queue_enable = 0x1", "live = 0x1") {
			if !strings.Contains(fmt.Sprint(state), want) {
				t.Errorf("no %q in %v", want, state)
			}
		}
		// A queue that is not enabled, one that is not there, none.
		if _, state := dev.Inspect(1); len(state) == 0 || strings.Contains(fmt.Sprint(state), "live") {
			t.Errorf("queue 1: %v", state)
		}
		for _, n := range []int{-1, 2} {
			if _, state := dev.Inspect(n); state != nil {
				t.Errorf("queue %d: %v", n, state)
			}
		}
		if l := a.Violations(); len(l) != 0 {
			t.Errorf("inspecting is a breach: %q", l)
		}
	}
}
