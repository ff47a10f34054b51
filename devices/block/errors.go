package block

import "dfemu/devices/block/internal/host"

var (
	// ErrReadOnly reports a change asked of a store that is read-only.
	ErrReadOnly = host.ErrReadOnly
	// ErrInUse reports an image that another process, or another disk of this
	// machine, has open in a way that excludes this use.
	ErrInUse = host.ErrInUse
	// ErrClosed reports a request to a store that was closed.
	ErrClosed = host.ErrClosed
	// ErrFlushFailed is wrapped by every flush after one that failed: what was
	// written before it may be lost, whatever later ones say.
	ErrFlushFailed = host.ErrFlushFailed
)
