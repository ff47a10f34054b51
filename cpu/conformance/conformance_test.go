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
	host, err := NewNative()
	if err != nil {
		t.Skip(err) // memfd_create or execve is not allowed
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestInterpreter(t *testing.T) {
	requireHost(t)
	rep, err := Run(context.Background(), Config{
		Seed: 1, Cases: 120000, Workers: 2, Subjects: []Subject{{Name: "interp", New: interpreter}}, MaxMismatches: 5,
		Mismatch: func(m *Mismatch) { t.Error(m) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", rep)
	for _, c := range rep.Coverage {
		if c.Rows < c.RowsTotal*9/10 || c.Forms < 20000 {
			t.Errorf("%d of %d rows and %d forms in %d-bit mode: too few", c.Rows, c.RowsTotal, c.Forms, 16<<c.Mode)
		}
	}
}

// wrong is an accelerator whose processor does something wrong.
type wrong struct {
	cpu.Accelerator
	vcpu wrongVCPU
}

type wrongVCPU struct {
	cpu.VCPU
	change func(*x86.State)
}

func (w *wrong) VCPU(int) cpu.VCPU { return &w.vcpu }

// State leaves out of the change the state at power-on, from which cases are made.
func (w *wrongVCPU) State(s *x86.State) error {
	err := w.VCPU.State(s)
	if s.CR0&x86.CR0_PG != 0 {
		w.change(s)
	}
	return err
}

// TestFindsErrors: what a processor leaves wrong is found in (nearly) every case, on the subject that is wrong.
func TestFindsErrors(t *testing.T) {
	requireHost(t)
	for _, tt := range []struct {
		name   string
		change func(*x86.State)
	}{
		{"a bit of a register", func(s *x86.State) { s.GPR[x86.R9] ^= 1 << 63 }},
		{"the upper half of a vector", func(s *x86.State) { s.Vec[7][3]++ }},
		{"the least bit of an x87 register", func(s *x86.State) { s.FPU.R[3].Mant ^= 1 }},
		{"an x87 tag", func(s *x86.State) { s.FPU.Tag ^= 1 }},
		{"a sticky flag", func(s *x86.State) { s.MXCSR ^= 0x20 }},
		{"a segment base", func(s *x86.State) { s.Seg[x86.GS].Base++ }},
	} {
		bad := func(cfg cpu.Config) (cpu.Accelerator, error) {
			a, err := interp.New(cfg)
			if err != nil {
				return nil, err
			}
			return &wrong{a, wrongVCPU{a.VCPU(0), tt.change}}, nil
		}
		found := map[string]int{}
		const cases = 300
		_, err := Run(context.Background(), Config{
			Seed: 5, Cases: cases, Workers: 1, Modes: []x86.Mode{x86.Mode64}, Only: []string{"add", "addps", "fadd", "movs", "jo"},
			Subjects: []Subject{{Name: "right", New: interpreter}, {Name: "wrong", New: bad}},
			Mismatch: func(m *Mismatch) { found[m.Subject]++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		if found["right"] != 0 || found["wrong"] < cases-cases/20 {
			t.Errorf("%s: found in %d of %d cases, and in %d on the other processor", tt.name, found["wrong"], cases, found["right"])
		}
	}
}
