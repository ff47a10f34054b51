package nvme

import (
	"sync"
	"sync/atomic"
)

// Sanitize actions (base specification, figure 303) and states (figure 230).
const (
	sanitizeExitFailure = 1
	sanitizeBlockErase  = 2
	sanitizeOverwrite   = 3

	sanitizeNever    = 0
	sanitizeDone     = 1
	sanitizeRunning  = 2
	sanitizeFailedAt = 3
)

// sanitizing is the state of sanitize operations of a subsystem.
type sanitizing struct {
	running  atomic.Bool // State is sanitizeRunning
	mu       sync.Mutex
	State    uint8
	Action   uint32 // double word 10 of the last operation
	Progress uint16
	wg       sync.WaitGroup
}

func (z *sanitizing) busy() bool { return z.running.Load() }

// sanitize is the command Sanitize: it begins the operation, which erases all
// namespaces, and completes at once.
func (d *Device) sanitize(e *entry) status {
	action := e.dw[10] & 7
	z := &d.sub.wipe
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case z.State == sanitizeRunning:
		return sanitizeInProgress
	case action == sanitizeExitFailure:
		if z.State == sanitizeFailedAt {
			z.State = sanitizeNever
		}
		return success
	case action != sanitizeBlockErase && action != sanitizeOverwrite:
		return invalidField
	case z.State == sanitizeFailedAt && e.dw[10]>>3&1 == 0:
		return sanitizeFailed
	}
	l := d.sub.all()
	for _, ns := range l {
		if ns.readOnly() {
			return writeProtected
		}
	}
	z.State, z.Action, z.Progress = sanitizeRunning, e.dw[10], 0
	z.running.Store(true)
	pattern := e.dw[11]
	z.wg.Add(1)
	go func() {
		defer z.wg.Done()
		d.wipeAll(l, action == sanitizeOverwrite, pattern)
	}()
	d.statef("sanitize begins")
	return success
}

// wipeAll erases namespaces one after the other.
func (d *Device) wipeAll(l []*namespace, overwrite bool, pattern uint32) {
	z := &d.sub.wipe
	failed := false
	for i, ns := range l {
		if ns.wipe(overwrite, pattern) != nil {
			failed = true
			break
		}
		z.mu.Lock()
		z.Progress = uint16((i + 1) * 0xffff / len(l))
		z.mu.Unlock()
	}
	z.mu.Lock()
	z.State, z.Progress = sanitizeDone, 0xffff
	if failed {
		z.State = sanitizeFailedAt
	}
	z.running.Store(false)
	z.mu.Unlock()
	d.statef("sanitize ends, failed: %v", failed)
	d.mu.Lock()
	d.events.add(d, eventSpecific, eventSanitized, logSanitize)
	d.mu.Unlock()
}

// wipe erases the content of one namespace.
func (ns *namespace) wipe(overwrite bool, pattern uint32) error {
	ns.guard.Lock()
	defer ns.guard.Unlock()
	ns.bad.clear(0, ^uint64(0))
	if ns.zones != nil {
		ns.zones.formatted()
	}
	if !overwrite {
		if err := ns.store.WriteZeroes(ns.base, ns.bytes, true); err != nil {
			return err
		}
		return ns.flush()
	}
	b := make([]byte, 64<<10)
	for i := 0; i < len(b); i += 4 {
		le.PutUint32(b[i:], pattern)
	}
	for at := int64(0); at < ns.bytes; at += int64(len(b)) {
		if _, err := ns.store.WriteAt(b[:min(int64(len(b)), ns.bytes-at)], ns.base+at); err != nil {
			return err
		}
	}
	return ns.flush()
}

// sanitizePage is the Sanitize Status log.
func (s *Subsystem) sanitizePage() []byte {
	b := make([]byte, 512)
	z := &s.wipe
	z.mu.Lock()
	defer z.mu.Unlock()
	le.PutUint16(b[0:], z.Progress)
	if z.State == sanitizeNever || z.State == sanitizeDone {
		le.PutUint16(b[0:], 0xffff)
	}
	le.PutUint16(b[2:], uint16(z.State))
	le.PutUint32(b[4:], z.Action)
	for _, off := range []int{8, 12, 16, 20, 24, 28} {
		le.PutUint32(b[off:], 0xffffffff) // no estimates
	}
	return b
}
