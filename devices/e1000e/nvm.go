package e1000e

import "encoding/binary"

// nvmWords is the size of the non-volatile memory (section 6).
const nvmWords = 64

// newNVM makes the content: the MAC address, identity, and a checksum that makes
// the sum of all words 0xBABA (section 6.1.2.16).
func newNVM(mac [6]byte) (w [nvmWords]uint16) {
	for i := range 3 {
		w[i] = binary.LittleEndian.Uint16(mac[2*i:])
	}
	w[0x03] = 0x0030 // compatibility
	w[0x04], w[0x06], w[0x07] = 0xffff, 0xffff, 0xffff
	w[0x05] = 0x2010 // image version
	w[0x08], w[0x09] = 0xffff, 0xffff
	w[0x0a] = 0x026b
	w[0x0b], w[0x0c] = subsystem, vendor
	w[0x0d], w[0x0e] = device, vendor
	w[0x0f] = 0x8058 // no manageability
	w[0x11], w[0x12] = 0x2003, 0x007e
	w[0x14], w[0x18], w[0x1b] = 0x3019, 0x0100, 0x8030
	w[0x1f], w[0x20], w[0x21] = 0x0602, 0x0000, 0x0000
	w[0x24], w[0x23] = 0x8480, 0x0000
	sealNVM(&w)
	return w
}

func sealNVM(w *[nvmWords]uint16) {
	var sum uint16
	for _, v := range w[:nvmWords-1] {
		sum += v
	}
	w[nvmWords-1] = 0xbaba - sum
}

// Commands in EERD and EEWR.
const (
	nvmStart = 1
	nvmDone  = 2
)

// readNVM carries a read command out at once and returns the register's value.
func (d *Device) readNVM(v uint32) uint32 {
	if v&nvmStart == 0 {
		return v &^ nvmDone
	}
	a := v >> 2 & 0x3fff
	data := uint16(0xffff)
	if a < nvmWords {
		data = d.s.NVM[a]
	}
	return v&0xfffc | nvmDone | uint32(data)<<16
}

// writeNVM does the same with a write command.
func (d *Device) writeNVM(v uint32) uint32 {
	if v&nvmStart == 0 {
		return v &^ nvmDone
	}
	if a := v >> 2 & 0x3fff; a < nvmWords {
		d.s.NVM[a] = uint16(v >> 16)
	}
	return v&^nvmStart | nvmDone
}
