package block

import (
	"fmt"
	"runtime"
)

func alarmsOf(b any) *alarms {
	switch b := b.(type) {
	case *Limited:
		return b.alarms
	case *Delayed:
		return b.alarms
	}
	panic(fmt.Sprintf("%T has no alarms", b))
}

// Waiting is how many requests wait for the clock.
func Waiting(b any) int {
	a := alarmsOf(b)
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting)
}

// AwaitWaiting returns once n requests wait for the clock.
func AwaitWaiting(b any, n int) {
	for Waiting(b) != n {
		runtime.Gosched()
	}
}
