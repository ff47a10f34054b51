package kern

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// ErrNoMemory is why memory was refused: what is left is for the kernel itself.
var ErrNoMemory = errors.New("out of memory") // ENOMEM

// memory is what the kernel knows of those who can give memory back.
type memory struct {
	ask    sync.Mutex // one who asks at a time
	mu     sync.Mutex
	caches []func()
}

// Bytes returns n bytes that are zero, or an error that wraps ErrNoMemory. Whoever needs more than a little, as others say how much, asks here: what
// make cannot get is the end of the system.
func (k *Kernel) Bytes(n int) ([]byte, error) {
	k.mem.ask.Lock()
	defer k.mem.ask.Unlock()
	if err := k.Room(int64(n)); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	// The next to ask must see that they are taken.
	for i := 0; i < n; i += 4096 {
		b[i] = 0
	}
	return b, nil
}

// Room tells whether there are n bytes for what is about to be allocated in several pieces: nil, or an error that wraps ErrNoMemory.
func (k *Kernel) Room(n int64) error {
	need := n + n/64 + 1<<16 // the runtime keeps notes of what it gives out
	if n < 0 || need < n {
		return fmt.Errorf("%w: %d bytes are asked for", ErrNoMemory, n)
	}
	room := k.Available()
	if room < need {
		k.GiveBack()
		room = k.Available()
	}
	if room < need {
		return fmt.Errorf("%w: %d bytes are asked for, there is room for %d", ErrNoMemory, n, room)
	}
	return nil
}

// OnLowMemory makes f one of those that give memory back when there is little. It may be called by any thread, and must not ask for memory.
func (k *Kernel) OnLowMemory(f func()) {
	k.mem.mu.Lock()
	defer k.mem.mu.Unlock()
	k.mem.caches = append(k.mem.caches, f)
}

// GiveBack gives the platform all memory that is not in use.
func (k *Kernel) GiveBack() {
	k.mem.mu.Lock()
	caches := k.mem.caches
	k.mem.mu.Unlock()
	for _, f := range caches {
		f()
	}
	debug.FreeOSMemory()
}

// Times of the thread that watches memory: from one time that it gives memory back to the next, at least and where that has not helped, between looks whether
// there is more again, and from message to message.
const (
	memoryPause  = 100 * time.Millisecond
	memoryLong   = 5 * time.Second
	memoryTick   = time.Second
	memorySilent = 10 * time.Second
)

// manyGoroutines is how many of them may be why memory is low.
const manyGoroutines = 1000

// memoryHelps is how much must come back for it to be worth while, in bytes.
const memoryHelps = 256 << 10

// WatchMemory starts the thread that gives memory back when there is little, and keeps the heap below what there is.
func (k *Kernel) WatchMemory() {
	full := k.Available()
	limitHeap(full)
	k.Start(ThreadAttr{Name: "pagedaemon", Priority: SoftNormal}, func() {
		told, pause, limit := -memorySilent, memoryPause, full
		for {
			timeout := time.Duration(-1)
			if limit < full/2 {
				timeout = memoryTick // others give back what they have in their own time
			}
			if !k.WaitLowMemory(timeout) { // or for no reason
				if room := k.Available(); room > limit+limit/4 {
					limit = room
					limitHeap(limit)
				}
				continue
			}
			before := k.Available()
			k.GiveBack()
			limit = k.Available()
			limitHeap(limit)
			if now := k.Now(); now-told >= memorySilent {
				told = now
				many := ""
				if n := runtime.NumGoroutine(); n > manyGoroutines {
					many = fmt.Sprintf("; there are %d goroutines", n)
				}
				k.Printf("memory is low: there is room for %d KiB; %d KiB have been given back%s", limit>>10, max(limit-before, 0)>>10, many)
			}
			if pause = min(2*pause, memoryLong); limit-before > memoryHelps {
				pause = memoryPause
			}
			time.Sleep(pause)
		}
	})
}

// limitHeap has the runtime collect garbage before its heap takes all of the room that there is beside it.
func limitHeap(room int64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + room)
}
