package ahci_test

import (
	"fmt"
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
)

func TestInspect(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	h.dev.Function().Probe().Watch(0, nil, &watcher{effect: func(*devices.Command) devices.Effect { return devices.Effect{Hang: true} }})
	h.put(3, false, false, buffer(3))
	h.fetched(3)
	regs, state := h.dev.Inspect(0)
	global, port := fmt.Sprint(regs), fmt.Sprint(state)
	for _, want := range []string{"VS = 0x10301", "PI = 0x3f"} {
		if !strings.Contains(global, want) {
			t.Errorf("no %q in %s", want, global)
		}
	}
	for _, want := range []string{"PxCI[0] = 0x8", "PxCMD[0]", "slot 3 command header", "slot 3 command = 0x"} {
		if !strings.Contains(port, want) {
			t.Errorf("no %q in %s", want, port)
		}
	}
	if strings.Contains(global, "Px") || strings.Contains(port, "[1]") {
		t.Errorf("registers of other ports: %s, %s", global, port)
	}
	for _, n := range []int{-1, 6, 99} {
		if _, state := h.dev.Inspect(n); state != nil {
			t.Errorf("port %d: %v", n, state)
		}
	}
}
