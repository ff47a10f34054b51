//go:build amd64 && linux

package jit

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfemu/cpu"
	"dfemu/cpu/conformance/program"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// TestPrograms compares generated programs on the interpreter and translated at once, and translated when they are hot.
func TestPrograms(t *testing.T) {
	n := 120
	if testing.Short() {
		n = 10
	}
	rep, err := program.Compare(context.Background(), program.Config{
		Programs: n,
		Reference: program.Subject{Name: "interp", New: func(c cpu.Config) (cpu.Accelerator, error) {
			return interp.New(c)
		}},
		Subjects:      []program.Subject{{Name: "jit", New: NewEager}, {Name: "jit when hot", New: New}},
		MaxMismatches: 3,
		Mismatch:      func(m *program.Mismatch) { t.Error(m) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(rep)
}

// TestLockstep runs generated programs with each block compared with the interpreter, and makes sure that a wrong
// translation is noticed.
func TestLockstep(t *testing.T) {
	g, err := program.NewGenerator(x86.DefaultFeatures())
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(12) {
		p, err := g.Generate(seed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := program.Run(func(c cpu.Config) (cpu.Accelerator, error) {
			c.Lockstep = true
			return NewEager(c)
		}, p, program.Rig{}); err != nil {
			t.Errorf("program %d: %v", seed, err)
		}
	}
	if _, err := NewEager(cpu.Config{CPUs: 2, Lockstep: true, NewBus: func(int) cpu.Bus { return &wild{} }, Clock: &wild{}, Platform: &wild{}}); err == nil {
		t.Error("two processors in lockstep are accepted")
	}
}

// wrong is a translator whose units do something else: it swaps the code of ADD and SUB before it translates.
type wrong struct{ *translator }

func (w wrong) Translate(r *interp.Request) *interp.Unit {
	q := *r
	code := append([]byte(nil), r.Runs[0].Code...)
	for i := 0; i+1 < len(code); i++ {
		if code[i] == 0x01 && code[i+1] == 0xd8 { // add eax, ebx
			code[i] = 0x29 // sub eax, ebx
		}
	}
	q.Runs = []interp.Run{{Start: r.Runs[0].Start, Code: code}}
	u := w.translator.Translate(&q)
	if u != nil {
		u.Runs = r.Runs[:1]
	}
	return u
}

func TestDivergence(t *testing.T) {
	tr, err := newTranslator()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	mem, err := unix.Mmap(-1, 0, wildSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mem) }()
	w := &wild{}
	a, err := interp.NewTranslated(cpu.Config{
		CPUs: 1, Memory: []cpu.Slot{{Data: mem}}, Clock: w, Platform: w, NewBus: func(int) cpu.Bus { return w }, TSCHz: 1e9,
	}, wrong{tr}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Lockstep(); err != nil {
		t.Fatal(err)
	}
	copy(mem[wildCode:], []byte{0xb8, 5, 0, 0, 0, 0xbb, 3, 0, 0, 0, 0x01, 0xd8, 0xeb, 0xfe})
	var s x86.State
	v := a.VCPU(0)
	if err := v.State(&s); err != nil {
		t.Fatal(err)
	}
	wildState(&s, 1, rand.New(rand.NewPCG(1, 1)))
	if err := v.SetState(&s); err != nil {
		t.Fatal(err)
	}
	kick := time.AfterFunc(5*time.Second, v.Kick)
	defer kick.Stop()
	_, err = v.Run()
	var d *interp.Divergence
	if !errors.As(err, &d) || d.RIP != wildCode {
		t.Fatalf("a wrong translation: %v", err)
	}
}
