package apic

import (
	"math/bits"
	"sync/atomic"

	"dfemu/cpu"
)

// Event says what a processor is told by [Config].Notify.
type Event uint8

// The events.
const (
	// Interrupt: Pending may now return a vector.
	Interrupt Event = iota
	// NMI: a non-maskable interrupt has arrived.
	NMI
	// INIT: the processor is to take INIT, and to call Reset(false).
	INIT
	// SIPI: a start-up IPI has arrived, with its vector. It counts only for a
	// processor that waits for one after INIT. INIT and SIPI of one sender
	// are told in the order they were sent.
	SIPI
	// ExtINT: APIC.ExtINT may now hold.
	ExtINT
)

// String names the event.
func (e Event) String() string {
	switch e {
	case Interrupt:
		return "interrupt"
	case NMI:
		return "NMI"
	case INIT:
		return "INIT"
	case SIPI:
		return "SIPI"
	case ExtINT:
		return "ExtINT"
	}
	return "unknown"
}

// Config is what the APICs of a machine need to know.
type Config struct {
	// CPUs is the number of processors; their APIC IDs are 0 … CPUs-1. In
	// MSIs and in xAPIC mode 255 is the broadcast and names no processor.
	CPUs int
	// Clock drives the timers. The timer's input is 1 GHz: one tick of it
	// before the divider is one nanosecond of the clock.
	Clock cpu.Clock
	// TSCHz is the frequency of the time-stamp counter; 0 means 1 GHz.
	TSCHz uint64
	// TSC returns the time-stamp count that the guest sees on a processor at
	// the clock's time now. It is called on that processor's goroutine. Where
	// it is nil, counts start at 0 with the clock.
	TSC func(id int, now int64) uint64
	// Notify tells processor id of an event; vector is a SIPI's. It is called
	// from any goroutine, must not block, and must not call the APIC of id
	// (other than its methods for any goroutine). It may be nil.
	Notify func(id int, e Event, vector uint8)
	// EOI tells I/O APICs of the end of a level-triggered interrupt. It is
	// called on the goroutine of the processor with no lock held, and may send
	// further interrupts. It may be nil.
	EOI func(vector uint8)
	// SuppressEOI lets software turn that broadcast off (SVR bit 12). Only
	// for machines whose I/O APICs have an EOI register.
	SuppressEOI bool
	// PhysBits is the width of physical addresses that CPUID reports; bits
	// of IA32_APIC_BASE above it are reserved. 0 means 52.
	PhysBits uint
}

// Fabric is the local APICs of a machine and what connects them. All its
// methods may be called from any goroutine.
type Fabric struct {
	cfg   Config
	apics []*APIC
	// intr is the 8259 pair's output, wired to LINT0 of every APIC.
	intr atomic.Bool
	// turn is where the search for the lowest priority starts, so that
	// processors of equal priority take turns.
	turn atomic.Uint32
}

// New returns the APICs of a machine as after power-up.
func New(cfg Config) *Fabric {
	if cfg.TSCHz == 0 {
		cfg.TSCHz = 1e9
	}
	if cfg.TSC == nil {
		hz := cfg.TSCHz
		cfg.TSC = func(_ int, now int64) uint64 {
			hi, lo := bits.Mul64(uint64(max(now, 0)), hz)
			q, _ := bits.Div64(hi%1e9, lo, 1e9)
			return q
		}
	}
	if cfg.PhysBits == 0 || cfg.PhysBits > 52 {
		cfg.PhysBits = 52
	}
	f := &Fabric{cfg: cfg}
	for i := range max(cfg.CPUs, 1) {
		a := &APIC{f: f, id: uint32(i)}
		a.timer.host = cfg.Clock.NewTimer(a.timerFired)
		f.apics = append(f.apics, a)
	}
	for _, a := range f.apics {
		a.Reset(true)
	}
	return f
}

// APIC returns the local APIC of processor i, nil if there is none.
func (f *Fabric) APIC(i int) *APIC {
	if i < 0 || i >= len(f.apics) {
		return nil
	}
	return f.apics[i]
}

// SetINTR drives the 8259 pair's output, which is wired to LINT0 of every
// processor. Calls with different levels must not overlap.
func (f *Fabric) SetINTR(level bool) {
	if f.intr.Swap(level) == level {
		return
	}
	for _, a := range f.apics {
		a.lint0(level)
	}
}

// NMI pulses LINT1 of every processor.
func (f *Fabric) NMI() {
	for _, a := range f.apics {
		a.lint1()
	}
}

// message is an interrupt message between APICs (SDM 11.6.2).
type message struct {
	mode   uint8 // delivery mode
	vector uint8
	level  bool // level-triggered
	// dest is a physical ID or a logical destination: of 32 bits where wide
	// is set (x2APIC senders), else of 8 (or 15, extended MSI) bits.
	dest    uint32
	wide    bool
	logical bool
	// lowest sends it to one of the matching processors only.
	lowest bool
}

// broadcast reports whether m is for all processors. The all-ones destination
// means this in physical and in logical mode (SDM 11.6.2.1, 11.6.2.2).
func (m *message) broadcast() bool {
	if m.wide {
		return m.dest == 0xffffffff
	}
	return m.dest == 0xff
}

// send delivers m to the processors that its destination names.
func (f *Fabric) send(m *message) {
	all := m.broadcast()
	if !m.logical && !all {
		// IDs are fixed and dense: a physical destination is an index.
		if uint64(m.dest) < uint64(len(f.apics)) {
			if a := f.apics[m.dest]; a.matches(m) {
				a.deliver(m)
			}
		}
		return
	}
	f.sendTo(m, func(a *APIC) bool { return all || a.matches(m) })
}

// sendTo delivers m to the processors for which match holds, or to the one of
// them with the lowest priority.
func (f *Fabric) sendTo(m *message, match func(*APIC) bool) {
	if !m.lowest {
		for _, a := range f.apics {
			if a.enabled() && match(a) {
				a.deliver(m)
			}
		}
		return
	}
	var best *APIC
	lowest := uint8(0)
	n := uint32(len(f.apics))
	first := f.turn.Load() % n
	for i := range n {
		a := f.apics[(first+i)%n]
		if !a.accepting() || !match(a) {
			continue
		}
		if p := a.arbitration(); best == nil || p < lowest {
			best, lowest = a, p
		}
	}
	if best != nil {
		f.turn.Store(best.id + 1)
		best.deliver(m)
	}
}

// matches reports whether a is enabled and m's destination names it
// (SDM 11.6.2.1, 11.6.2.2, 11.12.10).
func (a *APIC) matches(m *message) bool {
	base := a.base.Load()
	if base&baseEnable == 0 {
		return false
	}
	if m.broadcast() {
		return true
	}
	if base&baseX2 != 0 {
		if !m.logical {
			return m.dest == a.id
		}
		ldr := logicalID(a.id)
		return m.dest>>16 == ldr>>16 && m.dest&ldr&0xffff != 0
	}
	if m.dest > 0xff {
		return false
	}
	if !m.logical {
		return m.dest == a.id
	}
	ldr := a.ldr.Load() >> 24
	switch a.dfr.Load() >> 28 {
	case 0xf: // flat model
		return ldr&m.dest != 0
	case 0: // cluster model
		return ldr>>4 == m.dest>>4 && ldr&m.dest&0xf != 0
	}
	return false
}

// deliver gives m to an enabled APIC that it is for.
func (a *APIC) deliver(m *message) {
	switch m.mode {
	case dmFixed, dmLowest:
		a.post(m.vector, m.level)
	case dmNMI:
		a.notify(NMI, 0)
	case dmINIT:
		a.notify(INIT, 0)
	case dmSIPI:
		a.notify(SIPI, m.vector)
	case dmExtINT:
		a.extMessage.Store(true)
		a.notify(ExtINT, 0)
	}
}

// logicalID is the fixed logical ID of an APIC in x2APIC mode: a cluster of
// sixteen in the upper half, a bit in the lower (SDM 11.12.10.2).
func logicalID(id uint32) uint32 {
	return id>>4<<16 | 1<<(id&0xf)
}
