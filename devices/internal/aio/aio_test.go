package aio

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func newFile(t *testing.T, content []byte) int {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// reader waits for what its queue lands.
type reader struct {
	*Queue
	wg    sync.WaitGroup
	batch atomic.Int32 // most that landed at once
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{}
	var err error
	r.Queue, err = New(func(l []*Op) {
		r.batch.Store(max(r.batch.Load(), int32(len(l))))
		for range l {
			r.wg.Done()
		}
	})
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reader) do(l ...*Op) {
	r.wg.Add(len(l))
	r.Start(l)
	r.wg.Wait()
}

// TestReads has more reads under way than the host takes at a time, in several pieces each.
func TestReads(t *testing.T) {
	const size, n = 5000, 3 * depth
	want := pattern(size * n)
	fd := newFile(t, want)
	r := newReader(t)
	defer r.Close()
	got := make([]byte, len(want))
	var l []*Op
	for i := range n {
		p := got[i*size:][:size]
		l = append(l, &Op{FD: fd, Off: int64(i * size), Bufs: [][]byte{p[:100], p[100:100], p[100:4000], p[4000:]}})
	}
	for range 3 { // they are used again
		clear(got)
		r.do(l...)
		for i, o := range l {
			if o.Err != nil {
				t.Fatalf("read %d: %v", i, o.Err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatal("content differs")
		}
	}
	if r.batch.Load() < 2 {
		t.Error("reads that ended together landed one by one")
	}
}

// TestErrors has reads that the host does not do among others.
func TestErrors(t *testing.T) {
	fd := newFile(t, pattern(1000))
	r := newReader(t)
	defer r.Close()
	op := func(fd int, n int) *Op {
		return &Op{FD: fd, Off: 900, Bufs: [][]byte{make([]byte, 50), make([]byte, n)}}
	}
	long, none, fine, last := op(fd, 51), op(1<<20, 50), op(fd, 50), op(-1, 50)
	r.do(long, none, fine, last)
	if long.Err == nil || none.Err == nil || fine.Err != nil || last.Err == nil {
		t.Errorf("beyond the end: %v; no file: %v, %v; up to the end: %v", long.Err, none.Err, last.Err, fine.Err)
	}
	r.do(fine)
	if fine.Err != nil {
		t.Error(fine.Err)
	}
}

// TestConcurrent starts reads from several goroutines, one by one.
func TestConcurrent(t *testing.T) {
	want := pattern(4096)
	fd := newFile(t, want)
	r := newReader(t)
	defer r.Close()
	got := make([][]byte, 4)
	r.wg.Add(4 * 200)
	var starters sync.WaitGroup
	for i := range got {
		got[i] = make([]byte, 200*16)
		starters.Go(func() {
			for k := range 200 {
				r.Start([]*Op{{FD: fd, Off: int64(k * 16), Bufs: [][]byte{got[i][k*16:][:16]}}})
			}
		})
	}
	starters.Wait()
	r.wg.Wait()
	for i := range got {
		if !bytes.Equal(got[i], want[:len(got[i])]) {
			t.Errorf("what goroutine %d read differs", i)
		}
	}
}

// TestClose closes queues with reads under way, all of which land before.
func TestClose(t *testing.T) {
	fd := newFile(t, pattern(1<<16))
	for range 5 {
		r := newReader(t)
		var l []*Op
		for range 2 * depth {
			l = append(l, &Op{FD: fd, Bufs: [][]byte{make([]byte, 4096)}})
		}
		r.wg.Add(len(l))
		r.Start(l)
		r.Close()
		r.wg.Wait()
	}
}
