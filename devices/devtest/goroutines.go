package devtest

import (
	"runtime"
	"testing"
	"time"
)

// Goroutines counts the goroutines, and returns a function that fails the test unless there are no more of them then. One that has
// told its owner that it ends may take a moment to go: the function waits for it.
func Goroutines(t testing.TB) (check func()) {
	before := runtime.NumGoroutine()
	return func() {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
			}
		}
	}
}
