package devices

// A Line is one interrupt input (a GSI, a pin of an 8259). Set drives its
// level; an edge-triggered input takes the change from false to true. It may
// be called from any goroutine, also with a device's lock held: interrupt
// controllers never call back into the device that drives them.
type Line interface {
	Set(level bool)
}

// LineFunc makes a [Line] of a function.
type LineFunc func(level bool)

// Set implements [Line].
func (f LineFunc) Set(level bool) { f(level) }

// NoLine is an input that is not connected.
var NoLine Line = LineFunc(func(bool) {})

// MSI sends message-signalled interrupts: one 32-bit write of data to addr in
// the 0xFEE00000 window (Intel SDM vol. 3, section 12.11). It may be called
// from any goroutine.
type MSI interface {
	SendMSI(addr uint64, data uint32)
}
