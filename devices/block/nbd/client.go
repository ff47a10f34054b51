package nbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// Options says how an export is used.
type Options struct {
	// ReadOnly makes writes fail; they fail as well if the server says so.
	ReadOnly bool
	// Connections is how many connections are used at once, if the server
	// allows more than one; 0 means 1.
	Connections int
	// Reconnect is for how long requests wait for a lost connection to be made
	// again before they fail; 0 means 30 seconds, less than 0 not at all.
	// After they failed, later ones try again, once each.
	Reconnect time.Duration
	// Dial makes a connection; nil means the net package does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// dialTimeout is how long making a connection may take.
const dialTimeout = 10 * time.Second

// Waits between attempts to connect.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = 2 * time.Second
)

// maxTransfer is the most bytes of data in a request, unless the server asks
// for less.
const maxTransfer = 32 << 20

// maxRange is the most bytes that a request without data is about, a multiple
// of all block sizes.
const maxRange = 1 << 30

// Client is a disk behind an NBD server. Its methods may be called
// concurrently.
type Client struct {
	a      Address
	o      Options
	e      export // of the first connection
	size   int64
	align  int64 // of requests
	most   int64 // bytes of data in a request
	links  []link
	turn   atomic.Uint64
	ctx    context.Context
	cancel context.CancelFunc
	// edge is held while a block is read, changed and written back.
	edge sync.RWMutex

	mu sync.Mutex
	// acked counts answered writes, flushed how many of them were flushed.
	acked, flushed uint64
	// lost tells that a connection was lost with unflushed writes.
	lost bool
}

// link is a place for a connection.
type link struct {
	mu   sync.Mutex // held while connecting
	n    atomic.Pointer[conn]
	down bool // the last attempts to connect were in vain
}

var (
	_ devices.Block       = (*Client)(nil)
	_ devices.VectorBlock = (*Client)(nil)
	_ devices.FUABlock    = (*Client)(nil)
	_ devices.ExtentBlock = (*Client)(nil)
)

// ErrUnflushed is wrapped by the first Flush after a connection was lost while
// the server had acknowledged writes that were not flushed.
var ErrUnflushed = errors.New("the connection to the NBD server was lost, and with it possibly what was written and not flushed")

// Open connects to an export.
func Open(a Address, o Options) (*Client, error) {
	if o.Reconnect == 0 {
		o.Reconnect = 30 * time.Second
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	c := &Client{a: a, o: o}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	n, err := c.dial()
	if err != nil {
		c.cancel()
		return nil, fmt.Errorf("open disk %s: %w", a, err)
	}
	c.e = *n.e
	c.size = int64(c.e.size) &^ 511
	c.align = int64(max(c.e.min, 1))
	c.most = maxTransfer
	if c.e.max != 0 {
		c.most = min(c.most, int64(c.e.max))
	}
	links := 1
	if c.e.flags&flagCanMultiConn != 0 {
		links = min(max(o.Connections, 1), 16)
	}
	c.links = make([]link, links)
	c.links[0].n.Store(n)
	return c, nil
}

// OpenURL is Open with an address in a form that ParseURL reads.
func OpenURL(s string, o Options) (*Client, error) {
	a, err := ParseURL(s)
	if err != nil {
		return nil, err
	}
	return Open(a, o)
}

// dial makes a connection and negotiates.
func (c *Client) dial() (*conn, error) {
	ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
	defer cancel()
	n, err := c.o.Dial(ctx, c.a.Network, c.a.Host)
	if err != nil {
		return nil, err
	}
	// Negotiation ends in time, too.
	stop := context.AfterFunc(ctx, func() { n.Close() })
	e, err := handshake(n, c.a.Export)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		n.Close()
		if ctx.Err() != nil && c.ctx.Err() == nil {
			err = fmt.Errorf("the NBD server does not answer for %v", dialTimeout)
		}
		return nil, err
	}
	return newConn(n, e), nil
}

// connected returns the connection of a link, which is made anew if it was
// lost.
func (c *Client) connected(l *link) (*conn, error) {
	if n := l.n.Load(); n != nil && n.alive() {
		return n, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.n.Load(); n != nil {
		if n.alive() {
			return n, nil
		}
		c.noteLoss(l)
	}
	if c.ctx.Err() != nil {
		return nil, host.ErrClosed
	}
	limit, cancel := context.WithTimeout(c.ctx, max(c.o.Reconnect, 0))
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		n, err := c.dial()
		if err == nil {
			if *n.e != c.e && (n.e.size != c.e.size || n.e.flags != c.e.flags || n.e.min != c.e.min || n.e.max != c.e.max) {
				n.close(true)
				return nil, fmt.Errorf("disk %s: the export is another one than before: %d bytes, flags %#x; it had %d, %#x", c.a, n.e.size, n.e.flags, c.e.size, c.e.flags)
			}
			l.n.Store(n)
			l.down = false
			if c.ctx.Err() != nil {
				n.close(false)
				return nil, host.ErrClosed
			}
			return n, nil
		}
		if c.ctx.Err() != nil {
			return nil, host.ErrClosed
		}
		if l.down || c.o.Reconnect < 0 {
			return nil, fmt.Errorf("disk %s: the connection was lost and cannot be made again: %w", c.a, err)
		}
		select {
		case <-time.After(wait):
		case <-limit.Done():
			l.down = true
			return nil, fmt.Errorf("disk %s: the connection was lost and could not be made again for %v: %w", c.a, c.o.Reconnect, err)
		}
	}
}

// noteLoss notes that a link's connection is gone.
func (c *Client) noteLoss(l *link) {
	l.n.Store(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acked > c.flushed {
		c.lost = true
		c.flushed = c.acked
	}
}

// do has a request answered, again if a connection is lost meanwhile.
func (c *Client) do(r *request) error {
	l := &c.links[c.turn.Add(1)%uint64(len(c.links))]
	for {
		n, err := c.connected(l)
		if err != nil {
			return err
		}
		n.do(r)
		if !r.lost {
			if r.err != nil {
				return fmt.Errorf("disk %s: %w", c.a, r.err)
			}
			return nil
		}
		if c.ctx.Err() != nil {
			return host.ErrClosed
		}
		if errors.Is(r.err, ErrProtocol) {
			return fmt.Errorf("disk %s: %w", c.a, r.err)
		}
	}
}

// Size implements devices.Block.
func (c *Client) Size() int64 { return c.size }

// ReadOnly implements devices.Block.
func (c *Client) ReadOnly() bool { return c.o.ReadOnly || c.e.flags&flagReadOnly != 0 }

// Close ends all requests with an error and closes the connections.
func (c *Client) Close() error {
	if c.ctx.Err() != nil {
		return host.ErrClosed
	}
	c.cancel()
	for i := range c.links {
		l := &c.links[i]
		if n := l.n.Load(); n != nil {
			n.close(true)
		}
		// Somebody may be connecting; what that gives is closed there.
		l.mu.Lock()
		if n := l.n.Load(); n != nil {
			n.close(false)
		}
		l.mu.Unlock()
	}
	return nil
}
