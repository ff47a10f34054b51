package pc64

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Invariant of the unsafe code: the bottom layer has an address only for the length of a call, during which what is there
// stays reachable and is not moved: it is on the heap.

// TestThread is the calling thread's number; TestSignal sends a thread what the Go scheduler stops loops with.
func TestThread() int {
	n, _ := kcall(sysLwpGettid, 0, 0, 0)
	return int(n)
}

// TestSignal sends SIGURG to a thread.
func TestSignal(thread int) { kcall(sysLwpKill, 1, uint64(thread), sigURG) }

// TestUmtxSleep is umtx_sleep; 0 is no timeout. The result is the error's number, or 0.
func TestUmtxSleep(addr *atomic.Uint32, val uint32, timeout time.Duration) uint64 {
	return errno(blockingCall(sysUmtxSleep, uint64(uintptr(unsafe.Pointer(addr))), uint64(val), uint64(timeout/time.Microsecond)))
}

// TestNanosleep is nanosleep. The result is the error's number, or 0.
func TestNanosleep(d time.Duration) uint64 {
	t := &[2]uint64{uint64(d / second), uint64(d % second)}
	r := errno(blockingCall(sysNanosleep, uint64(uintptr(unsafe.Pointer(t))), 0, 0))
	runtime.KeepAlive(t)
	return r
}

func errno(r uint64, failed bool) uint64 {
	if !failed {
		return 0
	}
	return r
}
