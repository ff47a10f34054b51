package nbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// server is an NBD server in memory. Its fields are set before it is used.
type server struct {
	old        bool // knows only the oldest option
	structured bool
	min        uint32
	flags      uint16

	mu    sync.Mutex
	data  []byte
	conns []net.Conn
	every int // close the connection instead of answering each so manieth request, if not 0
	count int
	gone  bool
	seen  map[uint16]int
	wg    sync.WaitGroup
}

const allFlags = flagHasFlags | flagSendFlush | flagSendFUA | flagSendTrim | flagSendWriteZeroes | flagCanMultiConn

func newServer(n int) *server {
	return &server{data: make([]byte, n), structured: true, flags: allFlags, seen: map[uint16]int{}}
}

var errGone = errors.New("nobody answers")

// dial connects a client to the server.
func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, errGone
	}
	a, b := net.Pipe()
	s.conns = append(s.conns, b)
	s.wg.Go(func() { s.serve(b) })
	return a, nil
}

// stop breaks all connections.
func (s *server) stop(gone bool) {
	s.mu.Lock()
	s.gone = gone
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	p := be.AppendUint64(nil, magicInit)
	p = be.AppendUint64(p, magicOption)
	p = be.AppendUint16(p, flagFixedNewstyle|flagNoZeroes)
	var h [16]byte
	if _, err := c.Write(p); err != nil {
		return
	}
	if _, err := io.ReadFull(c, h[:4]); err != nil {
		return
	}
	structured, ok := s.options(c)
	if !ok {
		return
	}
	var write sync.Mutex
	broken := false // protected by s.mu
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		var q [28]byte
		if _, err := io.ReadFull(c, q[:]); err != nil {
			return
		}
		typ, n := be.Uint16(q[6:]), be.Uint32(q[24:])
		var data []byte
		if typ == cmdWrite {
			data = make([]byte, n)
			if _, err := io.ReadFull(c, data); err != nil {
				return
			}
		}
		if typ == cmdDisc {
			return
		}
		// Answers come in any order.
		wg.Go(func() {
			// What a broken connection has left undone is not done later: the client sends it again,
			// and what it writes there after that must stay.
			s.mu.Lock()
			var answer []byte
			ok := false
			if !broken {
				answer, ok = s.answer(q[:], data, structured)
				broken = !ok
			}
			s.mu.Unlock()
			write.Lock()
			defer write.Unlock()
			if !ok {
				c.Close()
			}
			_, _ = c.Write(answer)
		})
	}
}

func (s *server) options(c net.Conn) (structured, ok bool) {
	for {
		var h [16]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return false, false
		}
		opt := be.Uint32(h[8:])
		data := make([]byte, be.Uint32(h[12:]))
		if _, err := io.ReadFull(c, data); err != nil {
			return false, false
		}
		reply := func(typ uint32, p []byte) {
			q := be.AppendUint64(nil, magicOptionReply)
			q = be.AppendUint32(q, opt)
			q = be.AppendUint32(q, typ)
			q = be.AppendUint32(q, uint32(len(p)))
			_, _ = c.Write(append(q, p...))
		}
		export := be.AppendUint64(nil, uint64(len(s.data)))
		export = be.AppendUint16(export, s.flags)
		switch {
		case opt == optExportName:
			_, _ = c.Write(export)
			return structured, true
		case s.old:
			reply(repErrUnsup, nil)
		case opt == optStructuredReply && s.structured:
			structured = true
			reply(repAck, nil)
		case opt == optSetMetaContext && structured:
			reply(repMetaContext, append([]byte{0, 0, 0, 9}, "base:allocation"...))
			reply(repAck, nil)
		case opt == optGo:
			if n := be.Uint32(data); string(data[4:4+n]) != "disk" {
				reply(repErrUnknown, []byte("no such thing"))
				continue
			}
			reply(repInfo, append([]byte{0, infoExport}, export...))
			if s.min != 0 {
				p := be.AppendUint32([]byte{0, infoBlockSize}, s.min)
				p = be.AppendUint32(p, 4096)
				reply(repInfo, be.AppendUint32(p, 8192))
			}
			reply(repAck, nil)
			return structured, true
		default:
			reply(repErrUnsup, nil)
		}
	}
}

// answer does a request; s.mu is held. False tells that the connection breaks instead.
func (s *server) answer(q, data []byte, structured bool) ([]byte, bool) {
	flags, typ, cookie := be.Uint16(q[4:]), be.Uint16(q[6:]), be.Uint64(q[8:])
	off, n := be.Uint64(q[16:]), uint64(be.Uint32(q[24:]))
	s.seen[typ]++
	if flags&cmdFlagFUA != 0 {
		s.seen[typ|0x100]++
	}
	if s.count++; s.every != 0 && s.count%s.every == 0 {
		return nil, false
	}
	code := uint32(0)
	if off+n > uint64(len(s.data)) || s.min != 0 && typ != cmdFlush && (off|n)%uint64(s.min) != 0 {
		code = 22
	}
	simple := func() []byte {
		p := be.AppendUint32(nil, magicSimpleReply)
		p = be.AppendUint32(p, code)
		return be.AppendUint64(p, cookie)
	}
	chunk := func(p []byte, flags, typ uint16, data []byte) []byte {
		p = be.AppendUint32(p, magicStructuredReply)
		p = be.AppendUint16(p, flags)
		p = be.AppendUint16(p, typ)
		p = be.AppendUint64(p, cookie)
		p = be.AppendUint32(p, uint32(len(data)))
		return append(p, data...)
	}
	switch {
	case code != 0 && structured:
		e := be.AppendUint32(nil, code)
		e = be.AppendUint16(e, 3)
		return chunk(nil, replyFlagDone, replyError, append(e, "bad"...)), true
	case code != 0:
		return simple(), true
	}
	b := s.data[min(off, uint64(len(s.data))):]
	b = b[:min(n, uint64(len(b)))]
	switch typ {
	case cmdRead:
		if !structured {
			return append(simple(), b...), true
		}
		// In pieces, the last first, zeroes as holes.
		var p []byte
		for at := len(b); at > 0; {
			k := (at - 1) % 4096
			piece := b[at-k-1 : at]
			at -= len(piece)
			h := be.AppendUint64(nil, off+uint64(at))
			if len(bytes.Trim(piece, "\x00")) == 0 {
				p = chunk(p, 0, replyOffsetHole, be.AppendUint32(h, uint32(len(piece))))
			} else {
				p = chunk(p, 0, replyOffsetData, append(h, piece...))
			}
		}
		return chunk(p, replyFlagDone, replyNone, nil), true
	case cmdWrite:
		copy(b, data)
	case cmdTrim, cmdWriteZeroes:
		clear(b)
	case cmdBlockStatus:
		p := be.AppendUint32(nil, 9)
		for at := 0; at < len(b); at += 4096 {
			k := min(4096, len(b)-at)
			state := uint32(0)
			if len(bytes.Trim(b[at:at+k], "\x00")) == 0 {
				state = stateHole | stateZero
			}
			p = be.AppendUint32(p, uint32(k))
			p = be.AppendUint32(p, state)
		}
		return chunk(nil, replyFlagDone, replyBlockStatus, p), true
	}
	if structured {
		return chunk(nil, replyFlagDone, replyNone, nil), true
	}
	return simple(), true
}

func connect(t testing.TB, s *server, o Options) *Client {
	t.Helper()
	o.Dial = s.dial
	c, err := Open(Address{"tcp", "test:1", "disk"}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.stop(true)
	})
	return c
}

// exercise compares a store with a slice under random requests from several
// goroutines.
func exercise(t *testing.T, c *Client, n int) {
	t.Helper()
	const workers = 8
	size := c.Size()
	part := size / workers &^ 4095
	var wg sync.WaitGroup
	for g := range int64(workers) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			base := g * part
			model := make([]byte, part)
			if err := c.WriteZeroes(base, part, true); err != nil {
				t.Error(err)
			}
			for i := range n {
				off := r.Int64N(part/512) * 512
				k := min(int64(1+r.IntN(20))*512, part-off)
				var err error
				switch r.IntN(8) {
				case 0:
					clear(model[off : off+k])
					err = c.WriteZeroes(base+off, k, r.IntN(2) == 0)
				case 1:
					if err = c.Discard(base+off, k); err == nil {
						_, err = c.ReadAt(model[off:off+k], base+off)
					}
				case 2:
					err = c.Flush()
				case 3, 4:
					for j := range model[off : off+k] {
						model[off+int64(j)] = byte(i + j>>9)
					}
					err = c.WriteVAt([][]byte{model[off : off+100], nil, model[off+100 : off+k]}, base+off)
				case 5:
					model[off]++
					_, err = c.WriteFUA(model[off:off+k], base+off)
				default:
					p := make([]byte, k)
					err = c.ReadVAt([][]byte{p[:50], p[50:]}, base+off)
					if err == nil && !bytes.Equal(p, model[off:off+k]) {
						t.Errorf("content differs at %d", base+off)
						return
					}
				}
				if err != nil && !errors.Is(err, ErrUnflushed) {
					t.Error(err)
					return
				}
			}
			p := make([]byte, part)
			if _, err := c.ReadAt(p, base); err != nil || !bytes.Equal(p, model) {
				t.Errorf("content differs (%v)", err)
			}
		})
	}
	wg.Wait()
}

func TestClient(t *testing.T) {
	for name, change := range map[string]func(*server){
		"structured": func(*server) {},
		"simple":     func(s *server) { s.structured = false },
		"old":        func(s *server) { s.old = true },
		"plain":      func(s *server) { s.flags = flagHasFlags },
		"4096":       func(s *server) { s.min = 4096 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(1 << 20)
			change(s)
			c := connect(t, s, Options{Connections: 3})
			if c.Size() != 1<<20 || c.ReadOnly() {
				t.Fatalf("size %d, read-only %v", c.Size(), c.ReadOnly())
			}
			exercise(t, c, 100)
			for _, bad := range [][2]int64{{1 << 20, 1}, {-1, 1}, {1<<20 - 1, 2}, {1 << 62, 512}} {
				if _, err := c.ReadAt(make([]byte, bad[1]), bad[0]); err == nil {
					t.Errorf("read at %v succeeds", bad)
				}
			}
		})
	}
}

func TestFlags(t *testing.T) {
	s := newServer(1 << 16)
	c := connect(t, s, Options{})
	if _, err := c.WriteFUA(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if s.seen[cmdWrite|0x100] != 1 || s.seen[cmdFlush] != 0 {
		t.Errorf("FUA is not used: %v", s.seen)
	}
	p := newServer(1 << 16)
	p.flags = flagHasFlags | flagSendFlush
	d := connect(t, p, Options{})
	if _, err := d.WriteFUA(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if p.seen[cmdFlush] != 1 || d.Discard(0, 4096) != nil || p.seen[cmdTrim] != 0 {
		t.Errorf("%v", p.seen)
	}
	r := newServer(1 << 16)
	r.flags |= flagReadOnly
	e := connect(t, r, Options{})
	if _, err := e.WriteAt(make([]byte, 512), 0); !errors.Is(err, host.ErrReadOnly) || !e.ReadOnly() {
		t.Error(err)
	}
}

func TestExtents(t *testing.T) {
	s := newServer(64 << 10)
	for i := range 4096 {
		s.data[8192+i] = 1
	}
	c := connect(t, s, Options{})
	var got []string
	if err := c.Extents(0, 16384, func(e devices.Extent) bool {
		got = append(got, fmt.Sprint(e.Off, e.Len, e.Zero, e.Allocated))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	want := "[0 4096 true false 4096 4096 true false 8192 4096 false true 12288 4096 true false]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
}

// TestReconnect loses the connection again and again.
func TestReconnect(t *testing.T) {
	s := newServer(1 << 20)
	s.every = 30
	c := connect(t, s, Options{Connections: 2})
	exercise(t, c, 100)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count < 10*s.every {
		t.Errorf("only %d requests", s.count)
	}
}

// TestUnflushed checks that a flush does not promise what a lost connection may
// have taken with it, and does promise the rest.
func TestUnflushed(t *testing.T) {
	s := newServer(1 << 20)
	c := connect(t, s, Options{})
	read := func() {
		t.Helper()
		if _, err := c.ReadAt(make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	s.stop(false)
	read()
	if err := c.Flush(); err != nil {
		t.Error("all was flushed:", err)
	}
	if _, err := c.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	s.stop(false)
	read()
	if err := c.Flush(); !errors.Is(err, ErrUnflushed) {
		t.Error("the write may be lost:", err)
	}
	if err := c.Flush(); err != nil {
		t.Error("it was told before:", err)
	}
}

func TestServerGone(t *testing.T) {
	s := newServer(1 << 16)
	c := connect(t, s, Options{Reconnect: time.Millisecond})
	s.stop(true)
	for range 2 {
		if _, err := c.ReadAt(make([]byte, 512), 0); !errors.Is(err, errGone) {
			t.Error(err)
		}
	}
	s.stop(false)
	if _, err := c.ReadAt(make([]byte, 512), 0); err != nil {
		t.Error("the server is back:", err)
	}
	s.stop(true)
	s.data = make([]byte, 1<<17)
	s.stop(false)
	if _, err := c.ReadAt(make([]byte, 512), 0); err == nil || !strings.Contains(err.Error(), "another") {
		t.Error("the export has another size:", err)
	}
}

// TestClose closes while requests wait for a server that does not answer.
func TestClose(t *testing.T) {
	s := newServer(1 << 16)
	c := connect(t, s, Options{})
	s.mu.Lock() // nothing is answered
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := c.ReadAt(make([]byte, 512), 0); !errors.Is(err, host.ErrClosed) {
				t.Error(err)
			}
		})
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s.mu.Unlock()
	wg.Wait()
	if err := c.Close(); !errors.Is(err, host.ErrClosed) {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	s := newServer(1 << 16)
	if _, err := Open(Address{"tcp", "test:1", "other"}, Options{Dial: s.dial}); err == nil || !strings.Contains(err.Error(), "no export of this name") {
		t.Error(err)
	}
	c := connect(t, s, Options{})
	s.mu.Lock()
	s.data = s.data[:4096]
	s.mu.Unlock()
	var e *RemoteError
	if _, err := c.ReadAt(make([]byte, 512), 8192); !errors.As(err, &e) || e.Code != 22 || e.Message != "bad" {
		t.Error(err)
	}
}

func TestParseURL(t *testing.T) {
	for s, want := range map[string]Address{
		"nbd://host":                              {"tcp", "host:10809", ""},
		"nbd://host:1/a%20b":                      {"tcp", "host:1", "a b"},
		"nbd://[::1]/x/y":                         {"tcp", "[::1]:10809", "x/y"},
		"nbd+unix:///?socket=/tmp/s":              {"unix", "/tmp/s", ""},
		"nbd+unix:///disk?socket=/tmp/a%3Fb":      {"unix", "/tmp/a?b", "disk"},
		"nbd+unix://?socket=rel":                  {"unix", "rel", ""},
		"nbd://":                                  {},
		"nbd:host":                                {},
		"nbd+unix:///disk":                        {},
		"nbd+unix://host/disk?socket=/tmp/s":      {},
		"nbd://host/?socket=/tmp/s":               {},
		"nbd://host/?tls=1":                       {},
		"nbds://host":                             {},
		"http://host":                             {},
		"nbd://user@host":                         {},
		"nbd://host/%zz":                          {},
		"nbd://host/" + strings.Repeat("x", 5000): {},
	} {
		a, err := ParseURL(s)
		if a != want || (err == nil) != (want != Address{}) {
			t.Errorf("%.40q: %+v, %v", s, a, err)
			continue
		}
		if err == nil {
			if b, err := ParseURL(a.String()); b != a || err != nil {
				t.Errorf("%q becomes %q, which is %+v, %v", s, a, b, err)
			}
		}
	}
}

// TestQemu uses QEMU's server.
func TestQemu(t *testing.T) {
	if _, err := exec.LookPath("qemu-nbd"); err != nil {
		t.Skip("qemu-nbd is not installed (Debian: qemu-utils)")
	}
	dir := t.TempDir()
	disk, socket, pid := filepath.Join(dir, "disk"), filepath.Join(dir, "socket"), filepath.Join(dir, "pid")
	if err := os.WriteFile(disk, make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("qemu-nbd", "--fork", "--pid-file", pid, "-t", "-e", "8", "-x", "my disk", "-f", "raw", "-k", socket, "--discard=unmap", disk).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(p)))
	if err != nil {
		t.Fatal(err)
	}
	server, err := os.FindProcess(n)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	c, err := OpenURL("nbd+unix:///my%20disk?socket="+socket, Options{Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exercise(t, c, 100)
	if err := c.WriteZeroes(0, c.Size(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteAt(bytes.Repeat([]byte{1}, 65536), 1<<20); err != nil {
		t.Fatal(err)
	}
	data := int64(0)
	if err := c.Extents(0, c.Size(), func(e devices.Extent) bool {
		if !e.Zero {
			data += e.Len
		}
		return true
	}); err != nil || data < 65536 || data == c.Size() {
		t.Errorf("%d bytes have content (%v)", data, err)
	}
	all := make([]byte, c.Size())
	if _, err := c.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if file, err := os.ReadFile(disk); err != nil || !bytes.Equal(file, all) {
		t.Errorf("the server's file has another content (%v)", err)
	}
}
