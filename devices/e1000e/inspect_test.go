package e1000e

import (
	"fmt"
	"strings"
	"testing"
)

// TestInspect checks that inspecting shows the rings, and has none of the side effects that reading has.
func TestInspect(t *testing.T) {
	c := newCard(t)
	c.start(1 << 1)
	c.put(0xc8, causeLSC)
	for range 2 {
		regs, state := c.dev.Inspect(0)
		if !strings.Contains(fmt.Sprint(regs), "ICR = 0x") {
			t.Errorf("no causes in %v", regs)
		}
		for _, want := range []string{"transmit ring base = 0x", "receive ring descriptors = 0x", "receive ring head = 0x0"} {
			if !strings.Contains(fmt.Sprint(state), want) {
				t.Errorf("no %q in %v", want, state)
			}
		}
	}
	if c.get(0xc0)&causeLSC == 0 {
		t.Error("inspecting acknowledges interrupts")
	}
	if c.get(0x5b50)&1 != 0 {
		t.Error("inspecting takes the semaphore")
	}
	if _, state := c.dev.Inspect(queues); state != nil {
		t.Errorf("queue %d: %v", queues, state)
	}
}
