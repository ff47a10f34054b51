package vsock

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// newPacketGuest is a guest whose sockets are for sequenced packets.
func newPacketGuest(t *testing.T) *guest {
	t.Helper()
	if !sequenced {
		t.Skip("this host has no Unix sockets for sequenced packets")
	}
	g := newGuest(t)
	g.kind = typeSeqpacket
	return g
}

// openPackets connects guest port 1000 with a program at port 80 of the host, by messages.
func (g *guest) openPackets() net.Conn {
	g.Helper()
	l, err := net.Listen("unixpacket", g.path+"_80")
	check(g, err)
	g.send(header{op: opRequest, srcPort: 1000, dstPort: 80}, "")
	sock, err := l.Accept()
	check(g, err)
	g.Cleanup(func() { _ = sock.Close() })
	check(g, l.Close())
	g.expect(opResponse, 1000, 80)
	return sock
}

// message is a packet of data on that connection.
func message(flags uint32) header { return header{op: opRW, srcPort: 1000, dstPort: 80, flags: flags} }

func TestMessages(t *testing.T) {
	g := newPacketGuest(t)
	sock := g.openPackets()
	// To the host: one message in three packets, one in one, an empty one, and one that ends a record.
	large := strings.Repeat("0123456789abcdef", 4<<10)
	g.send(message(0), large)
	g.send(message(0), large)
	g.send(message(seqEOM), "end")
	g.send(message(seqEOM), "second")
	g.send(message(seqEOM), "")
	g.send(message(seqEOM|seqEOR), "third")
	buf := make([]byte, bufferSize)
	for _, want := range []string{large + large + "end", "second", "third"} {
		if n, err := sock.Read(buf); err != nil || string(buf[:n]) != want {
			t.Fatalf("%d bytes, %v: want a message of %d", n, err, len(want))
		}
	}
	// To the guest: one that needs several buffers, then a short one.
	for _, want := range []string{large[:10000], "x"} {
		check1(io.WriteString(sock, want))(t)
		got, n := "", 0
		for {
			h, data := g.receiveUntil(opRW, func() {})
			got += data
			n++
			if h.flags == seqEOM {
				break
			} else if h.flags != 0 || data == "" {
				t.Fatalf("flags %#x with %d bytes", h.flags, len(data))
			}
		}
		if got != want || n != (len(want)+4095)/4096 {
			t.Errorf("a message of %d bytes in %d packets, want %d bytes", len(got), n, len(want))
		}
	}
	// The end, from both sides.
	check(t, sock.(*net.UnixConn).CloseWrite())
	g.receiveUntil(opShutdown, func() {})
	g.send(message(0), "half")
	h := message(shutdownSend | shutdownReceive)
	h.op = opShutdown
	g.send(h, "")
	g.expect(opRst, 1000, 80)
	if n, err := sock.Read(buf); err != io.EOF {
		t.Errorf("%d bytes, %v: want the end", n, err)
	}
	if !g.rec.Has("violation virtio 1.2, 5.10.6.6.1: SHUTDOWN after 4 bytes of a message") {
		t.Error("half a message is not reported")
	}
}

func TestHostConnectsForMessages(t *testing.T) {
	g := newPacketGuest(t)
	sock, err := net.Dial("unixpacket", g.path+"_seq")
	check(t, err)
	defer sock.Close()
	check1(io.WriteString(sock, "CONNECT 5000"))(t)
	check1(io.WriteString(sock, "early"))(t)
	h, _ := g.receive()
	if h.op != opRequest || h.dstPort != 5000 || h.srcPort < firstPort {
		t.Fatalf("%+v", h)
	}
	g.send(header{op: opResponse, srcPort: 5000, dstPort: h.srcPort}, "")
	buf := make([]byte, 100)
	if n, err := sock.Read(buf); err != nil || string(buf[:n]) != fmt.Sprintf("OK %d\n", h.srcPort) {
		t.Errorf("%q %v", buf[:n], err)
	}
	if h, data := g.expect(opRW, 5000, h.srcPort); data != "early" || h.flags != seqEOM {
		t.Errorf("%q, flags %#x", data, h.flags)
	}
	for _, line := range []string{"HELLO 1", "CONNECT x", strings.Repeat("CONNECT 1", 10)} {
		sock, err := net.Dial("unixpacket", g.path+"_seq")
		check(t, err)
		check1(io.WriteString(sock, line))(t)
		if n, err := sock.Read(buf); err == nil {
			t.Errorf("%q is answered with %q", line, buf[:n])
		}
		check(t, sock.Close())
	}
}

// TestMessageCredit sends messages to a guest that has little room.
func TestMessageCredit(t *testing.T) {
	g := newPacketGuest(t)
	g.alloc = 16
	sock := g.openPackets()
	check1(io.WriteString(sock, "0123456789"))(t)
	check1(io.WriteString(sock, "abcdefghij"))(t)
	if h, data := g.expect(opRW, 1000, 80); data != "0123456789" || h.flags != seqEOM {
		t.Fatalf("%q, flags %#x", data, h.flags)
	}
	if h, data := g.expect(opRW, 1000, 80); data != "abcdef" || h.flags != 0 {
		t.Fatalf("%q, flags %#x", data, h.flags)
	}
	g.expect(opCreditRequest, 1000, 80)
	u := message(0)
	u.op, u.fwdCnt = opCreditUpdate, 10
	g.send(u, "")
	if h, data := g.expect(opRW, 1000, 80); data != "ghij" || h.flags != seqEOM {
		t.Fatalf("%q, flags %#x", data, h.flags)
	}
	u.fwdCnt = 20
	g.send(u, "")
	// One that the guest never has room for.
	check1(io.WriteString(sock, "0123456789abcdefg"))(t)
	g.expect(opRst, 1000, 80)
}

func TestMessagesRefused(t *testing.T) {
	g := newPacketGuest(t)
	g.listen(81) // for streams
	g.send(header{op: opRequest, srcPort: 1, dstPort: 81}, "")
	g.expect(opRst, 1, 81)
	sock := g.openPackets()
	for _, flags := range []uint32{4, seqEOR} {
		g.rec.Forget()
		g.send(message(flags), "a")
		if !g.rec.Has("violation virtio 1.2, 5.10.6.6.1: RW with flags") {
			t.Errorf("flags %#x are not reported", flags)
		}
	}
	// Packets of the other type are not of this connection, which goes on.
	g.kind = typeStream
	g.send(message(0), "b")
	g.expect(opRst, 1000, 80)
	if !g.rec.Has("violation virtio 1.2, 5.10.6.2: type 1 on a connection of type 2") {
		t.Error("the type is not reported")
	}
	g.kind = typeSeqpacket
	g.send(message(seqEOM), "c")
	buf := make([]byte, 100)
	if n, err := sock.Read(buf); err != nil || string(buf[:n]) != "aac" {
		t.Errorf("%q %v", buf[:n], err)
	}
	// More than there is credit for: a message cannot be longer.
	for range 8 {
		g.send(message(0), strings.Repeat("x", 32<<10))
	}
	g.send(message(0), "x")
	g.receiveUntil(opRst, func() {})
	if !g.rec.Has("violation", "without credit") {
		t.Error("more than 256 KiB are accepted")
	}

	// A driver without the feature has only streams.
	g.d.Start(0)
	g.rx, g.tx = g.d.Queue(queueRx, 64), g.d.Queue(queueTx, 64)
	g.d.Go()
	g.rx.Add(nil, headerSize, 4096)
	g.rx.Kick()
	g.send(header{op: opRequest, srcPort: 1, dstPort: 80}, "")
	g.expect(opRst, 1, 80)
}
