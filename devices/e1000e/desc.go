package e1000e

import "fmt"

// A txDesc is one of the three kinds of transmit descriptors (section 7.2),
// parsed.
type txDesc interface{ isTxDesc() }

// legacyDesc is a buffer in the legacy format (section 7.2.10.1).
type legacyDesc struct {
	addr     uint64
	length   uint32
	cmd      uint8
	cso, css uint8
	vlan     uint16
}

// contextDesc is what the following data descriptors refer to (section 7.2.10.2).
type contextDesc struct {
	IPCSS, IPCSO uint8
	IPCSE        uint16
	TUCSS, TUCSO uint8
	TUCSE        uint16
	Payload      uint32
	Cmd          uint8
	HeaderLen    uint8
	MSS          uint16
}

// dataDesc is a buffer in the extended format (section 7.2.10.3).
type dataDesc struct {
	addr   uint64
	length uint32
	cmd    uint8
	popts  uint8
	vlan   uint16
}

func (legacyDesc) isTxDesc()  {}
func (contextDesc) isTxDesc() {}
func (dataDesc) isTxDesc()    {}

// Bits of the commands.
const (
	cmdEOP  = 1 << 0
	cmdIC   = 1 << 2 // legacy
	cmdTSE  = 1 << 2 // extended
	cmdRS   = 1 << 3
	cmdDEXT = 1 << 5
	cmdVLE  = 1 << 6
	cmdIDE  = 1 << 7

	tuTCP = 1 << 0
	tuIP  = 1 << 1 // IPv4

	poptsIXSM = 1 << 0
	poptsTXSM = 1 << 1

	txDD = 1 // status
)

// parseTx reads a descriptor.
func parseTx(b []byte) (txDesc, error) {
	_ = b[descSize-1]
	w2, w3 := le.Uint32(b[8:]), le.Uint32(b[12:])
	if w2>>24&cmdDEXT == 0 {
		return legacyDesc{le.Uint64(b), w2 & 0xffff, uint8(w2 >> 24), uint8(w2 >> 16), uint8(w3 >> 8), uint16(w3 >> 16)}, nil
	}
	switch kind := w2 >> 20 & 15; kind {
	case 0:
		w0, w1 := le.Uint32(b), le.Uint32(b[4:])
		return contextDesc{
			uint8(w0), uint8(w0 >> 8), uint16(w0 >> 16), uint8(w1), uint8(w1 >> 8), uint16(w1 >> 16),
			w2 & 0xfffff, uint8(w2 >> 24), uint8(w3 >> 8), uint16(w3 >> 16),
		}, nil
	case 1:
		return dataDesc{le.Uint64(b), w2 & 0xfffff, uint8(w2 >> 24), uint8(w3 >> 8), uint16(w3 >> 16)}, nil
	default:
		return nil, fmt.Errorf("a descriptor of type %d: 0 and 1 exist", kind)
	}
}

// txState is a packet under construction, between descriptors.
type txState struct {
	Context contextDesc
	Segs    []seg
	Size    int
	Open    bool // a packet has begun
	Legacy  bool
	Bad     bool // it is too large, or its descriptors make no sense
	Cmd     uint8
	Popts   uint8
	VLAN    uint16
	CSO     uint8
	CSS     uint8
}

// seg is a piece of guest memory.
type seg struct {
	Addr uint64
	Len  uint32
}

// maxSegs bounds the pieces of a packet.
const maxSegs = 1024

// add puts a buffer into the packet. It reports whether the packet is complete.
func (s *txState) add(x txDesc) (done bool) {
	var addr uint64
	var n uint32
	switch x := x.(type) {
	case legacyDesc:
		if !s.Open {
			*s = txState{Context: s.Context, Segs: s.Segs[:0], Open: true, Legacy: true}
		}
		addr, n = x.addr, x.length
		s.Cmd |= x.cmd
		if x.cmd&cmdIC != 0 {
			s.CSO, s.CSS = x.cso, x.css
		}
		s.VLAN = x.vlan
		s.Bad = s.Bad || !s.Legacy
	case dataDesc:
		if !s.Open {
			// Options count in the first descriptor of a packet (section 7.2.10.3.6).
			*s = txState{Context: s.Context, Segs: s.Segs[:0], Open: true, Popts: x.popts}
			s.Cmd = x.cmd & cmdTSE
		}
		addr, n = x.addr, x.length
		s.Cmd |= x.cmd &^ cmdTSE
		s.VLAN = x.vlan
		s.Bad = s.Bad || s.Legacy
	}
	limit := maxTransmit
	if !s.Legacy && s.Cmd&cmdTSE != 0 {
		limit = maxSegmented
	}
	s.Size += int(n)
	if s.Size > limit || len(s.Segs) >= maxSegs {
		s.Bad, s.Size = true, limit+1
	}
	if !s.Bad && n != 0 {
		s.Segs = append(s.Segs, seg{addr, n})
	}
	return s.Cmd&cmdEOP != 0
}

// rxDesc formats.
const (
	rxDD    = 1 << 0
	rxEOP   = 1 << 1
	rxIXSM  = 1 << 2
	rxVP    = 1 << 3
	rxUDPCS = 1 << 4
	rxTCPCS = 1 << 5
	rxIPCS  = 1 << 6
	rxPIF   = 1 << 7
	rxIPIDV = 1 << 9
	rxUDPV  = 1 << 10

	// In the legacy format's errors; 24 bits higher in the extended one.
	rxTCPE = 1 << 5
	rxIPE  = 1 << 6
)

// rxInfo is what is written back about a packet.
type rxInfo struct {
	status  uint32 // bits of the extended status
	errors  uint8
	vlan    uint16
	sum     uint16 // packet checksum
	ipID    uint16
	rssType uint8
	rssHash uint32
	hashed  bool // the descriptor has the hash instead of identification and checksum (PCSD)
	queue   int
}

// encodeLegacy writes the second half of a legacy descriptor (section 7.1.4).
func (i *rxInfo) encodeLegacy(b []byte, n int, last bool) {
	le.PutUint16(b[8:], uint16(n))
	le.PutUint16(b[10:], i.sum)
	b[12], b[13] = rxDD, 0
	le.PutUint16(b[14:], 0)
	if last {
		b[12] = uint8(i.status) | rxDD | rxEOP
		b[13] = i.errors
		le.PutUint16(b[14:], i.vlan)
	}
}

// extended returns the status and error word.
func (i *rxInfo) extended(last bool) uint32 {
	if !last {
		return rxDD
	}
	return i.status | rxDD | rxEOP | uint32(i.errors)<<24
}

// encodeExtended writes an extended descriptor (section 7.1.5).
func (i *rxInfo) encodeExtended(b []byte, n int, last bool) {
	i.encodeHead(b)
	le.PutUint32(b[8:], i.extended(last))
	le.PutUint16(b[12:], uint16(n))
	le.PutUint16(b[14:], i.vlan)
}

// encodeSplit writes a packet split descriptor of 32 bytes; n are the bytes in each of
// its buffers (section 7.1.6).
func (i *rxInfo) encodeSplit(b []byte, n [4]int, last bool) {
	i.encodeExtended(b, n[0], last)
	le.PutUint16(b[16:], 0) // no header was split off
	for k := 1; k < 4; k++ {
		le.PutUint16(b[16+2*k:], uint16(n[k]))
	}
	le.PutUint64(b[24:], 0)
}

func (i *rxInfo) encodeHead(b []byte) {
	le.PutUint32(b, uint32(i.rssType)|uint32(i.queue)<<8)
	if i.hashed {
		// Not the checksum even where there is no hash: drivers take it for one, and
		// sort packets into flows by it.
		le.PutUint32(b[4:], i.rssHash)
	} else {
		le.PutUint16(b[4:], i.ipID)
		le.PutUint16(b[6:], i.sum)
	}
}
