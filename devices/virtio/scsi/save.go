package scsi

import (
	"fmt"
	"sort"
)

const saveVersion = 1

// saved is the host's own state. The units themselves are attached before it is restored.
type saved struct {
	CDBSize, SenseSize uint32
	Events             []event
	Missed             bool
	Units              []savedUnit
}

type savedUnit struct {
	Target, LUN      uint8
	Attentions       []sense
	Through, Stopped bool
	Reservations     reservations
}

// SaveState implements devices.Saver. What is on the disks is the stores' matter.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	s := saved{CDBSize: d.cdbSize, SenseSize: d.sense, Events: d.events, Missed: d.missed}
	for at, u := range d.units {
		u.mu.Lock()
		s.Units = append(s.Units, savedUnit{at.target, at.lun, u.attentions, u.through, u.stopped, u.reservations})
		u.mu.Unlock()
	}
	d.mu.Unlock()
	sort.Slice(s.Units, func(i, j int) bool {
		a, b := s.Units[i], s.Units[j]
		return a.Target < b.Target || a.Target == b.Target && a.LUN < b.LUN
	})
	return d.SaveWith(saveVersion, &s)
}

// RestoreState implements devices.Saver.
func (d *Device) RestoreState(p []byte) error {
	var s saved
	return d.RestoreWith(saveVersion, p, &s, func() error { return d.possible(&s) }, func() error {
		d.restore(&s)
		return nil
	})
}

// possible looks at a saved state before anything changes.
func (d *Device) possible(s *saved) error {
	if s.CDBSize < 16 || s.CDBSize > maxCDB || s.SenseSize > maxSense || len(s.Events) > maxEvents {
		return fmt.Errorf("CDBs of %d bytes, sense data of %d, %d events are not possible", s.CDBSize, s.SenseSize, len(s.Events))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range s.Units {
		if d.units[address{x.Target, x.LUN}] == nil || len(x.Attentions) > 16 {
			return fmt.Errorf("there is no unit %d:%d as in the state", x.Target, x.LUN)
		}
		if !x.Reservations.possible() {
			return fmt.Errorf("unit %d:%d: a reservation of type %d is not possible", x.Target, x.LUN, x.Reservations.Type)
		}
	}
	return nil
}

func (d *Device) restore(s *saved) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cdbSize, d.sense, d.events, d.missed = s.CDBSize, s.SenseSize, s.Events, s.Missed
	for _, x := range s.Units {
		u := d.units[address{x.Target, x.LUN}]
		u.mu.Lock()
		u.attentions, u.through, u.stopped, u.reservations = x.Attentions, x.Through, x.Stopped, x.Reservations
		u.mu.Unlock()
	}
}
