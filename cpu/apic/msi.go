package apic

// Fields of an MSI's address (SDM 11.11.1).
const (
	msiWindow  = 0xfee // bits 63–20
	msiHint    = 1 << 3
	msiLogical = 1 << 2
)

// SendMSI delivers a message-signalled interrupt: the write of data to addr
// (SDM vol. 3, 11.11). Bits 19–12 of the address are the destination, and bits
// 11–5, reserved in the SDM, extend it to 15 bits for IDs above 254. A write
// outside the 0xFEE00000 window, a reserved delivery mode, an SMI and the
// de-assertion of a level are ignored.
func (f *Fabric) SendMSI(addr uint64, data uint32) {
	if addr>>20 != msiWindow {
		return
	}
	m := message{
		mode:    uint8(data >> 8 & 7),
		vector:  uint8(data),
		dest:    uint32(addr>>12&0xff | addr>>5&0x7f<<8),
		logical: addr&msiLogical != 0,
	}
	level := data&icrLevel != 0
	if level && data&icrAssert == 0 {
		return
	}
	switch m.mode {
	case dmFixed, dmLowest:
		m.level = level
		// The redirection hint picks one of a logical destination's
		// processors, whatever the delivery mode says.
		m.lowest = m.mode == dmLowest || addr&msiHint != 0 && m.logical
	case dmNMI, dmINIT, dmExtINT:
	default:
		return
	}
	f.send(&m)
}
