package vsock

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// accept takes connections from programs of the host.
func (d *Device) accept() {
	defer d.wg.Done()
	for {
		sock, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		d.mu.Lock()
		if d.closed || len(d.waiting) >= maxWaiting {
			_ = sock.Close()
		} else {
			d.waiting[sock] = true
			d.spawn(func() { d.greet(sock) })
		}
		d.mu.Unlock()
	}
}

// greet reads a program's "CONNECT PORT\n" and asks the guest for the connection.
func (d *Device) greet(sock net.Conn) {
	port, ok := readConnect(sock)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, sock)
	if !ok || !d.active || d.closed || len(d.conns) >= maxConns {
		_ = sock.Close()
		return
	}
	k := key{guest: port}
	for range maxConns + 1 {
		if d.port++; d.port < firstPort {
			d.port = firstPort
		}
		k.host = d.port
		if d.conns[k] == nil {
			break
		}
	}
	c := newConn(k)
	c.sock = sock
	d.conns[k] = c
	d.tell(c, sayRequest)
	d.fillLocked()
}

// readConnect reads the line byte by byte: what is behind it belongs to the guest.
func readConnect(sock net.Conn) (port uint32, ok bool) {
	var line []byte
	for len(line) < maxGreeting {
		var b [1]byte
		if n, err := sock.Read(b[:]); err != nil || n == 0 {
			return 0, false
		}
		if b[0] == '\n' {
			word, rest, _ := bytes.Cut(line, []byte(" "))
			n, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 32)
			return uint32(n), err == nil && bytes.EqualFold(word, []byte("connect"))
		}
		line = append(line, b[0])
	}
	return 0, false
}

// accepted tells the program of the host that the guest has taken its connection. The caller holds mu.
func (d *Device) accepted(c *conn) {
	// A new socket has room for a line: this does not wait.
	if _, err := fmt.Fprintf(c.sock, "OK %d\n", c.host); err != nil {
		d.tell(c, sayRst)
		return
	}
	d.establish(c)
}

// dial connects a guest to a program of the host.
func (d *Device) dial(c *conn) {
	sock, err := net.Dial("unix", fmt.Sprintf("%s_%d", d.o.Path, c.host))
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.gone && err == nil:
		_ = sock.Close()
		return
	case c.gone:
		return
	case err != nil:
		d.tell(c, sayRst)
	default:
		c.sock = sock
		d.tell(c, sayResponse)
		d.establish(c)
	}
	d.fillLocked()
}
