package ahci

import (
	"dfemu/devices"
	"dfemu/devices/ahci/ata"
)

// fail gives a request the result of an injected failure; see the package comment
// for the meaning of the status.
func (r *request) fail() {
	status := r.effect.Status
	r.Moved = 0
	if r.Command.Protocol == ata.Packet {
		r.Request.Fail(uint8(status>>16&0xf) << 4)
		r.Result.Count = 3
		if f, ok := r.drive.(senseSetter); ok {
			f.SetSense(uint8(status>>16&0xf), uint8(status>>8), uint8(status))
		}
		return
	}
	bits := uint8(status)
	if bits == 0 && status>>8&ata.StatusFault == 0 {
		bits = ata.ErrAborted
	}
	r.Request.Fail(bits)
	r.Result.LBA = r.Command.LBA & (1<<48 - 1)
	if s := uint8(status >> 8); s != 0 {
		r.Result.Status = s&^(ata.StatusBusy|ata.StatusData) | ata.StatusErr
	}
	r.drive.Abort(&r.Request)
}

// senseSetter is a packet device, whose errors are sense data.
type senseSetter interface {
	SetSense(key, asc, ascq uint8)
}

// cut limits the data to n bytes.
func (r *request) cut(n int64) {
	if n >= r.Data.Size {
		return
	}
	r.Data.Pieces = r.Data.Slice(nil, 0, n)
	r.Data.Size = n
	r.short = false
}

// runFaulty executes a request with what an injected fault does to its data. No
// lock is held.
func (r *request) runFaulty() {
	flips := min(r.effect.FlipData, uint64(r.Data.Size)*8)
	if flips > 0 && r.out() {
		// The guest's memory stays as it is: the drive gets a copy.
		p := make([]byte, r.Data.Size)
		r.Data.Gather(0, p)
		r.Data.Pieces = [][]byte{p}
		flipBits(r.Data.Pieces, r.Data.Size, flips, r.effect.Seed)
	}
	r.drive.Execute(&r.Request)
	if r.out() || len(r.segs) == 0 {
		return
	}
	if r.Moved > 0 {
		flipBits(r.Data.Pieces, r.Moved, min(flips, uint64(r.Moved)*8), r.effect.Seed)
	}
	r.written()
}

// flipBits inverts n bits of the first size bytes, at places that follow from the
// seed.
func flipBits(pieces [][]byte, size int64, n, seed uint64) {
	e := devices.Effect{FlipData: n, Seed: seed}
	flips := e.Flips(uint64(max(size, 0)))
	at := uint64(0)
	for _, b := range pieces {
		devices.Flip(b, at, flips)
		at += uint64(len(b))
	}
}

// delay puts a request off.
func (p *port) delay(r *request) {
	r.phase = phaseDelayed
	r.due = p.d.o.Clock.Now() + r.effect.Delay
	p.delayed |= 1 << r.slot
	p.armDelay()
}

// armDelay sets the timer for the delayed request that is due first.
func (p *port) armDelay() {
	first := int64(-1)
	for i := range p.slots {
		if p.delayed>>i&1 != 0 && (first < 0 || p.slots[i].due < first) {
			first = p.slots[i].due
		}
	}
	if first >= 0 {
		p.timer.Set(first)
	}
}

// delayDue is called by the clock.
func (p *port) delayDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.d.o.Clock.Now()
	for i := range p.slots {
		if bit := uint32(1) << i; p.delayed&bit != 0 && p.slots[i].due <= now {
			p.delayed &^= bit
			p.overdue |= bit
		}
	}
	p.armDelay()
	p.kick()
}
