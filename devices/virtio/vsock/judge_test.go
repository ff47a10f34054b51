package vsock

import (
	"strings"
	"testing"

	"dfemu/devices/virtio/virtiotest"
)

// TestForesee breaks rules while nobody takes packets: who is to be halted at the notification hears of it before that ends, and once.
// Packets are judged by those before them, whether they have been carried out or not.
func TestForesee(t *testing.T) {
	g := newGuest(t)
	g.open()
	chunk := string(make([]byte, maxPacket))
	with := func(h header, flags, fwd uint32) header { h.flags, h.fwdCnt = flags, fwd; return h }
	at := func(port uint32, op uint16) header { return header{op: op, srcPort: port, dstPort: 80} }
	seq := func(h header) header { h.kind = typeSeqpacket; return h }
	// tell has a packet judged, and returns what was found.
	tell := func(h header, data string) []string {
		g.rec.Violations()
		g.dev.Pause()
		h.srcCID, h.dstCID, h.len, h.bufAlloc, h.kind = cid, HostCID, uint32(len(data)), g.alloc, max(h.kind, typeStream)
		b := h.encode()
		g.tx.Add([][]byte{b[:], []byte(data)})
		g.tx.Kick()
		return g.rec.Violations()
	}
	n := 0
	for _, x := range []struct {
		name string
		h    header
		data string
		want string
	}{
		{"data", rw(opRW), chunk, ""},
		{"wrong count", with(rw(opCreditUpdate), 0, 1), "", "5.10.6.3.1: fwd_cnt is 1 after 0 bytes"},
		{"another type", seq(rw(opCreditRequest)), "", "5.10.6.2: type 2 on a connection of type 1"},
		{"response", rw(opResponse), "", "5.10.6.5: RESPONSE to no request"},
		{"data again", rw(opRW), chunk, ""},
		{"and again", rw(opRW), chunk, ""},
		{"all that there is room for", rw(opRW), chunk, ""},
		{"no credit", rw(opRW), "x", "5.10.6.3.1: 1 bytes of data without credit: 262144"},
		{"request", rw(opRequest), "", "5.10.6.5: REQUEST on a connection that exists"},
		{"no operation", rw(9), "", "5.10.6: op is 9"},
		{"unknown flags", with(rw(opShutdown), 8, 0), "", "5.10.6.5: SHUTDOWN with flags 0x8"},
		{"shutdown", with(rw(opShutdown), shutdownSend, 0), "", ""},
		{"data after shutdown", rw(opRW), "x", "5.10.6.5: data after SHUTDOWN"},
		{"reset", rw(opRst), "", ""},
		{"request after reset", rw(opRequest), "", ""},
		{"before the response", rw(opRW), "x", "5.10.6.5: RW on a connection that was not accepted"},
		{"no connection", at(7, opRW), "x", ""},
		{"sequenced", seq(at(8, opRequest)), "", ""},
		{"sequenced twice", seq(at(8, opRequest)), "", "5.10.6.5: REQUEST on a connection that exists"},
	} {
		l := tell(x.h, x.data)
		if n++; x.want == "" && len(l) != 0 || x.want != "" && (len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, "+x.want)) {
			t.Errorf("%s: %q at the notification, want %q", x.name, l, x.want)
		}
	}
	g.dev.Resume()
	g.tx.Poll(n)
	if l := g.rec.Violations(); len(l) != 0 {
		t.Errorf("%q when they are taken", l)
	}
	g.dev.mu.Lock()
	if len(g.dev.told) != 0 {
		t.Errorf("left over: %v", g.dev.told)
	}
	g.dev.mu.Unlock()

	// Buffers for packets and events.
	for _, x := range []struct {
		q    *virtiotest.Queue
		size int
		want string
	}{
		{g.rx, headerSize - 1, "5.10.6.4: a receive buffer of 43 bytes"}, {g.rx, headerSize, "5.10.6.4: a receive buffer without room"},
		{g.ev, eventSize - 1, "5.10.6.7: a buffer of 3 bytes"}, {g.rx, headerSize + 1, ""}, {g.ev, eventSize, ""},
	} {
		g.rec.Violations()
		g.dev.Pause()
		x.q.Add(nil, x.size)
		x.q.Kick()
		if l := g.rec.Violations(); x.want == "" && len(l) != 0 || x.want != "" && (len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, "+x.want)) {
			t.Errorf("%d bytes: %q at the notification, want %q", x.size, l, x.want)
		}
	}
	g.dev.Resume()
}
