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

// openLimit is how many of a million cases may still come out different:
// x87 functions on operands for which they are undefined, and which of two
// faults is reported at the edges of pages and of the canonical range. Each
// is logged.
const openLimit = 500

func TestInterpreter(t *testing.T) {
	requireHost(t)
	n := 0
	rep, err := Run(context.Background(), Config{
		Seed: 1, Cases: 200000, Workers: 2, Mode: x86.Mode64, Subject: interpreter, MaxMismatches: 500,
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
	if uint64(rep.Mismatches)*1_000_000 > openLimit*rep.Cases {
		t.Errorf("%d of %d cases came out different", rep.Mismatches, rep.Cases)
	}
}
