//go:build !(linux && amd64)

package conformance

import (
	"errors"

	"dfemu/cpu/x86"
)

var errHost = errors.New("conformance: comparing with the real processor needs Linux on x86-64")

// NewNative starts an executor that is the processor of the host. On this system there is none.
func NewNative() (Executor, error) { return nil, errHost }

// HostFeatures returns the features of the host's processor. They are not known on this system.
func HostFeatures() (x86.FeatureSet, error) { return x86.FeatureSet{}, errHost }
