//go:build linux

package jit

import (
	"dfemu/cpu"
	"dfemu/cpu/interp"
)

// Accel is the accelerator. It implements [cpu.Accelerator].
type Accel struct {
	*interp.Accel
	t *translator
}

// Usable reports whether this host can translate, and the reason in one line.
func Usable() (bool, string) {
	if err := checkHost(); err != nil {
		return false, err.Error()
	}
	return true, "translation to host code"
}

// New makes the processors of a machine, in their power-on state.
func New(cfg cpu.Config) (cpu.Accelerator, error) { return newAccel(cfg, heat) }

// NewEager is New for processors that translate everything the first time it is executed, which serves tests.
func NewEager(cfg cpu.Config) (cpu.Accelerator, error) { return newAccel(cfg, 0) }

// heat is how often a block is interpreted before it is translated.
const heat = 16

func newAccel(cfg cpu.Config, heat uint8) (cpu.Accelerator, error) {
	t, err := newTranslator()
	if err != nil {
		return nil, err
	}
	a, err := interp.NewTranslated(cfg, t, heat)
	if err != nil {
		t.close()
		return nil, err
	}
	if cfg.Lockstep {
		if err := a.Lockstep(); err != nil {
			t.close()
			return nil, err
		}
	}
	return &Accel{a, t}, nil
}

// Name implements [cpu.Accelerator].
func (*Accel) Name() string { return "jit" }

// Close implements [cpu.Accelerator].
func (a *Accel) Close() error {
	err := a.Accel.Close()
	a.t.close()
	return err
}
