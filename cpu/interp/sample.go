package interp

import (
	"sync"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// sampler asks the processors, once in a while, to tell the profile where they are.
type sampler struct {
	stop chan struct{}
	done sync.WaitGroup
}

// startSampling begins a profile if the configuration asks for one.
func (a *Accel) startSampling() {
	if a.cfg.Sample == nil || a.cfg.SamplePeriod <= 0 {
		return
	}
	a.sampler.stop = make(chan struct{})
	a.sampler.done.Add(1)
	go func() {
		defer a.sampler.done.Done()
		t := time.NewTicker(a.cfg.SamplePeriod)
		defer t.Stop()
		for {
			select {
			case <-a.sampler.stop:
				return
			case <-t.C:
				for _, c := range a.cpus {
					c.signal(pendSample)
				}
			}
		}
	}()
}

func (a *Accel) stopSampling() {
	if a.sampler.stop != nil {
		close(a.sampler.stop)
		a.sampler.done.Wait()
		a.sampler.stop = nil
	}
}

// sample tells the profile where the processor is.
func (c *CPU) sample() {
	c.acc.cfg.Sample(c.id, &cpu.Sample{
		RIP: c.rip, RSP: c.r[x86.RSP], RBP: c.r[x86.RBP], CR3: c.s.CR3, CPL: c.cpl, Mode: c.mode, Read: c.peekMemory,
	})
}

// peekMemory copies guest memory at a linear address as far as it is mapped to RAM. Apart from entries of the
// TLB and accessed bits it changes nothing.
func (c *CPU) peekMemory(va uint64, p []byte) int {
	exc, cr2 := c.exc, c.s.CR2
	defer func() { c.exc, c.s.CR2 = exc, cr2 }()
	n := 0
	for n < len(p) {
		at := va + uint64(n)
		if c.long && !c.canonical(at) {
			break
		}
		phys := at & 0xffffffff
		if c.s.CR0&x86.CR0_PG != 0 {
			var ok bool
			if phys, _, _, ok = c.walk(at, accRead, ctxValid|ctxAC); !ok {
				break
			}
		}
		page, _ := c.acc.mem.page(phys)
		if page == nil {
			break
		}
		n += copy(p[n:], hostBytes(hostAt(page, phys), pageSize-int(at&pageOffset)))
	}
	return n
}
