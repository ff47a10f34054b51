package exercise

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var errGone = errors.New("gone")

// ram is a target that can be told to fail.
type ram struct {
	mu    sync.Mutex
	b     []byte
	ops   int
	fails func(op int, write bool) error
	tear  bool // a write that fails has written its first sector
	lose  int  // each so many operations a write is acknowledged but not made
}

func (r *ram) op(write bool) error {
	r.ops++
	if r.fails != nil {
		return r.fails(r.ops, write)
	}
	return nil
}

func (r *ram) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.op(false); err != nil {
		return 0, err
	}
	return copy(p, r.b[off:]), nil
}

func (r *ram) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.op(true)
	switch {
	case err != nil && r.tear:
		copy(r.b[off:], p[:SectorSize])
	case err == nil && (r.lose == 0 || r.ops%r.lose != 0):
		copy(r.b[off:], p)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r *ram) Sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.op(false)
}

func run(t *testing.T, r *ram, until func(Result) bool) Result {
	t.Helper()
	l := Start(r, Options{Blocks: len(r.b) / BlockSize, Workers: 2, Seed: 7, Start: func(f func()) { go f() }, Gone: func(err error) bool { return errors.Is(err, errGone) }})
	for end := time.Now().Add(10 * time.Second); !until(l.Result()); {
		if time.Now().After(end) {
			t.Fatalf("the load does not come to what is waited for: %v", l.Result())
		}
		time.Sleep(time.Millisecond)
	}
	return l.Stop()
}

func TestSound(t *testing.T) {
	r := run(t, &ram{b: make([]byte, 16*BlockSize)}, func(r Result) bool { return r.Reads > 200 })
	if r.Wrong != 0 || r.Errors != 0 || r.Syncs == 0 {
		t.Errorf("a sound target: %v", r)
	}
}

func TestFailing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := &ram{b: make([]byte, 16*BlockSize), tear: true}
	r.fails = func(int, bool) error {
		if rng.IntN(10) == 0 {
			return errors.New("now and then")
		}
		return nil
	}
	if got := run(t, r, func(r Result) bool { return r.Errors > 50 }); got.Wrong != 0 || got.Last == nil {
		t.Errorf("a target that fails and says so: %v", got)
	}
}

func TestLost(t *testing.T) {
	r := &ram{b: make([]byte, 2*BlockSize), lose: 20}
	if got := run(t, r, func(r Result) bool { return r.Wrong > 0 || r.Reads > 5000 }); got.Wrong == 0 {
		t.Errorf("writes that are acknowledged but not made are not noticed: %v", got)
	}
}

func TestDamaged(t *testing.T) {
	b := make([]byte, BlockSize)
	Fill(b, 5, 9, 1)
	for s := range BlockSize / SectorSize {
		if n, err := Sector(b[s*SectorSize:][:SectorSize], 5, s, 1); n != 9 || err != nil {
			t.Fatalf("sector %d: %d, %v", s, n, err)
		}
	}
	for at := 0; at < SectorSize; at += 37 {
		b[at] ^= 4
		if _, err := Sector(b[:SectorSize], 5, 0, 1); !errors.Is(err, ErrContents) {
			t.Errorf("byte %d is damaged: %v", at, err)
		}
		b[at] ^= 4
	}
}

func TestGone(t *testing.T) {
	r := &ram{b: make([]byte, 4*BlockSize)}
	r.fails = func(op int, _ bool) error {
		if op > 100 {
			return errGone
		}
		return nil
	}
	l := Start(r, Options{Blocks: 4, Workers: 2, Start: func(f func()) { go f() }, Gone: func(err error) bool { return errors.Is(err, errGone) }})
	if got := l.Wait(); !got.Gone || got.Wrong != 0 {
		t.Errorf("a target that goes away: %v", got)
	}
}
