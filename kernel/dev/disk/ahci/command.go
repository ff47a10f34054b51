package ahci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"dfemu/kernel/dev/dma"
	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// frame is what a register FIS from the host says.
type frame struct {
	command, control, device byte
	features, count          uint16
	lba                      uint64
	multiplier               byte // a port behind a port multiplier, its own one or, where there is none, 0
}

// command is a request that a slot holds.
type command struct {
	p      *port
	bio    *disk.Bio
	frame  frame
	ncq    bool
	cdb    []byte
	phys   uint64
	length int
	write  bool
	bounce kern.DMA
	since  time.Duration
	tries  int
	moved  int // bytes, as the controller has counted; of queued commands it need not
}

// finish gives the request back.
func (m *command) finish(err error) {
	if err == nil && !m.ncq && m.moved != m.length {
		err = fmt.Errorf("%w: %d of %d bytes were transferred", disk.ErrIO, m.moved, m.length)
	}
	if len(m.bounce.Bytes) > 0 {
		if err == nil && !m.write {
			copy(m.bio.Mem.Bytes[:m.length], m.bounce.Bytes)
		}
		m.p.c.k.FreeDMA(m.bounce)
	}
	m.bio.Done(err)
}

// Strategy implements disk.Driver.
func (p *port) Strategy(b *disk.Bio) {
	m := &command{p: p, bio: b, phys: b.Mem.Phys, length: int(b.Length), write: b.Cmd == disk.Write}
	p.mu.Lock()
	err := p.translate(m)
	if err == nil && b.Cmd == disk.Flush && p.tellFlush {
		err, p.tellFlush = errPower, false
	}
	p.mu.Unlock()
	if err != nil {
		b.Done(err)
		return
	}
	if m.length > 0 && p.c.cap&cap64 == 0 && m.phys+uint64(m.length) > 1<<32 {
		// The controller does not reach the memory.
		mem, err := p.c.k.AllocDMA(m.length, 4096, 1<<32)
		if err != nil {
			b.Done(err)
			return
		}
		m.bounce, m.phys = mem, mem.Phys
		if m.write {
			copy(mem.Bytes, b.Mem.Bytes[:m.length])
		}
	}
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		m.finish(disk.ErrGone)
		return
	}
	p.waiting = append(p.waiting, m)
	p.refill()
	p.mu.Unlock()
	if !p.watched.Load() && !p.watched.Swap(true) {
		p.signals.Raise(sigBusy)
	}
}

// refill sends what waits, as far as slots and the rules of queuing allow; the port is locked.
func (p *port) refill() {
	for len(p.waiting) > 0 && !p.recovering {
		m := p.waiting[0]
		if p.active != 0 && (!m.ncq || !p.queued || p.alone > 0 || p.lonely) {
			return // queued and other commands do not mix
		}
		slot := p.slot()
		if slot < 0 {
			return
		}
		p.waiting = p.waiting[1:]
		p.queued, p.lonely = m.ncq, p.alone > 0
		p.alone = max(p.alone-1, 0)
		p.ccb[slot] = m
		p.active |= 1 << slot
		m.since = p.c.k.Now()
		if m.ncq {
			m.frame.count = uint16(slot) << 3
		}
		p.fill(slot, m.frame, m.cdb, m.phys, m.length, m.write, 0)
		if m.ncq {
			p.write(portSACT, 1<<slot)
		}
		p.write(portCI, 1<<slot)
	}
}

// slot is a free slot, never the error CCB's if there is another.
func (p *port) slot() int {
	limit := p.c.ncmd
	if p.id.depth > 0 {
		// Tags of queued commands are below the device's depth.
		limit = min(limit, p.id.depth)
	}
	for i := range limit {
		if p.active>>i&1 == 0 && (i != p.errSlot() || p.c.ncmd == 1) {
			return i
		}
	}
	return -1
}

// fill writes a command's table and header.
func (p *port) fill(slot int, f frame, cdb []byte, phys uint64, n int, write bool, flags uint32) {
	t := p.mem.Bytes[offTables+slot*tableSize:][:tableSize]
	clear(t)
	t[0], t[1] = 0x27, f.multiplier
	if f.control == 0 && f.command != 0 {
		t[1] |= 0x80
	}
	t[2], t[3] = f.command, byte(f.features)
	t[4], t[5], t[6] = byte(f.lba), byte(f.lba>>8), byte(f.lba>>16)
	t[7] = f.device
	t[8], t[9], t[10] = byte(f.lba>>24), byte(f.lba>>32), byte(f.lba>>40)
	t[11] = byte(f.features >> 8)
	t[12], t[13] = byte(f.count), byte(f.count>>8)
	t[15] = f.control
	copy(t[tableCDB:], cdb)
	flags |= 5 | uint32(f.multiplier)<<12 // words of the FIS
	if len(cdb) > 0 {
		flags |= 1 << 5
	}
	if write {
		flags |= 1 << 6
	}
	if n > 0 {
		flags |= 1 << 16
		le := binary.LittleEndian
		le.PutUint64(t[tablePRDT:], phys)
		le.PutUint32(t[tablePRDT+12:], uint32(n-1))
	}
	h := slot * 32
	table := p.mem.Phys + offTables + uint64(slot)*tableSize
	dma.Store32(p.mem.Bytes, h+4, 0)
	dma.Store32(p.mem.Bytes, h+8, uint32(table))
	dma.Store32(p.mem.Bytes, h+12, uint32(table>>32))
	dma.Store32(p.mem.Bytes, h, flags)
}

// interrupt is called by the controller's interrupt.
func (p *port) interrupt() {
	is := p.read(portIS)
	if is == allOnes {
		return
	}
	if is&(intError|intChange) != 0 {
		// Noted before it is cleared: meanwhile nobody must take what is not under way any more for done.
		p.pending.Or(is & intAll)
		p.write(portIE, 0)
		p.write(portIS, is)
		p.signals.Raise(sigInt)
		return
	}
	p.write(portIS, is)
	p.complete()
}

// complete gives back what the device has done.
func (p *port) complete() {
	p.mu.Lock()
	if p.recovering || p.active == 0 {
		p.mu.Unlock()
		return
	}
	busy := p.read(portSACT) | p.read(portCI)
	if busy == allOnes || p.read(portIS)&(intError|intChange) != 0 || p.pending.Load() != 0 {
		p.mu.Unlock()
		return // gone, or an error or another device, of which there is or will be an interrupt
	}
	done := p.take(p.active &^ busy)
	p.note(done)
	p.refill()
	p.mu.Unlock()
	if len(done) > 0 {
		p.alive.Store(true)
	}
	for _, m := range done {
		m.finish(nil)
	}
}

// busy tells whether commands are under way.
func (p *port) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active != 0
}

// errTask is an error in the device's task file.
var errTask = errors.New("the device reports an error")

// poll executes a command in the error CCB and waits for it, with interrupts off and nothing else under way.
// Data goes to or comes from the scratch page.
func (p *port) poll(f frame, cdb []byte, n int, timeout time.Duration, flags uint32) error {
	if timeout == 0 {
		timeout = p.c.times.exec
	}
	slot := p.errSlot()
	p.fill(slot, f, cdb, p.mem.Phys+offScratch, n, false, flags)
	p.write(portIS, allOnes)
	p.write(portCI, 1<<slot)
	end := p.c.k.Now() + timeout
	for {
		ci, is, tfd := p.read(portCI), p.read(portIS), p.read(portTFD)
		switch {
		case ci == allOnes:
			return disk.ErrGone
		case is&intError != 0 || ci>>slot&1 == 0 && f.command != 0 && tfd&tfdError != 0:
			return fmt.Errorf("%w: task file %#x, interrupt status %#x", errTask, tfd, is)
		case ci>>slot&1 == 0:
			if got := p.transferred(slot); got != n && cdb == nil {
				return fmt.Errorf("%w: %d of %d bytes were transferred", disk.ErrIO, got, n)
			}
			return nil
		case !p.present():
			return errNoDevice
		case p.c.k.Now() > end:
			return disk.ErrTimeout
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// transferred is how many bytes the controller has counted for a slot's command.
func (p *port) transferred(slot int) int { return int(dma.Load32(p.mem.Bytes, slot*32+4)) }

// scratch is a copy of the scratch page.
func (p *port) scratch(n int) []byte {
	return append([]byte(nil), p.mem.Bytes[offScratch:][:n]...)
}
