package vsock

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// sequenced tells whether Unix sockets of the host can be of type SOCK_SEQPACKET.
const sequenced = runtime.GOOS == "linux" || runtime.GOOS == "freebsd"

// packetSuffix is what the path of the socket for sequenced packets has more.
const packetSuffix = "_seq"

// network is what package net calls Unix sockets of a type.
func network(kind uint16) string {
	if kind == typeSeqpacket {
		return "unixpacket"
	}
	return "unix"
}

// listen makes the sockets that programs of the host connect to.
func (d *Device) listen() (err error) {
	if d.listener, err = listenAt(network(typeStream), d.o.Path); err != nil || !sequenced {
		return err
	}
	if d.packets, err = listenAt(network(typeSeqpacket), d.o.Path+packetSuffix); err != nil {
		_ = d.listener.Close() // the first error counts
	}
	return err
}

func listenAt(network, path string) (net.Listener, error) {
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
		c, err := net.Dial(network, path)
		switch {
		case err == nil:
			_ = c.Close()
			return nil, fmt.Errorf("somebody listens at %s already", path)
		case errors.Is(err, syscall.ECONNREFUSED):
			_ = os.Remove(path) // left over
		}
	}
	return net.Listen(network, path)
}

// kindOf is the type of a socket of the host.
func kindOf(sock net.Conn) uint16 {
	if sock.LocalAddr().Network() == network(typeSeqpacket) {
		return typeSeqpacket
	}
	return typeStream
}

// accept takes connections from programs of the host.
func (d *Device) accept(l net.Listener) {
	defer d.wg.Done()
	for {
		sock, err := l.Accept()
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
	c := newConn(k, kindOf(sock))
	c.sock = sock
	d.conns[k] = c
	d.tell(c, sayRequest)
	d.fillLocked()
}

// readConnect reads the line byte by byte: what is behind it belongs to the guest. Of a socket for packets it is the
// first packet.
func readConnect(sock net.Conn) (port uint32, ok bool) {
	if kindOf(sock) == typeSeqpacket {
		var line [maxGreeting]byte
		n, err := sock.Read(line[:])
		if err != nil || n == len(line) {
			return 0, false
		}
		return parseConnect(line[:n])
	}
	var line []byte
	for len(line) < maxGreeting {
		var b [1]byte
		if n, err := sock.Read(b[:]); err != nil || n == 0 {
			return 0, false
		}
		if b[0] == '\n' {
			return parseConnect(line)
		}
		line = append(line, b[0])
	}
	return 0, false
}

func parseConnect(line []byte) (port uint32, ok bool) {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 32)
	return uint32(n), err == nil && bytes.EqualFold(word, []byte("connect"))
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
	sock, err := net.Dial(network(c.kind), fmt.Sprintf("%s_%d", d.o.Path, c.host))
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
