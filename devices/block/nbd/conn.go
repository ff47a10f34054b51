package nbd

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// request is one request and what becomes of it.
type request struct {
	typ, flags uint16
	off        int64
	n          uint32
	bufs       [][]byte // to fill or to send, n bytes together

	status func(p []byte) error // takes descriptors of a cmdBlockStatus
	done   chan struct{}
	// err is valid once done is closed. lost tells that the connection broke
	// before the server had answered.
	err  error
	lost bool
	// got are the ranges received so far, relative to off.
	got []span
}

type span struct{ from, to uint32 }

// conn is a connection in its transmission phase.
type conn struct {
	c      net.Conn
	e      *export
	write  sync.Mutex // held while a request is sent
	mu     sync.Mutex
	next   uint64
	wait   map[uint64]*request // nil once the connection is broken
	why    error               // it is broken
	ended  chan struct{}       // closed when the receiver has ended
	broken chan struct{}       // closed when wait is nil
}

func newConn(c net.Conn, e *export) *conn {
	n := &conn{c: c, e: e, wait: map[uint64]*request{}, ended: make(chan struct{}), broken: make(chan struct{})}
	go n.receive()
	return n
}

// do sends a request and waits until it is answered or the connection is
// broken. Its buffers are not touched any more when it returns.
func (n *conn) do(r *request) {
	r.done, r.err, r.lost, r.got = make(chan struct{}), nil, false, r.got[:0]
	n.mu.Lock()
	if n.wait == nil {
		r.err, r.lost = n.why, true
		n.mu.Unlock()
		return
	}
	n.next++
	cookie := n.next
	n.wait[cookie] = r
	n.mu.Unlock()
	n.send(r, cookie)
	<-r.done
}

// send sends a request. A failure breaks the connection, which ends the request.
func (n *conn) send(r *request, cookie uint64) {
	p := make([]byte, 0, 28)
	p = be.AppendUint32(p, magicRequest)
	p = be.AppendUint16(p, r.flags)
	p = be.AppendUint16(p, r.typ)
	p = be.AppendUint64(p, cookie)
	p = be.AppendUint64(p, uint64(r.off))
	p = be.AppendUint32(p, r.n)
	n.write.Lock()
	defer n.write.Unlock()
	var err error
	if r.typ == cmdWrite {
		bufs := append(net.Buffers{p}, r.bufs...)
		_, err = bufs.WriteTo(n.c)
	} else {
		_, err = n.c.Write(p)
	}
	if err != nil {
		n.c.Close()
	}
}

// receive takes answers until the connection breaks, then ends all requests.
func (n *conn) receive() {
	defer close(n.ended)
	b := bufio.NewReaderSize(n.c, 64<<10)
	var err error
	for err == nil {
		err = n.answer(b)
	}
	n.c.Close()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = errors.New("the NBD server has closed the connection")
	}
	n.mu.Lock()
	left := n.wait
	n.wait, n.why = nil, err
	close(n.broken)
	n.mu.Unlock()
	for _, r := range left {
		r.err, r.lost = err, true
		close(r.done)
	}
}

// alive tells whether requests can be sent.
func (n *conn) alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wait != nil
}

// close breaks the connection and waits until nothing uses it.
func (n *conn) close(polite bool) {
	if polite {
		p := be.AppendUint32(nil, magicRequest)
		p = be.AppendUint32(p, cmdDisc)
		p = append(p, make([]byte, 20)...)
		if n.write.TryLock() {
			// Whether the server hears it makes no difference, so it need not
			// take long.
			late := time.AfterFunc(time.Second, func() { n.c.Close() })
			_, _ = n.c.Write(p)
			late.Stop()
			n.write.Unlock()
		}
	}
	n.c.Close()
	<-n.ended
}

// answer takes one answer, or one part of one.
func (n *conn) answer(b *bufio.Reader) error {
	var h [20]byte
	if _, err := io.ReadFull(b, h[:16]); err != nil {
		return err
	}
	switch magic := be.Uint32(h[:]); {
	case magic == magicSimpleReply:
		return n.simple(b, be.Uint64(h[8:]), be.Uint32(h[4:]))
	case magic == magicStructuredReply && n.e.structured:
		if _, err := io.ReadFull(b, h[16:]); err != nil {
			return err
		}
		return n.chunk(b, be.Uint64(h[8:]), be.Uint16(h[4:]), be.Uint16(h[6:]), be.Uint32(h[16:]))
	default:
		return protocol("an answer begins with %#x", magic)
	}
}

// find returns the request that an answer is for.
func (n *conn) find(cookie uint64) (*request, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.wait[cookie]; r != nil {
		return r, nil
	}
	return nil, protocol("an answer to request %d, which nobody waits for", cookie)
}

// finish ends a request.
func (n *conn) finish(cookie uint64, r *request) {
	n.mu.Lock()
	delete(n.wait, cookie)
	n.mu.Unlock()
	close(r.done)
}

// simple takes a simple reply.
func (n *conn) simple(b *bufio.Reader, cookie uint64, code uint32) error {
	r, err := n.find(cookie)
	if err != nil {
		return err
	}
	switch {
	case code != 0:
		r.err = &RemoteError{Code: code}
	case r.typ == cmdBlockStatus || r.typ == cmdRead && n.e.structured:
		return protocol("a simple reply to a request of type %d", r.typ)
	case r.typ == cmdRead:
		for _, p := range r.bufs {
			if _, err := io.ReadFull(b, p); err != nil {
				return err
			}
		}
	}
	n.finish(cookie, r)
	return nil
}

// chunk takes a part of a structured reply.
func (n *conn) chunk(b *bufio.Reader, cookie uint64, flags, typ uint16, size uint32) error {
	r, err := n.find(cookie)
	if err != nil {
		return err
	}
	switch {
	case typ == replyNone && size == 0 && flags&replyFlagDone != 0:
	case typ == replyOffsetData && r.typ == cmdRead && size > 8:
		err = r.data(b, size-8)
	case typ == replyOffsetHole && r.typ == cmdRead && size == 12:
		err = r.hole(b)
	case typ == replyBlockStatus && r.typ == cmdBlockStatus && size >= 12 && size%8 == 4 && size <= maxStatusChunk:
		err = r.descriptors(b, size, n.e.context)
	case typ&(1<<15) != 0 && size >= 6 && size <= maxErrorChunk:
		err = r.remoteError(b, size)
	default:
		return protocol("a part of type %#x with %d bytes, flags %#x, of the answer to a request of type %d", typ, size, flags, r.typ)
	}
	if err != nil || flags&replyFlagDone == 0 {
		return err
	}
	if r.typ == cmdRead && r.err == nil && !r.complete() {
		return protocol("parts of the answer to a read overlap or are missing")
	}
	n.finish(cookie, r)
	return nil
}

// span notes that a part of a read arrives.
func (r *request) span(off uint64, n uint32) error {
	at := off - uint64(r.off)
	if off < uint64(r.off) || at > uint64(r.n) || uint64(n) > uint64(r.n)-at || n == 0 {
		return protocol("%d bytes at %d in the answer to a read of %d at %d", n, off, r.n, r.off)
	}
	if len(r.got) >= maxChunks {
		return protocol("an answer in more than %d parts", maxChunks)
	}
	r.got = append(r.got, span{uint32(at), uint32(at) + n})
	return nil
}

// complete tells whether every byte has arrived once.
func (r *request) complete() bool {
	slices.SortFunc(r.got, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
	at := uint32(0)
	for _, s := range r.got {
		if s.from != at {
			return false
		}
		at = s.to
	}
	return at == r.n
}

// each calls f for the pieces of the buffers at at.
func (r *request) each(at, n uint32, f func(p []byte) error) error {
	for _, p := range r.bufs {
		if uint64(at) >= uint64(len(p)) {
			at -= uint32(len(p))
			continue
		}
		p = p[at:]
		p = p[:min(uint64(len(p)), uint64(n))]
		if err := f(p); err != nil {
			return err
		}
		if n -= uint32(len(p)); n == 0 {
			break
		}
		at = 0
	}
	return nil
}

func (r *request) data(b *bufio.Reader, n uint32) error {
	var h [8]byte
	if _, err := io.ReadFull(b, h[:]); err != nil {
		return err
	}
	off := be.Uint64(h[:])
	if err := r.span(off, n); err != nil {
		return err
	}
	return r.each(uint32(off-uint64(r.off)), n, func(p []byte) error {
		_, err := io.ReadFull(b, p)
		return err
	})
}

func (r *request) hole(b *bufio.Reader) error {
	var h [12]byte
	if _, err := io.ReadFull(b, h[:]); err != nil {
		return err
	}
	off, n := be.Uint64(h[:]), be.Uint32(h[8:])
	if err := r.span(off, n); err != nil {
		return err
	}
	return r.each(uint32(off-uint64(r.off)), n, func(p []byte) error {
		clear(p)
		return nil
	})
}

func (r *request) descriptors(b *bufio.Reader, size, context uint32) error {
	p := make([]byte, size)
	if _, err := io.ReadFull(b, p); err != nil {
		return err
	}
	if be.Uint32(p) != context {
		return protocol("a block status of context %d, which was not asked for", be.Uint32(p))
	}
	return r.status(p[4:])
}

func (r *request) remoteError(b *bufio.Reader, size uint32) error {
	p := make([]byte, size)
	if _, err := io.ReadFull(b, p); err != nil {
		return err
	}
	code, n := be.Uint32(p), uint32(be.Uint16(p[4:]))
	if code == 0 || n > size-6 {
		return protocol("error %d with a message of %d bytes in %d", code, n, size)
	}
	if r.err == nil {
		r.err = &RemoteError{code, string(p[6 : 6+n])}
	}
	return nil
}
