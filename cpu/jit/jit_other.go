//go:build !amd64 || !linux

package jit

import (
	"errors"

	"dfemu/cpu"
)

// Usable reports that this host cannot translate.
func Usable() (bool, string) { return false, "translation needs an amd64 host with Linux" }

// NewEager is New.
func NewEager(cfg cpu.Config) (cpu.Accelerator, error) { return New(cfg) }

// New reports that this host cannot translate.
func New(cpu.Config) (cpu.Accelerator, error) {
	return nil, errors.New("jit: translation needs an amd64 host with Linux: use --accel=interp")
}
