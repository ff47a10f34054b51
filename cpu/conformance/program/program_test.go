package program

import (
	"context"
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

func interpreter(cfg cpu.Config) (cpu.Accelerator, error) { return interp.New(cfg) }

func TestDebugOne(t *testing.T) {
	g, err := NewGenerator(x86.DefaultFeatures())
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		p, err := g.Generate(seed)
		if err != nil {
			t.Fatal(err)
		}
		o, err := Run(interpreter, p, Rig{})
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("seed %d cpl %d code %d budget %d: %v %d instructions, %d blocks, %d events, %d bus, %v RIP %#x", seed, p.CPL, len(p.Code), p.Budget, o.Reason, o.Stats.Instructions, o.Stats.Blocks, o.Events, len(o.Bus), o.Time, o.State.RIP)
	}
	_ = context.Background
}
