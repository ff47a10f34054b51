package kern

import (
	"slices"
	"strings"
	"sync"
)

// Line is an interrupt that several devices share, as PCI's pins: one thread calls the handlers of all in turn.
type Line struct {
	k    *Kernel
	name string
	in   *Interrupt
	arm  func()

	mu      sync.Mutex // held while handlers run
	members []member
	told    bool // who shares the line, in the storm that is going on
}

type member struct {
	i    *Interrupt
	name string
	f    func()
}

// NewLine makes a line of the interrupt of a pin.
func (k *Kernel) NewLine(name string, in *Interrupt) *Line {
	l := &Line{k: k, name: name, in: in, arm: in.Rearm}
	in.Rearm = nil // here it depends on who is there
	return l
}

// Member returns an interrupt for one more device on the line.
func (l *Line) Member() *Interrupt { return &Interrupt{CPU: l.in.CPU, line: l} }

func (l *Line) add(i *Interrupt, name string, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = append(l.members, member{i, name, f})
	if l.in.thread == nil {
		l.k.Handle(l.in, l.name, IntrMed, l.run)
	}
	if len(l.members) == 1 {
		l.arm()
	}
}

// remove takes a device from the line; its handler does not run any more when it returns.
func (l *Line) remove(i *Interrupt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = slices.DeleteFunc(l.members, func(m member) bool { return m.i == i })
}

// run is the line's handler. The line had something to say if one of the devices had, and nothing if all tell so.
func (l *Line) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	busy, blind := false, false
	for _, m := range l.members {
		was := m.i.storm
		m.i.Count.Add(1)
		m.i.call(m.name, m.f)
		busy = busy || m.i.storm.busy != was.busy
		blind = blind || m.i.storm.busy == was.busy && m.i.storm.idle == was.idle
	}
	if busy {
		l.in.Busy()
	} else if !blind {
		l.in.Idle()
	}
	if storm := l.in.storm.on; storm && !l.told {
		var names []string
		for _, m := range l.members {
			names = append(names, m.name)
		}
		l.k.Printf("%s: the storm is made by one of %s, or by a device without a driver", l.name, strings.Join(names, ", "))
		l.told = true
	} else if !storm {
		l.told = false
	}
	if len(l.members) > 0 {
		l.arm()
	}
}
