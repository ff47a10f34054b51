package net

import (
	"fmt"
	"slices"
)

const saveVersion = 1

// SaveState implements devices.Saver.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	s := d.state
	s.Unicast, s.Multicast = slices.Clone(s.Unicast), slices.Clone(s.Multicast)
	d.mu.Unlock()
	return d.SaveWith(saveVersion, &s)
}

// RestoreState implements devices.Saver. The cable and the back end's connection
// stay as they are now. The driver is asked to announce itself.
func (d *Device) RestoreState(p []byte) error {
	var s state
	return d.RestoreWith(saveVersion, p, &s, func() error {
		if s.Pairs < 1 || s.Pairs > d.o.Pairs || len(s.Unicast) > maxMACs || len(s.Multicast) > maxMACs {
			return fmt.Errorf("%d queue pairs and %d and %d addresses are not possible here", s.Pairs, len(s.Unicast), len(s.Multicast))
		}
		return nil
	}, func() error {
		// The transport has called Deactivate, and Activate if the driver was at work.
		d.mu.Lock()
		s.Link, s.Down = d.state.Link, d.state.Down
		s.Offloads &= d.Features() & guestOffloads
		d.state = s
		d.publish()
		if a := d.active.Load(); a != nil {
			d.agree(a.features)
		}
		d.mu.Unlock()
		d.Announce()
		return nil
	})
}
