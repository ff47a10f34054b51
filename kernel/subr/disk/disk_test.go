package disk

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
)

// ram is a driver of a disk in memory. It completes requests in another thread.
type ram struct {
	mu    sync.Mutex
	data  []byte
	fail  error
	held  []*Bio // when hold is set, or for what keep says
	hold  bool
	keep  func(b *Bio) bool
	trims int
}

func (r *ram) Strategy(b *Bio) {
	go func() {
		r.mu.Lock()
		if r.hold || r.keep != nil && r.keep(b) {
			r.held = append(r.held, b)
			r.mu.Unlock()
			return
		}
		err := r.fail
		if err == nil {
			switch b.Cmd {
			case Read:
				copy(b.Mem.Bytes[:b.Length], r.data[b.Offset:])
			case Write:
				copy(r.data[b.Offset:], b.Mem.Bytes[:b.Length])
			case Delete:
				r.trims++
			}
		}
		r.mu.Unlock()
		b.Done(err)
	}()
}

// log records what is published.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Publish(n *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, "+"+n.Name+" "+strings.Join(n.Aliases, " "))
}

func (l *log) Withdraw(n *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, "-"+n.Name)
}

func newDisk(t *testing.T, r *ram, l *log, change func(*Info)) (*Layer, *Disk) {
	t.Helper()
	layer := New(kern.New(&kern.Host{}), l)
	i := Info{Name: "da0", Model: "RAM", Serial: "A/1 x", Where: "ram0", SectorSize: 512, Sectors: uint64(len(r.data) / 512), MaxTransfer: 4096}
	if change != nil {
		change(&i)
	}
	d, err := layer.Create(i, r)
	if err != nil {
		t.Fatal(err)
	}
	layer.Sync()
	return layer, d
}

// withSlice is a disk with a slice from sector 8, of 16.
func withSlice() *ram {
	b := make([]byte, 64<<10)
	b[446+4], b[446+8], b[446+12] = 0x6c, 8, 16
	b[510], b[511] = 0x55, 0xaa
	return &ram{data: b}
}

func TestPublish(t *testing.T) {
	l := &log{}
	r := withSlice()
	layer, d := newDisk(t, r, l, nil)
	layer.Destroy(d)
	layer.Sync()
	want := "+da0 serno/A_1_x path/ram0|+da0s1 serno/A_1_x.s1|-da0s1|-da0"
	if got := strings.Join(l.lines, "|"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := len(layer.Disks()); n != 0 {
		t.Errorf("%d disks are left", n)
	}
}

func TestRescan(t *testing.T) {
	l := &log{}
	r := withSlice()
	layer, d := newDisk(t, r, l, nil)
	r.mu.Lock()
	r.data[446+12] = 20
	r.mu.Unlock()
	l.lines = nil
	layer.Rescan(d)
	layer.Sync()
	if got, want := strings.Join(l.lines, "|"), "-da0s1|+da0s1 serno/A_1_x.s1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := layer.Find("/dev/serno/A_1_x.s1"); n == nil || n.Size != 20*512 {
		t.Errorf("found %+v", n)
	}
}

func TestReadWrite(t *testing.T) {
	r := withSlice()
	layer, d := newDisk(t, r, nil0(), nil)
	s := layer.Find("da0s1")
	want := bytes.Repeat([]byte("0123456789abcdef"), 512)
	if _, err := s.WriteAt(want, 0); err != nil { // all of it, in two requests
		t.Fatal(err)
	}
	if !bytes.Equal(r.data[8*512:24*512], want) {
		t.Error("the slice is not where it should be")
	}
	got := make([]byte, 1000)
	if _, err := s.ReadAt(got, 333); err != nil || !bytes.Equal(got, want[333:1333]) {
		t.Errorf("a part that is not whole sectors: %v", err)
	}
	for _, c := range []struct {
		err  error
		do   func() error
		name string
	}{
		{ErrRange, func() error { _, err := s.WriteAt(want[:512], 16*512); return err }, "behind the end"},
		{ErrRange, func() error { _, err := s.ReadAt(want[:512], -512); return err }, "before the start"},
		{ErrAlign, func() error { _, err := s.WriteAt(want[:512], 1); return err }, "not aligned"},
		{ErrSupported, func() error { return s.Delete(0, 512) }, "delete"},
		{nil, s.Flush, "flush"},
	} {
		if err := c.do(); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	r.mu.Lock()
	r.fail = ErrMedium
	r.mu.Unlock()
	_, err := s.ReadAt(got, 0)
	var e *Error
	if !errors.Is(err, ErrMedium) || !errors.As(err, &e) || e.Device != "da0" || e.Offset != 8*512 {
		t.Errorf("the error does not say what failed: %v", err)
	}
	layer.Destroy(d)
	if _, err := s.ReadAt(got, 0); !errors.Is(err, ErrGone) {
		t.Errorf("reading a disk that is gone: %v", err)
	}
}

func nil0() *log { return &log{} }

func TestReadOnly(t *testing.T) {
	layer, _ := newDisk(t, withSlice(), nil0(), func(i *Info) { i.ReadOnly = true })
	if _, err := layer.Find("da0").WriteAt(make([]byte, 512), 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("writing a disk that is read-only: %v", err)
	}
}

// TestAsync sends requests whose completions come as messages.
func TestAsync(t *testing.T) {
	r := withSlice()
	layer, d := newDisk(t, r, nil0(), nil)
	k := layer.k
	n := layer.Find("da0")
	reply := msgport.NewSpin(k, "test")
	r.mu.Lock()
	r.hold = true
	r.mu.Unlock()
	for i := range 8 {
		m, err := layer.Buffer(512)
		if err != nil {
			t.Fatal(err)
		}
		b := NewBio(k, reply)
		b.Cmd, b.Offset, b.Length, b.Mem = Read, int64(i)*512, 512, m
		n.Send(b)
	}
	for d.Pending() != 8 {
		time.Sleep(time.Millisecond)
	}
	layer.Destroy(d)
	for {
		r.mu.Lock()
		held := len(r.held)
		r.mu.Unlock()
		if held == 8 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for i, b := range r.held {
		if i%2 == 0 {
			b.Done(ErrGone)
		} else {
			b.Done(nil)
		}
	}
	failed := 0
	for range 8 {
		m := reply.Wait()
		b := m.Data.(*Bio)
		if m.Err != nil {
			failed++
		}
		layer.Release(b.Mem)
	}
	if failed != 4 || d.Pending() != 0 || d.Stats().Errors.Load() != 4 {
		t.Errorf("%d failed, %d are under way", failed, d.Pending())
	}
}

// TestDeadDisk has a disk that does not answer: the others are probed all the same, and it can be removed.
func TestDeadDisk(t *testing.T) {
	dead := withSlice()
	dead.hold = true
	l := &log{}
	layer := New(kern.New(&kern.Host{}), l)
	d, err := layer.Create(Info{Name: "da0", SectorSize: 512, Sectors: 128}, dead)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layer.Create(Info{Name: "da1", SectorSize: 512, Sectors: 128}, withSlice()); err != nil {
		t.Fatal(err)
	}
	for layer.Find("da1s1") == nil {
		time.Sleep(time.Millisecond)
	}
	layer.Destroy(d)
	dead.mu.Lock()
	for _, b := range dead.held {
		b.Done(ErrGone)
	}
	dead.mu.Unlock()
	layer.Sync()
	if layer.Find("da0") != nil {
		t.Error("the dead disk is left")
	}
}

func TestCreateChecks(t *testing.T) {
	layer := New(kern.New(&kern.Host{}), nil)
	for _, i := range []Info{{SectorSize: 0, Sectors: 1}, {SectorSize: 513, Sectors: 1}, {SectorSize: 1 << 16, Sectors: 1}, {SectorSize: 512}, {SectorSize: 4096, Sectors: 1 << 60}} {
		if _, err := layer.Create(i, &ram{}); err == nil {
			t.Errorf("%+v is accepted", i)
		}
	}
	if _, _, err := layer.CreateUnit("da", Info{}, &ram{}); err == nil {
		t.Error("a disk without sectors is accepted")
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("QM0000 1/ä")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range []byte(Sanitize(s)) {
			if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-@+.,_", c) >= 0) {
				t.Fatalf("%q becomes %q", s, Sanitize(s))
			}
		}
	})
}

// tight is a host without memory in large pieces, or without any.
type tight struct {
	kern.Host
	most int
}

func (h *tight) AllocDMA(size, align int, limit uint64) (kern.DMA, error) {
	if size > h.most {
		return kern.DMA{}, errors.New("no memory")
	}
	return h.Host.AllocDMA(size, align, limit)
}

// TestTight reads and writes where memory is short: in pieces, and if there is none with an error.
func TestTight(t *testing.T) {
	h := &tight{most: 4096}
	layer := New(kern.New(h), nil)
	r := &ram{data: make([]byte, 256<<10)}
	d, err := layer.Create(Info{Name: "da0", SectorSize: 512, Sectors: 512, MaxTransfer: 128 << 10}, r)
	if err != nil {
		t.Fatal(err)
	}
	layer.Sync()
	n := layer.Nodes(d)[0]
	want := bytes.Repeat([]byte("0123456789abcdef"), 8000)
	if _, err := n.WriteAt(want, 512); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want)-999)
	if _, err := n.ReadAt(got, 512+333); err != nil || !bytes.Equal(got, want[333:333+len(got)]) {
		t.Errorf("what was written does not come back: %v", err)
	}
	h.most = 0
	layer.pool.mu.Lock()
	layer.pool.free = [9][]kern.DMA{}
	layer.pool.mu.Unlock()
	if _, err := n.ReadAt(got, 0); err == nil {
		t.Error("a read succeeds without memory")
	}
	h.most = 1 << 20
	if _, err := n.ReadAt(got, 0); err != nil {
		t.Error(err)
	}
}

// TestComplaints has a disk fail again and again: the log names it, and does not fill.
func TestComplaints(t *testing.T) {
	var out bytes.Buffer
	r := withSlice()
	layer := New(kern.New(&kern.Host{Out: &out}), nil)
	d, err := layer.Create(Info{Name: "da0", SectorSize: 512, Sectors: 128}, r)
	if err != nil {
		t.Fatal(err)
	}
	layer.Sync()
	r.mu.Lock()
	r.fail = ErrMedium
	r.mu.Unlock()
	for range 100 {
		if _, err := layer.Find("da0").ReadAt(make([]byte, 512), 512); !errors.Is(err, ErrMedium) {
			t.Fatal(err)
		}
	}
	layer.Destroy(d)
	layer.Sync()
	if n := strings.Count(out.String(), "da0: read of 512 bytes at 512: medium error"); n != complainMost {
		t.Errorf("100 errors made %d lines, want %d", n, complainMost)
	}
}

// TestDeletePieces deletes more than one request can.
func TestDeletePieces(t *testing.T) {
	r := &ram{data: make([]byte, 4096)}
	layer := New(kern.New(&kern.Host{}), nil)
	d, err := layer.Create(Info{Name: "da0", SectorSize: 512, Sectors: 1 << 24, CanDelete: true}, r)
	if err != nil {
		t.Fatal(err)
	}
	n := d.node(&Node{Name: "da0", Size: 1 << 33})
	if err := n.Delete(512, 1<<32); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trims != 4 {
		t.Errorf("4 GiB were deleted by %d requests, want 4", r.trims)
	}
	if err := n.Delete(0, 1<<33+1); !errors.Is(err, ErrRange) {
		t.Errorf("deleting more than there is: %v", err)
	}
}
