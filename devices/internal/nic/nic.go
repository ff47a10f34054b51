// Package nic has what network devices share: a goroutine that is kicked, frames
// that a fault delays or damages, and what traces see of a frame.
package nic

import (
	"encoding/binary"
	"fmt"

	"dfemu/devices"
)

// MinFrame is the shortest frame, in bytes: an Ethernet header.
const MinFrame = 14

// How frames end.
var (
	StatusSent     = devices.Status{Code: 0, Name: "sent"}
	StatusReceived = devices.Status{Code: 0, Name: "received"}
	StatusLost     = devices.Status{Code: 1, Name: "lost"}
	StatusDelayed  = devices.Status{Code: 2, Name: "delayed"}
)

// Kind is the commands that a device's frames are.
type Kind struct {
	Transmit, Receive uint32 // opcodes
	// Fields decodes what a frame lacks, in the device's own words.
	Fields func(devices.Offload) []devices.FieldValue
}

// Command describes a frame of a queue; write means that it is sent.
func (k *Kind) Command(q, tag int, f *devices.Frame, write bool) *devices.Command {
	c := &devices.Command{Queue: q, Tag: tag, Opcode: k.Receive, Name: "RECEIVE", Bytes: uint64(f.Len()), Write: write, Unasked: !write}
	if write {
		c.Opcode, c.Name = k.Transmit, "TRANSMIT"
	}
	o := f.Offload
	var h [MinFrame]byte
	n := f.CopyTo(h[:], 0)
	c.Fields = func() []devices.FieldValue {
		l := k.Fields(o)
		if n == MinFrame {
			l = append(l, devices.FieldValue{Name: "destination", Value: bigEndian(h[:6])},
				devices.FieldValue{Name: "source", Value: bigEndian(h[6:12])},
				devices.FieldValue{Name: "ethertype", Value: uint64(binary.BigEndian.Uint16(h[12:]))})
		}
		return l
	}
	return c
}

func bigEndian(p []byte) uint64 {
	var v uint64
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}

// Copy returns a frame with one piece of its own.
func Copy(f *devices.Frame) devices.Frame {
	b := make([]byte, f.Len())
	return devices.Frame{Offload: f.Offload, Pieces: [][]byte{b[:f.CopyTo(b, 0)]}}
}

// Damage shortens a frame and inverts bits of it as a fault says; f is a copy then. False means that
// too little is left for a frame.
func Damage(e *devices.Effect, f *devices.Frame) bool {
	if !e.ShortOn && e.FlipData == 0 {
		return true
	}
	*f = Copy(f)
	if e.ShortOn {
		f.Pieces[0] = f.Pieces[0][:min(max(e.Short, 0), int64(len(f.Pieces[0])))]
		f.Offload = devices.Offload{} // its positions may be outside now
	}
	devices.Flip(f.Pieces[0], 0, e.Flips(uint64(len(f.Pieces[0]))))
	return len(f.Pieces[0]) >= MinFrame
}

// Copies is how often a frame is carried.
func Copies(e *devices.Effect) int {
	if e.Duplicate {
		return 2
	}
	return 1
}

// OnlyPort returns an error if n is not 0, the number of a device's only port.
func OnlyPort(device string, n int) error {
	if n != 0 {
		return fmt.Errorf("%s: no port %d: the only one is 0", device, n)
	}
	return nil
}

// ReportLink tells who watches a device that its link is up or down.
func ReportLink(p *devices.Probe, up bool) {
	if up {
		p.State("link up")
	} else {
		p.State("link down")
	}
}
