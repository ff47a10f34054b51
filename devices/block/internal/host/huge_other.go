//go:build !linux

package host

import "errors"

func newHuge() (hugeBuffer, error) { return hugeBuffer{}, errors.ErrUnsupported }

func (hugeBuffer) unmap() {}
