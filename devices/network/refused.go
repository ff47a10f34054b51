package network

import (
	"errors"
	"syscall"
)

// isRefused tells whether nobody listened at the other end.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
