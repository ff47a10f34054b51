package i8042

// Commands to the mouse that the keyboard does not share.
const (
	cmdScale1     = 0xe6
	cmdScale2     = 0xe7
	cmdResolution = 0xe8
	cmdStatus     = 0xe9
	cmdStream     = 0xea
	cmdReadData   = 0xeb
	cmdUnwrap     = 0xec
	cmdWrap       = 0xee
	cmdRemote     = 0xf0
)

// A mouse is a PS/2 mouse with three buttons.
type mouse struct {
	Out        queue
	Reporting  bool
	Remote     bool // reports only when asked
	Wrap       bool // echoes
	Scale2     bool
	Resolution uint8
	Rate       uint8
	Buttons    uint8 // left, right, middle
	DX, DY     int   // movement not reported yet
	Changed    bool  // something not reported yet
	Command    uint8
	Last       uint8
}

func (m *mouse) reset() { *m = mouse{Resolution: 2, Rate: 100, Buttons: m.Buttons} }

// maxMove bounds movement that nobody reads.
const maxMove = 1 << 14

// move notes what the user did; dy counts upwards.
func (m *mouse) move(dx, dy int, buttons uint8) {
	m.DX = min(max(m.DX+min(max(dx, -maxMove), maxMove), -maxMove), maxMove)
	m.DY = min(max(m.DY+min(max(dy, -maxMove), maxMove), -maxMove), maxMove)
	m.Buttons, m.Changed = buttons&7, true
	m.report()
}

// report queues a packet if the mouse is to report by itself and has room.
func (m *mouse) report() {
	if m.Reporting && !m.Remote && !m.Wrap && m.Changed && len(m.Out) == 0 {
		m.packet()
	}
}

// packet queues a movement packet. What does not fit into nine bits is left for
// the next one.
func (m *mouse) packet() {
	dx, dy := min(max(m.DX, -255), 255), min(max(m.DY, -255), 255)
	head := m.Buttons | 0x08
	if dx < 0 {
		head |= 0x10
	}
	if dy < 0 {
		head |= 0x20
	}
	if m.Out.add(head, uint8(dx), uint8(dy)) {
		m.DX, m.DY = m.DX-dx, m.DY-dy
		m.Changed = m.DX != 0 || m.DY != 0
	}
}

// write takes a byte from the host.
func (m *mouse) write(v uint8) {
	if m.Wrap && v != cmdReset && v != cmdUnwrap {
		m.Out.add(v)
		return
	}
	if c := m.Command; c != 0 && v <= 200 {
		m.Command = 0
		if c == cmdRate {
			m.Rate = v
		} else {
			m.Resolution = v & 3
		}
		m.Out.add(replyAck)
		return
	}
	m.Command = 0
	if v == cmdResend {
		m.Out.add(m.Last)
		return
	}
	m.Out = nil // a command cuts off what was being sent
	switch v {
	case cmdReset:
		m.reset()
		m.Out.add(replyAck, replySelfTest, 0)
	case cmdIdentify:
		m.Out.add(replyAck, 0)
	case cmdStatus:
		m.Out.add(replyAck, m.status(), m.Resolution, m.Rate)
	case cmdReadData:
		m.Out.add(replyAck)
		m.packet()
	case cmdRate, cmdResolution:
		m.Command = v
		m.Out.add(replyAck)
	case cmdEnable, cmdDisable, cmdResetDefaults, cmdScale1, cmdScale2, cmdStream, cmdRemote, cmdWrap, cmdUnwrap:
		m.mode(v)
		m.Out.add(replyAck)
	default:
		m.Out.add(replyResend)
	}
}

func (m *mouse) mode(v uint8) {
	switch v {
	case cmdEnable:
		m.Reporting = true
	case cmdDisable:
		m.Reporting = false
	case cmdResetDefaults:
		m.reset()
	case cmdScale1, cmdScale2:
		m.Scale2 = v == cmdScale2
	case cmdStream, cmdRemote:
		m.Remote = v == cmdRemote
	case cmdWrap, cmdUnwrap:
		m.Wrap = v == cmdWrap
	}
}

func (m *mouse) status() uint8 {
	v := m.Buttons&1<<2 | m.Buttons&2>>1 | m.Buttons&4>>1
	if m.Scale2 {
		v |= 0x10
	}
	if m.Reporting {
		v |= 0x20
	}
	if m.Remote {
		v |= 0x40
	}
	return v
}

func (m *mouse) next() (uint8, bool) {
	v, ok := m.Out.next()
	if ok && v != replyResend {
		m.Last = v
	}
	return v, ok
}
