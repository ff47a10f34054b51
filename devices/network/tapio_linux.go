package network

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"dfemu/devices"
)

// Send implements devices.Network.
func (t *tap) Send(queue int, frames []devices.Frame) {
	q := t.queues[uint(queue)%uint(len(t.queues))]
	// One look at the descriptor serves the whole batch. It fails after Close.
	_ = q.raw.Control(func(fd uintptr) {
		for i := range frames {
			q.send(int(fd), &frames[i])
		}
	})
}

func (q *tapQueue) send(fd int, f *devices.Frame) {
	if q.t.header && f.Needs()&devices.OffloadUSO == 0 {
		q.put(fd, f)
		return
	}
	// Without a header the kernel takes complete frames only; segmented UDP is
	// known to newer kernels only.
	takes := devices.Offloads(0)
	if q.t.header {
		takes = devices.OffloadsAll &^ devices.OffloadUSO
	}
	l := q.soft.complete(f, takes)
	for i := range l {
		q.put(fd, &l[i])
	}
}

// put writes one frame with its header where there is one.
func (q *tapQueue) put(fd int, f *devices.Frame) {
	q.iov = q.iov[:0]
	if q.t.header {
		encodeHeader(&q.header, f.Offload)
		q.iov = append(q.iov, q.header[:])
	}
	if len(f.Pieces) < iovMax {
		q.iov = append(q.iov, f.Pieces...)
	} else {
		n := f.Len()
		if cap(q.linear) < n {
			q.linear = make([]byte, n)
		}
		q.iov = append(q.iov, q.linear[:f.CopyTo(q.linear[:n], 0)])
	}
	if _, err := unix.Writev(fd, q.iov); err != nil {
		q.lost.Add(1)
	}
	clear(q.iov)
}

func encodeHeader(h *[tapHeader]byte, o devices.Offload) {
	le := binary.LittleEndian
	h[0], h[1] = o.Flags&devices.FlagNeedsChecksum, o.GSO
	le.PutUint16(h[2:], o.HeaderLen)
	le.PutUint16(h[4:], o.SegmentSize)
	le.PutUint16(h[6:], o.ChecksumStart)
	le.PutUint16(h[8:], o.ChecksumOffset)
}

func decodeHeader(h []byte) devices.Offload {
	le := binary.LittleEndian
	return devices.Offload{
		Flags: h[0] & (devices.FlagNeedsChecksum | devices.FlagDataValid), GSO: h[1],
		HeaderLen: le.Uint16(h[2:]), SegmentSize: le.Uint16(h[4:]), ChecksumStart: le.Uint16(h[6:]), ChecksumOffset: le.Uint16(h[8:]),
	}
}

// read passes frames from the kernel to the device: as many at a time as there
// are, or as fit into the arena.
func (q *tapQueue) read() {
	defer q.t.readers.Done()
	arena := make([]byte, tapArena)
	frames := make([]devices.Frame, 0, tapBatch)
	pieces := make([][]byte, tapBatch)
	skip := 0
	if q.t.header {
		skip = tapHeader
	}
	for {
		frames = frames[:0]
		at := 0
		var failed error
		err := q.raw.Read(func(fd uintptr) bool {
			for len(frames) < tapBatch && len(arena)-at >= maxFrame+tapHeader {
				n, err := unix.Read(int(fd), arena[at:at+maxFrame+tapHeader])
				switch {
				case err == unix.EINTR:
					continue
				case err == unix.EAGAIN:
					return len(frames) != 0
				case err != nil:
					failed = err
					return true
				case n <= skip:
					continue
				}
				f := devices.Frame{}
				if skip != 0 {
					f.Offload = decodeHeader(arena[at:])
				}
				i := len(frames)
				pieces[i] = arena[at+skip : at+n : at+n]
				f.Pieces = pieces[i : i+1 : i+1]
				frames = append(frames, f)
				at += (n + 63) &^ 63
			}
			return true
		})
		if err != nil {
			return
		}
		if !q.deliver(frames) {
			return
		}
		if failed == unix.EBADFD && q.t.multi {
			// A queue that is detached reads as not connected until it is attached again.
			select {
			case <-q.ready:
			case <-q.t.closed:
				return
			}
			continue
		}
		if failed != nil {
			q.t.to.LinkChanged(false)
			return
		}
	}
}

// deliver gives frames to the device, waiting for room as needed. False means
// that the back end was closed.
func (q *tapQueue) deliver(frames []devices.Frame) bool {
	for len(frames) > 0 {
		n := q.t.to.Receive(q.n, frames)
		frames = frames[n:]
		if len(frames) == 0 {
			break
		}
		select {
		case <-q.ready:
		case <-q.t.closed:
			return false
		}
	}
	return true
}
