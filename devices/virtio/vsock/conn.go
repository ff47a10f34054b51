package vsock

import (
	"errors"
	"io"
	"net"
)

// What a connection has to say to the guest besides data.
const (
	sayRequest = 1 << iota
	sayResponse
	sayCreditUpdate
	sayCreditRequest
	sayShutdown // once the data is gone
	sayRst      // the last of all
)

// A conn is a connection. All is guarded by Device.mu.
type conn struct {
	key
	kind   uint16   // of socket
	sock   net.Conn // nil while it is being connected
	open   bool     // both ends know of each other
	gone   bool     // no longer in the table
	say    uint8
	queued bool // in Device.ready

	// To the guest.
	in                        []byte // read from the host, not yet in a packet
	txCnt, peerAlloc, peerFwd uint32 // bytes sent; room and count of the guest
	asked                     bool   // for credit
	noReceive                 bool   // the guest receives no more
	readOver                  bool   // the host sends no more

	// To the host.
	out          [][]byte // packets of a stream, or whole messages
	part         []byte   // of a message whose end is not here yet
	outBytes     int      // in both
	fwdCnt, told uint32   // bytes passed on, and what the guest knows of that
	noSend       bool     // the guest sends no more
	writeOver    bool     // the host was told so

	reader, writer chan struct{} // to wake these goroutines
}

func newConn(k key, kind uint16) *conn {
	return &conn{key: k, kind: kind, reader: make(chan struct{}, 1), writer: make(chan struct{}, 1)}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// credit is how many bytes the guest has room for.
func (c *conn) credit() uint32 {
	used := c.txCnt - c.peerFwd
	if used >= c.peerAlloc {
		return 0
	}
	return c.peerAlloc - used
}

// speaks tells whether there is something that can be sent to the guest now.
func (c *conn) speaks() bool {
	data := len(c.in) != 0 && c.credit() > 0
	return data || c.say&^(sayShutdown|sayRst) != 0 || c.say&(sayShutdown|sayRst) != 0 && len(c.in) == 0
}

// tell has the connection say something to the guest. The caller holds mu, and calls fill later.
func (d *Device) tell(c *conn, what uint8) {
	c.say |= what
	if what == sayRst {
		c.say, c.in = sayRst, nil
	}
	d.enqueue(c)
}

func (d *Device) enqueue(c *conn) {
	if !c.queued && c.speaks() {
		c.queued = true
		d.ready = append(d.ready, c)
	}
}

// remove takes a connection out of the table and closes its socket. The caller holds mu.
func (d *Device) remove(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	if d.conns[c.key] == c {
		delete(d.conns, c.key)
	}
	if c.sock != nil {
		_ = c.sock.Close() // nobody is left who could be told
	}
	wake(c.reader)
	wake(c.writer)
}

// establish starts a connection's traffic. The caller holds mu.
func (d *Device) establish(c *conn) {
	c.open = true
	if u, ok := c.sock.(*net.UnixConn); ok && c.kind == typeSeqpacket {
		// So that the largest message fits. Where the host does not allow that, one that does not ends the connection.
		_ = u.SetWriteBuffer(bufferSize)
	}
	d.spawn(func() { d.read(c) })
	d.spawn(func() { d.write(c) })
}

// read moves what the host sends to the guest, as far as the guest has room.
func (d *Device) read(c *conn) {
	buf := make([]byte, maxPacket)
	if c.kind == typeSeqpacket {
		buf = make([]byte, maxMessage+1) // that one byte tells that a message is longer
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		for !c.gone && !c.noReceive && (len(c.in) != 0 || c.credit() == 0) {
			if c.credit() > 0 {
				c.asked = false
			} else if !c.asked {
				c.asked = true
				d.tell(c, sayCreditRequest)
				d.fillLocked()
			}
			d.mu.Unlock()
			<-c.reader
			d.mu.Lock()
		}
		if c.gone || c.noReceive {
			return
		}
		c.asked = false
		p := buf
		if c.kind == typeStream {
			p = buf[:min(uint32(len(buf)), c.credit())]
		}
		d.mu.Unlock()
		n, err := c.sock.Read(p)
		d.mu.Lock()
		if c.gone || c.noReceive {
			return
		}
		if c.kind == typeSeqpacket && (n > maxMessage || uint64(n) > uint64(c.peerAlloc)) {
			d.tell(c, sayRst) // it does not fit into the guest's buffer, or not into ours
			d.fillLocked()
			return
		}
		c.in = p[:n]
		if err != nil {
			c.readOver = true
			what := uint8(sayShutdown)
			if !errors.Is(err, io.EOF) {
				what = sayRst
			}
			d.tell(c, what)
			d.fillLocked()
			return
		}
		d.enqueue(c)
		d.fillLocked()
	}
}

// write moves what the guest has sent to the host.
func (d *Device) write(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		for !c.gone && len(c.out) == 0 && (!c.noSend || c.writeOver && !c.noReceive) {
			d.mu.Unlock()
			<-c.writer
			d.mu.Lock()
		}
		if c.gone {
			return
		}
		if len(c.out) == 0 {
			// The guest has sent all that it will.
			if !c.writeOver {
				c.writeOver = true
				if u, ok := c.sock.(*net.UnixConn); ok {
					_ = u.CloseWrite() // fails when the host has closed: then it knows
				}
			}
			if c.noReceive {
				d.tell(c, sayRst)
				d.fillLocked()
				return
			}
			continue
		}
		p := c.out[0]
		c.out = c.out[1:]
		d.mu.Unlock()
		_, err := c.sock.Write(p)
		d.mu.Lock()
		if c.gone {
			return
		}
		if err != nil {
			d.tell(c, sayRst)
			d.fillLocked()
			return
		}
		c.outBytes -= len(p)
		c.fwdCnt += uint32(len(p))
		if c.fwdCnt-c.told >= bufferSize/4 {
			d.tell(c, sayCreditUpdate)
			d.fillLocked()
		}
	}
}
