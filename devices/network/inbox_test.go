package network

import (
	"bytes"
	"testing"
	"time"

	"dfemu/devices"
)

// narrow is a device that takes a few frames at a time.
type narrow struct {
	*nic
	in *inbox
}

// open lets the device take so many more frames, and says so to who has them.
func (n narrow) open(frames int) {
	n.mu.Lock()
	n.room = frames
	n.mu.Unlock()
	n.in.Ready(0)
}

// TestInboxSegments gives large frames to a device that takes none and no large ones, and then some frames at a time: all
// of their segments arrive, once and in order.
func TestInboxSegments(t *testing.T) {
	in := &inbox{}
	in.init()
	n := narrow{nic: &nic{t: t, more: make(chan struct{}, 1)}, in: in}
	in.start(n)
	defer in.stop()
	in.Configure(0, 1)
	var want []byte
	for i := range 3 {
		payload := bytes.Repeat([]byte{byte(i + 1)}, 9500)
		for j := range payload {
			payload[j] += byte(j / 100)
		}
		want = append(want, payload...)
		b, o := packet(false, false, 0, payload, 0x18)
		o.SegmentSize = 1000
		in.deliver([]devices.Frame{{Offload: o, Pieces: [][]byte{b}}})
	}
	var got []byte
	deadline := time.After(patience)
	for frames := 0; len(got) < len(want); {
		n.open(4)
		select {
		case <-n.more:
		case <-deadline:
			t.Fatalf("%d bytes of %d in %d frames", len(got), len(want), frames)
		}
		n.mu.Lock()
		for _, f := range n.got {
			got = append(got, valid(t, f.Pieces[0])...)
			frames++
		}
		n.got = nil
		n.mu.Unlock()
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrive, want %d others", len(got), len(want))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.backlog) != 0 || in.bytes != 0 {
		t.Errorf("%d frames of %d bytes are still kept", len(in.backlog), in.bytes)
	}
}
