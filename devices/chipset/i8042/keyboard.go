package i8042

// Commands to the keyboard that the mouse does not share.
const (
	cmdLEDs    = 0xed
	cmdEcho    = 0xee
	cmdScanSet = 0xf0
	cmdSetAll  = 0xf7 // to 0xfa: typematic and make/break for all keys, set 3 only
	cmdSetAll2 = 0xfa
	cmdSetKey  = 0xfb // to 0xfd: the same for one key
	cmdSetKey2 = 0xfd
)

// keyboardID is what an MF2 keyboard answers to an identify command.
var keyboardID = [2]uint8{0xab, 0x83}

// A keyboard is an MF2 keyboard with scan code sets 1 and 2.
type keyboard struct {
	Out     queue
	Enabled bool // it scans for keys
	Set     uint8
	LEDs    uint8
	Rate    uint8 // typematic rate and delay, which the host provides
	Command uint8 // the command whose parameter is next, or 0
	Last    uint8 // last byte sent
	Own     translator
}

func (k *keyboard) defaults() {
	k.Set, k.Rate, k.Command, k.Own = 2, 0x2b, 0, translator{}
}

func (k *keyboard) reset() {
	*k = keyboard{Enabled: true}
	k.defaults()
}

// press queues scan codes of set 2. They are dropped while the keyboard does
// not scan, and refused while its buffer is full.
func (k *keyboard) press(set2 []uint8) bool {
	if !k.Enabled {
		return true
	}
	if k.Set == 2 {
		return k.Out.add(set2...)
	}
	var p []uint8
	t := k.Own
	for _, v := range set2 {
		if v, ok := t.next(v); ok {
			p = append(p, v)
		}
	}
	if !k.Out.add(p...) {
		return false
	}
	k.Own = t
	return true
}

// write takes a byte from the host: a command, or a command's parameter. Bytes
// of a reply that finds the buffer full are lost, as the host was not reading.
func (k *keyboard) write(v uint8) {
	if c := k.Command; c != 0 && v < 0x80 {
		k.Command = 0
		k.parameter(c, v)
		return
	}
	k.Command = 0
	switch {
	case v == cmdReset:
		k.reset()
		k.Out.add(replyAck, replySelfTest)
	case v == cmdResend:
		k.Out.add(k.Last)
	case v == cmdEcho:
		k.Out.add(cmdEcho)
	case v == cmdIdentify:
		k.Out.add(replyAck, keyboardID[0], keyboardID[1])
	case v == cmdLEDs, v == cmdScanSet, v == cmdRate, v >= cmdSetKey && v <= cmdSetKey2:
		k.Command = v
		k.Out.add(replyAck)
	case v == cmdEnable:
		k.Out, k.Enabled = nil, true
		k.Out.add(replyAck)
	case v == cmdDisable, v == cmdResetDefaults:
		k.Out, k.Enabled = nil, v == cmdResetDefaults
		k.defaults()
		k.Out.add(replyAck)
	case v >= cmdSetAll && v <= cmdSetAll2:
		k.Out.add(replyAck)
	default:
		k.Out.add(replyResend)
	}
}

func (k *keyboard) parameter(command, v uint8) {
	switch command {
	case cmdLEDs:
		k.LEDs = v & 7
	case cmdRate:
		k.Rate = v
	case cmdScanSet:
		switch v {
		case 0:
			k.Out.add(replyAck, k.Set)
			return
		case 1, 2:
			k.Set, k.Own = v, translator{}
		default:
			k.Out.add(replyResend)
			return
		}
	}
	k.Out.add(replyAck)
}

// next gives the byte to send.
func (k *keyboard) next() (uint8, bool) {
	v, ok := k.Out.next()
	if ok && v != replyResend {
		k.Last = v
	}
	return v, ok
}
