package p9

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/virtio/virtiotest"
)

// TestStrict breaks each rule once. The breach is known before the notification ends, while nobody takes messages, and again when
// it is taken.
func TestStrict(t *testing.T) {
	type step struct {
		name string
		p    []byte
		room int
		want string // "" for nothing
	}
	le32 := func(p []byte, v uint32) []byte { le.PutUint32(p, v); return p }
	run := func(t *testing.T, c *client, s step) {
		t.Helper()
		if s.room == 0 {
			s.room = 4096
		}
		c.rec.Forget()
		c.dev.Pause()
		c.q.Add([][]byte{s.p}, s.room)
		c.q.Kick()
		prompt := c.rec.Violations()
		c.dev.Resume()
		c.q.Wait(1)
		for _, l := range [][]string{prompt, c.rec.Violations()} {
			if s.want == "" && len(l) != 0 || s.want != "" && (len(l) != 1 || !strings.Contains(l[0], s.want)) {
				t.Errorf("%s: %q, want %q", s.name, l, s.want)
			}
		}
	}
	c := newClient(t, false)
	c.walk(0, 1, "hello")
	c.do(tLopen, 1, 0)
	c.walk(0, 2, "hello")
	c.do(tLopen, 2, 1)
	c.walk(0, 3, "sub")
	c.do(tLopen, 3, openDirectory)
	for _, s := range []step{
		{name: "walk", p: encode(tWalk, 1, 0, 9, uint16(2), "sub", "deep")},
		{name: "walk up", p: encode(tWalk, 1, 9, 10, uint16(1), "..")},
		{name: "no such file", p: encode(tWalk, 1, 0, 11, uint16(1), "nothing")},
		{name: "read", p: encode(tRead, 1, 1, uint64(0), 100)},
		{name: "nothing to flush", p: encode(tFlush, 1, uint16(77))},
		{name: "no such type", p: encode(200, 1), want: "9P2000, intro(5): message: type 200 does not exist"},
		{name: "size too large", p: le32(encode(tClunk, 1, 0), 4000), want: "intro(5): Tclunk: size is 4000 in a buffer of 11"},
		{name: "size too small", p: le32(encode(tClunk, 1, 0), 3), want: "intro(5): Tclunk: size is 3"},
		{name: "field missing", p: encode(tClunk, 1), want: "intro(5): Tclunk: the fields do not fill a message of 7"},
		{name: "field too much", p: encode(tClunk, 1, 0, 0), want: "intro(5): Tclunk: the fields do not fill a message of 15"},
		{name: "string too long", p: encode(tWalk, 1, 0, 9, uint16(1), uint16(60), uint8(1)), want: "intro(5): Twalk: the fields do not fill"},
		{name: "17 names", p: encode(tWalk, 1, 0, 9, uint16(17)), want: "walk(5): Twalk: nwname is 17: at most 16"},
		{name: "data too short", p: encode(tWrite, 1, 2, uint64(0), 100, uint8(1)), want: "read(5): Twrite: count is 100, and there are 1 bytes"},
		{name: "data too long", p: encode(tWrite, 1, 2, uint64(0), 1, uint16(1)), want: "read(5): Twrite: count is 1, and there are 2 bytes"},
		{name: "tag", p: encode(tClunk, noTag, 9), want: "version(5): Tclunk: the tag is NOTAG"},
		{name: "message over msize", p: encode(tWrite, 1, 2, uint64(0), make([]byte, 64<<10)), want: "version(5): Twrite: a message of 65559 bytes, and msize is 65536"},
		{name: "answer over msize", p: encode(tRead, 1, 1, uint64(0), 64<<10), want: "read(5): Tread: count is 65536, and an answer has room for 65525"},
		{name: "unknown fid", p: encode(tGetattr, 1, 99, uint64(0)), want: "intro(5): Tgetattr: fid 99 is not in use"},
		{name: "unknown fid to clunk", p: encode(tClunk, 1, 99), want: "intro(5): Tclunk: fid 99 is not in use"},
		{name: "unknown folder", p: encode(tLink, 1, 99, 0, "new"), want: "intro(5): Tlink: fid 99 is not in use"},
		{name: "fid of attach in use", p: encode(tAttach, 1, 0, uint32(noFid), "root", "", 0), want: "attach(5): Tattach: fid 0 is in use"},
		{name: "afid", p: encode(tAttach, 1, 20, 5, "root", "", 0), want: "attach(5): Tattach: afid is 5"},
		{name: "no fid", p: encode(tAttach, 1, uint32(noFid), uint32(noFid), "root", "", 0), want: "attach(5): Tattach: fid is NOFID"},
		{name: "newfid in use", p: encode(tWalk, 1, 0, 1, uint16(0)), want: "walk(5): Twalk: newfid 1 is in use"},
		{name: "newfid is none", p: encode(tWalk, 1, 0, uint32(noFid), uint16(0)), want: "walk(5): Twalk: newfid is NOFID"},
		{name: "open fid moved", p: encode(tWalk, 1, 3, 3, uint16(1), "deep"), want: "walk(5): Twalk: fid 3 is open"},
		{name: "two names in one", p: encode(tWalk, 1, 0, 30, uint16(1), "sub/deep"), want: "intro(5): Twalk: \"sub/deep\" is not the name"},
		{name: "dot", p: encode(tMkdir, 1, 0, ".", 0o755, 0), want: "intro(5): Tmkdir: \".\" is not the name"},
		{name: "second name", p: encode(tRenameat, 1, 0, "hello", 0, ""), want: "intro(5): Trenameat: \"\" is not the name"},
		{name: "opened twice", p: encode(tLopen, 1, 1, 0), want: "open(5): Tlopen: fid 1 is open already"},
		{name: "not open", p: encode(tRead, 1, 0, uint64(0), 9), want: "open(5): Tread: fid 0 is not open"},
		{name: "write to what is read", p: encode(tWrite, 1, 1, uint64(0), []byte("x")), want: "read(5): Twrite: fid 1 is not open for writing"},
		{name: "read what is written", p: encode(tRead, 1, 2, uint64(0), 9), want: "read(5): Tread: fid 2 is not open for reading"},
		{name: "folder read", p: encode(tRead, 1, 3, uint64(0), 9), want: "9P2000.L, readdir: Tread: fid 3 is a folder"},
		{name: "file read as a folder", p: encode(tReaddir, 1, 1, uint64(0), 9), want: "9P2000.L, readdir: Treaddir: fid 1 is not a folder"},
		{name: "flush of itself", p: encode(tFlush, 5, uint16(5)), want: "flush(5): Tflush: oldtag 5"},
		{name: "kind of lock", p: encode(tLock, 1, 1, uint8(9), 0, uint64(0), uint64(0), 7, "host"), want: "9P2000.L, lock: Tlock: type is 9"},
		{name: "flags of unlinkat", p: encode(tUnlinkat, 1, 0, "nothing", 1), want: "9P2000.L, unlinkat: Tunlinkat: flags are 0x1"},
		{name: "msize", p: encode(tVersion, noTag, 100, dialect), want: "version(5): Tversion: msize is 100"},
		{name: "before the version", p: encode(tGetattr, 1, 0, uint64(0)), want: "version(5): Tgetattr: there was no Tversion"},
		{name: "tag of the version", p: encode(tVersion, 3, 8192, dialect), want: "version(5): Tversion: the tag is 3, not NOTAG"},
	} {
		run(t, c, s)
	}
}

// TestStrictTags has a tag used twice at a time, and one used again as soon as its answer is there.
func TestStrictTags(t *testing.T) {
	c := newClient(t, false)
	c.rec.Forget()
	c.rec.Disturb("Tgetattr", devices.Effect{Delay: 1e9})
	c.q.Add([][]byte{encode(tGetattr, 7, 0, uint64(0))}, 4096)
	c.q.Kick()
	for c.clock.Armed() == 0 {
		runtime.Gosched()
	}
	c.q.Add([][]byte{encode(tGetattr, 7, 0, uint64(0))}, 4096)
	c.q.Kick()
	if l := c.rec.Violations(); len(l) == 0 || !strings.Contains(l[0], "intro(5): Tgetattr: tag 7 belongs to a request under way") {
		t.Errorf("twice at a time: %q", l)
	}
	c.q.Wait(1)
	c.clock.Advance(1e9)
	c.q.Wait(1)
	c.rec.Forget()
	for range 300 {
		c.q.Add([][]byte{encode(tGetattr, 7, 0, uint64(0))}, 4096)
		c.q.Kick()
		c.q.Poll(1)
	}
	if l := c.rec.Violations(); len(l) != 0 {
		t.Errorf("one after the other: %q", l)
	}
}

// TestStrictClaims has messages wait that claim tags and fids, and others use these before there is an answer.
func TestStrictClaims(t *testing.T) {
	c := newClient(t, false)
	c.walk(0, 1, "hello")
	c.walk(0, 2, "hello")
	c.dev.Pause()
	n := 0
	for _, s := range []struct {
		p    []byte
		want string
	}{
		{encode(tWalk, 1, 0, 5, uint16(0)), ""},
		{encode(tWalk, 2, 0, 5, uint16(0)), "intro(5): Twalk: fid 5 is that of a request under way"},
		{encode(tAttach, 3, 5, uint32(noFid), "root", "", 0), "intro(5): Tattach: fid 5 is that of a request under way"},
		{encode(tGetattr, 3, 0, uint64(0)), "intro(5): Tgetattr: tag 3 belongs to a request under way"},
		{encode(tLopen, 4, 1, 0), ""},
		{encode(tLopen, 5, 1, 0), "open(5): Tlopen: fid 1 is opened by a request under way"},
		{encode(tClunk, 6, 2), ""},
		{encode(tGetattr, 7, 2, uint64(0)), "intro(5): Tgetattr: fid 2 is ended by a request under way"},
		{encode(tGetattr, 8, 0, uint64(0)), ""},
		{encode(tFlush, 9, uint16(8)), ""},
	} {
		c.rec.Forget()
		c.q.Add([][]byte{s.p}, 4096)
		c.q.Kick()
		n++
		if l := c.rec.Violations(); s.want == "" && len(l) != 0 || s.want != "" && (len(l) != 1 || !strings.Contains(l[0], s.want)) {
			t.Errorf("% x: %q at the notification, want %q", s.p, l, s.want)
		}
	}
	c.dev.Resume()
	c.q.Poll(n)
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if len(c.dev.told) != 0 {
		t.Errorf("left over: %v", c.dev.told)
	}
}

// TestStrictNoRoom: a message without room for an answer is known at the notification, and stops the device when it is taken.
func TestStrictNoRoom(t *testing.T) {
	c := newClient(t, false)
	c.rec.Forget()
	c.dev.Pause()
	c.q.Add([][]byte{encode(tClunk, 1, 0)}, 4)
	c.q.Kick()
	if l := c.rec.Violations(); len(l) != 1 || !strings.Contains(l[0], "message of 11 bytes, answer of 4") || c.d.Get(virtiotest.Status, 1)&0x40 != 0 {
		t.Errorf("%q", l)
	}
	c.dev.Resume()
	c.d.WaitInterrupt(1)
	if l := c.rec.Violations(); len(l) != 1 || c.d.Get(virtiotest.Status, 1)&0x40 == 0 {
		t.Errorf("when it is taken: %q", l)
	}
}

// TestStrictAnswers leaves a byte too little room for answers whose length is known before: that is what they have.
func TestStrictAnswers(t *testing.T) {
	c := newClient(t, false)
	for i, p := range [][]byte{
		encode(tWalk, 1, 0, 2, uint16(2), "sub", "deep"), encode(tWalk, 1, 0, 3, uint16(1), "hello"), encode(tLopen, 1, 3, 0), encode(tGetattr, 1, 0, ^uint64(0)),
		encode(tStatfs, 1, 0), encode(tMkdir, 1, 0, "new", 0o755, 0), encode(tSymlink, 1, 0, "link", "there", 0), encode(tAttach, 1, 9, uint32(noFid), "root", "", 0),
		encode(tVersion, noTag, 8192, dialect),
	} {
		for less := range 2 {
			b, _, _ := parse(p)
			room := int(b.answerSize())
			c.rec.Forget()
			c.dev.Pause()
			c.q.Add([][]byte{p}, room-less)
			c.q.Kick()
			l := c.rec.Violations()
			// The second time the fids are in use as well.
			if found := slices.ContainsFunc(l, func(s string) bool { return strings.Contains(s, "but the answer has") }); found != (less != 0) || !found && len(l) != 0 {
				t.Errorf("%d: %q with room for %d", i, l, room-less)
			}
			c.dev.Resume()
			if n := c.q.Poll(1)[0].Len; less == 0 && int(n) != room {
				t.Errorf("%d: the answer has %d bytes, not %d", i, n, room)
			}
		}
	}
}
