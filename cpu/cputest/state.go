//go:build unix

package cputest

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"dfemu/cpu/x86"
)

// State sets a processor's state, reads it back, and has a guest tell what it
// finds in registers. ignore has the fields that this host cannot set, such as ".TSCOffset".
func State(t *testing.T, mk Make, ignore ...string) {
	t.Run("power-on", func(t *testing.T) {
		r := newRig(t, mk, 2)
		for i := range 2 {
			s := r.state(i)
			run, base := x86.Running, uint64(0xfee00900)
			if i == 1 {
				run, base = x86.WaitForSIPI, 0xfee00800
			}
			if s.Run != run || s.MSR.APICBase != base {
				t.Errorf("processor %d: run state %d, APIC base %#x, want %d, %#x", i, s.Run, s.MSR.APICBase, run, base)
			}
			if s.RIP != 0xfff0 || s.Seg[x86.CS].Base != 0xffff0000 || s.CR0 != x86.CR0_CD|x86.CR0_NW|x86.CR0_ET ||
				s.RFLAGS != x86.Flag1 || s.XCR0 != 1 || s.MXCSR != 0x1f80 || s.FPU.CW != 0x40 || s.DR[6] != 0xffff0ff0 || s.DR[7] != 0x400 {
				t.Errorf("processor %d after power-on: %+v", i, s)
			}
		}
	})
	t.Run("round trip", func(t *testing.T) {
		r := newRig(t, mk, 1)
		v := r.acc.VCPU(0)
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			s := r.start(Long)
			shuffle(&s, rnd)
			if err := v.SetState(&s); err != nil {
				t.Fatal(err)
			}
			got := r.state(0)
			same(t, &got, &s, ignore)
			if err := v.SetState(&got); err != nil {
				t.Fatal(err)
			}
			again := r.state(0)
			same(t, &again, &got, ignore)
		}
	})
	t.Run("run states", func(t *testing.T) {
		r := newRig(t, mk, 1)
		v := r.acc.VCPU(0)
		for _, run := range []x86.RunState{x86.Halted, x86.WaitForSIPI, x86.Running} {
			s := r.start(Long)
			s.Run = run
			s.NMIBlocked = run == x86.Running
			if err := v.SetState(&s); err != nil {
				t.Fatal(err)
			}
			if run != x86.Running {
				v.Kick()
				if _, err := v.Run(); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.state(0); got.Run != run || got.NMIBlocked != s.NMIBlocked {
				t.Errorf("run state %d, NMI blocked %v, want %d, %v", got.Run, got.NMIBlocked, run, s.NMIBlocked)
			}
		}
	})
	t.Run("seen by a guest", func(t *testing.T) {
		r := newRig(t, mk, 1)
		r.tables(Long, nil)
		r.load(codeAddr, report)
		s := r.start(Long)
		s.GPR[x86.RAX], s.GPR[x86.RBX], s.GPR[x86.RCX], s.GPR[x86.R15] = 0x101, 0x202, 0x303, 0x404
		s.Vec[5][0] = 0x505
		s.MSR.KernelGSBase = 0x606
		s.DR[1] = 0x707
		s.Seg[x86.FS].Base = dataAddr
		r.put64(dataAddr, 0x808)
		r.acc.Invalidate(dataAddr, 8)
		if err := r.acc.VCPU(0).SetState(&s); err != nil {
			t.Fatal(err)
		}
		r.run(1)
		r.mu.Lock()
		got := strings.Join(r.log, "; ")
		r.mu.Unlock()
		const want = "out4 10 101; out4 10 202; out4 10 303; out4 10 404; out4 10 505; out4 10 606; out4 10 707; out4 10 808"
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	})
}

func (r *rig) state(i int) (s x86.State) {
	r.t.Helper()
	if err := r.acc.VCPU(i).State(&s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// shuffle gives all registers that take any value another one.
func shuffle(s *x86.State, rnd *rand.Rand) {
	for i := range s.GPR {
		s.GPR[i] = rnd.Uint64()
	}
	canonical := func() uint64 { return uint64(int64(rnd.Uint64()) >> 17) }
	s.RIP = canonical()
	s.RFLAGS |= rnd.Uint64() & (x86.ArithFlags | x86.IF | x86.DF)
	s.XCR0 = x86.XCR0_X87 | x86.XCR0_SSE | x86.XCR0_AVX
	s.CR4 |= x86.CR4_OSXSAVE | x86.CR4_PGE
	s.CR2 = canonical()
	s.CR8 = rnd.Uint64() & 15
	s.APIC.Regs[8] = uint32(s.CR8) << 4
	for i := range 4 {
		s.DR[i] = canonical()
	}
	s.DR[6], s.DR[7] = 0xffff0ff0|rnd.Uint64()&15, 0x400
	for i := range s.Vec {
		for j := range s.Vec[i] {
			s.Vec[i][j] = rnd.Uint64()
		}
	}
	s.MXCSR = 0x1f80 | rnd.Uint32()&0x3f
	f := &s.FPU
	f.CW, f.SW, f.Tag, f.FOP = 0x37f, uint16(rnd.Uint32())&0x7f00, uint8(rnd.Uint32()), uint16(rnd.Uint32()&0x7ff)
	f.FIP, f.FDP = canonical(), canonical()
	for i := range f.R {
		f.R[i] = x86.F80{Mant: rnd.Uint64() | 1<<63, SE: uint16(rnd.Uint32())&0xbfff | 1}
	}
	for _, i := range []int{x86.FS, x86.GS} {
		s.Seg[i].Base = canonical()
	}
	m := &s.MSR
	m.EFER |= x86.EFER_SCE | x86.EFER_NXE
	m.STAR = rnd.Uint64()
	m.LSTAR, m.CSTAR, m.KernelGSBase = canonical(), canonical(), canonical()
	m.SysenterCS, m.SysenterEIP, m.SysenterESP = rnd.Uint64()&0xffff, canonical(), canonical()
	m.FMASK, m.TSCAux = rnd.Uint64()&0xffffffff, rnd.Uint64()&0xffffffff
	m.PAT = 0x0006040100050406
	m.MTRRDefType = 6 | 1<<11
	m.MTRRPhys[2], m.MTRRPhys[3] = 0x80000000, 0x3f80000800
	m.MTRRFixed[4] = 0x0606060606060606
	m.TSCAdjust = rnd.Uint64()
	s.TSCOffset = rnd.Uint64() >> 20
	s.NMIPending, s.NMIBlocked = true, true
}

// same compares two states field by field; what differs in a way that the
// interface leaves open is not looked at.
func same(t *testing.T, got, want *x86.State, ignore []string) {
	t.Helper()
	g, w := *got, *want
	// The APIC's timer goes on meanwhile.
	for _, s := range []*x86.State{&g, &w} {
		s.APIC.TimerStart = 0
		s.APIC.Regs[0x39] = 0
		s.APIC.Regs[0x9], s.APIC.Regs[0xa] = 0, 0 // follow from the others
		s.FPU.FCS, s.FPU.FDS = 0, 0
	}
	compare(t, "", reflect.ValueOf(g), reflect.ValueOf(w), ignore)
}

func compare(t *testing.T, path string, g, w reflect.Value, ignore []string) {
	t.Helper()
	switch g.Kind() {
	case reflect.Struct:
		for i := range g.NumField() {
			compare(t, path+"."+g.Type().Field(i).Name, g.Field(i), w.Field(i), ignore)
		}
	case reflect.Array:
		for i := range g.Len() {
			compare(t, path+"["+string(rune('0'+i/10))+string(rune('0'+i%10))+"]", g.Index(i), w.Index(i), ignore)
		}
	default:
		if !g.Equal(w) && !slices.Contains(ignore, path) {
			t.Errorf("%s is %#x, want %#x", path, g.Interface(), w.Interface())
		}
	}
}
