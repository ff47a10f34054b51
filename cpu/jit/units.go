//go:build amd64 && linux

package jit

import "sync/atomic"

// unitList is a list of units that is read without a lock while one goroutine at a time adds to it.
type unitList struct {
	n      atomic.Uint32
	chunks [1 << 12]atomic.Pointer[unitChunk]
}

type unitChunk [1 << 12]atomic.Pointer[record]

// len returns the number of units.
func (l *unitList) len() int { return int(l.n.Load()) }

// add gives r the next number; the first is 1.
func (l *unitList) add(r *record) {
	i := l.n.Load() + 1
	c := l.chunks[i>>12&0xfff].Load()
	if c == nil {
		c = new(unitChunk)
		l.chunks[i>>12&0xfff].Store(c)
	}
	c[i&0xfff].Store(r)
	l.n.Store(i)
}

// get returns a unit by its number, or nil.
func (l *unitList) get(i uint32) *record {
	if i == 0 || i > l.n.Load() {
		return nil
	}
	return l.chunks[i>>12&0xfff].Load()[i&0xfff].Load()
}

// reset empties the list.
func (l *unitList) reset() {
	l.n.Store(0)
	for i := range l.chunks {
		l.chunks[i].Store(nil)
	}
}
