//go:build !linux || !amd64

package kvm

import (
	"fmt"
	"runtime"

	"dfemu/cpu"
)

// New fails: KVM for x86-64 guests exists on Linux on amd64 only. The error
// wraps [cpu.ErrNoKVM].
func New(cpu.Config) (cpu.Accelerator, error) {
	return nil, fmt.Errorf("%w: it needs Linux on amd64, and this is %s on %s", cpu.ErrNoKVM, runtime.GOOS, runtime.GOARCH)
}

// Usable reports that KVM cannot be used, and why.
func Usable() (ok bool, reason string) {
	_, err := New(cpu.Config{})
	return false, err.Error()
}

// PhysBits fails, as New does.
func PhysBits() (int, error) {
	_, err := New(cpu.Config{})
	return 0, err
}
