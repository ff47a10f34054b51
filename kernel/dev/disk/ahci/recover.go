package ahci

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"dfemu/kernel/subr/disk"
)

// check looks after commands that take too long, and tells whether any are under way.
func (p *port) check() bool {
	if p.read(portCMD) == allOnes {
		if State(p.state.Load()) != NeedInit {
			p.c.k.Printf("%s: the controller is gone", p.name)
			p.vanish(disk.ErrGone)
			p.setState(NeedInit)
		}
		return false
	}
	p.mu.Lock()
	var oldest *command
	slot := 0
	for i, m := range p.ccb {
		if m != nil && (oldest == nil || m.since < oldest.since) {
			oldest, slot = m, i
		}
	}
	p.mu.Unlock()
	if oldest == nil {
		return false
	}
	if age := p.c.k.Now() - oldest.since; age > p.c.times.command {
		p.c.k.Printf("%s: command %#02x in slot %d is not answered for %v", p.name, oldest.frame.command, slot, age.Round(time.Millisecond))
		p.recover(0)
	}
	return true
}

// lost looks for commands that are done or have failed, but of which no interrupt has told.
func (p *port) lost() {
	if is := p.read(portIS); is != allOnes && is&(intError|intChange) != 0 {
		time.Sleep(p.c.times.irq) // it may be on its way
		if is = p.read(portIS); is != allOnes && is&(intError|intChange) != 0 {
			p.c.k.Printf("%s: an interrupt was lost, status %#x", p.name, is)
			p.interrupt()
			if is := p.pending.Swap(0); is != 0 {
				p.handle(is)
			}
			return
		}
	}
	done := func() (mask uint32, ccb [slots]*command) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.recovering || p.active == 0 {
			return 0, ccb
		}
		busy := p.read(portSACT) | p.read(portCI)
		if busy == allOnes {
			return 0, ccb
		}
		return p.active &^ busy, p.ccb
	}
	mask, was := done()
	if mask == 0 {
		return
	}
	time.Sleep(p.c.times.irq)
	again, now := done()
	for i := range slots {
		if mask&again>>i&1 != 0 && was[i] == now[i] {
			p.c.k.Printf("%s: an interrupt was lost", p.name)
			return
		}
	}
}

// recover finds out what failed, and sends the rest again (6.2.2). is is what the port said, 0 for a command that
// is not answered.
func (p *port) recover(is uint32) {
	p.mu.Lock()
	p.recovering = true
	active, queued := p.active, p.queued
	p.mu.Unlock()
	p.write(portIE, 0)
	tfd, serr, cmd := p.read(portTFD), p.read(portSERR), p.read(portCMD)
	busy := p.read(portSACT) | p.read(portCI)
	if p.alive.Swap(false) {
		p.fails = 0
	}
	p.fails++
	p.c.k.Printf("%s: error: interrupt %#x task file %#x SError %#x active %#x", p.name, is, tfd, serr, active)
	stopped := p.stopEngine()
	p.write(portSERR, serr)
	failed := uint32(0)
	reason := disk.ErrIO
	timeout, unknown := is == 0, false
	// Everything but an error of the device itself takes a reset of the connection.
	hard := stopped != nil || timeout || is&(intHBFatal|intHBData|intIF|intOver|intUnknown) != 0
	if !hard && is&intTFE != 0 && !p.id.packet {
		if !queued {
			failed = 1 << (cmd >> cmdSlot & 31) & active
			reason = taskError(byte(tfd >> 8))
		} else if err := p.startEngine(); err != nil {
			hard = true
		} else if slot, why, err := p.readLog(); err != nil {
			p.c.k.Printf("%s: log of the error: %v", p.name, err)
			hard = true
			if out := active & busy; bits.OnesCount32(out) == 1 {
				failed, reason = out, taskError(byte(tfd>>8)) // it can have been no other
			} else {
				unknown = true
			}
		} else {
			failed, reason = 1<<slot&active, why
		}
	} else if is&intTFE != 0 && p.id.packet {
		failed = active
		reason = p.sense()
	}
	kept := powerKept
	if hard || p.read(portTFD)&(tfdBusy|tfdDRQ) != 0 {
		var err error
		kept, err = p.reconnect()
		if errors.Is(err, errNoDevice) && p.outage() {
			return
		}
		if err != nil {
			p.c.k.Printf("%s: %v: out of use", p.name, err)
			p.vanish(disk.ErrGone)
			p.setState(Failed)
			p.listen()
			return
		}
	}
	if err := p.stopEngine(); err != nil {
		p.c.k.Printf("%s: %v", p.name, err)
	}
	p.mu.Lock()
	// What was done before the error is done; the rest is sent again, but not without end.
	done := p.take(active &^ busy &^ failed)
	p.note(done)
	var bad, again, lost []*command
	for _, m := range p.take(failed) {
		if m.tries++; transient(reason) && m.tries < maxTries {
			again = append(again, m)
		} else {
			bad = append(bad, m)
		}
	}
	for _, m := range p.take(allOnes) {
		if m.tries++; hard && m.tries >= maxTries {
			lost = append(lost, m)
		} else {
			again = append(again, m)
		}
	}
	emptied := kept == powerLost && p.unflushed
	var flushes []*command
	if emptied {
		again, flushes = p.cacheLost(again)
	}
	p.waiting = append(again, p.waiting...)
	if unknown {
		// One of them fails, and would take the others along again.
		p.alone = len(again)
	}
	p.mu.Unlock()
	if kept == powerLost {
		p.dark = false
		p.sayPower(kept, emptied)
	}
	if timeout && p.fails >= maxFailures {
		p.c.k.Printf("%s: it does not answer any more: out of use", p.name)
		p.vanish(disk.ErrTimeout)
		p.setState(Failed)
	}
	for _, m := range done {
		m.finish(nil)
	}
	for _, m := range bad {
		m.finish(reason)
	}
	for _, m := range flushes {
		m.finish(errPower)
	}
	for _, m := range lost {
		if timeout {
			m.finish(disk.ErrTimeout)
		} else {
			m.finish(disk.ErrIO)
		}
	}
	if State(p.state.Load()) != Good {
		p.listen()
		return
	}
	if p.fails > 2 {
		time.Sleep(min(time.Duration(p.fails)*10*time.Millisecond, time.Second)) // errors without end leave time to others
	}
	if err := p.startEngine(); err != nil {
		p.c.k.Printf("%s: %v", p.name, err)
	}
	p.write(portIS, allOnes)
	p.mu.Lock()
	p.recovering = false
	p.write(portIE, intAll)
	p.refill()
	p.mu.Unlock()
}

// transient tells whether what failed may succeed when it is tried again.
func transient(err error) bool {
	return !errors.Is(err, disk.ErrMedium) && !errors.Is(err, disk.ErrRange) && !errors.Is(err, disk.ErrNoMedium)
}

// taskError is the device's error register as an error.
func taskError(e byte) error {
	switch {
	case e&errUncorrectable != 0:
		return fmt.Errorf("%w: error register %#02x", disk.ErrMedium, e)
	case e&errNotFound != 0:
		return fmt.Errorf("%w: error register %#02x", disk.ErrRange, e)
	}
	return fmt.Errorf("%w: error register %#02x", disk.ErrIO, e)
}

// readLog reads the log page that says which queued command failed (ACS-3, 9.14).
func (p *port) readLog() (slot int, why error, err error) {
	if err := p.poll(frame{command: ataReadLogExt, device: deviceLBA, lba: logNCQError, count: 1}, nil, 512, 0, 0); err != nil {
		return 0, nil, err
	}
	return parseLog(p.scratch(512))
}

// parseLog reads the 512 bytes of log page 10h.
func parseLog(b []byte) (slot int, why error, err error) {
	sum := byte(0)
	for _, v := range b {
		sum += v
	}
	if sum != 0 {
		return 0, nil, fmt.Errorf("its checksum is wrong")
	}
	if b[0]&0x80 != 0 {
		return 0, nil, fmt.Errorf("the failed command was not queued")
	}
	return int(b[0] & 31), taskError(b[3]), nil
}
