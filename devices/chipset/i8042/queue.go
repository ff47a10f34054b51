package i8042

// queueSize bounds what a keyboard or mouse holds for a guest that does not read.
const queueSize = 64

// A queue holds the bytes that a device is going to send. The controller's
// answers to commands come before what the user did.
type queue []uint8

// add appends all of p or, if they do not fit, nothing.
func (q *queue) add(p ...uint8) bool {
	if len(*q)+len(p) > queueSize {
		return false
	}
	*q = append(*q, p...)
	return true
}

func (q *queue) next() (v uint8, ok bool) {
	if len(*q) == 0 {
		return 0, false
	}
	v = (*q)[0]
	*q = append((*q)[:0], (*q)[1:]...)
	return v, true
}

// Bytes that keyboard and mouse have in common (IBM PS/2 Hardware Interface
// Technical Reference).
const (
	cmdResetDefaults = 0xf6
	cmdDisable       = 0xf5
	cmdEnable        = 0xf4
	cmdRate          = 0xf3
	cmdIdentify      = 0xf2
	cmdResend        = 0xfe
	cmdReset         = 0xff

	replyAck      = 0xfa
	replyResend   = 0xfe
	replySelfTest = 0xaa
)
