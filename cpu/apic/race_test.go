package apic

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"dfemu/cpu/x86"
)

// TestConcurrentSenders has every processor take interrupts on its own
// goroutine while all others, devices and the clock send. Each sender sends the
// next interrupt only when the last was taken: if one were lost, it would hang.
func TestConcurrentSenders(t *testing.T) {
	const (
		cpus    = 3
		senders = 4
		rounds  = 100
	)
	clock := &fakeClock{}
	var wake [cpus]chan struct{}
	for i := range wake {
		wake[i] = make(chan struct{}, 1)
	}
	f := New(Config{CPUs: cpus, Clock: clock,
		Notify: func(id int, _ Event, _ uint8) {
			select {
			case wake[id] <- struct{}{}:
			default:
			}
		}})
	var taken [cpus][256]atomic.Int64
	var payload [cpus][senders]int // written before posting, read by the target
	stop := make(chan struct{})
	var cpusDone, sendersDone sync.WaitGroup
	for id := range cpus {
		a := f.APIC(id)
		a.Write(regSVR<<4, 4, 0x1ff)
		a.Write(regLVTTimer<<4, 4, timerPeriodic|0xec)
		a.Write(regTICR<<4, 4, 100_000)
		cpusDone.Go(func() {
			for n := uint8(0); ; n++ {
				select {
				case <-wake[id]:
				case <-stop:
					return
				}
				// A task priority that comes and goes must lose nothing.
				a.SetCR8(15)
				a.SetCR8(n & 1)
				for {
					v, ok := a.Pending()
					if !ok {
						break
					}
					a.Accept(v)
					if s := int(v) - 0x40; s >= 0 && s < senders && payload[id][s] != int(taken[id][v].Load())+1 {
						t.Errorf("processor %d: interrupt %#x before what was written", id, v)
					}
					taken[id][v].Add(1)
					a.Write(regEOI<<4, 4, 0)
				}
				a.ExtINT()
				// IPIs while taking interrupts.
				a.Write(regICR2<<4, 4, uint64((id+1)%cpus)<<24)
				a.Write(regICR<<4, 4, icrAssert|0x30)
			}
		})
	}
	for s := range senders {
		sendersDone.Go(func() {
			for n := int64(1); n <= rounds; n++ {
				for id := range cpus {
					payload[id][s] = int(n)
					f.SendMSI(0xfee00000|uint64(id)<<12, uint32(0x40+s)|icrLevel|icrAssert)
				}
				f.SendMSI(0xfeeff000, dmLowest<<8|0x31)
				clock.advance(1000)
				if s == 0 {
					f.SetINTR(n&1 != 0)
					f.NMI()
				}
				for id := range cpus {
					for taken[id][0x40+s].Load() < n {
						runtime.Gosched()
					}
				}
			}
		})
	}
	sendersDone.Wait()
	close(stop)
	cpusDone.Wait()
}

// FuzzRegisters programs the APICs of three processors, each on a goroutine of
// its own, with whatever the input says: nothing may panic or hang, and the
// invariants of IRR, ISR and PPR must hold.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0x0f, 0xff, 1, 0x32, 0x20, 2, 0x38, 1, 0, 0x30, 0x41, 8, 0xf0, 1, 0, 0xf2, 0x51, 0})
	f.Add([]byte{0xf5, 0, 0x0c, 0x80, 0xff, 1, 0xb0, 0x55, 0xff, 0xb2, 0x33, 4, 0xf3, 0xff, 0xff, 0xf4, 1, 1})
	f.Add([]byte{0xf6, 0, 0, 0xf7, 0x80, 0x80, 0x35, 0x62, 0x80, 0xf8, 1, 0, 0xf1, 0xff, 0x10})
	f.Fuzz(func(t *testing.T, in []byte) {
		clock := &fakeClock{}
		var fab *Fabric
		fab = New(Config{CPUs: 3, Clock: clock, SuppressEOI: true, TSCHz: 3e9,
			EOI:    func(v uint8) { fab.SendMSI(0xfee01000, icrLevel|icrAssert|uint32(v)) },
			Notify: func(int, Event, uint8) {}})
		in = in[:min(len(in), 600)]
		var wg sync.WaitGroup
		for id := range 3 {
			a := fab.APIC(id)
			wg.Go(func() {
				for i := 0; i+3 <= len(in); i += 3 {
					step(fab, a, clock, in[i], uint64(in[(i+1+id)%len(in)]), uint64(in[i+2]))
					if v, ok := a.Pending(); ok {
						if v < 16 || uint32(v>>4) <= a.ppr.Load()>>4 {
							t.Errorf("%#x pending over priority %#x", v, a.ppr.Load())
						}
						if i&1 == 0 {
							a.Accept(v)
						}
					}
					if s := highest(&a.isr); s >= 0 && uint32(s>>4) > a.ppr.Load()>>4 {
						t.Errorf("%#x in service at priority %#x", s, a.ppr.Load())
					}
				}
			})
		}
		wg.Wait()
		clock.advance(1e6)
		for id := range 3 {
			a := fab.APIC(id)
			var s, back x86.State
			a.State(&s)
			if err := a.SetState(&s); err != nil {
				t.Error(err)
			}
			// What is level-triggered at LINT0 may be posted on restoring.
			fab.SetINTR(false)
			a.State(&s)
			if err := a.SetState(&s); err != nil {
				t.Error(err)
			}
			if a.State(&back); back != s {
				t.Errorf("state does not round-trip:\n%+v\n%+v", s.APIC, back.APIC)
			}
		}
	})
}

// step is one action of a fuzzed processor.
func step(f *Fabric, a *APIC, clock *fakeClock, op byte, x, y uint64) {
	v := x | y<<8 | y<<16
	switch {
	case op < 0x40:
		a.Write(uint64(op)<<4, 4, v)
		a.Read(uint64(op)<<4, 4)
	case op < 0x80:
		a.Write(uint64(op)<<4|y&15, int(x&15), v)
		a.Read(uint64(op)<<4|y&15, int(x&15))
	case op < 0xc0:
		a.WriteMSR(MSRFirst+uint32(op&0x3f), v)
		a.WriteMSR(MSRFirst+uint32(op&0x3f), x|y<<32)
		a.ReadMSR(MSRFirst + uint32(op&0x3f))
	default:
		switch op & 0xf {
		case 0:
			clock.advance(int64(v))
		case 1:
			f.SendMSI(0xfee00000|v, uint32(x|y<<8))
		case 2:
			a.SetCR8(uint8(x))
		case 3:
			a.WriteMSR(MSRDeadline, v<<(y&31))
		case 4:
			f.SetINTR(x&1 != 0)
		case 5:
			a.WriteMSR(MSRBase, DefaultBase|y<<8&0xd00)
		case 6:
			a.Reset(x&1 != 0)
		case 7:
			f.NMI()
		case 8:
			a.ExtINT()
			a.AcceptExtINT()
		case 9:
			a.TSCChanged()
			a.NextTimer()
		case 10:
			a.PerfMon()
			a.Thermal()
		default:
			a.eoi()
		}
	}
}
