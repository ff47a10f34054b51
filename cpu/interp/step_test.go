//go:build unix

package interp

import (
	"syscall"
	"testing"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// newStep returns a Stepper and the state of a processor in real-address mode
// at address 0x1000, with its memory.
func newStep(t *testing.T) (*Stepper, *x86.State, []byte) {
	t.Helper()
	mem, err := syscall.Mmap(-1, 0, 0x10000, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	p, err := NewStepper(cpu.Config{
		CPUs: 4, Memory: []cpu.Slot{{Data: mem}}, Clock: &sysClock{}, Platform: sysPlatform{},
		NewBus: func(int) cpu.Bus { return &sysBus{} }, TSCHz: 1e9,
	}, x86.DefaultFeatures())
	if err != nil {
		t.Fatal(err)
	}
	s := &x86.State{}
	if err := p.c.State(s); err != nil {
		t.Fatal(err)
	}
	s.Seg[x86.CS].Base, s.Seg[x86.CS].Selector = 0, 0
	s.RIP, s.GPR[x86.RSP], s.RFLAGS = 0x1000, 0x800, x86.Flag1|x86.IF
	return p, s, mem
}

func step(t *testing.T, p *Stepper, s *x86.State, want x86.Op) bool {
	t.Helper()
	op, ok, err := p.Step(s)
	if err != nil || op != want {
		t.Fatalf("executed %v, %v, want %v", op, err, want)
	}
	return ok
}

// TestStepFresh executes at an address whose bytes change behind the
// interpreter's back.
func TestStepFresh(t *testing.T) {
	p, s, mem := newStep(t)
	for i := range 4 {
		s.RIP = 0x1000
		mem[0x1000] = 0xfa // CLI
		if !step(t, p, s, x86.CLI) || s.RFLAGS&x86.IF != 0 || s.RIP != 0x1001 {
			t.Fatalf("%d: CLI: RIP %#x, flags %#x", i, s.RIP, s.RFLAGS)
		}
		s.RIP = 0x1000
		mem[0x1000] = 0xfb // STI
		if !step(t, p, s, x86.STI) || s.RFLAGS&x86.IF == 0 || !s.IntrShadow {
			t.Fatalf("%d: STI: flags %#x, shadow %v", i, s.RFLAGS, s.IntrShadow)
		}
	}
}

// TestStepKeeps sees that the local APIC's state passes through unchanged.
func TestStepKeeps(t *testing.T) {
	p, s, mem := newStep(t)
	s.APIC.Regs[8], s.CR8, s.MSR.APICBase, s.MSR.TSCDeadline = 0x50, 5, 0xfee00d00, 77
	s.NMIPending = true
	want := *s
	mem[0x1000] = 0xfa
	step(t, p, s, x86.CLI)
	want.RIP, want.RFLAGS = 0x1001, want.RFLAGS&^x86.IF
	if *s != want {
		t.Errorf("got %+v\nwant %+v", *s, want)
	}
}

// TestStepEvents delivers an exception, an interrupt, and one that cannot be delivered.
func TestStepEvents(t *testing.T) {
	p, s, mem := newStep(t)
	mem[0x1000] = 0xcc                                   // INT3
	mem[4*3], mem[4*3+1] = 0x00, 0x20                    // to 0:2000
	mem[4*0x50], mem[4*0x50+1] = 0x00, 0x30              // to 0:3000
	mem[0x2000], mem[0x2001], mem[4*6+1] = 0x0f, 0x0b, 5 // UD2, to 0:500
	if !step(t, p, s, x86.INT3) || s.RIP != 0x2000 || mem[0x7fa] != 0x01 || mem[0x7fb] != 0x10 {
		t.Fatalf("INT3: RIP %#x, return address % x", s.RIP, mem[0x7fa:0x7fc])
	}
	if !step(t, p, s, x86.UD2) || s.RIP != 0x500 {
		t.Fatalf("UD2: RIP %#x", s.RIP)
	}
	if ok, err := p.Deliver(s, 0x50); !ok || err != nil || s.RIP != 0x3000 || s.GPR[x86.RSP] != 0x800-18 {
		t.Fatalf("interrupt: %v, %v, RIP %#x, RSP %#x", ok, err, s.RIP, s.GPR[x86.RSP])
	}
	s.RIP = 0x2000
	s.IDTR.Limit = 0
	if step(t, p, s, x86.UD2) {
		t.Errorf("without an interrupt table: RIP %#x", s.RIP)
	}
}
