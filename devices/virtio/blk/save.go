package blk

import (
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

const saveVersion = 2

// saved is the state beside the transport's. What is on the disk is the store's
// matter. Requests that are carried out have ended when the device is paused; those that
// a fault delays go on waiting after they are restored, and those that
// hang have no state but that the driver waits for them.
type saved struct {
	Cache   bool // of writes
	Delayed []savedRequest
}

type savedRequest struct {
	Queue  int
	Chain  virtio.ChainState
	Left   int64 // ns until it is due
	Effect devices.Effect
}

// SaveState implements devices.Saver.
func (d *Device) SaveState() ([]byte, error) {
	s := saved{Cache: !d.direct.Load()}
	d.late.mu.Lock()
	for x := range d.late.all {
		if x.q.Valid(x.at) {
			s.Delayed = append(s.Delayed, savedRequest{x.q.Index(), x.at.State(), max(x.due-d.o.Clock.Now(), 0), x.effect})
		}
	}
	d.late.mu.Unlock()
	return d.SaveWith(saveVersion, &s)
}

// RestoreState implements devices.Saver.
func (d *Device) RestoreState(p []byte) error {
	var s saved
	return d.RestoreWith(saveVersion, p, &s, func() error {
		if len(s.Delayed) != 0 && d.o.Clock == nil {
			return fmt.Errorf("%d requests are delayed, and there is no clock here", len(s.Delayed))
		}
		return nil
	}, func() error {
		d.direct.Store(!s.Cache)
		for _, x := range s.Delayed {
			if err := d.restore(&x); err != nil {
				return err
			}
		}
		return nil
	})
}

// restore has a delayed request go on waiting.
func (d *Device) restore(s *savedRequest) error {
	if s.Queue < 0 || s.Queue >= d.o.Queues {
		return fmt.Errorf("a request of queue %d: there are %d", s.Queue, d.o.Queues)
	}
	q := d.Queue(s.Queue)
	at, err := q.Adopt(s.Chain)
	if err != nil {
		return err
	}
	r, err := parse(at.Chain())
	if err == nil && d.check(&r) != statusOK {
		err = fmt.Errorf("queue %d: a request of type %d for sector %d is not possible", s.Queue, r.kind, r.sector)
	}
	if err != nil {
		return err
	}
	x := &delayed{q: q, at: at, r: r, cmd: d.describe(q, at.Chain(), &r), effect: s.Effect}
	d.late.add(x, s.Left, func() {})
	return nil
}
