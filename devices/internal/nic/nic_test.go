package nic

import (
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
)

func TestWorker(t *testing.T) {
	ran, gate := make(chan struct{}), make(chan struct{})
	w := Worker{Run: func() { ran <- struct{}{}; <-gate }}
	w.Kick()
	<-ran
	w.Kick() // during the run: one more, however often
	w.Kick()
	gate <- struct{}{}
	<-ran
	gate <- struct{}{}
	w.Close()
	w.Kick()
	w.Close()
	select {
	case <-ran:
		t.Error("it runs after Close")
	default:
	}
	(&Worker{}).Close() // never kicked
}

func TestDelayLine(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	var l DelayLine
	if l.Init(nil); l.Works() {
		t.Error("it works without a clock")
	}
	l.Init(clock)
	var got []int
	l.After(300, func() { got = append(got, 3) })
	l.After(100, func() { got = append(got, 1) })
	l.After(900, func() { got = append(got, 9) })
	clock.Advance(300)
	l.Close()
	clock.Advance(1000)
	l.After(1, func() { got = append(got, 0) })
	clock.Advance(1000)
	if len(got) != 2 || got[0] != 1 || got[1] != 3 || clock.Armed() != 0 {
		t.Errorf("called %v, %d timers left", got, clock.Armed())
	}
}

func TestDamage(t *testing.T) {
	frame := func() devices.Frame {
		return devices.Frame{Pieces: [][]byte{make([]byte, 10), make([]byte, 50)}, Offload: devices.Offload{ChecksumStart: 40}}
	}
	f := frame()
	whole := f.Pieces[1]
	if !Damage(&devices.Effect{}, &f) || len(f.Pieces) != 2 {
		t.Error("no fault changed the frame")
	}
	if !Damage(&devices.Effect{ShortOn: true, Short: 20, FlipData: 1}, &f) || f.Len() != 20 || f.Offload != (devices.Offload{}) {
		t.Errorf("short: %+v", f)
	}
	for _, b := range whole {
		if b != 0 {
			t.Error("the frame itself was changed")
		}
	}
	f = frame()
	if Damage(&devices.Effect{ShortOn: true, Short: 13}, &f) {
		t.Error("13 bytes are a frame")
	}
	if Copies(&devices.Effect{Duplicate: true}) != 2 || Copies(&devices.Effect{}) != 1 {
		t.Error("copies")
	}
	if OnlyPort("x", 0) != nil || OnlyPort("x", 1) == nil {
		t.Error("ports")
	}
}

func TestCommand(t *testing.T) {
	k := Kind{Transmit: 7, Receive: 8, Fields: func(o devices.Offload) []devices.FieldValue {
		return []devices.FieldValue{{Name: "mss", Value: uint64(o.SegmentSize)}}
	}}
	f := devices.Frame{Pieces: [][]byte{{1, 2, 3, 4, 5, 6}, {0, 0, 0, 0, 0, 9, 8, 0, 1}}, Offload: devices.Offload{SegmentSize: 5}}
	c := k.Command(1, 2, &f, true)
	l := c.Fields()
	if c.Opcode != 7 || c.Name != "TRANSMIT" || c.Bytes != 15 || len(l) != 4 || l[0].Value != 5 || l[1].Value != 0x010203040506 || l[2].Value != 9 || l[3].Value != 0x800 {
		t.Errorf("%+v %+v", c, l)
	}
	short := devices.Frame{Pieces: [][]byte{{1}}}
	if c := k.Command(1, 2, &short, false); c.Opcode != 8 || len(c.Fields()) != 1 {
		t.Errorf("%+v", c)
	}
}
