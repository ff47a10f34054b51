//go:build !linux

package conformance

import "errors"

// guestMemory is only there on Linux.
func guestMemory(int) ([]byte, func() error, error) {
	return nil, nil, errors.New("guest memory: only Linux is supported")
}
