//go:build !unix

package program

import "errors"

// guestMemory returns zeroed memory outside the Go heap, and what gives it back.
func guestMemory(int) ([]byte, func() error, error) {
	return nil, nil, errors.New("guest memory: not on this system")
}
