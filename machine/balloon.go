package machine

import (
	"errors"
	"fmt"
	"time"

	"dfemu/devices/virtio/balloon"
)

// balloon makes the memory balloon.
func (p *pc) balloon() error {
	if !p.m.cfg.Balloon {
		return nil
	}
	d, err := balloon.New(balloon.Options{Name: "virtio-balloon0", RAM: p.m.cfg.Memory, Clock: p.m.clock, Broken: p.broken})
	if err != nil {
		return err
	}
	p.add(d)
	return p.plug(d.Function())
}

func (c *Control) balloon() (*balloon.Device, error) {
	for _, d := range c.Devices() {
		if b, ok := d.(*balloon.Device); ok {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w that takes memory from the guest: start the machine with a balloon", ErrNoDevice)
}

// Balloon has the guest give memory up, or take it back, until it has bytes left. It does not wait for the guest.
func (c *Control) Balloon(bytes uint64) error {
	b, err := c.balloon()
	if err != nil {
		return err
	}
	b.SetTarget(bytes)
	return nil
}

// BalloonSize is how many bytes of memory the guest says it has.
func (c *Control) BalloonSize() (uint64, error) {
	b, err := c.balloon()
	if err != nil {
		return 0, err
	}
	return b.Actual(), nil
}

// statsPatience is how long a guest may take to make statistics.
const statsPatience = 2 * time.Second

// BalloonStats returns what the guest says of its memory, by the names that QEMU has for it, in bytes or counts. If the
// guest does not answer it is what it said last.
func (c *Control) BalloonStats() (map[string]uint64, error) {
	b, err := c.balloon()
	if err != nil {
		return nil, err
	}
	last, changed := b.Stats()
	select {
	case <-changed:
		last = b.LastStats()
	case <-time.After(statsPatience):
	}
	if last == nil {
		return nil, errors.New("the guest has given no statistics: it has no driver for the balloon")
	}
	return last, nil
}
