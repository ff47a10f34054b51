package network

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"dfemu/devices"
)

// trunk is a connection to a hub in another process. On a stream each frame has
// its length before it, 32 bits in network byte order; datagrams are frames.
// Frames are complete.
type trunk struct {
	hub  *Hub
	conn net.Conn
	env  Env
	gram bool

	mu   sync.Mutex
	soft completer
	out  []byte // frames with their lengths, waiting for the writer
	gone bool
	more chan struct{}
	wg   sync.WaitGroup
}

// trunkRoom is how many bytes wait for a slow peer; more is lost.
const trunkRoom = 8 << 20

// start serves the connection until it ends.
func (t *trunk) start() {
	t.more = make(chan struct{}, 1)
	t.hub.join(t)
	t.wg.Add(2)
	go func() {
		defer t.wg.Done()
		err := t.read()
		t.hub.leave(t)
		t.mu.Lock()
		gone := t.gone
		t.gone = true
		close(t.more)
		t.mu.Unlock()
		t.conn.Close()
		if !gone && err != io.EOF {
			t.env.warn(fmt.Errorf("hub %s: connection to %s: %w", t.hub.name, t.conn.RemoteAddr(), err))
		}
	}()
	go func() {
		defer t.wg.Done()
		t.write()
	}()
}

// stop ends the connection and waits for that.
func (t *trunk) stop() {
	t.mu.Lock()
	t.gone = true
	t.mu.Unlock()
	t.conn.Close()
	t.wg.Wait()
}

// deliver implements member.
func (t *trunk) deliver(frames []devices.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return
	}
	for i := range frames {
		for _, f := range t.soft.complete(&frames[i], 0) {
			n := f.Len()
			if len(t.out)+n+4 > trunkRoom {
				break
			}
			t.out = binary.BigEndian.AppendUint32(t.out, uint32(n))
			for _, p := range f.Pieces {
				t.out = append(t.out, p...)
			}
		}
	}
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// write sends what has gathered.
func (t *trunk) write() {
	var b []byte
	for range t.more {
		t.mu.Lock()
		b, t.out = t.out, b[:0]
		t.mu.Unlock()
		if !t.gram {
			if _, err := t.conn.Write(b); err != nil {
				return // the reader sees it too
			}
			continue
		}
		for p := b; len(p) >= 4; {
			n := binary.BigEndian.Uint32(p)
			// A datagram that is not taken is a lost frame.
			t.conn.Write(p[4 : 4+n])
			p = p[4+n:]
		}
	}
}

// read passes the peer's frames on.
func (t *trunk) read() error {
	if t.gram {
		b := make([]byte, maxFrame+1)
		piece := make([][]byte, 1)
		for {
			n, err := t.conn.Read(b)
			if err != nil {
				if t.refused(err) {
					continue
				}
				return err
			}
			piece[0] = b[:n]
			t.hub.forward(t, []devices.Frame{{Pieces: piece}})
		}
	}
	r := bufio.NewReaderSize(t.conn, trunkArena)
	arena := make([]byte, trunkArena+maxFrame)
	pieces := make([][]byte, trunkBatch)
	frames := make([]devices.Frame, trunkBatch)
	for {
		// The first frame is waited for; those that are there already go with it.
		at, n := 0, 0
		for n < trunkBatch && at < trunkArena && (n == 0 || buffered(r)) {
			p, err := readFrame(r, arena[at:])
			if err != nil {
				return err
			}
			pieces[n] = p
			frames[n] = devices.Frame{Pieces: pieces[n : n+1 : n+1]}
			at += len(p)
			n++
		}
		t.hub.forward(t, frames[:n])
	}
}

const (
	trunkArena = 256 << 10
	trunkBatch = 64
)

// buffered tells whether a whole frame has arrived.
func buffered(r *bufio.Reader) bool {
	if r.Buffered() < 4 {
		return false
	}
	h, err := r.Peek(4)
	return err == nil && uint64(r.Buffered()) >= 4+uint64(binary.BigEndian.Uint32(h))
}

// refused tells whether an error means only that the peer's port is not open yet.
func (t *trunk) refused(err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.gone && isRefused(err)
}

// readFrame reads a length and a frame of that length into b.
func readFrame(r io.Reader, b []byte) ([]byte, error) {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes: the peer speaks another language", n)
	}
	_, err := io.ReadFull(r, b[:n])
	return b[:n], err
}

// trunks are the connections of one socket.
type trunks struct {
	mu   sync.Mutex
	l    []*trunk
	done bool
	wg   sync.WaitGroup
}

func (s *trunks) add(h *Hub, c net.Conn, env Env) {
	t := &trunk{hub: h, conn: c, env: env}
	_, t.gram = c.(*net.UDPConn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		c.Close()
		return
	}
	s.l = append(s.l, t)
	t.start()
}

func (s *trunks) close() {
	s.mu.Lock()
	s.done = true
	l := s.l
	s.mu.Unlock()
	for _, t := range l {
		t.stop()
	}
	s.wg.Wait()
}

// datagrams exchanges frames with one peer by UDP.
func (h *Hub) datagrams(own, peer string, env Env) (func() error, error) {
	l, err := net.ResolveUDPAddr("udp", own)
	if err != nil {
		return nil, err
	}
	p, err := net.ResolveUDPAddr("udp", peer)
	if err != nil {
		return nil, err
	}
	c, err := net.DialUDP("udp", l, p)
	if err != nil {
		return nil, err
	}
	s := &trunks{}
	s.add(h, c, env)
	return func() error { s.close(); return nil }, nil
}
