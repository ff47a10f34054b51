package net

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

const saveVersion = 1

// SaveState implements devices.Saver: a version, the length of the state of this
// package, that state, and the transport's.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	own, err := json.Marshal(&d.state)
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	transport, err := d.Device.SaveState()
	if err != nil {
		return nil, err
	}
	p := append([]byte{saveVersion}, binary.LittleEndian.AppendUint32(nil, uint32(len(own)))...)
	return append(append(p, own...), transport...), nil
}

// RestoreState implements devices.Saver. The cable and the back end's connection
// stay as they are now. The driver is asked to announce itself.
func (d *Device) RestoreState(p []byte) error {
	if len(p) < 5 || p[0] != saveVersion {
		return fmt.Errorf("restore %s: not a state of version %d", d.o.Name, saveVersion)
	}
	n := binary.LittleEndian.Uint32(p[1:])
	p = p[5:]
	if uint64(n) > uint64(len(p)) {
		return fmt.Errorf("restore %s: the state is cut off", d.o.Name)
	}
	var s state
	if err := json.Unmarshal(p[:n], &s); err != nil {
		return fmt.Errorf("restore %s: %w", d.o.Name, err)
	}
	if s.Pairs < 1 || s.Pairs > d.o.Pairs || len(s.Unicast) > maxMACs || len(s.Multicast) > maxMACs {
		return fmt.Errorf("restore %s: %d queue pairs and %d and %d addresses are not possible here", d.o.Name, s.Pairs, len(s.Unicast), len(s.Multicast))
	}
	// This calls Deactivate, and Activate if the driver was at work.
	if err := d.Device.RestoreState(p[n:]); err != nil {
		return err
	}
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
}
