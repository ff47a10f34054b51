package block

import (
	"container/heap"
	"sync"

	"dfemu/devices"
)

// alarms lets requests wait for instants of a clock. While it is released
// nobody waits: the clock may stand still.
type alarms struct {
	clock    devices.Clock
	mu       sync.Mutex
	timer    devices.Timer
	waiting  alarmHeap
	released bool
}

type alarm struct {
	at   int64
	done chan struct{}
}

func newAlarms(c devices.Clock) *alarms {
	a := &alarms{clock: c}
	a.timer = c.NewTimer(a.ring)
	return a
}

// wait returns when the clock shows at or more.
func (a *alarms) wait(at int64) {
	a.mu.Lock()
	if a.released || a.clock.Now() >= at {
		a.mu.Unlock()
		return
	}
	w := alarm{at, make(chan struct{})}
	heap.Push(&a.waiting, w)
	if a.waiting[0].at == at {
		a.timer.Set(at)
	}
	a.mu.Unlock()
	<-w.done
}

// ring wakes those whose time has come.
func (a *alarms) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	for len(a.waiting) > 0 && a.waiting[0].at <= now {
		close(heap.Pop(&a.waiting).(alarm).done)
	}
	if len(a.waiting) > 0 {
		a.timer.Set(a.waiting[0].at)
	}
}

// release wakes everybody, and lets nobody wait until hold.
func (a *alarms) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.released = true
	a.timer.Stop()
	for _, w := range a.waiting {
		close(w.done)
	}
	a.waiting = nil
}

func (a *alarms) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.released = false
}

// alarmHeap implements heap.Interface, earliest first.
type alarmHeap []alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarmHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarmHeap) Push(x any)        { *h = append(*h, x.(alarm)) }
func (h *alarmHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
