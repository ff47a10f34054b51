//go:build !linux

package network

import (
	"errors"

	"dfemu/devices"
)

// OpenTap reports that there is no tap here.
func OpenTap(Options) (devices.Network, error) {
	return nil, errors.New("tap: only Linux hosts have it; use --nic user")
}
