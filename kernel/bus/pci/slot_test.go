package pci

import (
	"testing"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/kerntest"
)

// statusSpace is the PCI Express capability of a port: its slot status has bits that are cleared by writing ones, and late ones that are
// set when the first are cleared.
type statusSpace struct {
	*kerntest.Space
	late uint16
}

func (s *statusSpace) Write16(off uint64, v uint16) {
	if off != expSlotStatus {
		s.Space.Write16(off, v)
		return
	}
	s.Space.Write16(off, s.Read16(off)&^v|s.late)
	s.late = 0
}

// TestSlotInterrupt has the handler take the changes from the status, all of them, and tell whether there were any: else a pin stays asserted,
// and no message follows.
func TestSlotInterrupt(t *testing.T) {
	const link = slotLinkChange
	tests := []struct {
		name         string
		status, late uint16
		want         uint32
	}{
		{"nothing", slotPresent, 0, 0},
		{"a card", slotPresent | slotPresence, 0, slotPresence},
		{"the link follows", slotPresent | slotPresence, link, slotPresence | link},
		{"no bridge", 0xffff, 0, 0},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			s := &statusSpace{Space: kerntest.NewSpace(0x40), late: c.late}
			s.Space.Write16(expSlotStatus, c.status)
			k := kern.New(&kern.Host{})
			v := &slot{d: &Device{k: k, conf: s}, signals: k.NewSignals()}
			v.interrupt(new(kern.Interrupt))
			if got := v.changes.Load(); got != c.want {
				t.Errorf("the changes are %#x, want %#x", got, c.want)
			}
			if left := s.Read16(expSlotStatus); c.status != 0xffff && left&slotChanges != 0 {
				t.Errorf("the status still has changes %#x", left&slotChanges)
			}
			if raised := v.signals.Take(0) != 0; raised != (c.want != 0) {
				t.Errorf("the thread is woken: %v", raised)
			}
		})
	}
}
