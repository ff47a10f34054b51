package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
	"dfemu/kernel/selftest"
	"dfemu/kernel/shell"
)

// commands are the shell's commands that look at the base system.
func commands(k *kern.Kernel, p *pc64.Platform, bus *pci.Bus, changed func(), tests []selftest.Test) []shell.Command {
	return []shell.Command{
		{Name: "poweroff", Help: "turn the machine off", Run: func(io.Writer, []string) error { pc64.PowerOff(); return nil }},
		{Name: "reboot", Help: "restart the machine", Run: func(io.Writer, []string) error { pc64.Reset(); return nil }},
		{Name: "uptime", Help: "time since the start", Run: func(w io.Writer, _ []string) error {
			fmt.Fprintf(w, "up %v, %s\n", p.Now().Round(time.Millisecond), time.Now().UTC().Format(time.RFC3339))
			return nil
		}},
		{Name: "dmesg", Help: "the kernel's messages", Run: func(w io.Writer, _ []string) error {
			for _, l := range k.Log().Lines() {
				fmt.Fprint(w, l)
			}
			return nil
		}},
		{Name: "ddb", Help: "enter the debugger, as Ctrl-] does at any time", Run: func(io.Writer, []string) error { pc64.Debug(); return nil }},
		{Name: "ps", Help: "list the threads", Run: ps},
		{Name: "cpus", Help: "what the CPUs have done", Run: cpus},
		{Name: "mem", Help: "memory in use", Run: mem},
		{Name: "gc", Help: "collect garbage and give memory back", Run: func(w io.Writer, _ []string) error {
			t := time.Now()
			runtime.GC()
			fmt.Fprintf(w, "%v\n", time.Since(t))
			return mem(w, nil)
		}},
		{Name: "pciconf", Help: "list the PCI functions", Run: func(w io.Writer, _ []string) error { return pciconf(w, bus) }},
		{Name: "rescan", Help: "look for new and gone PCI functions", Run: func(io.Writer, []string) error { defer changed(); return bus.Scan() }},
		{Name: "nil", Args: "[UNIT]", Help: "use a nil pointer here, or in a driver's handler of interrupts", Run: func(_ io.Writer, args []string) error {
			if len(args) > 0 {
				return crash(bus, args[0])
			}
			var q *int
			*q = 1
			return nil
		}},
		{Name: "poke", Args: "start|stop", Help: "send signals to who reads the console, all the time", Run: poker(k)},
		{Name: "spin", Args: "start [THREADS [goroutines]]|stop", Help: "have threads compute, as many as CPUs if nothing else is said", Run: spinner(k)},
		{Name: "panic", Help: "end the system with a panic", Run: func(io.Writer, []string) error { go func() { panic("as asked for") }(); select {} }},
		{Name: "selftest", Args: "all|NAME…", Help: "run tests of the kernel", Run: func(w io.Writer, args []string) error {
			return selftest.Run(w, k, p, args, tests...)
		}},
		{Name: "bench", Args: "[NAME…]", Help: "measure switches, messages, tokens, interrupts", Run: func(w io.Writer, args []string) error {
			return selftest.Bench(w, k, p, args)
		}},
		{Name: "stress", Args: "SECONDS", Help: "load all CPUs", Run: func(w io.Writer, args []string) error {
			s := 3
			if len(args) > 0 {
				var err error
				if s, err = strconv.Atoi(args[0]); err != nil || s < 1 {
					return fmt.Errorf("%s: not a number of seconds", args[0])
				}
			}
			return selftest.Stress(w, k, time.Duration(s)*time.Second)
		}},
	}
}

// crash has a unit's driver use a nil pointer.
func crash(bus *pci.Bus, unit string) error {
	for _, e := range bus.List() {
		if e.Name == unit {
			if !e.Device.Crash() {
				return fmt.Errorf("%s: nobody handles its interrupts", unit)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: no such unit", unit)
}

// poker returns a command that sends signals to the threads that wait for input of the console, until it is told to stop.
func poker(k *kern.Kernel) func(io.Writer, []string) error {
	var stop *kern.Event
	var ended *kern.Thread
	var sent, before uint64
	return func(w io.Writer, args []string) error {
		switch {
		case len(args) == 1 && args[0] == "start" && stop == nil:
			stop, sent, before = k.NewEvent(), 0, pc64.TestReadRestarts()
			ended = k.Start(kern.ThreadAttr{Name: "poke", Priority: kern.SoftNormal}, func() {
				for !stop.Wait(500 * time.Microsecond) {
					for _, id := range pc64.TestConsoleReaders() {
						pc64.TestSignal(id)
						sent++
					}
				}
			})
		case len(args) == 1 && args[0] == "stop" && stop != nil:
			stop.Set()
			ended.Join()
			stop = nil
			fmt.Fprintf(w, "poke: %d signals were sent, %d reads were made again\n", sent, pc64.TestReadRestarts()-before)
		default:
			return errors.New("start, then stop")
		}
		return nil
	}
}

// maxSpinners is how many threads spin has at most.
const maxSpinners = 256

// spinner returns a command that starts threads, or goroutines, which do nothing but compute, and ends them.
func spinner(k *kern.Kernel) func(io.Writer, []string) error {
	var stop *atomic.Bool
	var ended []*kern.Event
	return func(_ io.Writer, args []string) error {
		switch {
		case len(args) > 0 && args[0] == "start" && stop == nil:
			n := k.CPUs()
			if len(args) > 1 {
				var err error
				if n, err = strconv.Atoi(args[1]); err != nil || n < 1 || n > maxSpinners {
					return fmt.Errorf("%s: not a number of threads up to %d", args[1], maxSpinners)
				}
			}
			if len(args) > 2 && args[2] != "goroutines" {
				return fmt.Errorf("%s: threads or goroutines", args[2])
			}
			halt := &atomic.Bool{}
			for i := range n {
				e := k.NewEvent()
				f := func() {
					defer e.Set()
					for x := uint64(i); !halt.Load(); x = x*6364136223846793005 + 1 {
					}
				}
				if len(args) > 2 {
					go f()
				} else {
					k.Start(kern.ThreadAttr{Name: "spin", Priority: kern.Daemon, CPU: i%k.CPUs() + 1}, f)
				}
				ended = append(ended, e)
			}
			stop = halt
		case len(args) == 1 && args[0] == "stop" && stop != nil:
			stop.Store(true)
			for _, e := range ended {
				e.Wait(-1)
			}
			stop, ended = nil, nil
		default:
			return errors.New("start, then stop")
		}
		return nil
	}
}

func ps(w io.Writer, _ []string) error {
	fmt.Fprintln(w, "  ID CPU PRI STATE TOK         TIME NAME")
	for _, t := range pc64.Threads() {
		fmt.Fprintf(w, "%4d %3d %3d %-5s %3d %12v %s\n", t.ID, t.CPU, t.Priority, t.State, t.Tokens, time.Duration(t.Runtime).Round(time.Microsecond), t.Name)
	}
	return nil
}

func cpus(w io.Writer, _ []string) error {
	for i := range pc64.Machine().Started {
		s := pc64.StatsOf(i)
		fmt.Fprintf(w, "cpu%d: switches %d preemptions %d ticks %d idles %d migrated %d syscalls %d traps %d faults %d irqs %d\n",
			i, s.Switches, s.Preemptions, s.Ticks, s.Idles, s.Migrated, s.Syscalls, s.Traps, s.Faults, s.IRQs)
		fmt.Fprintf(w, "      ipiq sent %d processed %d interrupts %d; callouts %d; token contention %d\n",
			s.IPIsSent, s.IPIsProcessed, s.IPIHard, s.Callouts, s.TokenContention)
	}
	if u := pc64.Unanswered(); len(u) > 0 {
		fmt.Fprintf(w, "system calls nobody answers: %v\n", u)
	}
	return nil
}

func mem(w io.Writer, _ []string) error {
	free, total := pc64.Memory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(w, "pages: %d free of %d (%d of %d KiB)\n", free, total, free*4, total*4)
	fmt.Fprintf(w, "heap: %d KiB live, %d KiB from the system, %d KiB returned, %d collections, %d goroutines\n",
		m.HeapAlloc>>10, m.Sys>>10, m.HeapReleased>>10, m.NumGC, runtime.NumGoroutine())
	return nil
}

func pciconf(w io.Writer, bus *pci.Bus) error {
	for _, e := range bus.List() {
		name := e.Name
		if name == "" {
			name = "none"
		}
		d := e.Device
		fmt.Fprintf(w, "%-8s pci0:%v class=%06x id=%04x:%04x rev=%02x %s\n", name, d.Address, d.Class, d.Vendor, d.ID, d.Revision, pci.Describe(d.Class))
		for i, b := range d.BARs {
			if b.Size == 0 {
				continue
			}
			kind := "memory"
			if b.IO {
				kind = "ports"
			}
			fmt.Fprintf(w, "         bar %d: %s %#x size %#x\n", i, kind, b.Addr, b.Size)
		}
		if s := d.InterruptInfo(); s != "none" {
			fmt.Fprintf(w, "         interrupts: %s\n", s)
		}
	}
	return nil
}
