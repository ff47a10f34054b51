package e1000e

import (
	"bytes"
	"encoding/gob"
	"fmt"
)

const saveVersion = 1

// saved is the whole state. Words of the register space that are 0 are left out.
type saved struct {
	Version int
	Mem     map[uint32]uint32
	State   state
	Level   uint32
	Waiting [2]uint32 // causes put off
	Func    []byte
}

// SaveState implements devices.Saver.
func (d *Device) SaveState() ([]byte, error) {
	d.txMu.Lock()
	defer d.txMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := saved{Version: saveVersion, Mem: map[uint32]uint32{}, State: d.s, Level: d.irq.level}
	for i, v := range d.mem {
		if v != 0 {
			s.Mem[uint32(i)] = v
		}
	}
	for i := range d.irq.delay {
		s.Waiting[i] = d.irq.delay[i].causes
	}
	var err error
	if s.Func, err = d.fn.SaveState(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(&s)
	return b.Bytes(), err
}

// RestoreState implements devices.Saver. The cable and the back end's connection
// stay as they are now. Interrupts that were being put off are signalled at once.
func (d *Device) RestoreState(p []byte) error {
	var s saved
	if err := gob.NewDecoder(bytes.NewReader(p)).Decode(&s); err != nil {
		return fmt.Errorf("restore %s: %w", d.o.Name, err)
	}
	if s.Version != saveVersion {
		return fmt.Errorf("restore %s: state of version %d, want %d", d.o.Name, s.Version, saveVersion)
	}
	for i := range s.Mem {
		if i >= registersSize/4 {
			return fmt.Errorf("restore %s: register at %#x: there is none", d.o.Name, 4*uint64(i))
		}
	}
	for q := range s.State.Tx {
		if t := &s.State.Tx[q]; len(t.Segs) > maxSegs || t.Size < 0 || t.Size > maxSegmented+1 {
			return fmt.Errorf("restore %s: a packet of %d pieces with %d bytes is under way; that is not possible", d.o.Name, len(t.Segs), t.Size)
		}
	}
	d.reset(true)
	if err := d.fn.RestoreState(s.Func); err != nil {
		return err
	}
	d.txMu.Lock()
	defer d.txMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.mem[:])
	for i, v := range s.Mem {
		d.mem[i] = v
	}
	s.State.Link, s.State.Down = d.s.Link, d.s.Down
	d.s = s.State
	d.irq.level = s.Level
	if c := s.Waiting[0] | s.Waiting[1]; c != 0 {
		d.raise(c)
	}
	return nil
}
