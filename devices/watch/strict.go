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
	switch {
	case x.Bank == nil:
		return nil
	case x.Err != nil && x.Write:
		return checkError(x) // the rest was checked before the effects
	case x.Err != nil:
		return append(checkWidth(x), checkError(x)...)
	}
	return append(checkWidth(x), checkRights(x)...)
}

// breach is one of the rules for a register, or for the bank if r is none of its registers.
func breach(x *devices.RegisterAccess, r devices.Reg, format string, a ...any) devices.Violation {
	v := devices.Violation{Clause: x.Bank.Name + ": register table", Text: fmt.Sprintf(format, a...), Queue: -1}
	switch {
	case r.Register != nil && r.Clause != "":
		v.Clause = r.Clause
	case x.Bank.Rules.Clause != "":
		v.Clause = x.Bank.Rules.Clause
	}
	return v
}

// checkError finds why the device refused an access.
func checkError(x *devices.RegisterAccess) []devices.Violation {
	name := fmt.Sprintf("offset %#x", x.Off)
	r, _, ok := x.Bank.Find(x.Off)
	if ok {
		name = r.String()
	}
	text := ""
	switch {
	case errors.Is(x.Err, devices.ErrReadOnly):
		text = "write to the read-only register " + name
	case errors.Is(x.Err, devices.ErrWriteOnly):
		text = "read of the write-only register " + name
	case errors.Is(x.Err, devices.ErrSize), errors.Is(x.Err, devices.ErrAlign):
		text = fmt.Sprintf("access of %d bytes at %s: %v", x.Size, name, x.Err)
	case errors.Is(x.Err, devices.ErrNoRegister):
		text = "access to " + name + ", where there is no register"
	default:
		return nil
	}
	return []devices.Violation{breach(x, r, "%s", text)}
}

// checkWidth finds an access that is not of one register at its own width, where that is a rule.
func checkWidth(x *devices.RegisterAccess) []devices.Violation {
	if x.Bank.Rules.Natural == "" {
		return nil
	}
	r, base, ok := x.Bank.Find(x.Off)
	if !ok || x.Size == min(r.Size, 4) && (x.Off-base)%4 == 0 {
		return nil
	}
	v := breach(x, r, "access of %d bytes at byte %d of %v, which has %d", x.Size, x.Off-base, r, r.Size)
	v.Clause = x.Bank.Rules.Natural
	return []devices.Violation{v}
}

// checkRights finds reserved bits that an access sets, and write-only registers that it reads.
func checkRights(x *devices.RegisterAccess) (l []devices.Violation) {
	for n := 0; n < x.Size; {
		r, base, ok := x.Bank.Find(x.Off + uint64(n))
		if !ok {
			n++
			continue
		}
		at := int(x.Off + uint64(n) - base)
		count := min(r.Size-at, x.Size-n)
		v := x.Value >> (8 * n) & devices.Ones(count) << (8 * at)
		n += count
		switch bits := v & r.Reserved; {
		case x.Write && bits != 0:
			l = append(l, breach(x, r, "the reserved bits %#x of %v are written as 1", bits, r))
		case !x.Write && r.Rights == devices.WO:
			l = append(l, breach(x, r, "read of the write-only register %v", r))
		}
	}
	return l
}
