package block

import "errors"

var (
	// ErrReadOnly reports a change asked of a store that is read-only.
	ErrReadOnly = errors.New("the disk is read-only")
	// ErrInUse reports an image that another process, or another disk of this
	// machine, has open in a way that excludes this use.
	ErrInUse = errors.New("the image is in use by another machine or disk")
)
