package nvme_test

import (
	"fmt"
	"strings"
	"testing"

	"dfemu/devices/nvme"
)

func TestInspect(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	d.boot()
	w := d.watch()
	regs, state := d.dev.Inspect(1)
	for _, want := range []string{"CC = 0x", "CSTS = 0x1  {RDY}", "ASQ = 0x"} {
		if !strings.Contains(fmt.Sprint(regs), want) {
			t.Errorf("no %q in %v", want, regs)
		}
	}
	for _, want := range []string{"submission queue base = 0x", "tail = 0x0", "completion queue = 0x1", "phase = 0x1"} {
		if !strings.Contains(fmt.Sprint(state), want) {
			t.Errorf("no %q in %v", want, state)
		}
	}
	for _, n := range []int{-1, 77, 70000} {
		if _, state := d.dev.Inspect(n); state != nil {
			t.Errorf("queue %d: %v", n, state)
		}
	}
	if w.Has("violation") {
		t.Error("inspecting is a breach")
	}
}
