// Package exercise loads a disk with reads and writes whose contents it can check: each sector says which block it
// belongs to and how often that was written.
package exercise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// Sizes of what is written, in bytes.
const (
	SectorSize = 512
	BlockSize  = 4096
)

// Target is what is loaded.
type Target interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written last.
	Sync() error
}

// Options say how.
type Options struct {
	// Blocks of BlockSize bytes from the start of the target are used; each worker has its share of them.
	Blocks, Workers int
	Seed            uint64
	// Start runs f in a thread.
	Start func(f func())
	// Gone tells of an error that the target is not there any more: then the load ends.
	Gone func(error) bool
}

// Load is a load that runs.
type Load struct {
	o       Options
	t       Target
	stop    atomic.Bool
	working sync.WaitGroup

	reads, writes, syncs, errs atomic.Uint64

	mu     sync.Mutex
	wrong  []string // contents that are not what was written
	nWrong int
	last   error
	gone   bool
}

// Result is what a load has come to.
type Result struct {
	Reads, Writes, Syncs, Errors uint64
	// Wrong is how many blocks had other contents than what was written to them last; First tells of the first few.
	Wrong int
	First []string
	// Last is the latest error; Gone tells that the target went away.
	Last error
	Gone bool
}

// String writes the result in a line.
func (r Result) String() string {
	s := fmt.Sprintf("%d reads, %d writes, %d flushes, %d errors, %d blocks wrong", r.Reads, r.Writes, r.Syncs, r.Errors, r.Wrong)
	if r.Gone {
		s += ", gone"
	}
	if r.Last != nil {
		s += fmt.Sprintf(", last error: %v", r.Last)
	}
	for _, f := range r.First {
		s += "; " + f
	}
	return s
}

// Start starts a load.
func Start(t Target, o Options) *Load {
	l := &Load{o: o, t: t}
	share := o.Blocks / o.Workers
	for w := range o.Workers {
		l.working.Add(1)
		o.Start(func() {
			defer l.working.Done()
			l.work(int64(w*share), share, o.Seed+uint64(w))
		})
	}
	return l
}

// Stop ends the load and returns what it has come to.
func (l *Load) Stop() Result {
	l.stop.Store(true)
	l.working.Wait()
	return l.Result()
}

// Wait returns when the load has ended by itself: its target is gone.
func (l *Load) Wait() Result {
	l.working.Wait()
	return l.Result()
}

// Result is what the load has come to until now.
func (l *Load) Result() Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Result{l.reads.Load(), l.writes.Load(), l.syncs.Load(), l.errs.Load(), l.nWrong, slices.Clone(l.wrong), l.last, l.gone}
}

// failed counts an error and tells whether to end.
func (l *Load) failed(err error) bool {
	l.errs.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = err
	if l.o.Gone != nil && l.o.Gone(err) {
		l.gone = true
		l.stop.Store(true)
		return true
	}
	return false
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Fill makes b the contents of a block that was written for the n-th time.
func Fill(b []byte, block int64, n, seed uint64) {
	le := binary.LittleEndian
	for s := 0; s*SectorSize < len(b); s++ {
		p := b[s*SectorSize:][:SectorSize]
		le.PutUint64(p, uint64(block)<<8|uint64(s))
		le.PutUint64(p[8:], n)
		x := mix(uint64(block)<<8|uint64(s)) ^ mix(n) ^ seed
		for i := 16; i < SectorSize; i += 8 {
			x += 0x9e3779b97f4a7c15
			le.PutUint64(p[i:], mix(x))
		}
	}
}

// ErrContents reports contents that no Fill has made, or that of another place.
var ErrContents = errors.New("the contents are not what was written")

// Sector checks a sector of a block and returns how often it was written.
func Sector(p []byte, block int64, s int, seed uint64) (n uint64, err error) {
	le := binary.LittleEndian
	if at := le.Uint64(p); at != uint64(block)<<8|uint64(s) {
		return 0, fmt.Errorf("block %d sector %d: it has %#x for its place: %w", block, s, at, ErrContents)
	}
	n = le.Uint64(p[8:])
	x := mix(uint64(block)<<8|uint64(s)) ^ mix(n) ^ seed
	for i := 16; i < SectorSize; i += 8 {
		x += 0x9e3779b97f4a7c15
		if le.Uint64(p[i:]) != mix(x) {
			return 0, fmt.Errorf("block %d sector %d, written for the %d. time: byte %d: %w", block, s, n, i, ErrContents)
		}
	}
	return n, nil
}

// work loads blocks from first on. Of each it is known how often it was written; after a write that has failed
// it may be either of several numbers, for each sector by itself.
func (l *Load) work(first int64, blocks int, rng uint64) {
	b := make([]byte, BlockSize)
	may := make([][]uint64, blocks)
	next := uint64(1)
	write := func(i int) bool {
		block := first + int64(i)
		Fill(b, block, next, l.o.Seed)
		l.writes.Add(1)
		_, err := l.t.WriteAt(b, block*BlockSize)
		switch {
		case err == nil:
			may[i] = append(may[i][:0], next)
		case len(may[i]) > 0: // else anything may be there
			may[i] = append(may[i], next)
		}
		next++
		return err == nil || !l.failed(err)
	}
	for i := range blocks {
		if l.stop.Load() || !write(i) {
			return
		}
	}
	for n := 1; !l.stop.Load(); n++ {
		rng += 0x9e3779b97f4a7c15
		r := mix(rng)
		i := int(r >> 8 % uint64(blocks))
		switch {
		case n%16 == 0:
			l.syncs.Add(1)
			if err := l.t.Sync(); err != nil && l.failed(err) {
				return
			}
		case r&1 != 0:
			if !write(i) {
				return
			}
		default:
			l.reads.Add(1)
			if _, err := l.t.ReadAt(b, (first+int64(i))*BlockSize); err != nil {
				if l.failed(err) {
					return
				}
				continue
			}
			may[i] = l.check(b, first+int64(i), may[i])
		}
	}
}

// check compares a block with how often its sectors may have been written, and returns what is known then.
func (l *Load) check(b []byte, block int64, may []uint64) []uint64 {
	if len(may) == 0 {
		return may
	}
	var seen []uint64
	for s := range BlockSize / SectorSize {
		n, err := Sector(b[s*SectorSize:][:SectorSize], block, s, l.o.Seed)
		if err == nil && !slices.Contains(may, n) {
			err = fmt.Errorf("block %d sector %d: it was written for the %d. time, not for any of %d: %w", block, s, n, may, ErrContents)
		}
		if err != nil {
			l.mu.Lock()
			if l.nWrong++; len(l.wrong) < 3 {
				l.wrong = append(l.wrong, err.Error())
			}
			l.mu.Unlock()
			return may
		}
		if !slices.Contains(seen, n) {
			seen = append(seen, n)
		}
	}
	if len(seen) == 1 {
		return seen
	}
	return may
}
