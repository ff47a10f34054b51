package nbd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
)

// script is a connection to a server that says what is written down, whatever
// it is asked.
type script struct {
	mu    sync.Mutex
	r     bytes.Reader
	asked chan struct{} // closed by the first request
	once  sync.Once
	done  chan struct{}
	end   sync.Once
}

func newScript(p []byte) *script {
	s := &script{asked: make(chan struct{}), done: make(chan struct{})}
	s.r.Reset(p)
	return s
}

func (s *script) Read(p []byte) (int, error) {
	if len(p) > 32<<10 {
		// The answers to requests, not the negotiation.
		select {
		case <-s.asked:
		case <-s.done:
			return 0, io.EOF
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

func (s *script) Write(p []byte) (int, error) {
	if len(p) >= 4 && be.Uint32(p) == magicRequest {
		s.once.Do(func() { close(s.asked) })
	}
	return len(p), nil
}

func (s *script) Close() error {
	s.end.Do(func() { close(s.done) })
	return nil
}
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// greeting is what a server says before it answers requests.
func greeting(size uint64, structured bool) []byte {
	p := be.AppendUint64(nil, magicInit)
	p = be.AppendUint64(p, magicOption)
	p = be.AppendUint16(p, flagFixedNewstyle|flagNoZeroes)
	reply := func(opt, typ uint32, data []byte) {
		p = be.AppendUint64(p, magicOptionReply)
		p = be.AppendUint32(p, opt)
		p = be.AppendUint32(p, typ)
		p = be.AppendUint32(p, uint32(len(data)))
		p = append(p, data...)
	}
	if structured {
		reply(optStructuredReply, repAck, nil)
		reply(optSetMetaContext, repMetaContext, append([]byte{0, 0, 0, 1}, "base:allocation"...))
		reply(optSetMetaContext, repAck, nil)
	} else {
		reply(optStructuredReply, repErrUnsup, nil)
	}
	info := be.AppendUint64([]byte{0, infoExport}, size)
	reply(optGo, repInfo, be.AppendUint16(info, allFlags))
	reply(optGo, repAck, nil)
	return p
}

func chunk(flags, typ uint16, cookie uint64, data ...[]byte) []byte {
	p := be.AppendUint32(nil, magicStructuredReply)
	p = be.AppendUint16(p, flags)
	p = be.AppendUint16(p, typ)
	p = be.AppendUint64(p, cookie)
	d := bytes.Join(data, nil)
	p = be.AppendUint32(p, uint32(len(d)))
	return append(p, d...)
}

func simple(code uint32, cookie uint64, data ...byte) []byte {
	p := be.AppendUint32(nil, magicSimpleReply)
	p = be.AppendUint32(p, code)
	p = be.AppendUint64(p, cookie)
	return append(p, data...)
}

func u64(v uint64) []byte { return be.AppendUint64(nil, v) }
func u32(v uint32) []byte { return be.AppendUint32(nil, v) }

// hostile are servers' answers to a first request, a read of 512 bytes at 1024.
var hostile = map[string][]byte{
	"unknown request":  simple(0, 7, make([]byte, 512)...),
	"bad magic":        bytes.Repeat([]byte{1}, 20),
	"simple":           simple(0, 1, make([]byte, 512)...),
	"before the range": chunk(1, replyOffsetData, 1, u64(1023), make([]byte, 512)),
	"after the range":  chunk(1, replyOffsetData, 1, u64(1025), make([]byte, 512)),
	"far away":         chunk(1, replyOffsetData, 1, u64(1<<63), make([]byte, 512)),
	"too short":        chunk(1, replyOffsetData, 1, u64(1024), make([]byte, 511)),
	"nothing":          chunk(1, replyNone, 1),
	"no data":          chunk(1, replyOffsetData, 1, u64(1024)),
	"hole too long":    chunk(1, replyOffsetHole, 1, u64(1024), u32(513)),
	"hole of nothing":  chunk(0, replyOffsetHole, 1, u64(1024), u32(0)),
	"twice":            append(chunk(0, replyOffsetHole, 1, u64(1024), u32(512)), chunk(1, replyOffsetHole, 1, u64(1024), u32(512))...),
	"overlap":          append(chunk(0, replyOffsetHole, 1, u64(1024), u32(400)), chunk(1, replyOffsetHole, 1, u64(1224), u32(112))...),
	"block status":     chunk(1, replyBlockStatus, 1, u32(1), u32(512), u32(0)),
	"unknown type":     chunk(1, 99, 1),
	"error of nothing": chunk(1, replyError, 1, u32(0), []byte{0, 0}),
	"long message":     chunk(1, replyError, 1, u32(5), []byte{1, 0}),
	"huge":             append(chunk(1, replyError, 1, u32(5), []byte{0, 0})[:16], 0xff, 0xff, 0xff, 0xff),
}

func TestHostile(t *testing.T) {
	for name, p := range hostile {
		s := newScript(append(greeting(1<<20, true), p...))
		c, err := Open(Address{"tcp", "test:1", ""}, Options{Reconnect: -1, Dial: func(context.Context, string, string) (net.Conn, error) { return s, nil }})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := c.ReadAt(make([]byte, 512), 1024); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}

// FuzzServer talks to a server that says anything.
func FuzzServer(f *testing.F) {
	f.Add([]byte{}, byte(0))
	for _, p := range hostile {
		f.Add(append(greeting(1<<20, true), p...), byte(0))
	}
	f.Add(append(greeting(1<<20, true), chunk(1, replyBlockStatus, 1, u32(1), u32(4096), u32(3))...), byte(1))
	f.Add(append(greeting(1<<20, false), simple(0, 1, make([]byte, 512)...)...), byte(0))
	f.Add(append(greeting(1<<20, false), simple(28, 1)...), byte(2))
	f.Fuzz(func(t *testing.T, p []byte, what byte) {
		s := newScript(p)
		dials := 0
		c, err := Open(Address{"tcp", "test:1", ""}, Options{Reconnect: -1, Dial: func(context.Context, string, string) (net.Conn, error) {
			if dials++; dials > 1 {
				return nil, io.EOF
			}
			return s, nil
		}})
		if err != nil {
			return
		}
		defer c.Close()
		if c.Size() < 2048 {
			return
		}
		buf := append(make([]byte, 512), 0xaa)
		switch what % 4 {
		case 0:
			_, _ = c.ReadAt(buf[:512], 1024)
		case 1:
			end := int64(0)
			err := c.Extents(0, 2048, func(e devices.Extent) bool {
				if e.Off != end || e.Len <= 0 {
					t.Fatalf("extent %+v after %d", e, end)
				}
				end = e.Off + e.Len
				return true
			})
			if err == nil && end != 2048 {
				t.Fatalf("extents end at %d", end)
			}
		case 2:
			_ = c.Flush()
		case 3:
			_, _ = c.WriteAt(buf[:512], 0)
		}
		if buf[512] != 0xaa {
			t.Fatal("bytes behind the buffer changed")
		}
	})
}
