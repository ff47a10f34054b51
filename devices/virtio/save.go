package virtio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

const saveVersion = 1

// savedDevice is the head of a device's saved state. Then come its queues, and
// the state of the PCI function.
type savedDevice struct {
	Version       uint8
	Queues        uint16
	Status        uint32
	Generation    uint32
	Vector        uint32
	ISR           uint32
	Accepted      uint64
	FeatureSelect uint32
	DriverSelect  uint32
	QueueSelect   uint16
}

type savedQueue struct {
	Size, Vector         uint16
	Enabled, Live        bool
	Desc, Driver, Device uint64
	Ring                 [2]uint16
}

// SaveWith is [Device.SaveState] for kinds of devices with a state of their own:
// a version, the length of that state, the state, and the transport's.
func (d *Device) SaveWith(version uint8, own any) ([]byte, error) {
	state, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	transport, err := d.SaveState()
	if err != nil {
		return nil, err
	}
	p := append([]byte{version}, binary.LittleEndian.AppendUint32(nil, uint32(len(state)))...)
	return append(append(p, state...), transport...), nil
}

// RestoreWith restores what [Device.SaveWith] saved. It fills own, has it checked before
// anything changes, restores the transport, and then has own taken over, by set. After an error of
// the last two the device is as after reset. check may be nil.
func (d *Device) RestoreWith(version uint8, p []byte, own any, check, set func() error) error {
	transport, err := ownState(version, p, own)
	if err == nil && check != nil {
		err = check()
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", d.c.Name, err)
	}
	if err := d.RestoreState(transport); err != nil {
		return err
	}
	if err := set(); err != nil {
		d.Reset()
		return fmt.Errorf("restore %s: %w", d.c.Name, err)
	}
	return nil
}

// ownState fills own and returns the state of the transport.
func ownState(version uint8, p []byte, own any) (transport []byte, err error) {
	if len(p) < 5 || p[0] != version {
		return nil, fmt.Errorf("not a state of version %d", version)
	}
	n := binary.LittleEndian.Uint32(p[1:])
	p = p[5:]
	if uint64(n) > uint64(len(p)) {
		return nil, errors.New("the state is cut off")
	}
	return p[n:], json.Unmarshal(p[:n], own)
}

// SaveState implements devices.Saver. The device is paused, so no chain is in
// flight.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isrMu.Lock()
	s := savedDevice{
		Version: saveVersion, Queues: uint16(len(d.queues)), Status: d.status.Load(), Generation: d.generation.Load(),
		Vector: d.vector.Load(), ISR: d.isr, Accepted: d.accepted,
		FeatureSelect: d.featureSelect, DriverSelect: d.driverSelect, QueueSelect: d.queueSelect,
	}
	d.isrMu.Unlock()
	p, err := binary.Append(nil, binary.LittleEndian, s)
	for _, q := range d.queues {
		if err != nil {
			return nil, err
		}
		p, err = binary.Append(p, binary.LittleEndian, q.save())
	}
	if err != nil {
		return nil, err
	}
	f, err := d.fn.SaveState()
	return append(p, f...), err
}

// save is called with Device.mu held.
func (q *Queue) save() savedQueue {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.cfg
	s := savedQueue{c.size, c.vector, c.enabled, q.live, c.desc, c.driver, c.device, [2]uint16{}}
	if q.ring != nil {
		s.Ring = q.ring.save()
	}
	return s
}

// RestoreState implements devices.Saver. The device is paused; guest memory is
// restored already. After an error the device is as after reset.
func (d *Device) RestoreState(p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reset()
	err := d.restore(p)
	if err != nil {
		d.reset()
		err = fmt.Errorf("restore %s: %w", d.c.Name, err)
	}
	return err
}

func (d *Device) restore(p []byte) error {
	r := bytes.NewReader(p)
	var s savedDevice
	if err := binary.Read(r, binary.LittleEndian, &s); err != nil {
		return err
	}
	if s.Version != saveVersion || int(s.Queues) != len(d.queues) {
		return fmt.Errorf("state of version %d with %d queues, want version %d with %d", s.Version, s.Queues, saveVersion, len(d.queues))
	}
	if s.Accepted&^d.features != 0 && s.Status&StatusFeaturesOK != 0 {
		return fmt.Errorf("features %#x are not all offered by this device", s.Accepted)
	}
	queues := make([]savedQueue, s.Queues)
	if err := binary.Read(r, binary.LittleEndian, queues); err != nil {
		return err
	}
	// The function comes first: the queues need its bus mastering.
	if err := d.fn.RestoreState(p[len(p)-r.Len():]); err != nil {
		return err
	}
	d.accepted, d.featureSelect, d.driverSelect, d.queueSelect = s.Accepted, s.FeatureSelect, s.DriverSelect, s.QueueSelect
	for i, q := range d.queues {
		if err := q.restore(queues[i], s.Accepted); err != nil {
			return fmt.Errorf("queue %d: %w", i, err)
		}
	}
	d.isrMu.Lock()
	d.isr = s.ISR
	d.isrMu.Unlock()
	d.vector.Store(s.Vector & 0xffff)
	d.generation.Store(s.Generation)
	d.status.Store(s.Status)
	if s.Status&StatusFeaturesOK != 0 {
		d.negotiated.Store(s.Accepted)
	}
	if d.Active() && d.model != nil {
		d.model.Activate(s.Accepted)
	}
	return nil
}

// restore is called with Device.mu held.
func (q *Queue) restore(s savedQueue, features uint64) error {
	q.cfg = queueConfig{size: s.Size, vector: s.Vector, enabled: s.Enabled, desc: s.Desc, driver: s.Driver, device: s.Device}
	q.vector.Store(uint32(s.Vector))
	if !s.Live {
		return nil
	}
	if err := q.enable(q.cfg, features); err != nil {
		return err
	}
	q.mu.Lock()
	q.ring.restore(s.Ring)
	q.live = true
	q.mu.Unlock()
	return nil
}
