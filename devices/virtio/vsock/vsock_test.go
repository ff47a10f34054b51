package vsock

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio/virtiotest"
)

const cid = 7

// guest is a driver.
type guest struct {
	*testing.T
	dev   *Device
	d     *virtiotest.Driver
	rx    *virtiotest.Queue
	tx    *virtiotest.Queue
	ev    *virtiotest.Queue
	path  string
	rec   *devtest.Recorder
	clock *devtest.Clock
	alloc uint32 // room that is announced
	kind  uint16 // of sockets
}

func newGuest(t *testing.T) *guest {
	t.Helper()
	g := &guest{T: t, path: filepath.Join(t.TempDir(), "v"), rec: &devtest.Recorder{}, clock: devtest.NewClock(time.Unix(0, 0)), alloc: 64 << 10, kind: typeStream}
	g.connect()
	g.start()
	return g
}

func (g *guest) connect() {
	g.Helper()
	dev, err := New(Options{Name: "virtio-vsock0", CID: cid, Path: g.path, Clock: g.clock})
	check(g, err)
	g.dev = dev
	g.Cleanup(func() { _ = dev.Close() })
	dev.Function().Probe().Watch(^devices.Class(0), g.rec, g.rec)
	g.d = virtiotest.New(g, dev.Function(), true)
}

func (g *guest) start() {
	g.d.Start(featureStream | featureSeqpacket)
	g.rx, g.tx, g.ev = g.d.Queue(queueRx, 64), g.d.Queue(queueTx, 64), g.d.Queue(queueEvent, 4)
	g.d.Go()
	for range 20 {
		g.rx.Add(nil, headerSize, 4096)
	}
	g.rx.Kick()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *guest) send(h header, data string) {
	g.Helper()
	h.srcCID, h.len = cid, uint32(len(data))
	if h.kind == 0 {
		h.kind = g.kind
	}
	if h.dstCID == 0 {
		h.dstCID = HostCID
	}
	if h.bufAlloc == 0 {
		h.bufAlloc = g.alloc
	}
	b := h.encode()
	out := [][]byte{b[:]}
	if data != "" {
		out = append(out, []byte(data))
	}
	g.tx.Do(out)
}

// receive returns the next packet, and gives its buffer back.
func (g *guest) receive() (header, string) {
	g.Helper()
	b := g.rx.Wait(1)[0]
	var p [headerSize]byte
	copy(p[:], b.In[0])
	h := parse(&p)
	if b.Len != headerSize+h.len || h.dstCID != cid || h.srcCID != HostCID || h.kind != g.kind {
		g.Errorf("packet of %d bytes: %+v", b.Len, h)
	}
	data := string(b.In[1][:h.len])
	g.rx.Add(nil, headerSize, 4096)
	g.rx.Kick()
	return h, data
}

// expect is receive for a packet with an operation, on a connection.
func (g *guest) expect(op uint16, guest, host uint32) (header, string) {
	g.Helper()
	h, data := g.receive()
	if h.op != op || h.dstPort != guest || h.srcPort != host {
		g.Fatalf("%s for ports %d and %d, want %s for %d and %d", opName(h.op), h.dstPort, h.srcPort, opName(op), guest, host)
	}
	return h, data
}

// listen is a program of the host that guests connect to.
func (g *guest) listen(port int) net.Listener {
	g.Helper()
	l, err := net.Listen("unix", fmt.Sprintf("%s_%d", g.path, port))
	check(g, err)
	g.Cleanup(func() { _ = l.Close() })
	return l
}

// open connects guest port 1000 with a program at port 80 of the host.
func (g *guest) open() net.Conn {
	g.Helper()
	l := g.listen(80)
	g.send(header{op: opRequest, srcPort: 1000, dstPort: 80}, "")
	sock, err := l.Accept()
	check(g, err)
	g.Cleanup(func() { _ = sock.Close() })
	check(g, l.Close())
	if h, _ := g.expect(opResponse, 1000, 80); h.bufAlloc != bufferSize {
		g.Errorf("buf_alloc %d", h.bufAlloc)
	}
	return sock
}

// rw is a packet on that connection.
func rw(op uint16) header { return header{op: op, srcPort: 1000, dstPort: 80} }

func TestConfiguration(t *testing.T) {
	g := newGuest(t)
	check(t, configRegisters.Check())
	if id, c := g.d.Config(2, 2), g.d.DeviceConfig(0, 8); id != 0x1053 || c != cid {
		t.Errorf("device %#x, guest_cid %d", id, c)
	}
	if !g.rec.Has("register guest_cid") {
		t.Error("not traced")
	}
	for _, c := range []uint32{0, 2, anyCID} {
		if _, err := New(Options{CID: c}); err == nil {
			t.Errorf("address %d is accepted", c)
		}
	}
	if _, err := New(Options{CID: 3, Path: g.path}); err == nil {
		t.Error("two devices at one path")
	}
	if _, err := New(Options{CID: 3, Path: g.path + "/none/x"}); err == nil {
		t.Error("a path that is not possible is accepted")
	}
}

func TestGuestConnects(t *testing.T) {
	g := newGuest(t)
	sock := g.open()
	g.send(rw(opRW), "hello, ")
	g.send(rw(opRW), "host")
	b := make([]byte, 11)
	if _, err := io.ReadFull(sock, b); err != nil || string(b) != "hello, host" {
		t.Errorf("%q %v", b, err)
	}
	check1(io.WriteString(sock, "hello, guest"))(t)
	if _, data := g.expect(opRW, 1000, 80); data != "hello, guest" {
		t.Errorf("%q", data)
	}
	// The guest ends its half, then the host.
	h := rw(opShutdown)
	h.flags = shutdownSend
	g.send(h, "")
	if _, err := sock.Read(b); err != io.EOF {
		t.Errorf("host reads %v", err)
	}
	check1(io.WriteString(sock, "late"))(t)
	if _, data := g.expect(opRW, 1000, 80); data != "late" {
		t.Errorf("%q", data)
	}
	check(t, sock.Close())
	if h, _ := g.expect(opShutdown, 1000, 80); h.flags != shutdownSend {
		t.Errorf("flags %d", h.flags)
	}
	h.flags = shutdownSend | shutdownReceive
	g.send(h, "")
	g.expect(opRst, 1000, 80)
	// Nothing is left of it.
	g.send(rw(opRW), "x")
	g.expect(opRst, 1000, 80)
}

func check1(_ int, err error) func(testing.TB) {
	return func(t testing.TB) {
		t.Helper()
		check(t, err)
	}
}

func TestHostConnects(t *testing.T) {
	g := newGuest(t)
	sock, err := net.Dial("unix", g.path)
	check(t, err)
	defer sock.Close()
	check1(io.WriteString(sock, "CONNECT 5000\nearly"))(t)
	h, _ := g.receive()
	if h.op != opRequest || h.dstPort != 5000 || h.srcPort < firstPort {
		t.Fatalf("%+v", h)
	}
	port := h.srcPort
	g.send(header{op: opResponse, srcPort: 5000, dstPort: port}, "")
	r := bufio.NewReader(sock)
	if line, err := r.ReadString('\n'); err != nil || line != fmt.Sprintf("OK %d\n", port) {
		t.Errorf("%q %v", line, err)
	}
	if _, data := g.expect(opRW, 5000, port); data != "early" {
		t.Errorf("%q", data)
	}
	g.send(header{op: opRW, srcPort: 5000, dstPort: port}, "answer")
	g.send(header{op: opShutdown, flags: 3, srcPort: 5000, dstPort: port}, "")
	if p, err := io.ReadAll(r); string(p) != "answer" || err != nil {
		t.Errorf("%q %v", p, err)
	}
	g.expect(opRst, 5000, port)

	// Refused by the guest; not a greeting at all; too long a line.
	for _, line := range []string{"CONNECT 6000\n", "HELLO 1\n", "CONNECT x\n", "CONNECT 99999999999\n", string(bytes.Repeat([]byte("x"), 100))} {
		sock, err := net.Dial("unix", g.path)
		check(t, err)
		check1(io.WriteString(sock, line))(t)
		if line == "CONNECT 6000\n" {
			h, _ := g.receive()
			g.send(header{op: opRst, srcPort: 6000, dstPort: h.srcPort}, "")
		}
		if p, _ := io.ReadAll(sock); len(p) != 0 {
			t.Errorf("%q is answered with %q", line, p)
		}
		check(t, sock.Close())
	}
}

func TestRefused(t *testing.T) {
	g := newGuest(t)
	g.send(header{op: opRequest, srcPort: 1, dstPort: 99}, "") // nobody listens
	g.expect(opRst, 1, 99)
	for _, h := range []header{
		{op: opRequest, dstCID: 9}, {op: opRequest, kind: 3}, {op: opRW}, {op: opResponse}, {op: opShutdown}, {op: opCreditUpdate}, {op: 0}, {op: 8},
	} {
		h.srcPort, h.dstPort = 3, 4
		g.kind = max(h.kind, typeStream) // the answer is of the same type
		g.send(h, "")
		g.expect(opRst, 3, 4)
	}
	g.kind = typeStream
	g.send(header{op: opRst, srcPort: 3, dstPort: 4}, "") // not answered
	h := header{srcCID: 99, dstCID: HostCID, kind: typeStream, op: opRequest}
	b := h.encode()
	g.tx.Do([][]byte{b[:]})
	g.tx.Do([][]byte{b[:20]})
	h.srcCID, h.len, h.srcPort = cid, 100, 8
	b = h.encode()
	g.tx.Do([][]byte{b[:]})
	g.expect(opRst, 8, 0)
	for _, words := range [][]string{{"violation", "src_cid is 99"}, {"violation", "20 bytes"}, {"violation", "len is 100"}, {"violation", "op is 8"}} {
		if !g.rec.Has(words...) {
			t.Errorf("no report of %q in\n%s", words, g.rec.Log())
		}
	}
	sock := g.open()
	g.send(rw(opRequest), "")
	g.expect(opRst, 1000, 80)
	if _, err := sock.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
}

// TestGuestCredit checks that the guest never gets more than it has room for.
func TestGuestCredit(t *testing.T) {
	g := newGuest(t)
	g.alloc = 10
	sock := g.open()
	check1(io.WriteString(sock, "0123456789abcdefghijklmnop"))(t)
	if _, data := g.expect(opRW, 1000, 80); data != "0123456789" {
		t.Fatalf("%q", data)
	}
	g.expect(opCreditRequest, 1000, 80)
	h := rw(opCreditUpdate)
	h.fwdCnt = 4
	g.send(h, "")
	if _, data := g.expect(opRW, 1000, 80); data != "abcd" {
		t.Fatalf("%q", data)
	}
	g.expect(opCreditRequest, 1000, 80)
	h.fwdCnt, h.bufAlloc = 14, 1000
	g.send(h, "")
	if _, data := g.expect(opRW, 1000, 80); data != "efghijklmnop" {
		t.Fatalf("%q", data)
	}
	h.fwdCnt = 1000
	g.send(h, "")
	if !g.rec.Has("violation", "fwd_cnt is 1000") {
		t.Error("no report of a wrong fwd_cnt")
	}
}

// TestHostCredit checks what the guest is told of the host's room, and what happens to a guest that sends more.
func TestHostCredit(t *testing.T) {
	g := newGuest(t)
	sock := g.open()
	chunk := string(bytes.Repeat([]byte("x"), 32<<10))
	go func() { _, _ = io.Copy(io.Discard, io.LimitReader(sock, 4*32<<10)) }()
	for range 4 {
		g.send(rw(opRW), chunk)
	}
	for total := uint32(0); total < 64<<10; {
		h, _ := g.expect(opCreditUpdate, 1000, 80)
		total = h.fwdCnt
	}
	h, _ := g.receiveUntil(opCreditUpdate, func() { g.send(rw(opCreditRequest), "") })
	if h.bufAlloc != bufferSize {
		t.Errorf("%+v", h)
	}
	for n := 0; !g.rec.Has("violation", "without credit"); n++ {
		if n > 200 {
			t.Fatal("the device takes everything")
		}
		g.send(rw(opRW), chunk)
	}
	g.receiveUntil(opRst, func() {})
}

// receiveUntil skips credit updates on the way.
func (g *guest) receiveUntil(op uint16, first func()) (header, string) {
	g.Helper()
	first()
	for range 100 {
		if h, data := g.receive(); h.op == op {
			return h, data
		}
	}
	g.Fatalf("no %s", opName(op))
	return header{}, ""
}

// TestManyBytes sends more than all buffers hold, both ways.
func TestManyBytes(t *testing.T) {
	g := newGuest(t)
	sock := g.open()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i >> 8 * i)
	}
	go func() { _, _ = sock.Write(data) }()
	var got []byte
	for len(got) < len(data) {
		h, p := g.receive()
		got = append(got, p...)
		if h.op == opCreditRequest || len(got)%(32<<10) == 0 {
			u := rw(opCreditUpdate)
			u.fwdCnt = uint32(len(got))
			g.send(u, "")
		}
	}
	if !bytes.Equal(got, data) {
		t.Error("the guest gets something else")
	}
}

func TestReset(t *testing.T) {
	g := newGuest(t)
	sock := g.open()
	g.start()
	if _, err := sock.Read(make([]byte, 1)); err == nil {
		t.Error("a connection survives the reset")
	}
	g.send(rw(opRW), "x")
	g.expect(opRst, 1000, 80)
	if !g.rec.Has("command RW", "queue=1", "src_port=1000") || !g.rec.Has("completion RW", "refused") {
		t.Errorf("not traced:\n%s", g.rec.Log())
	}
}

func TestFaults(t *testing.T) {
	g := newGuest(t)
	sock := g.open()
	read := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(sock, b); err != nil || string(b) != want {
			t.Errorf("%q %v, want %q", b, err, want)
		}
	}
	g.rec.Disturb("RW", devices.Effect{Fail: true})
	g.send(rw(opRW), "lost")
	g.send(rw(opRW), "kept")
	read("kept")
	g.rec.Disturb("RW", devices.Effect{ShortOn: true, Short: 2})
	g.send(rw(opRW), "short")
	read("sh")
	g.rec.Disturb("RW", devices.Effect{FlipData: 1, Seed: 1})
	g.send(rw(opRW), "\x00")
	b := make([]byte, 1)
	if _, err := sock.Read(b); err != nil || b[0] == 0 {
		t.Errorf("%x %v", b, err)
	}

	// To the guest.
	g.rec.Disturb("RW", devices.Effect{Duplicate: true})
	check1(io.WriteString(sock, "2"))(t)
	before := g.d.Interrupts(queueRx)
	first := g.rx.Wait(1)[0]
	if first.Len != headerSize+1 {
		t.Errorf("%d bytes", first.Len)
	}
	_ = before
	// The second completion of one buffer would confuse the driver of this test: begin anew.
	g.start()
	sock = g.open()
	g.rec.Disturb("RW", devices.Effect{Delay: 500})
	check1(io.WriteString(sock, "a"))(t)
	g.expect(opRW, 1000, 80)
	for g.clock.Armed() == 0 {
		runtime.Gosched()
	}
	check1(io.WriteString(sock, "b"))(t)
	g.send(rw(opCreditUpdate), "")
	if _, ok := g.rx.Take(); ok {
		t.Error("a packet overtakes one that is delayed")
	}
	g.clock.Advance(500)
	if _, data := g.expect(opRW, 1000, 80); data != "b" {
		t.Errorf("%q", data)
	}
}

// TestSave moves the guest while it has a connection.
func TestSave(t *testing.T) {
	g := newGuest(t)
	sock := g.open()
	g.ev.Add(nil, eventSize)
	g.ev.Kick()
	g.dev.Pause()
	state, err := g.dev.SaveState()
	check(t, err)
	ram := bytes.Clone(g.d.RAM.Data)
	queues := []*virtiotest.Queue{g.rx, g.tx, g.ev}
	check(t, g.dev.Close())
	if _, err := sock.Read(make([]byte, 1)); err == nil {
		t.Error("the connection survives")
	}
	g.connect()
	copy(g.d.RAM.Data, ram)
	g.dev.Pause()
	check(t, g.dev.RestoreState(state))
	for _, q := range queues {
		q.Move(g.d)
	}
	g.dev.Resume()
	if b := g.ev.Wait(1)[0]; b.Len != eventSize || le.Uint32(b.In[0]) != eventTransportReset {
		t.Errorf("%+v", b)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	ended := devtest.Goroutines(t)
	g := newGuest(t)
	g.open()
	for range 3 { // hosts that say nothing, and one that waits for the guest
		sock, err := net.Dial("unix", g.path)
		check(t, err)
		defer sock.Close()
	}
	sock, err := net.Dial("unix", g.path)
	check(t, err)
	defer sock.Close()
	check1(io.WriteString(sock, "CONNECT 1\n"))(t)
	g.receiveUntil(opRequest, func() {})
	check(t, g.dev.Close())
	ended()
	for _, path := range []string{g.path, g.path + packetSuffix} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// FuzzPackets sends packets of any content.
func FuzzPackets(f *testing.F) {
	kind := uint16(typeStream)
	packet := func(op, flags uint16, src, dst uint32, n int) []byte {
		h := header{srcCID: cid, dstCID: HostCID, kind: kind, op: op, flags: uint32(flags), srcPort: src, dstPort: dst, len: uint32(n), bufAlloc: 4096}
		b := h.encode()
		return append(b[:], make([]byte, n)...)
	}
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	f.Add(join(packet(opRequest, 0, 1, 80, 0), packet(opRW, 0, 1, 80, 10), packet(opShutdown, 3, 1, 80, 0)), byte(0))
	f.Add(join(packet(opRequest, 0, 1, 81, 0), packet(opCreditRequest, 0, 1, 80, 0), packet(opRst, 0, 1, 80, 0)), byte(60))
	f.Add(join(packet(opResponse, 0, 5, firstPort+1, 0), packet(opRW, 0, 5, firstPort+1, 4), packet(opRequest, 0, 5, 80, 0)), byte(44))
	kind = typeSeqpacket
	f.Add(join(packet(opRequest, 0, 1, 90, 0), packet(opRW, 0, 1, 90, 10), packet(opRW, seqEOM, 1, 90, 10), packet(opShutdown, 3, 1, 90, 0)), byte(47))
	f.Add(join(packet(opRequest, 0, 1, 90, 0), packet(opRW, seqEOR, 1, 90, 10), packet(opShutdown, 2, 1, 90, 0), packet(opRst, 0, 1, 90, 0)), byte(47))
	dir := f.TempDir()
	serve := func(network, name string) {
		l, err := net.Listen(network, filepath.Join(dir, name))
		check(f, err)
		f.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "hello")
				go func() {
					_, _ = io.Copy(io.Discard, io.LimitReader(c, 100))
					_ = c.Close()
				}()
			}
		}()
	}
	serve("unix", "v_80")
	serve("unixpacket", "p_90")
	n := 0
	f.Fuzz(func(t *testing.T, p []byte, room byte) {
		n++
		path := filepath.Join(dir, fmt.Sprintf("v%d", n))
		check(t, os.Symlink(filepath.Join(dir, "v_80"), path+"_80"))
		defer os.Remove(path + "_80")
		check(t, os.Symlink(filepath.Join(dir, "p_90"), path+"_90"))
		defer os.Remove(path + "_90")
		dev, err := New(Options{CID: cid, Path: path})
		check(t, err)
		if room%2 != 0 {
			dev.Function().Probe().Watch(^devices.Class(0), &devtest.Recorder{}, nil)
		}
		d := virtiotest.New(t, dev.Function(), true)
		d.Start(featureSeqpacket)
		rx, tx := d.Queue(queueRx, 64), d.Queue(queueTx, 64)
		d.Go()
		for range 40 {
			rx.Add(nil, int(room)+1)
		}
		rx.Kick()
		if sock, err := net.Dial("unix", path); err == nil {
			_, _ = io.WriteString(sock, "CONNECT 5\n")
			defer sock.Close()
		}
		for n := 0; len(p) >= headerSize && n < 30; n++ {
			size := min(headerSize+int(le.Uint32(p[24:])%64), len(p))
			tx.Do([][]byte{p[:size]})
			p = p[size:]
		}
		d.Start(0)
		check(t, dev.Close())
	})
}

func BenchmarkSend(b *testing.B) {
	dir := b.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "v_80"))
	check(b, err)
	defer l.Close()
	dev, err := New(Options{CID: cid, Path: filepath.Join(dir, "v")})
	check(b, err)
	defer dev.Close()
	d := virtiotest.New(b, dev.Function(), true)
	d.Start(0)
	rx, tx := d.Queue(queueRx, 64), d.Queue(queueTx, 64)
	d.Go()
	for range 60 {
		rx.Add(nil, 4096)
	}
	rx.Kick()
	h := header{srcCID: cid, dstCID: HostCID, kind: typeStream, op: opRequest, srcPort: 1, dstPort: 80}
	p := h.encode()
	tx.Do([][]byte{p[:]})
	sock, err := l.Accept()
	check(b, err)
	rx.Wait(1)
	h.op, h.len = opRW, 4096
	p = h.encode()
	data := make([]byte, 4096)
	b.SetBytes(4096)
	for b.Loop() {
		tx.Do([][]byte{p[:], data})
		if _, err := io.ReadFull(sock, data); err != nil {
			b.Fatal(err)
		}
		for {
			if _, ok := rx.Take(); !ok {
				break
			}
			rx.Add(nil, 4096)
			rx.Kick()
		}
	}
}
