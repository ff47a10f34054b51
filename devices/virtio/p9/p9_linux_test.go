package p9

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio/virtiotest"
)

// client is a 9P client that speaks through a virtqueue.
type client struct {
	*testing.T
	dev   *Device
	d     *virtiotest.Driver
	q     *virtiotest.Queue
	dir   string // of the host
	rec   *devtest.Recorder
	clock *devtest.Clock
	tag   uint16
}

// flying tells whether the request with a tag is under way.
func (c *client) flying(tag uint16) bool {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	return c.dev.flying[tag] != nil
}

func newClient(t *testing.T, readOnly bool) *client {
	t.Helper()
	c := &client{T: t, dir: filepath.Join(t.TempDir(), "share"), rec: &devtest.Recorder{}, clock: devtest.NewClock(time.Unix(0, 0))}
	check(t, os.MkdirAll(filepath.Join(c.dir, "sub", "deep"), 0o755))
	check(t, os.WriteFile(filepath.Join(c.dir, "hello"), []byte("hello, guest"), 0o644))
	check(t, os.WriteFile(filepath.Join(c.dir, "sub", "deep", "file"), []byte("deep"), 0o644))
	check(t, os.WriteFile(filepath.Join(c.dir, "..", "secret"), []byte("secret"), 0o644))
	check(t, os.Symlink("../secret", filepath.Join(c.dir, "out")))
	check(t, os.Symlink("/", filepath.Join(c.dir, "rootlink")))
	check(t, syscall.Mkfifo(filepath.Join(c.dir, "pipe"), 0o644))
	c.connect(t, readOnly)
	c.start()
	c.session()
	return c
}

func (c *client) connect(t *testing.T, readOnly bool) {
	t.Helper()
	dev, err := New(Options{Name: "virtio-9p0", Dir: c.dir, Tag: "work", ReadOnly: readOnly, MaxFids: 40, Clock: c.clock})
	check(t, err)
	t.Cleanup(func() { check(t, dev.Close()) })
	c.dev = dev
	dev.Function().Probe().Watch(^devices.Class(0), c.rec, c.rec)
	c.d = virtiotest.New(t, dev.Function(), true)
}

// start is what a driver does first.
func (c *client) start() {
	c.d.Start(featureMountTag)
	c.q = c.d.Queue(0, 64)
	c.d.Go()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// session begins one, with the root as fid 0.
func (c *client) session() {
	c.Helper()
	r := c.do(tVersion, uint32(64<<10), dialect)
	if n, v := r.u32(), r.str(); n != 64<<10 || v != dialect {
		c.Fatalf("version: %d %q", n, v)
	}
	c.do(tAttach, uint32(0), uint32(noFid), "root", "", uint32(0))
}

// encode makes a message.
func encode(kind uint8, tag uint16, args ...any) []byte {
	w := writer{}
	w.reset()
	for _, a := range args {
		switch a := a.(type) {
		case uint8:
			w.u8(a)
		case uint16:
			w.u16(a)
		case uint32:
			w.u32(a)
		case int:
			w.u32(uint32(a))
		case uint64:
			w.u64(a)
		case string:
			w.str(a)
		case []byte:
			w.u32(uint32(len(a)))
			w.p = append(w.p, a...)
		default:
			panic(fmt.Sprintf("%T", a))
		}
	}
	w.finish(kind, tag)
	return w.p
}

func (c *client) message(kind uint8, args ...any) []byte {
	tag := uint16(noTag)
	if kind != tVersion {
		c.tag++
		tag = c.tag
	}
	return encode(kind, tag, args...)
}

// rpc sends a message and returns the answer's body, or the error in it.
func (c *client) rpc(kind uint8, args ...any) (*reader, errno) {
	c.Helper()
	return c.answer(kind, c.q.Do([][]byte{c.message(kind, args...)}, 64<<10))
}

func (c *client) answer(kind uint8, b virtiotest.Buffer) (*reader, errno) {
	c.Helper()
	p := b.In[0][:b.Len]
	if len(p) < headerSize || le.Uint32(p) != b.Len {
		c.Fatalf("answer of %d bytes: %x", b.Len, p)
	}
	r := &reader{p: p[headerSize:]}
	if p[4] == rLerror {
		return nil, errno(r.u32())
	}
	if p[4] != kind+1 {
		c.Fatalf("answer of type %d to %d", p[4], kind)
	}
	return r, 0
}

// do is rpc for what must succeed.
func (c *client) do(kind uint8, args ...any) *reader {
	c.Helper()
	r, e := c.rpc(kind, args...)
	if e != 0 {
		c.Fatalf("message %d %v: %v", kind, args, e)
	}
	return r
}

// refused expects an error.
func (c *client) refused(want errno, kind uint8, args ...any) {
	c.Helper()
	if _, e := c.rpc(kind, args...); e != want {
		c.Errorf("%s %v: %v, want %v", kinds(kind).name, args, e, want)
	}
}

func (c *client) walk(from, to int, path string) {
	c.Helper()
	if e := c.tryWalk(from, to, path); e != 0 {
		c.Fatalf("walk %s: %v", path, e)
	}
}

func (c *client) tryWalk(from, to int, path string) errno {
	c.Helper()
	args := []any{from, to}
	names := strings.Fields(strings.ReplaceAll(path, "/", " "))
	args = append(args, uint16(len(names)))
	for _, n := range names {
		args = append(args, n)
	}
	r, e := c.rpc(tWalk, args...)
	if e == 0 && int(r.u16()) != len(names) {
		e = eNOENT
	}
	return e
}

func (c *client) read(fid int, off, n int) string {
	c.Helper()
	r := c.do(tRead, fid, uint64(off), n)
	return string(r.take(int(r.u32())))
}

func (c *client) host(name string) string {
	c.Helper()
	p, err := os.ReadFile(filepath.Join(c.dir, name))
	check(c, err)
	return string(p)
}

func TestConfiguration(t *testing.T) {
	c := newClient(t, false)
	check(t, configRegisters.Check())
	if id := c.d.Config(2, 2); id != 0x1049 {
		t.Errorf("device %#x", id)
	}
	if n := c.d.DeviceConfig(0, 2); n != 4 {
		t.Errorf("tag_len %d", n)
	}
	tag := ""
	for i := range 4 {
		tag += string(rune(c.d.DeviceConfig(uint64(2+i), 1)))
	}
	if tag != "work" || !c.rec.Has("register tag[3]") {
		t.Errorf("tag %q", tag)
	}
	for _, o := range []Options{{Dir: c.dir}, {Dir: c.dir, Tag: strings.Repeat("x", 257)}, {Dir: c.dir + "/hello", Tag: "x"}, {Dir: c.dir + "/none", Tag: "x"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestFiles(t *testing.T) {
	c := newClient(t, false)
	c.walk(0, 1, "hello")
	c.do(tLopen, 1, 0)
	if s := c.read(1, 7, 100); s != "guest" {
		t.Errorf("read %q", s)
	}
	if s := c.read(1, 100, 100); s != "" {
		t.Errorf("read after the end %q", s)
	}
	r := c.do(tGetattr, 1, uint64(getattrBasic))
	if valid := r.u64(); valid != getattrBasic {
		t.Errorf("valid %#x", valid)
	}
	r.take(qidSize)
	mode := r.u32()
	r.take(8 + 8 + 8)
	if size := r.u64(); size != 12 || mode != 0o100644 {
		t.Errorf("mode %o size %d", mode, size)
	}
	c.do(tClunk, 1)
	c.refused(eBADF, tRead, 1, uint64(0), 1)

	// A file that is made, written, synced, cut, renamed, linked, removed.
	c.walk(0, 2, "")
	c.do(tLcreate, 2, "new", openReadWrite, 0o666, 0)
	r = c.do(tWrite, 2, uint64(3), []byte("content"))
	if n := r.u32(); n != 7 {
		t.Errorf("wrote %d", n)
	}
	c.do(tFsync, 2, 1)
	if s := c.host("new"); s != "\x00\x00\x00content" {
		t.Errorf("host has %q", s)
	}
	if fi, err := os.Stat(filepath.Join(c.dir, "new")); err != nil || fi.Mode().Perm() != 0o666 {
		t.Errorf("%v %v: the host's umask must not count", fi.Mode(), err)
	}
	set := func(valid, mode int, size uint64, atime, mtime uint64) []any {
		return []any{2, valid, mode, 0, 0, size, atime, uint64(0), mtime, uint64(5)}
	}
	c.do(tSetattr, set(setSize|setMode|setAtime|setMtime|setAtimeSet|setMtimeSet, 0o640, 5, 1000, 2000)...)
	fi, err := os.Stat(filepath.Join(c.dir, "new"))
	check(t, err)
	if fi.Size() != 5 || fi.Mode().Perm() != 0o640 || !fi.ModTime().Equal(time.Unix(2000, 5)) {
		t.Errorf("%d bytes, %v, %v", fi.Size(), fi.Mode(), fi.ModTime())
	}
	c.refused(ePERM, tSetattr, set(setMode, 0o4755, 0, 0, 0)...)
	c.refused(eINVAL, tSetattr, set(0x8000, 0, 0, 0, 0)...)
	c.do(tRenameat, 0, "new", 0, "newer")
	c.do(tMkdir, 0, "made", 0o777, 0)
	c.walk(0, 3, "made")
	c.do(tRename, 2, 3, "moved")
	if s := c.host("made/moved"); s != "\x00\x00\x00co" {
		t.Errorf("moved has %q", s)
	}
	c.do(tLink, 0, 2, "again")
	c.do(tUnlinkat, 3, "moved", 0)
	if s := c.read(2, 3, 10); s != "co" {
		t.Errorf("an open file that was removed reads %q", s)
	}
	c.refused(eNOENT, tRename, 2, 0, "x")
	c.do(tUnlinkat, 0, "made", unlinkDir)
	c.walk(0, 4, "again")
	c.do(tRemove, 4)
	c.refused(eBADF, tGetattr, 4, uint64(0))
	if _, err := os.Stat(filepath.Join(c.dir, "again")); err == nil {
		t.Error("removed file is still there")
	}
}

func TestFolders(t *testing.T) {
	c := newClient(t, false)
	for i := range 60 {
		check(t, os.WriteFile(filepath.Join(c.dir, "sub", fmt.Sprintf("entry-%02d", i)), nil, 0o644))
	}
	c.walk(0, 1, "sub")
	c.refused(eBADF, tReaddir, 1, uint64(0), 1000)
	c.do(tLopen, 1, openDirectory)
	seen := map[string]uint8{}
	for off, rounds := uint64(0), 0; ; rounds++ {
		r := c.do(tReaddir, 1, off, 500)
		n := int(r.u32())
		if n == 0 {
			if rounds < 3 {
				t.Errorf("%d rounds", rounds)
			}
			break
		}
		l := reader{p: r.take(n)}
		for len(l.p) > 0 && !l.bad {
			q := l.u8()
			l.take(12)
			off = l.u64()
			l.u8()
			name := l.str()
			if _, twice := seen[name]; twice {
				t.Errorf("%s comes twice", name)
			}
			seen[name] = q
		}
		if l.bad {
			t.Fatal("an entry is cut off")
		}
	}
	if len(seen) != 63 || seen["deep"] != qidDir || seen["entry-07"] != 0 {
		t.Errorf("%d entries: %v", len(seen), seen)
	}
	c.refused(eISDIR, tRead, 1, uint64(0), 10)
	c.refused(eISDIR, tLopen, 0, openReadWrite)
	r := c.do(tStatfs, 0)
	if kind := r.u32(); kind != statfsMagic {
		t.Errorf("statfs type %#x", kind)
	}
	c.walk(0, 5, "hello")
	c.refused(eNOTDIR, tLopen, 5, openDirectory)
	c.refused(eNOTDIR, tMkdir, 5, "x", 0o755, 0)
	c.refused(eEXIST, tMkdir, 0, "sub", 0o755, 0)
	c.refused(eEXIST, tLcreate, 0, "hello", openReadWrite|openExcl, 0o644, 0)
	c.refused(eOPNOTSUPP, tXattrwalk, 5, 6, "user.x")
	c.refused(eOPNOTSUPP, tXattrwalk, 5, 6, "")
	c.refused(eOPNOTSUPP, tXattrcreate, 5, "user.x", uint64(3), 0)
	c.refused(eOPNOTSUPP, tAuth, 9, "root", "", 0)
}

func TestWalks(t *testing.T) {
	c := newClient(t, false)
	// A walk that fails later reports how far it came and leaves newfid alone.
	r := c.do(tWalk, 0, 1, uint16(3), "sub", "none", "file")
	if n := r.u16(); n != 1 {
		t.Errorf("%d names walked", n)
	}
	c.refused(eBADF, tGetattr, 1, uint64(0))
	c.refused(eNOENT, tWalk, 0, 1, uint16(1), "none")
	c.walk(0, 1, "sub/deep/file")
	c.refused(eBADF, tWalk, 0, 1, uint16(1), "sub") // in use
	c.refused(eNOTDIR, tWalk, 1, 2, uint16(1), "..")
	c.walk(0, 0, "sub")
	c.walk(0, 0, "..")
	c.walk(0, 2, "hello")
	c.do(tLopen, 2, 0)
	c.refused(eINVAL, tWalk, 2, 2, uint16(0))
	for i := 3; i < 40; i++ {
		c.walk(0, i, "")
	}
	c.refused(eMFILE, tWalk, 0, 40, uint16(0))
	c.session()
	// A path of many folders counts each of them.
	path := strings.Repeat("d/", 16)
	check(t, os.MkdirAll(filepath.Join(c.dir, path), 0o755))
	for i := 1; i < 5; i++ {
		c.walk(0, i, path)
	}
	if r := c.do(tWalk, 0, 6, uint16(16), "d", "d", "d", "d", "d", "d", "d", "d", "d", "d", "d", "d", "d", "d", "d", "d"); r.u16() == 16 {
		t.Error("there is no end of descriptors")
	}
	c.session() // ends all fids
	c.walk(0, 40, "")
	c.do(tAttach, 41, uint32(noFid), "u", "/sub/deep", 0)
	c.walk(41, 42, "file")
	c.refused(eINVAL, tAttach, 43, uint32(noFid), "u", "..", 0)
}

// TestConfined has the guest try to leave the folder.
func TestConfined(t *testing.T) {
	c := newClient(t, false)
	if e := c.tryWalk(0, 1, ".. .. .. secret"); e == 0 {
		t.Error("'..' leads out")
	}
	for _, path := range []string{"out/x", "rootlink/etc", "rootlink/etc/passwd"} {
		if e := c.tryWalk(0, 1, path); e == 0 {
			t.Errorf("%s can be walked to", path)
		}
	}
	c.walk(0, 1, "out")
	c.refused(eLOOP, tLopen, 1, 0)
	c.refused(eLOOP, tLcreate, 0, "out", openReadWrite, 0o644, 0)
	if r := c.do(tReadlink, 1); r.str() != "../secret" {
		t.Error("wrong target")
	}
	c.refused(errno(syscall.EINVAL), tSetattr, 1, setSize, 0, 0, 0, uint64(0), uint64(0), uint64(0), uint64(0), uint64(0))
	c.refused(errno(syscall.EOPNOTSUPP), tSetattr, 1, setMode, 0o777, 0, 0, uint64(0), uint64(0), uint64(0), uint64(0), uint64(0))
	// A hard link to a symbolic link is one to the link, not to where it points.
	c.do(tLink, 0, 1, "out2")
	if s, err := os.Readlink(filepath.Join(c.dir, "out2")); s != "../secret" {
		t.Errorf("%q %v", s, err)
	}
	for _, name := range []string{"..", ".", "", "a/b", "../x", "/etc/passwd", "x\x00y"} {
		c.refused(eINVAL, tMkdir, 0, name, 0o755, 0)
		c.refused(eINVAL, tLcreate, 0, name, openReadWrite, 0o644, 0)
		c.refused(eINVAL, tSymlink, 0, name, "x", 0)
		c.refused(eINVAL, tUnlinkat, 0, name, 0)
		c.refused(eINVAL, tRenameat, 0, "hello", 0, name)
		c.refused(eINVAL, tRenameat, 0, name, 0, "hello2")
		c.refused(eINVAL, tLink, 0, 1, name)
		if name != ".." {
			c.refused(eINVAL, tWalk, 0, 9, uint16(1), name)
		}
	}
	c.refused(eNAMETOOLONG, tMkdir, 0, strings.Repeat("n", 256), 0o755, 0)
	c.refused(ePERM, tMknod, 0, "dev", 0o020666, 1, 3, 0)
	c.refused(ePERM, tMknod, 0, "dev", 0o060666, 1, 3, 0)
	c.do(tMknod, 0, "fifo", 0o010644, 0, 0, 0)
	c.do(tMknod, 0, "plain", 0o644, 0, 0, 0)
	c.walk(0, 2, "pipe")
	c.refused(errno(syscall.ENXIO), tLopen, 2, 0)
	c.walk(0, 3, "sub/deep")
	c.refused(ePERM, tLink, 0, 3, "dirlink")

	// The host moves a folder out of the share and replaces its place by a link to the outside.
	outside := filepath.Join(c.dir, "..", "elsewhere")
	check(t, os.Rename(filepath.Join(c.dir, "sub"), outside))
	check(t, os.Symlink("/", filepath.Join(c.dir, "sub")))
	c.walk(3, 4, "..")
	c.walk(4, 5, "..")
	if e := c.tryWalk(5, 6, "hello"); e != 0 {
		t.Errorf("'..' of the folder that was moved is not the shared one: %v", e)
	}
	if e := c.tryWalk(5, 7, "secret"); e == 0 {
		t.Error("'..' of the folder that was moved leads out")
	}
	if s, err := os.ReadFile(filepath.Join(c.dir, "..", "secret")); string(s) != "secret" {
		t.Errorf("%q %v", s, err)
	}
}

func TestReadOnly(t *testing.T) {
	c := newClient(t, true)
	c.walk(0, 1, "hello")
	for _, flags := range []int{openWriteOnly, openReadWrite, openTrunc} {
		c.refused(eROFS, tLopen, 1, flags)
	}
	z := uint64(0)
	c.refused(eROFS, tLcreate, 0, "x", openReadWrite, 0o644, 0)
	c.refused(eROFS, tMkdir, 0, "x", 0o755, 0)
	c.refused(eROFS, tSymlink, 0, "x", "y", 0)
	c.refused(eROFS, tMknod, 0, "x", 0o100644, 0, 0, 0)
	c.refused(eROFS, tLink, 0, 1, "x")
	c.refused(eROFS, tRename, 1, 0, "x")
	c.refused(eROFS, tRenameat, 0, "hello", 0, "x")
	c.refused(eROFS, tUnlinkat, 0, "hello", 0)
	c.refused(eROFS, tSetattr, 1, setMode, 0, 0, 0, z, z, z, z, z)
	c.do(tLopen, 1, 0)
	c.refused(eROFS, tWrite, 1, z, []byte("x"))
	if s := c.read(1, 0, 5); s != "hello" {
		t.Errorf("%q", s)
	}
	c.refused(eROFS, tRemove, 1)
	c.refused(eBADF, tClunk, 1) // Tremove takes the fid in any case
	if s := c.host("hello"); s != "hello, guest" {
		t.Errorf("host has %q", s)
	}
}

func TestLocks(t *testing.T) {
	c := newClient(t, false)
	for fid := 1; fid <= 2; fid++ {
		c.walk(0, fid, "hello")
		c.do(tLopen, fid, openReadWrite)
	}
	lock := func(fid int, kind uint8) uint8 {
		r := c.do(tLock, fid, kind, 0, uint64(0), uint64(0), 7, "host")
		return r.u8()
	}
	if lock(1, lockWrite) != lockSuccess || lock(2, lockWrite) != lockBlocked {
		t.Error("a lock does not exclude")
	}
	r := c.do(tGetlock, 2, uint8(lockRead), uint64(0), uint64(0), 7, "host")
	if k := r.u8(); k != lockWrite {
		t.Errorf("getlock: %d", k)
	}
	if lock(1, lockUnlock) != lockSuccess || lock(2, lockRead) != lockSuccess {
		t.Error("unlocking does not help")
	}
	c.refused(eINVAL, tLock, 1, uint8(9), 0, uint64(0), uint64(0), 7, "host")
}

func TestBadMessages(t *testing.T) {
	c := newClient(t, false)
	send := func(want errno, p []byte) {
		t.Helper()
		b := c.q.Do([][]byte{p}, 4096)
		if _, e := c.answer(p[4], b); e != want {
			t.Errorf("%x: %v, want %v", p, e, want)
		}
	}
	send(eOPNOTSUPP, encode(200, 1))
	send(eOPNOTSUPP, encode(rLerror, 1))
	send(ePROTO, encode(tWalk, 1, 0, 1, uint16(17)))
	send(ePROTO, encode(tClunk, 1))
	send(ePROTO, append(encode(tClunk, 1, 0), 0)[:11:11][:10])
	long := encode(tClunk, 1, 0)
	le.PutUint32(long, 4000)
	send(ePROTO, long)
	send(ePROTO, encode(tWrite, 1, 0, uint64(0), 100))
	for _, words := range [][]string{{"violation", "type 200"}, {"violation", "Twalk"}, {"violation", "size is 4000"}} {
		if !c.rec.Has(words...) {
			t.Errorf("no report of %q in\n%s", words, c.rec.Log())
		}
	}
	c.refused(eBADF, tClunk, 99)
	if !c.rec.Has("violation", "fid 99 is not in use") {
		t.Error("no report of an unknown fid")
	}
	r := c.do(tVersion, uint32(1<<20), "9P2000.u")
	if _, v := r.u32(), r.str(); v != "unknown" {
		t.Errorf("version %q", v)
	}
	c.refused(ePROTO, tGetattr, 0, uint64(0))
	// No room for an answer.
	c.q.Add([][]byte{encode(tClunk, 1, 0)}, 4)
	c.q.Kick()
	c.d.WaitInterrupt(1)
	if c.d.Get(virtiotest.Status, 1)&0x40 == 0 {
		t.Error("the device goes on")
	}
}

func TestWatched(t *testing.T) {
	c := newClient(t, false)
	c.walk(0, 1, "hello")
	c.do(tLopen, 1, 0)
	c.read(1, 2, 3)
	c.rpc(tClunk, 77)
	for _, words := range [][]string{
		{"command Tread", "bytes=3", "fid=1", "offset=2"}, {"completion Tread", "OK"}, {"completion Tclunk", "code=9"}, {"dma request"},
	} {
		if !c.rec.Has(words...) {
			t.Errorf("no %q in\n%s", words, c.rec.Log())
		}
	}
}

func TestFaults(t *testing.T) {
	c := newClient(t, false)
	c.walk(0, 1, "hello")
	c.do(tLopen, 1, openReadWrite)
	z := uint64(0)
	c.rec.Disturb("Tread", devices.Effect{Fail: true, Status: 28})
	c.refused(errno(28), tRead, 1, z, 5)
	c.rec.Disturb("Tread", devices.Effect{Fail: true})
	c.refused(eIO, tRead, 1, z, 5)
	c.rec.Disturb("Tread", devices.Effect{ShortOn: true, Short: 2})
	if s := c.read(1, 0, 5); s != "he" {
		t.Errorf("short: %q", s)
	}
	c.rec.Disturb("Tread", devices.Effect{FlipData: 1, Seed: 3})
	if s := c.read(1, 0, 5); s == "hello" || len(s) != 5 {
		t.Errorf("flip: %q", s)
	}
	c.rec.Disturb("Twrite", devices.Effect{ShortOn: true, Short: 1})
	if r := c.do(tWrite, 1, z, []byte("HELLO")); r.u32() != 1 || c.host("hello")[:3] != "Hel" {
		t.Errorf("short write: %q", c.host("hello"))
	}

	// Delayed: nothing until the clock has moved.
	c.rec.Disturb("Tread", devices.Effect{Delay: 1000})
	c.q.Add([][]byte{c.message(tRead, 1, z, 3)}, 100)
	c.q.Kick()
	for c.clock.Armed() == 0 {
		runtime.Gosched()
	}
	c.do(tGetattr, 0, z) // others go on
	c.clock.Advance(1000)
	if _, e := c.answer(tRead, c.q.Wait(1)[0]); e != 0 {
		t.Errorf("delayed: %v", e)
	}

	// Delayed and flushed.
	c.rec.Disturb("Tread", devices.Effect{Delay: 1000})
	c.q.Add([][]byte{c.message(tRead, 1, z, 3)}, 100)
	old := c.tag
	c.q.Kick()
	for c.clock.Armed() == 0 {
		runtime.Gosched()
	}
	c.q.Add([][]byte{c.message(tFlush, old)}, 100)
	c.q.Kick()
	l := c.q.Wait(2)
	if _, e := c.answer(tRead, l[0]); e != eINTR {
		t.Errorf("flushed: %v", e)
	}
	if _, e := c.answer(tFlush, l[1]); e != 0 {
		t.Errorf("flush: %v", e)
	}

	// Lost, then flushed; put off behind another; answered twice; reset.
	c.rec.Disturb("Tread", devices.Effect{Hang: true})
	c.q.Add([][]byte{c.message(tRead, 1, z, 3)}, 100)
	old = c.tag
	c.q.Kick()
	for !c.rec.Has("command Tread", fmt.Sprintf("tag=%d", old)) || c.flying(old) { // a flush that came sooner would have it answered
		runtime.Gosched()
	}
	c.do(tFlush, old)
	c.rec.Disturb("Tread", devices.Effect{Hold: 1})
	c.q.Add([][]byte{c.message(tRead, 1, z, 3)}, 100)
	held := c.tag
	c.q.Kick()
	for !c.rec.Has("command Tread", fmt.Sprintf("tag=%d", held)) {
		runtime.Gosched()
	}
	for others, came := 0, false; !came; {
		c.q.Add([][]byte{c.message(tGetattr, 0, z)}, 200)
		c.q.Kick()
		for _, b := range c.q.Wait(1) {
			if came = le.Uint16(b.In[0][5:]) == held; !came {
				others++
			}
		}
		if came && others == 0 {
			t.Error("the held request comes first")
		}
		if came {
			c.q.Wait(1) // the other that was sent with it
		}
	}
	c.rec.Disturb("Tread", devices.Effect{Drop: true})
	c.q.Add([][]byte{c.message(tRead, 1, z, 3)}, 100)
	c.q.Kick()
	c.do(tStatfs, 0)
	c.rec.Disturb("Tread", devices.Effect{FlipTable: 1 << 39})
	c.q.Add([][]byte{c.message(tRead, 1, z, 3)}, 100)
	c.q.Kick()
	c.d.WaitInterrupt(1) // configuration: the answer went to where no memory is
}

// TestSave moves the device with its guest, a request under way.
func TestSave(t *testing.T) {
	c := newClient(t, false)
	c.walk(0, 1, "hello")
	c.do(tLopen, 1, openReadWrite)
	c.walk(0, 2, "sub/deep/file")
	c.walk(0, 3, "sub/deep")
	c.do(tRenameat, 0, "sub", 0, "moved")
	c.walk(0, 4, "")
	c.do(tLcreate, 4, "gone", openReadWrite, 0o644, 0)
	c.rec.Disturb("Tread", devices.Effect{Delay: 1000})
	c.q.Add([][]byte{c.message(tRead, 1, uint64(0), 5)}, 100)
	c.q.Kick()
	for c.clock.Armed() == 0 {
		runtime.Gosched()
	}
	c.dev.Pause()
	if _, e := c.answer(tRead, c.q.Wait(1)[0]); e != 0 {
		t.Errorf("pausing does not end a delay: %v", e)
	}
	c.q.Add([][]byte{c.message(tRead, 1, uint64(1), 4)}, 100)
	c.q.Publish()
	state, err := c.dev.SaveState()
	check(t, err)
	check(t, os.Remove(filepath.Join(c.dir, "gone")))

	ram, q := bytes.Clone(c.d.RAM.Data), c.q
	c.connect(t, false)
	copy(c.d.RAM.Data, ram)
	c.dev.Pause()
	check(t, c.dev.RestoreState(state))
	q.Move(c.d)
	c.q = q
	c.dev.Resume()
	r, e := c.answer(tRead, c.q.Wait(1)[0])
	if e != 0 || string(r.take(int(r.u32()))) != "ello" {
		t.Errorf("%v", e)
	}
	c.do(tWrite, 1, uint64(0), []byte("J"))
	if s := c.host("hello"); s != "Jello, guest" {
		t.Errorf("%q", s)
	}
	c.do(tLopen, 2, 0)
	if s := c.read(2, 0, 10); s != "deep" {
		t.Errorf("%q", s)
	}
	c.refused(eBADF, tRead, 4, uint64(0), 1)
	c.do(tClunk, 4)
	for _, bad := range [][]byte{nil, {2}, state[:20], append([]byte{1, 255, 255, 0, 0}, state[5:]...)} {
		c.dev.Pause()
		if c.dev.RestoreState(bad) == nil {
			t.Errorf("%d bytes are accepted", len(bad))
		}
		c.dev.Resume()
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	ended, files := devtest.Goroutines(t), descriptors(t)
	dev, err := New(Options{Name: "virtio-9p0", Dir: t.TempDir(), Tag: "x"})
	check(t, err)
	c := &client{T: t, dev: dev}
	c.d = virtiotest.New(t, dev.Function(), true)
	c.d.Start(0)
	c.q = c.d.Queue(0, 64)
	c.d.Go()
	c.session()
	c.walk(0, 1, "")
	c.do(tLcreate, 1, "f", openReadWrite, 0o644, 0)
	check(t, dev.Close())
	ended()
	if n := descriptors(t); n != files {
		t.Errorf("%d descriptors before, %d after", files, n)
	}
}

func descriptors(t *testing.T) int {
	l, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(l)
}

// FuzzMessages sends messages of any content, one after the other.
func FuzzMessages(f *testing.F) {
	version := encode(tVersion, noTag, uint32(8192), dialect)
	attach := encode(tAttach, 1, 0, uint32(noFid), "", "", 0)
	join := func(l ...[]byte) []byte { return bytes.Join(append([][]byte{version, attach}, l...), nil) }
	f.Add(join(encode(tWalk, 2, 0, 1, uint16(2), "d", "..")))
	f.Add(join(encode(tLcreate, 2, 0, "f", 2, 0o644, 0), encode(tWrite, 3, 0, uint64(5), []byte("abc")), encode(tRead, 4, 0, uint64(0), 100)))
	f.Add(join(encode(tMkdir, 2, 0, "x", 0o755, 0), encode(tRenameat, 2, 0, "x", 0, "y"), encode(tRemove, 1, 0)))
	f.Add(join(encode(tLopen, 2, 0, 0), encode(tReaddir, 3, 0, uint64(0), 4000), encode(tReaddir, 3, 0, uint64(77), 30)))
	f.Add(join(encode(tSymlink, 2, 0, "l", "/etc", 0), encode(tFlush, 3, uint16(2)), encode(tGetattr, 1, 0, ^uint64(0)), encode(tStatfs, 1, 0)))
	f.Add(join(encode(tSetattr, 2, 0, 0x1ff, 0o777, 0, 0, ^uint64(0), uint64(1), uint64(1), uint64(1), uint64(1)), encode(tLock, 1, 0, uint8(1), 0, uint64(0), uint64(0), 1, "c")))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, p []byte) {
		share, err := os.MkdirTemp(dir, "s")
		check(t, err)
		check(t, os.Mkdir(filepath.Join(share, "d"), 0o755))
		dev, err := New(Options{Dir: share, Tag: "t", MaxFids: 16})
		check(t, err)
		d := virtiotest.New(t, dev.Function(), true)
		d.Start(0)
		q := d.Queue(0, 64)
		d.Go()
		for n := 0; len(p) >= headerSize && n < 40; n++ {
			size := min(max(int(le.Uint32(p)), headerSize), len(p))
			b := q.Do([][]byte{p[:size]}, 8192)
			if b.Len < headerSize || b.Len > 8192 {
				t.Fatalf("answer of %d bytes", b.Len)
			}
			p = p[size:]
		}
		check(t, dev.Close())
		if l, err := os.ReadDir(dir); err != nil || len(l) != 1 {
			t.Errorf("%v %v beside the share", l, err)
		}
		check(t, os.RemoveAll(share))
	})
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	check(b, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o644))
	dev, err := New(Options{Dir: dir, Tag: "t"})
	check(b, err)
	defer dev.Close()
	d := virtiotest.New(b, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 64)
	d.Go()
	for _, m := range [][]byte{
		encode(tVersion, noTag, uint32(maxMessage), dialect), encode(tAttach, 1, 0, uint32(noFid), "", "", 0),
		encode(tWalk, 1, 0, 1, uint16(1), "f"), encode(tLopen, 1, 1, 0),
	} {
		q.Do([][]byte{m}, 256)
	}
	m := encode(tRead, 1, 1, uint64(0), 128<<10)
	b.SetBytes(128 << 10)
	for b.Loop() {
		if r := q.Do([][]byte{m}, readHeader+128<<10); r.Len < 128<<10 {
			b.Fatal(r.Len)
		}
	}
}
