package conformance

import (
	"context"
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// interpreter makes the processors under test.
func interpreter(cfg cpu.Config) (cpu.Accelerator, error) { return interp.New(cfg) }

// requireHost skips a test where the host cannot run the cases.
func requireHost(t *testing.T) {
	t.Helper()
	have, err := HostFeatures()
	if err != nil {
		t.Skip(err)
	}
	for _, f := range []x86.Feature{x86.FeatAVX2, x86.FeatXSAVE, x86.FeatFSGSBASE} {
		if !have.Has(f) {
			t.Skipf("the host has no %v, which saving the state needs", f)
		}
	}
}

func TestInterpreter(t *testing.T) {
	requireHost(t)
	n := 0
	rep, err := Run(context.Background(), Config{
		Seed: 1, Cases: 200000, Workers: 2, Subjects: []Subject{{Name: "interp", New: interpreter}}, MaxMismatches: 100,
		Mismatch: func(m *Mismatch) {
			if n++; n <= 5 {
				t.Logf("%v", m)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", rep)
	if rep.Mismatches > 0 {
		t.Errorf("%d of %d cases came out different", rep.Mismatches, rep.Cases)
	}
}
