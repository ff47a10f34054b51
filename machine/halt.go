package machine

import (
	"fmt"
	"strings"

	"dfemu/cpu/x86"
	"dfemu/devices"
	"dfemu/devices/watch"
)

// halt makes the machine stand still for good and reports where it is. It is called with a device's lock
// held, on a processor's goroutine or another one.
func (p *pc) halt(e *watch.Event) {
	m := p.m
	// From here on no processor goes on when its access ends.
	m.mu.Lock()
	m.paused++
	m.mu.Unlock()
	m.kickAll()
	breach := *e
	m.halting.Go(func() {
		m.Pause()
		p.m.cfg.Watch.Stopped(p.report(&breach))
		m.post(event{kind: evBreach, detail: breach.Device + ": " + breach.Name + " [" + breach.Clause + "]"})
	})
}

// report describes a machine that stands still because of a breach.
func (p *pc) report(e *watch.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dfemu: halted at %.6f s by %s: %s [%s]\n", float64(e.Time)/1e9, e.Device, e.Name, e.Clause)
	for i := range p.m.cfg.CPUs {
		if e.Place.CPU >= 0 && e.Place.CPU != i && !e.Late {
			continue
		}
		fmt.Fprintf(&b, "cpu%d", i)
		switch {
		case e.Place.CPU != i:
		case e.Late:
			fmt.Fprintf(&b, ", which told the device of it at %#x %s, and has gone on", e.Place.RIP, e.Place.Symbol)
		default:
			fmt.Fprintf(&b, ", which accessed the device at %#x %s", e.Place.RIP, e.Place.Symbol)
		}
		b.WriteString(":\n")
		p.reportCPU(&b, i)
	}
	for _, d := range p.devices() {
		in, ok := d.(devices.Inspector)
		if d.Name() != e.Device || !ok {
			continue
		}
		registers, state := in.Inspect(e.Queue)
		fmt.Fprintf(&b, "registers of %s that are not 0:\n", e.Device)
		list(&b, registers)
		if e.Queue >= 0 {
			fmt.Fprintf(&b, "queue %d of %s:\n", e.Queue, e.Device)
			list(&b, state)
		}
	}
	return b.String()
}

func list(b *strings.Builder, l []devices.Inspected) {
	for _, x := range l {
		fmt.Fprintf(b, "  %v\n", x)
	}
}

var registerNames = [16]string{"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

// reportCPU writes a processor's registers down.
func (p *pc) reportCPU(b *strings.Builder, i int) {
	var s x86.State
	if err := p.m.acc.VCPU(i).State(&s); err != nil {
		fmt.Fprintf(b, "  %v\n", err)
		return
	}
	symbol := ""
	if f := p.m.cfg.Watch.Symbol; f != nil {
		symbol = " " + f(s.RIP)
	}
	fmt.Fprintf(b, "  RIP=%016x%s RFLAGS=%08x\n", s.RIP, symbol, s.RFLAGS)
	for n, name := range registerNames {
		sep := " "
		if n%4 == 3 {
			sep = "\n"
		}
		fmt.Fprintf(b, "  %3s=%016x%s", name, s.GPR[n], sep)
	}
	for n, name := range [6]string{"ES", "CS", "SS", "DS", "FS", "GS"} {
		g := &s.Seg[n]
		fmt.Fprintf(b, "  %s=%04x base %x limit %x", name, g.Selector, g.Base, g.Limit)
		if n%2 == 1 {
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(b, "  CR0=%x CR2=%x CR3=%x CR4=%x CR8=%x EFER=%x\n", s.CR0, s.CR2, s.CR3, s.CR4, s.CR8, s.MSR.EFER)
}
