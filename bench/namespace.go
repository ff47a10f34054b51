package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// errNoTap reports that this process cannot make a network namespace with tap interfaces in it.
var errNoTap = errors.New("no tap interfaces")

// tapEnd is the host's end of a tap interface, which a monitor makes.
type tapEnd struct {
	name    string
	address [4]byte // with a mask of 24 bits
}

// peer is the host's end of the connections that guests measure.
type peer struct {
	l    net.Listener
	ends sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
	shut bool
}

// newPeer listens in the network of the calling thread.
func newPeer() (*peer, error) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	p := &peer{l: l, open: map[net.Conn]bool{}}
	p.ends.Go(p.serve)
	return p, nil
}

func (p *peer) port() int { return p.l.Addr().(*net.TCPAddr).Port }

func (p *peer) serve() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.shut {
			p.mu.Unlock()
			c.Close()
			return
		}
		p.open[c] = true
		p.mu.Unlock()
		p.ends.Go(func() {
			// The guest reports what went wrong.
			_ = serve(c)
			c.Close()
			p.mu.Lock()
			delete(p.open, c)
			p.mu.Unlock()
		})
	}
}

// serve does what a guest asks for: a byte for the direction, 'o' or 'i', and a number of bytes.
func serve(c io.ReadWriter) error {
	var ask [9]byte
	if _, err := io.ReadFull(c, ask[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(ask[1:])
	buf := make([]byte, 128<<10)
	switch ask[0] {
	case 'o':
		for n > 0 {
			k, err := c.Read(buf[:min(n, uint64(len(buf)))])
			n -= uint64(k)
			if err != nil && n > 0 {
				return err
			}
		}
		_, err := c.Write(buf[:1])
		return err
	case 'i':
		for n > 0 {
			k, err := c.Write(buf[:min(n, uint64(len(buf)))])
			n -= uint64(k)
			if err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("direction %q: must be o or i", ask[0])
}

// close ends all connections and waits for what serves them.
func (p *peer) close() {
	p.l.Close()
	p.mu.Lock()
	p.shut = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.ends.Wait()
}
