package net

import "sync"

// A worker runs its function on a goroutine of its own, started by the first
// kick, each time it was kicked. Kicks during a run make for one more run.
type worker struct {
	run func()

	mu      sync.Mutex
	started bool
	closed  bool
	wake    chan struct{}
	wg      sync.WaitGroup
}

// kick has the function run. It never waits.
func (w *worker) kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if !w.started {
		w.started = true
		w.wake = make(chan struct{}, 1)
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for range w.wake {
				w.run()
			}
		}()
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close waits for a run under way and ends the goroutine.
func (w *worker) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		if w.started {
			close(w.wake)
		}
	}
	w.mu.Unlock()
	w.wg.Wait()
}
