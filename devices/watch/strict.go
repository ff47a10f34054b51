package watch

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/devices"
)

// Strict judges drivers. Violations are reported by the devices, and by this package for what follows from the
// register tables: writes to read-only registers, reads of write-only ones, accesses of a width or alignment that a register does not have.
type Strict struct {
	// Report is called for each kind of violation of each device the first time, or, with Stop, for the first of all.
	Report func(e *Event)
	// Stop is called after Report of the first violation: it halts the machine.
	Stop func(e *Event)

	mu      sync.Mutex
	seen    map[string]int
	stopped bool
}

// Count returns how many violations there were.
func (s *Strict) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, k := range s.seen {
		n += k
	}
	return n
}

func (s *Strict) report(e *Event) {
	s.mu.Lock()
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	k := e.Device + "\x00" + e.Clause + "\x00" + e.Name
	if len(s.seen) < 1000 || s.seen[k] > 0 {
		s.seen[k]++
	}
	first, stop := s.seen[k] == 1, s.Stop != nil && !s.stopped
	if stop {
		s.stopped = true
	}
	s.mu.Unlock()
	if first && s.Report != nil {
		s.Report(e)
	}
	if stop {
		s.Stop(e)
	}
}

// checkAccess finds what is wrong with an access by the register table alone.
func checkAccess(x *devices.RegisterAccess) []devices.Violation {
	if x.Bank == nil || x.Err == nil && !x.Write {
		return nil
	}
	if x.Err == nil {
		return checkReserved(x)
	}
	v := devices.Violation{Clause: x.Bank.Name + ": register table", Queue: -1}
	name := fmt.Sprintf("offset %#x", x.Off)
	if r, _, ok := x.Bank.Find(x.Off); ok {
		name = r.String()
	}
	switch {
	case errors.Is(x.Err, devices.ErrReadOnly):
		v.Text = "write to the read-only register " + name
	case errors.Is(x.Err, devices.ErrWriteOnly):
		v.Text = "read of the write-only register " + name
	case errors.Is(x.Err, devices.ErrSize), errors.Is(x.Err, devices.ErrAlign):
		v.Text = fmt.Sprintf("access of %d bytes at %s: %v", x.Size, name, x.Err)
	case errors.Is(x.Err, devices.ErrNoRegister):
		v.Text = "access to " + name + ", where there is no register"
	default:
		return nil
	}
	return []devices.Violation{v}
}

// checkReserved finds reserved bits that a write sets.
func checkReserved(x *devices.RegisterAccess) []devices.Violation {
	r, base, ok := x.Bank.Find(x.Off)
	if !ok || r.Reserved == 0 {
		return nil
	}
	bits := x.Value << (8 * (x.Off - base)) & r.Reserved
	if bits == 0 {
		return nil
	}
	return []devices.Violation{{
		Clause: x.Bank.Name + ": register table", Text: fmt.Sprintf("the reserved bits %#x of %v are written as 1", bits, r), Queue: -1,
	}}
}
