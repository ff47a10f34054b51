//go:build linux && amd64

package kvm

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
	"dfemu/cpu/x86"
)

// ringing writes to doorbells at 0xD0000100, 0xD0000200 and port 0x70.
const ringing = "bb000000d0" + // 0: mov ebx,0xd0000000
	"c7830001000001000000" + // 5: mov DWORD PTR [rbx+0x100],0x1
	"66c783000200000700" + // f: mov WORD PTR [rbx+0x200],0x7
	"66c783000200000800" + // 18: mov WORD PTR [rbx+0x200],0x8
	"b005" + // 21: mov al,0x5
	"e670" + // 23: out 0x70,al
	"e6f4" // 25: out 0xf4,al

func TestDoorbells(t *testing.T) {
	available(t)
	var rings [3]atomic.Int32
	var stops []func() error
	got := cputest.Boot(t, New, ringing, func(acc cpu.Accelerator) {
		a := acc.(*Accel)
		for i, d := range []Doorbell{
			{Addr: 0xd0000100, Size: 4},
			{Addr: 0xd0000200, Size: 2, Match: true, Value: 7},
			{Addr: 0x70, Port: true},
		} {
			d.Ring = func() { rings[i].Add(1) }
			stop, err := a.AddDoorbell(d)
			if err != nil {
				t.Fatal(err)
			}
			stops = append(stops, stop)
		}
	})
	if !strings.HasPrefix(got, "write2 d0000200 8; out1 f4 ") {
		t.Errorf("the bus saw %q", got)
	}
	for i := range rings {
		for deadline := time.Now().Add(5 * time.Second); rings[i].Load() == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if n := rings[i].Load(); n != 1 {
			t.Errorf("doorbell %d rang %d times", i, n)
		}
		for range 2 {
			if err := stops[i](); err != nil {
				t.Errorf("doorbell %d: %v", i, err)
			}
		}
	}
}

func TestDoorbellsRefused(t *testing.T) {
	available(t)
	cputest.Boot(t, New, ringing, func(acc cpu.Accelerator) {
		for _, d := range []Doorbell{
			{Addr: 0xd0000000, Size: 3},
			{Addr: 0xd0000000, Match: true},
			{Addr: 0x10000, Port: true, Size: 1},
			{Addr: 0x70, Port: true, Size: 8},
		} {
			if _, err := acc.(*Accel).AddDoorbell(d); err == nil {
				t.Errorf("%+v was accepted", d)
			}
		}
	})
}

// interrupted writes to port 0x70 and waits for an interrupt.
const interrupted = "bd0000e0fe" + // 0: mov ebp,0xfee00000
	"c785f0000000ff010000" + // 5: mov DWORD PTR [rbp+0xf0],0x1ff
	"e670" + // f: out 0x70,al
	"fa" + // 11: cli
	"833c250000030001" + // 12: cmp DWORD PTR ds:0x30000,0x1
	"7304" + // 1a: jae 0x20
	"fb" + // 1c: sti
	"f4" + // 1d: hlt
	"ebf1" + // 1e: jmp 0x11
	"e6f4" // 20: out 0xf4,al

func TestLine(t *testing.T) {
	available(t)
	var line *Line
	got := cputest.Boot(t, New, interrupted, func(acc cpu.Accelerator) {
		a := acc.(*Accel)
		var err error
		if line, err = a.NewLine(0xfee00000, 0x61); err != nil {
			t.Fatal(err)
		}
		if err := line.SetMessage(0xfee00000, 0x50); err != nil {
			t.Fatal(err)
		}
		_, err = a.AddDoorbell(Doorbell{Addr: 0x70, Port: true, Size: 1, Ring: func() {
			if err := line.Trigger(); err != nil {
				t.Error(err)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	})
	if !strings.HasPrefix(got, "out1 10 ee; out1 f4 ") {
		t.Errorf("the bus saw %q", got)
	}
	for range 2 {
		if err := line.Close(); err != nil {
			t.Error(err)
		}
	}
}

// coalescing writes to a zone at 0xD0001000 and to port 0x71, and reads the zone.
const coalescing = "bb001000d0" + // 0: mov ebx,0xd0001000
	"c60301" + // 5: mov BYTE PTR [rbx],0x1
	"c7430402000000" + // 8: mov DWORD PTR [rbx+0x4],0x2
	"b033" + // f: mov al,0x33
	"e671" + // 11: out 0x71,al
	"0fb64308" + // 13: movzx eax,BYTE PTR [rbx+0x8]
	"e610" + // 17: out 0x10,al
	"e6f4" // 19: out 0xf4,al

func TestCoalesce(t *testing.T) {
	available(t)
	got := cputest.Boot(t, New, coalescing, func(acc cpu.Accelerator) {
		a := acc.(*Accel)
		if err := a.Coalesce(false, 0xd0001000, 0x100); err != nil {
			t.Skip(err)
		}
		if err := a.Coalesce(true, 0x71, 1); err != nil {
			t.Skip(err)
		}
	})
	const want = "write1 d0001000 1; write4 d0001004 2; out1 71 33; read1 d0001008; out1 10 ef; out1 f4 ef"
	if got != want {
		t.Errorf("the bus saw %q, want %q", got, want)
	}
}

// TestAccepted takes the state of a processor that has accepted an 8259's
// interrupt and not yet entered its handler.
func TestAccepted(t *testing.T) {
	available(t)
	got := cputest.Boot(t, New, interrupted, func(acc cpu.Accelerator) {
		v := acc.(*Accel).cpus[0]
		if err := v.extINT(0x50); err != nil {
			t.Fatal(err)
		}
		var s, again x86.State
		for _, p := range []*x86.State{&s, &again} {
			if err := v.State(p); err != nil {
				t.Fatal(err)
			}
		}
		const handler = 0x18000
		if s.RIP != handler || again.RIP != handler || again.GPR != s.GPR {
			t.Errorf("RIP is %#x, and then %#x, want %#x", s.RIP, again.RIP, handler)
		}
	})
	if !strings.HasPrefix(got, "out1 10 ee; out1 70 ") {
		t.Errorf("the bus saw %q", got)
	}
}

func TestTakeBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		events gokvm.VCPUEvents
		isr    uint32 // of vectors 40h to 5Fh
		want   int
		irr    uint32
	}{
		{name: "nothing", want: -1},
		{name: "local APIC", events: gokvm.VCPUEvents{I: gokvm.Interrupt{Inject: 1, Nr: 0x45}}, isr: 1 << 5, want: -1, irr: 1 << 5},
		{name: "8259", events: gokvm.VCPUEvents{I: gokvm.Interrupt{Inject: 1, Nr: 0x45}}, want: 0x45},
		{name: "INT n", events: gokvm.VCPUEvents{I: gokvm.Interrupt{Inject: 1, Nr: 0x45, Soft: 1}}, want: -1},
		{name: "page fault", events: gokvm.VCPUEvents{E: gokvm.Exception{Inject: 1, Nr: x86.VecPF}}, want: -1},
		{name: "single step", events: gokvm.VCPUEvents{E: gokvm.Exception{Pending: 1, Nr: x86.VecDB}}, want: x86.VecDB},
	} {
		v := &VCPU{}
		v.buf.events = c.events
		v.setLapicReg(lapicISR+0x20, c.isr)
		if got := v.takeBack(); got != c.want {
			t.Errorf("%s: left to deliver: %d, want %d", c.name, got, c.want)
		}
		if isr, irr := v.lapicReg(lapicISR+0x20), v.lapicReg(lapicIRR+0x20); irr != c.irr || irr != 0 && isr != 0 {
			t.Errorf("%s: ISR %#x, IRR %#x, want IRR %#x", c.name, isr, irr, c.irr)
		}
	}
}

// FuzzExits gives any contents of the run page to the code that reads exits.
func FuzzExits(f *testing.F) {
	f.Add([]byte{1, 4, 0x80, 0, 3, 0, 0, 0, 0, 0x10}, false)
	f.Add([]byte{0, 1, 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false)
	f.Add([]byte{0, 0, 0, 0xd0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 3, 0, 0, 0, 1}, true)
	f.Fuzz(func(t *testing.T, exit []byte, mmio bool) {
		v := &VCPU{run: make(runPage, 3*pageSize), bus: &recorder{mem: map[uint64]byte{}}}
		copy(v.run[runExit:runExit+64], exit)
		var err error
		if mmio {
			err = v.mmio()
		} else {
			err = v.portIO()
		}
		if !v.open || err == nil && v.exits.Load() > 3*pageSize {
			t.Errorf("%d accesses, error %v", v.exits.Load(), err)
		}
	})
}
