package net

import (
	"sync/atomic"

	"dfemu/devices"
)

// flows remembers which transmit queue a flow came from, so that its other
// direction is received on the same pair (section 5.1.6.5.6, automatic receive
// steering). Flows whose hashes collide share an entry.
type flows [1024]atomic.Uint32 // pair + 1

// learn notes the pair a frame was sent on.
func (d *Device) learn(f *devices.Frame, pair int) {
	e := &d.flows[flowHash(f)%uint32(len(d.flows))]
	if v := uint32(pair + 1); e.Load() != v {
		e.Store(v)
	}
}

// steer returns the pair that a received frame goes to.
func (d *Device) steer(f *devices.Frame, pairs int) int {
	h := flowHash(f)
	if v := d.flows[h%uint32(len(d.flows))].Load(); v != 0 && int(v) <= pairs {
		return int(v - 1)
	}
	return int(h % uint32(pairs))
}

// flowHash is the same for both directions of a TCP or UDP flow, and 0 for what
// is none.
func flowHash(f *devices.Frame) uint32 {
	var b [74]byte
	p := b[:f.CopyTo(b[:], 0)]
	at := 12
	for range 2 { // tags
		if len(p) >= at+4 && (p[at] == 0x81 && p[at+1] == 0 || p[at] == 0x88 && p[at+1] == 0xa8) {
			at += 4
		}
	}
	if len(p) < at+2+20 {
		return 0
	}
	kind := uint16(p[at])<<8 | uint16(p[at+1])
	p = p[at+2:]
	var h uint32
	var proto byte
	var rest []byte
	switch {
	case kind == 0x0800 && p[0]>>4 == 4 && p[0]&15 >= 5:
		h = word(p[12:]) ^ word(p[16:])
		proto = p[9]
		if n := 4 * int(p[0]&15); len(p) >= n && p[6]&0x3f|p[7] == 0 { // no fragment
			rest = p[n:]
		}
	case kind == 0x86dd && len(p) >= 40:
		for i := 8; i < 40; i += 4 {
			h ^= word(p[i:])
		}
		proto, rest = p[6], p[40:]
	default:
		return 0
	}
	if (proto == 6 || proto == 17) && len(rest) >= 4 {
		h ^= uint32(rest[0])<<8 ^ uint32(rest[1]) ^ uint32(rest[2])<<8 ^ uint32(rest[3])
	}
	h ^= uint32(proto)
	h *= 0x9e3779b1
	return h ^ h>>15
}

func word(p []byte) uint32 {
	return uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])
}
