package devices

import "io"

// Offloads is a set of things about a frame that its sender may leave to whoever
// comes next. Values are those of a back end ("what may be sent into it") or
// of a network device ("what it can receive").
type Offloads uint32

// The offloads.
const (
	OffloadChecksum Offloads = 1 << iota // the transport checksum is not complete (FlagNeedsChecksum)
	OffloadTSO4                          // TCP over IPv4 larger than the MTU
	OffloadTSO6                          // TCP over IPv6 larger than the MTU
	OffloadECN                           // TSO of segments with CWR set; only the first segment keeps it
	OffloadUSO                           // UDP of several datagrams of one flow (UDP_L4), both IP versions
)

// OffloadsAll is every offload there is.
const OffloadsAll = OffloadChecksum | OffloadTSO4 | OffloadTSO6 | OffloadECN | OffloadUSO

// Flags of an [Offload], as in virtio_net_hdr.
const (
	FlagNeedsChecksum = 1 // the field at ChecksumStart+ChecksumOffset holds the pseudo-header's sum only
	FlagDataValid     = 2 // checksums have been verified, or the frame never left the machine
)

// Kinds of segmentation of an [Offload], as in virtio_net_hdr.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDPL4 = 5
	GSOECN   = 0x80 // added to a TCP kind
)

// Offload says what a frame still lacks (Virtual I/O Device 1.2, section 5.1.6).
// The zero value is a frame that is complete. All positions are in bytes from
// the frame's start. It is not to be trusted: whoever acts on it checks it against
// the frame.
type Offload struct {
	Flags          uint8
	GSO            uint8  // kind of segmentation
	HeaderLen      uint16 // of all headers; a hint
	SegmentSize    uint16 // bytes of payload in each segment
	ChecksumStart  uint16 // where summing starts
	ChecksumOffset uint16 // from ChecksumStart to the 16-bit field
}

// Needs returns the offloads that whoever takes the frame must know of.
func (o Offload) Needs() Offloads {
	var n Offloads
	if o.Flags&FlagNeedsChecksum != 0 {
		n |= OffloadChecksum
	}
	switch o.GSO &^ GSOECN {
	case GSOTCPv4:
		n |= OffloadTSO4
	case GSOTCPv6:
		n |= OffloadTSO6
	case GSOUDPL4:
		n |= OffloadUSO
	}
	if o.GSO&GSOECN != 0 {
		n |= OffloadECN
	}
	return n
}

// A Frame is an Ethernet frame, without preamble and FCS, in one or more pieces.
// The pieces may be guest memory, whose content changes at any moment: a value is
// read once and then checked.
type Frame struct {
	Offload
	Pieces [][]byte
}

// Len is the frame's length in bytes.
func (f *Frame) Len() int {
	n := 0
	for _, p := range f.Pieces {
		n += len(p)
	}
	return n
}

// CopyTo copies the frame's bytes from off on into p and returns their number.
func (f *Frame) CopyTo(p []byte, off int) int {
	n := 0
	for _, b := range f.Pieces {
		if off >= len(b) {
			off -= len(b)
			continue
		}
		k := copy(p[n:], b[off:])
		off = 0
		if n += k; n == len(p) {
			break
		}
	}
	return n
}

// A Network is the host's side of a network device: the cable and what is at
// its other end. Methods may be called from any goroutine.
type Network interface {
	io.Closer
	// Connect gives the back end the device that its frames are for. It is called
	// once, before any other method but Properties.
	Connect(to FrameReceiver)
	// Properties tells what the back end is like. It does not change, except for Link.
	Properties() NetworkProperties
	// Configure tells what the device can take, and how many of the back end's
	// queues it listens to (at least 1). Until it is called frames come without offloads,
	// on queue 0. Frames that are under way may still be as agreed before.
	Configure(accept Offloads, queues int)
	// Send transmits frames, in order, from one of the device's queues. Frames and
	// their pieces belong to the caller again when it returns. Frames that need
	// no more than Properties().Takes are accepted; a frame that cannot be carried is
	// lost, as on any wire. Send waits for the host's kernel at most, never for a
	// peer. Calls for different queues may be concurrent, those for one are not.
	Send(queue int, frames []Frame)
	// Ready tells that the device has room again after [FrameReceiver.Receive]
	// took less than it was offered. It never waits and may be called with locks
	// held, also when nobody waits for it.
	Ready(queue int)
}

// NetworkProperties describes a [Network].
type NetworkProperties struct {
	Kind   string   // as "tap"
	Takes  Offloads // offloads that frames given to Send may need
	Queues int      // queues in each direction, at least 1
	MTU    int      // in bytes, without the Ethernet header; 0 if the back end has no opinion
	Link   bool     // there is a connection now
}

// FrameReceiver is a network device as its back end sees it.
type FrameReceiver interface {
	// Receive offers frames that arrived on a queue and returns how many, from
	// the first on, the device took or dropped. If it is less than all of them there is no room:
	// the back end keeps the rest, or drops it, and goes on after [Network.Ready].
	// The frames belong to the back end again on return. Calls for one queue are
	// not concurrent with each other. Receive does not call into the back end.
	Receive(queue int, frames []Frame) int
	// LinkChanged tells that the connection came up or was lost.
	LinkChanged(up bool)
}

// Sum adds p, as big-endian 16-bit words padded with a zero byte, to an Internet
// checksum under way (RFC 1071). Only the last of several parts may have an odd length.
func Sum(sum uint64, p []byte) uint64 {
	// Four bytes at a time: the words' carries meet in the upper half.
	for len(p) >= 16 {
		_ = p[15]
		a := uint64(p[0])<<24 | uint64(p[1])<<16 | uint64(p[2])<<8 | uint64(p[3])
		b := uint64(p[4])<<24 | uint64(p[5])<<16 | uint64(p[6])<<8 | uint64(p[7])
		c := uint64(p[8])<<24 | uint64(p[9])<<16 | uint64(p[10])<<8 | uint64(p[11])
		d := uint64(p[12])<<24 | uint64(p[13])<<16 | uint64(p[14])<<8 | uint64(p[15])
		sum += a + b + c + d
		p = p[16:]
	}
	for len(p) >= 2 {
		sum += uint64(p[0])<<8 | uint64(p[1])
		p = p[2:]
	}
	if len(p) == 1 {
		sum += uint64(p[0]) << 8
	}
	return sum
}

// Fold reduces a sum to 16 bits. The complement of the result is the checksum.
func Fold(sum uint64) uint16 {
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
