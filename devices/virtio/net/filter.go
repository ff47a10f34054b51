package net

import (
	"encoding/binary"
	"slices"

	"dfemu/devices"
)

// state is what the driver and the operator have set. It is saved as it is.
type state struct {
	Link bool // the cable is in
	Down bool // the back end has no connection

	MAC      [6]byte
	Announce bool
	Pairs    int
	Offloads uint64 // of guestOffloads, those in force

	Promisc, AllMulti, AllUni, NoMulti, NoUni, NoBcast bool

	Unicast, Multicast   [][6]byte
	ManyUnis, ManyMultis bool       // the table did not fit: all pass
	Tagged               bool       // VLAN filtering is off
	VLANs                [64]uint64 // bitmap of identifiers that pass
}

// reset forgets what the driver has set.
func (s *state) reset(mac [6]byte) {
	*s = state{Link: s.Link, Down: s.Down, MAC: mac, Pairs: 1, Promisc: true, Tagged: true}
}

func (s *state) up() bool { return s.Link && !s.Down }

func (s *state) status() uint16 {
	var v uint16
	if s.up() {
		v |= statusLinkUp
	}
	if s.Announce {
		v |= statusAnnounce
	}
	return v
}

// filter is an immutable snapshot of what decides about a received frame.
type filter struct {
	state
}

func (s *state) snapshot() *filter {
	f := &filter{state: *s}
	f.Unicast, f.Multicast = slices.Clone(s.Unicast), slices.Clone(s.Multicast)
	return f
}

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// pass tells whether the driver wants a frame with this start (section 5.1.6.5.1
// to 5.1.6.5.3).
func (f *filter) pass(h []byte) bool {
	if len(h) < minFrame || !f.up() {
		return false
	}
	if !f.Tagged && len(h) >= 16 && binary.BigEndian.Uint16(h[12:]) == 0x8100 {
		id := binary.BigEndian.Uint16(h[14:]) & 0xfff
		if f.VLANs[id/64]>>(id%64)&1 == 0 {
			return false
		}
	}
	if f.Promisc {
		return true
	}
	dst := [6]byte(h)
	switch {
	case dst == broadcast:
		return !f.NoBcast
	case dst[0]&1 != 0:
		return !f.NoMulti && (f.AllMulti || f.ManyMultis || slices.Contains(f.Multicast, dst))
	}
	return !f.NoUni && (f.AllUni || f.ManyUnis || dst == f.MAC || slices.Contains(f.Unicast, dst))
}

// head copies a frame's first bytes, enough for addresses and a tag.
func head(f *devices.Frame, b *[18]byte) []byte {
	if len(f.Pieces) != 0 && len(f.Pieces[0]) >= len(b) {
		copy(b[:], f.Pieces[0])
		return b[:]
	}
	return b[:f.CopyTo(b[:], 0)]
}
