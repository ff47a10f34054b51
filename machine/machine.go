// Package machine puts a PC together from a [Config] and runs it: processors,
// memory, the chipset, PCI devices, and what is in memory at power-on.
//
// The arrows go from here to everything else; devices and processors know
// nothing of each other. pc.go wires the chipset, boot.go fills memory and sets
// the first processor's state, this file is the machine's life.
package machine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dfemu/cpu"
)

// Machine is one PC. Its methods may be called from any goroutine.
type Machine struct {
	cfg   Config
	clock *clock
	mem   memory
	acc   cpu.Accelerator
	pc    *pc
	boot  *bootImage

	events chan event

	mu      sync.Mutex
	cond    *sync.Cond // on mu: paused, stopping or generation changed
	control *Control
	paused  int    // number of reasons to stand still
	stopped bool   // vCPU goroutines are to end
	idle    int    // vCPU goroutines standing still
	running int    // vCPU goroutines alive
	down    []bool // processors that have shut down

	halting sync.WaitGroup // reports of a halt that are being made
}

// event is something that the coordinator in Run decides about.
type event struct {
	kind   eventKind
	code   int
	detail string
	err    error
}

type eventKind uint8

const (
	evPowerOff eventKind = iota
	evReset
	evExit
	evPanic
	evTripleFault
	evFailed
	evStop
	evBreach
)

// New puts a machine together, ready to Run. The caller closes it.
func New(cfg Config) (*Machine, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Machine{cfg: cfg, events: make(chan event, 16), paused: 1}
	m.cond = sync.NewCond(&m.mu)
	wall := cfg.Wall
	if wall.IsZero() {
		wall = time.Now()
	}
	m.clock = newClock(wall)
	if err := m.build(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// post tells the coordinator about an event. It never blocks: when the queue is
// full, events that matter are there already.
func (m *Machine) post(e event) {
	select {
	case m.events <- e:
	default:
	}
}

// Run starts the processors and returns when the machine has stopped for good.
// When ctx ends the outcome is TimedOut for a deadline and Stopped otherwise. An
// error means that the host failed.
func (m *Machine) Run(ctx context.Context) (Outcome, error) {
	for i := range m.cfg.CPUs {
		m.mu.Lock()
		m.running++
		m.mu.Unlock()
		go m.runVCPU(i)
	}
	m.resume()
	out, err := m.coordinate(ctx)
	m.mu.Lock()
	m.stopped = true
	m.cond.Broadcast()
	m.mu.Unlock()
	m.clock.stop()
	m.pc.hurry()
	m.kickAll()
	m.mu.Lock()
	for m.running > 0 {
		m.cond.Wait()
	}
	m.mu.Unlock()
	return out, err
}

// coordinate handles events until one of them ends the run.
func (m *Machine) coordinate(ctx context.Context) (Outcome, error) {
	panicked := ""
	for {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return Outcome{Cause: TimedOut}, nil
			}
			return Outcome{Cause: Stopped}, nil
		case e := <-m.events:
			switch e.kind {
			case evPowerOff:
				return Outcome{Cause: PoweredOff}, nil
			case evExit:
				return Outcome{Cause: GuestExit, Code: e.code}, nil
			case evPanic:
				return Outcome{Cause: Panicked, Detail: e.detail}, nil
			case evFailed:
				return Outcome{}, e.err
			case evStop:
				return Outcome{Cause: Stopped}, nil
			case evBreach:
				return Outcome{Cause: Breach, Detail: e.detail}, nil
			case evReset, evTripleFault:
				if p := m.pc.panicMessage(); p != "" {
					panicked = p
				}
				switch {
				case panicked != "":
					return Outcome{Cause: Panicked, Detail: panicked}, nil
				case m.cfg.NoReboot && e.kind == evReset:
					return Outcome{Cause: Rebooted}, nil
				case m.cfg.NoReboot:
					return Outcome{Cause: TripleFault, Detail: e.detail}, nil
				}
				if err := m.reset(); err != nil {
					return Outcome{}, err
				}
			}
		}
	}
}

// runVCPU runs processor i until the machine stops.
func (m *Machine) runVCPU(i int) {
	v := m.acc.VCPU(i)
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		for m.paused > 0 && !m.stopped || m.down[i] && !m.stopped {
			m.idle++
			m.cond.Broadcast()
			m.cond.Wait()
			m.idle--
		}
		if m.stopped {
			m.running--
			m.cond.Broadcast()
			return
		}
		m.mu.Unlock()
		exit, err := v.Run()
		m.mu.Lock()
		switch {
		case err != nil:
			m.down[i] = true
			m.post(event{kind: evFailed, err: fmt.Errorf("cpu%d: %w", i, err)})
		case exit.Reason == cpu.ExitShutdown:
			m.down[i] = true
			m.post(event{kind: evTripleFault, detail: fmt.Sprintf("cpu%d", i)})
		}
	}
}

func (m *Machine) kickAll() {
	for i := range m.cfg.CPUs {
		m.acc.VCPU(i).Kick()
	}
}

// Pause makes the whole machine stand still: processors, devices, time. It
// returns when nothing changes guest memory any more. Calls nest.
func (m *Machine) Pause() {
	m.mu.Lock()
	m.paused++
	m.mu.Unlock()
	m.clock.stop()
	// A processor may be resetting a device, which waits for requests, which wait for their time.
	m.pc.hurry()
	m.kickAll()
	m.mu.Lock()
	for m.idle < m.running {
		m.cond.Wait()
	}
	m.mu.Unlock()
	m.pc.pause()
}

// Resume undoes one Pause.
func (m *Machine) Resume() {
	m.pc.resume()
	m.resume()
}

func (m *Machine) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused--
	if m.paused == 0 && !m.stopped {
		m.clock.start()
		m.cond.Broadcast()
	}
}

// Reset asks for a reset of the whole machine, as its reset button would.
func (m *Machine) Reset() { m.post(event{kind: evReset}) }

// PowerButton presses the power button: the guest's operating system is asked
// to shut down.
func (m *Machine) PowerButton() { m.pc.powerButton() }

// Stop ends the run as if the plug was pulled.
func (m *Machine) Stop() { m.post(event{kind: evStop}) }

// reset puts everything into its power-on state and goes on.
func (m *Machine) reset() error {
	m.Pause()
	defer m.Resume()
	m.pc.reset()
	m.mu.Lock()
	clear(m.down)
	m.mu.Unlock()
	return m.powerOn()
}

// Close releases what the machine holds of the host. It must not be running.
func (m *Machine) Close() error {
	var err error
	m.halting.Wait()
	if m.pc != nil {
		err = m.pc.close()
	}
	if m.boot != nil {
		err = errors.Join(err, m.boot.close())
	}
	if m.acc != nil {
		err = errors.Join(err, m.acc.Close())
	}
	m.mem.close()
	return err
}

// Stats returns the counters of all processors together. A running machine
// stands still for the moment.
func (m *Machine) Stats() (s cpu.Stats) {
	m.mu.Lock()
	running := m.running > 0
	m.mu.Unlock()
	if running {
		m.Pause()
		defer m.Resume()
	}
	for i := range m.cfg.CPUs {
		t := m.acc.VCPU(i).Stats()
		s.Instructions += t.Instructions
		s.Exits += t.Exits
		s.Blocks += t.Blocks
		s.Interpreted += t.Interpreted
		s.Entries += t.Entries
		s.TLBMisses += t.TLBMisses
		s.Invalidations += t.Invalidations
	}
	return s
}
