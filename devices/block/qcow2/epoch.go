package qcow2

import "sync/atomic"

// epochs tells when all requests that may still use a freed cluster are over.
// A request belongs to the epoch in which it began, and at any time requests of
// at most two epochs are in progress.
type epochs struct {
	now   atomic.Uint64
	count [2]atomic.Int64 // requests in progress, by their epoch's parity
}

// enter begins a request and returns its epoch.
func (e *epochs) enter() uint64 {
	for {
		n := e.now.Load()
		e.count[n&1].Add(1)
		if e.now.Load() == n {
			return n
		}
		e.count[n&1].Add(-1)
	}
}

func (e *epochs) leave(n uint64) { e.count[n&1].Add(-1) }

// advance begins a new epoch unless requests of the one before the present are
// in progress. What was freed in epoch n is unused from epoch n+2 on. Callers
// exclude each other.
func (e *epochs) advance() {
	n := e.now.Load()
	if e.count[(n+1)&1].Load() == 0 {
		e.now.Store(n + 1)
	}
}
