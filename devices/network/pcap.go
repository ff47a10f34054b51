package network

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"dfemu/devices"
)

// capture is a back end decorated with a pcap file that both directions are
// written to.
type capture struct {
	devices.Network
	clock devices.Clock
	warn  func(error)

	mu     sync.Mutex
	w      *bufio.Writer // nil after an error
	file   io.Closer
	failed bool
}

const (
	pcapMagic   = 0xa1b23c4d // times in nanoseconds
	pcapSnap    = 256 << 10
	pcapEthers  = 1 // LINKTYPE_ETHERNET
	pcapVersion = 2 | 4<<16
)

// Capture returns a back end that is n and writes all frames to a pcap file with
// times in nanoseconds, those of the guest's wall clock. Frames are written as they
// pass: with offloads, before they are cut and summed. If the file cannot be written warn is
// told, once, and the capture ends; the network goes on. The file is closed with the back
// end.
func Capture(n devices.Network, file io.WriteCloser, clock devices.Clock, warn func(error)) (devices.Network, error) {
	c := &capture{Network: n, clock: clock, warn: warn, w: bufio.NewWriterSize(file, 256<<10), file: file}
	h := make([]byte, 24)
	le := binary.LittleEndian
	le.PutUint32(h[0:], pcapMagic)
	le.PutUint32(h[4:], pcapVersion)
	le.PutUint32(h[16:], pcapSnap)
	le.PutUint32(h[20:], pcapEthers)
	if _, err := file.Write(h); err != nil {
		return nil, fmt.Errorf("pcap: %w", err)
	}
	return c, nil
}

// record writes frames.
func (c *capture) record(frames []devices.Frame) {
	if len(frames) == 0 {
		return
	}
	now := c.clock.Wall()
	c.mu.Lock()
	if c.failed {
		c.mu.Unlock()
		return
	}
	var err error
	for i := range frames {
		f := &frames[i]
		var h [16]byte
		n := f.Len()
		le := binary.LittleEndian
		le.PutUint32(h[0:], uint32(now.Unix()))
		le.PutUint32(h[4:], uint32(now.Nanosecond()))
		le.PutUint32(h[8:], uint32(min(n, pcapSnap)))
		le.PutUint32(h[12:], uint32(n))
		c.w.Write(h[:]) // an error stays until Flush
		room := pcapSnap
		for _, p := range f.Pieces {
			p = p[:min(len(p), room)]
			room -= len(p)
			c.w.Write(p)
		}
	}
	// Whoever looks at the file sees what has passed so far.
	if err = c.w.Flush(); err != nil {
		c.failed = true
	}
	c.mu.Unlock()
	if err != nil && c.warn != nil {
		c.warn(fmt.Errorf("pcap: %w; the capture ends here", err))
	}
}

// Connect implements devices.Network.
func (c *capture) Connect(to devices.FrameReceiver) { c.Network.Connect(captureReceiver{to, c}) }

// Send implements devices.Network.
func (c *capture) Send(queue int, frames []devices.Frame) {
	c.record(frames)
	c.Network.Send(queue, frames)
}

// Close implements devices.Network.
func (c *capture) Close() error {
	err := c.Network.Close()
	if e := c.file.Close(); err == nil && e != nil {
		err = fmt.Errorf("pcap: %w", e)
	}
	return err
}

// captureReceiver writes what the device takes.
type captureReceiver struct {
	devices.FrameReceiver
	c *capture
}

// Receive implements devices.FrameReceiver.
func (r captureReceiver) Receive(queue int, frames []devices.Frame) int {
	n := r.FrameReceiver.Receive(queue, frames)
	r.c.record(frames[:n])
	return n
}
