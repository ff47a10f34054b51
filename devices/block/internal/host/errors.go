// Package host reaches the host's files for the stores behind disks: whole
// transfers, direct I/O at any alignment, holes, locks.
package host

import (
	"errors"
	"fmt"
)

var (
	// ErrReadOnly reports a change asked of a store that is read-only.
	ErrReadOnly = errors.New("the disk is read-only")
	// ErrInUse reports an image that another process, or another disk of this
	// machine, has open in a way that excludes this use.
	ErrInUse = errors.New("the image is in use by another machine or disk")
	// ErrClosed reports a request to a store that was closed.
	ErrClosed = errors.New("the disk is closed")
	// ErrFlushFailed is wrapped by every flush after one that failed: what was
	// written before it may be lost, whatever later ones say.
	ErrFlushFailed = errors.New("an earlier flush failed, so data written before it may be lost; free space or repair the host's disk, then open the image again")
)

// Check reports a range outside [0, size). Callers promise not to pass one; a
// mistake of theirs must not reach past the end of the store.
func Check(what, name string, off, n, size int64) error {
	if off < 0 || n < 0 || off > size || n > size-off {
		return fmt.Errorf("%s %s: range of %d bytes at %d is outside its %d bytes", what, name, n, off, size)
	}
	return nil
}
