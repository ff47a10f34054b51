package pci

// capList is a linked list of capabilities under construction.
type capList struct {
	next int // first free offset
	end  int // end of the area
	link int // where the offset of the next capability is to be stored
}

// AddCapability appends a capability with the given identifier (PCI 3.0,
// section 6.7) and returns its offset. body is what follows the two bytes of
// identifier and link; writable (nil for none) selects its bits that the guest
// can write. It is a builder method.
func (f *Function) AddCapability(id uint8, body, writable []byte) int {
	off := f.caps.next
	if off+2+len(body) > f.caps.end || len(writable) > len(body) {
		f.fail("no room for capability %#x of %d bytes", id, 2+len(body))
		return off
	}
	f.preset8(f.caps.link, uint8(off))
	f.preset8(off, id)
	f.preset8(off+1, 0)
	for i, b := range body {
		f.preset8(off+2+i, b)
	}
	copy(f.wmask[off+2:], writable)
	f.caps.link = off + 1
	f.caps.next = (off + 2 + len(body) + 3) &^ 3
	f.preset8(RegStatus, f.cfg[RegStatus]|StatusCapList)
	return off
}

// AddExtended appends an extended capability (PCI Express, section 7.9.3) and
// returns its offset. body is what follows the four bytes of the header. It is
// a builder method.
func (f *Function) AddExtended(id uint16, version uint8, body, writable []byte) int {
	off := f.extCaps.next
	if off+4+len(body) > f.extCaps.end || len(writable) > len(body) {
		f.fail("no room for extended capability %#x of %d bytes", id, 4+len(body))
		return off
	}
	if f.extCaps.link != 0 {
		f.preset16(f.extCaps.link, uint16(f.get(f.extCaps.link, 2))&0xf|uint16(off)<<4)
	}
	f.preset32(off, uint32(id)|uint32(version&0xf)<<16)
	for i, b := range body {
		f.preset8(off+4+i, b)
	}
	copy(f.wmask[off+4:], writable)
	f.extCaps.link = off + 2
	f.extCaps.next = (off + 4 + len(body) + 3) &^ 3
	return off
}

// AddPM adds the power management capability, version 3 (PCI Bus Power
// Management 1.2): states D0 and D3hot. The function keeps its state in D3hot
// (No_Soft_Reset) and goes on answering; drivers do not notice. It is a builder
// method.
func (f *Function) AddPM() {
	f.AddCapability(CapPM, []byte{3, 0, 0x08, 0, 0, 0}, []byte{0, 0, 0x03, 0, 0, 0})
}
