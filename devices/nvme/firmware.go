package nvme

import "sync"

const (
	firmwareSlots = 3
	maxFirmware   = 4 << 20
)

// firmware is the slots of a subsystem (base specification, section 3.11). Slot 1
// has what the subsystem came with and is read-only. Of an image only its
// revision matters: its first 8 bytes, printable ASCII.
type firmware struct {
	mu     sync.Mutex
	Slots  [firmwareSlots]string
	Active int // slot, from 1
	Next   int // slot activated by the next reset, or 0
}

func (f *firmware) reset(revision string) {
	f.Slots[0], f.Active = revision, 1
}

// revision is that of the active slot.
func (s *Subsystem) revision() string {
	s.fw.mu.Lock()
	defer s.fw.mu.Unlock()
	return s.fw.Slots[s.fw.Active-1]
}

// activateFirmware makes the image active that waits for a reset.
func (s *Subsystem) activateFirmware(d *Device) {
	s.fw.mu.Lock()
	defer s.fw.mu.Unlock()
	if s.fw.Next != 0 {
		s.fw.Active, s.fw.Next = s.fw.Next, 0
		d.statef("firmware slot %d is active: revision %q", s.fw.Active, s.fw.Slots[s.fw.Active-1])
	}
}

// firmwarePage is the Firmware Slot Information log.
func (s *Subsystem) firmwarePage() []byte {
	b := make([]byte, 512)
	s.fw.mu.Lock()
	defer s.fw.mu.Unlock()
	b[0] = uint8(s.fw.Active) | uint8(s.fw.Next)<<4
	for i, rev := range s.fw.Slots {
		if rev != "" {
			ascii(b[8+8*i:16+8*i], rev)
		}
	}
	return b
}

// firmwareDownload is the command Firmware Image Download.
func (d *Device) firmwareDownload(r *request) status {
	n, off := (uint64(r.e.dw[10])+1)*4, uint64(r.e.dw[11])*4
	switch {
	case n > uint64(d.o.MaxTransfer) || off+n > maxFirmware:
		return invalidField
	case n%4096 != 0 || off%4096 != 0:
		return invalidField // FWUG
	}
	b := make([]byte, n)
	if st := d.fromHost(r, b); st != success {
		return st
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+n > uint64(len(d.staged)) {
		d.staged = append(d.staged, make([]byte, off+n-uint64(len(d.staged)))...)
	}
	copy(d.staged[off:], b)
	return success
}

// firmwareCommit is the command Firmware Commit.
func (d *Device) firmwareCommit(r *request) status {
	slot, action := int(r.e.dw[10]&7), r.e.dw[10]>>3&7
	d.mu.Lock()
	image := d.staged
	d.mu.Unlock()
	s := d.sub
	s.fw.mu.Lock()
	defer s.fw.mu.Unlock()
	f := &s.fw
	if action > 3 {
		return invalidField // boot partitions
	}
	if slot == 0 && action != 2 {
		slot = 2
		if f.Active == 2 {
			slot = 3
		}
	}
	if slot < 1 || slot > firmwareSlots || slot == 1 && action <= 1 {
		return firmwareSlotInvalid
	}
	replaces := action <= 1 || action == 3 && len(image) > 0
	if replaces {
		if slot == 1 {
			return firmwareSlotInvalid
		}
		if len(image) < 8 || printable("revision", string(image[:8]), 8) != nil {
			return firmwareImageInvalid
		}
		f.Slots[slot-1] = string(image[:8])
		d.mu.Lock()
		d.staged = nil
		d.mu.Unlock()
	}
	if action == 0 {
		return success
	}
	if f.Slots[slot-1] == "" {
		return firmwareSlotInvalid
	}
	if action == 3 {
		f.Active, f.Next = slot, 0
		d.statef("firmware slot %d is active: revision %q", slot, f.Slots[slot-1])
		d.mu.Lock()
		d.events.add(d, eventNotice, eventFirmware, logFirmware)
		d.mu.Unlock()
		return success
	}
	f.Next = slot
	return needsControllerReset
}
