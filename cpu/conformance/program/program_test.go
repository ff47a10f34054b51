package program

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

func interpreter(cfg cpu.Config) (cpu.Accelerator, error) { return interp.New(cfg) }

// compare fails the test if programs come out different.
func compare(t *testing.T, cfg Config) {
	t.Helper()
	cfg.Reference = Subject{Name: "interp", New: interpreter}
	cfg.Mismatch = func(m *Mismatch) { t.Error(m) }
	cfg.MaxMismatches = 3
	rep, err := Compare(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", rep)
}

// TestDisturbed: leaving Run, copying the state and dropping all decoded code change nothing.
func TestDisturbed(t *testing.T) {
	compare(t, Config{Seed: 1, Programs: 40, Subjects: []Subject{{Name: "disturbed", New: interpreter, Rig: Rig{Disturb: true}}}})
}

// TestStepped: blocks of instructions do what the instructions do one at a time.
func TestStepped(t *testing.T) {
	compare(t, Config{Seed: 1000, Programs: 10, Budget: 3000, Subjects: []Subject{{Name: "stepped", New: newStepped}}})
}

// TestCoverage: programs have in them what they are for.
func TestCoverage(t *testing.T) {
	g, err := NewGenerator(x86.DefaultFeatures())
	if err != nil {
		t.Fatal(err)
	}
	g.Budget = 30000
	vectors := map[uint64]int{}
	var ports, memory, patched, user int
	for seed := range uint64(40) {
		p, err := g.Generate(seed)
		if err != nil {
			t.Fatal(err)
		}
		if p.CPL == 3 {
			user++
		}
		o, err := Run(interpreter, p, Rig{})
		if err != nil {
			t.Error(err)
			continue
		}
		for n := range logEntries {
			e := o.RAM[physLog+n*logEntry:]
			if binary.LittleEndian.Uint64(e[16:]) != 0 {
				vectors[binary.LittleEndian.Uint64(e)]++
			}
		}
		for _, a := range o.Bus {
			if a.Port {
				ports++
			} else {
				memory++
			}
		}
		if !bytes.Equal(o.RAM[physCode:physCode+len(p.Code)], p.Code) {
			patched++
		}
	}
	for _, vec := range []uint64{x86.VecDE, x86.VecDB, x86.VecBP, x86.VecUD, x86.VecGP, x86.VecPF, vecNothing, vecWritePTE,
		vecReloadCR3, vecSwapPTE, vecGlobal, vecExternal} {
		if vectors[vec] == 0 {
			t.Errorf("no program had an event with vector %#x", vec)
		}
	}
	if user < 10 || user > 30 || ports < 100 || memory < 100 || patched < 20 {
		t.Errorf("of 40 programs: %d at CPL 3, %d with patched code; %d port and %d memory accesses", user, patched, ports, memory)
	}
}

// TestGenerate: a seed stands for one program.
func TestGenerate(t *testing.T) {
	for seed := range uint64(5) {
		var code [2][]byte
		for i := range code {
			g, err := NewGenerator(x86.DefaultFeatures())
			if err != nil {
				t.Fatal(err)
			}
			p, err := g.Generate(seed)
			if err != nil {
				t.Fatal(err)
			}
			code[i] = p.Code
		}
		if !bytes.Equal(code[0], code[1]) {
			t.Errorf("seed %d stands for two programs", seed)
		}
	}
}

// TestDiff: each thing that can come out different is found, and only what is open is not.
func TestDiff(t *testing.T) {
	g, err := NewGenerator(x86.DefaultFeatures())
	if err != nil {
		t.Fatal(err)
	}
	g.Budget = 2000
	p, err := g.Generate(3)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Run(interpreter, p, Rig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(o *Outcome)
		diff   string // "": none
	}{
		{func(*Outcome) {}, ""},
		{func(o *Outcome) { o.State.GPR[3]++ }, "GPR 3"},
		{func(o *Outcome) { o.State.RFLAGS ^= x86.CF }, "RFLAGS"},
		{func(o *Outcome) { o.State.Vec[5][3]++ }, "YMM5"},
		{func(o *Outcome) { o.State.MXCSR ^= 1 }, "MXCSR"},
		{func(o *Outcome) { o.State.FPU.R[0].Mant++ }, "x87"},
		{func(o *Outcome) { o.State.FPU.FIP++ }, ""},
		{func(o *Outcome) { o.State.CR2++ }, "system registers"},
		{func(o *Outcome) { o.RAM[physData+100]++ }, "memory at 0x50064"},
		{func(o *Outcome) { o.RAM[tableData+8] ^= pteD }, "memory at 0x17008"},
		{func(o *Outcome) { o.RAM[physExc+8]++ }, ""},
		{func(o *Outcome) { o.RAM[physLog+16]++ }, "event 0"},
		{func(o *Outcome) { o.Events++ }, "events"},
		{func(o *Outcome) { o.Reason = cpu.ExitShutdown }, "end"},
		{func(o *Outcome) { o.Bus[0].Value++ }, "bus: access 0"},
		{func(o *Outcome) { o.Bus = o.Bus[:len(o.Bus)-1] }, "is missing"},
	} {
		got := *want
		got.RAM = bytes.Clone(want.RAM)
		got.Bus = append([]Access(nil), want.Bus...)
		tt.change(&got)
		d := Diff(want, &got)
		if tt.diff == "" && len(d) != 0 || tt.diff != "" && (len(d) != 1 || !strings.Contains(d[0], tt.diff)) {
			t.Errorf("differences %q, want %q", d, tt.diff)
		}
	}
}
