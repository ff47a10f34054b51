package nvme

import (
	"sync"

	"golang.org/x/sys/unix"
)

// eventBell is a bell made of an eventfd. The kernel wakes the waiting thread on
// another processor at once, where the Go scheduler would leave the goroutine to
// the processor of the one that rang.
type eventBell struct {
	fd     int
	mu     sync.Mutex
	closed bool // the descriptor's number may belong to another file
}

// newBell returns the quickest bell there is; without file descriptors left it
// is a channel.
func newBell() bell {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return newChannelBell()
	}
	return &eventBell{fd: fd}
}

func (e *eventBell) ring() {
	e.mu.Lock()
	defer e.mu.Unlock()
	one := [8]byte{1}
	for !e.closed {
		// It fails only when interrupted: the counter, reset by each wait, cannot overflow.
		if _, err := unix.Write(e.fd, one[:]); err != unix.EINTR {
			return
		}
	}
}

func (e *eventBell) wait() {
	var b [8]byte
	for {
		if _, err := unix.Read(e.fd, b[:]); err != unix.EINTR {
			return
		}
	}
}

// close comes after the last wait.
func (e *eventBell) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		// There is nothing left that a failure could spoil.
		_ = unix.Close(e.fd)
	}
}
