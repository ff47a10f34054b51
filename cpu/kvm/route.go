//go:build linux && amd64

package kvm

import (
	"fmt"
	"sync"

	"dfemu/cpu"
)

// maxRoutes is the size of the routing table: the pins of the I/O APIC, then
// the lines of devices that interrupt by file descriptor.
const maxRoutes = 512

// routes is the machine's table of interrupt routes.
//
// KVM reports the end of an interrupt only for vectors that a level-triggered
// entry among the first reservedPins names. Rather than follow the I/O APIC's
// registers, the table learns from the messages that the I/O APIC sends: a
// level-triggered message enters its vector and destination before it is
// delivered. An I/O APIC has as many interrupts in service as it has pins,
// so an entry whose interrupt has ended can always be found for a new one.
type routes struct {
	mu    sync.Mutex
	vm    int
	level [reservedPins]levelRoute
	lines map[uint32]message
	table routing
	tick  uint64
}

// message is an interrupt message.
type message struct {
	addr uint64
	data uint32
}

type levelRoute struct {
	message
	inService bool
	used      uint64 // when it was last sent, for the choice of which to replace
}

func (r *routes) init(vm int) error {
	r.vm = vm
	r.lines = map[uint32]message{}
	return nil
}

// Fields of an interrupt message (Intel SDM vol. 3, 11.11).
const (
	msiWindow = 0xfee
	msiLevel  = 1 << 15
	msiAssert = 1 << 14

	modeFixed  = 0
	modeLowest = 1
	modeNMI    = 4
	modeINIT   = 5
	modeExtINT = 7
)

// split puts the destination, of which the address has bits 7–0 at 19–12 and
// bits 14–8 at 11–5, where KVM expects it with IDs of 32 bits.
func (m message) split() (lo, hi uint32) {
	return uint32(m.addr) &^ 0xfe0, uint32(m.addr >> 5 & 0x7f << 8)
}

// SendMSI implements [cpu.Accelerator]. As in hardware, writes outside the
// window and reserved modes do nothing. System-management and ExtINT messages
// are not delivered: this machine has no SMM, and KVM no ExtINT but LINT0's.
func (a *Accel) SendMSI(addr uint64, data uint32) {
	if addr>>20 != msiWindow || data&msiLevel != 0 && data&msiAssert == 0 {
		return
	}
	switch data >> 8 & 7 {
	case modeFixed, modeLowest:
		if data&msiLevel != 0 {
			if err := a.routes.learn(message{addr, data}); err != nil {
				a.logf("%v", err)
			}
		}
	case modeNMI, modeINIT:
	case modeExtINT:
		if a.first(data) {
			a.logf("ExtINT message %#x to %#x is not delivered: KVM takes an 8259's interrupts through LINT0 only", data, addr)
		}
		return
	default:
		return
	}
	lo, hi := message{addr, data}.split()
	m := &msi{AddressLo: lo, AddressHi: hi, Data: data}
	if _, err := ioctl(a.vm, ioctlSignalMSI, m); err != nil && a.first(lo) {
		a.logf("interrupt message %#x to %#x: %v", data, addr, err)
	}
}

// learn makes sure that the end of a level-triggered message is reported.
func (r *routes) learn(m message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick++
	free := -1
	for i := range r.level {
		l := &r.level[i]
		if l.message == m {
			l.inService, l.used = true, r.tick
			return nil
		}
		if free < 0 || older(l, &r.level[free]) {
			free = i
		}
	}
	r.level[free] = levelRoute{m, true, r.tick}
	return r.apply()
}

// older reports whether l is to be replaced rather than m: one that is not in
// service, of these the one that was sent longest ago.
func older(l, m *levelRoute) bool {
	if l.inService != m.inService {
		return m.inService
	}
	return l.used < m.used
}

// ended notes the end of the interrupts with a vector.
func (r *routes) ended(vector uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.level {
		if l := &r.level[i]; uint8(l.data) == vector {
			l.inService = false
		}
	}
}

// apply hands the table to KVM. r.mu is held.
func (r *routes) apply() error {
	t := &r.table
	t.N = 0
	add := func(gsi uint32, m message) {
		lo, hi := m.split()
		t.Entries[t.N] = routeEntry{GSI: gsi, Type: routeMSI, AddressLo: lo, AddressHi: hi, Data: m.data}
		t.N++
	}
	for i := range r.level {
		if l := &r.level[i]; l.used != 0 {
			add(uint32(i), l.message)
		}
	}
	for gsi, m := range r.lines {
		add(gsi, m)
	}
	if _, err := ioctl(r.vm, ioctlSetGSIRouting, t); err != nil {
		return fmt.Errorf("kvm: route %d interrupts: %w", t.N, err)
	}
	return nil
}

// addLine routes a new line to a message and returns its number.
func (r *routes) addLine(m message) (gsi uint32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for gsi = reservedPins; gsi < maxRoutes; gsi++ {
		if _, used := r.lines[gsi]; !used {
			r.lines[gsi] = m
			if err := r.apply(); err != nil {
				delete(r.lines, gsi)
				return 0, err
			}
			return gsi, nil
		}
	}
	return 0, fmt.Errorf("kvm: more than %d interrupt lines", maxRoutes-reservedPins)
}

// setLine changes a line's message, or, where m is nil, takes the line away.
func (r *routes) setLine(gsi uint32, m *message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m == nil {
		delete(r.lines, gsi)
	} else {
		r.lines[gsi] = *m
	}
	return r.apply()
}

var _ cpu.Accelerator = (*Accel)(nil)
