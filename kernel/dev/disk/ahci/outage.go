package ahci

import (
	"errors"
	"fmt"
	"time"

	"dfemu/kernel/subr/disk"
)

// errAnother says that a device is not the one that was there.
var errAnother = errors.New("another device is in its place")

// outage waits for a device whose connection has gone to come back, for a short time. If it is the same device, what it had is sent again, but not without
// end, and who has it open need not know, unless it was without power meanwhile and its cache may have had what was written: then a flush fails. The
// port's interrupts are off.
func (p *port) outage() bool {
	p.mu.Lock()
	p.recovering = true
	p.mu.Unlock()
	if p.alive.Swap(false) {
		p.fails = 0
	}
	if p.fails++; p.fails >= maxFailures {
		p.c.k.Printf("%s: its connection comes and goes", p.name)
		return false
	}
	start := p.c.k.Now()
	err, kept := error(errNoDevice), powerUnknown
	for err != nil {
		switch det := p.read(portSSTS) & 15; {
		case p.read(portCMD) == allOnes:
			return false // the controller is gone
		case det != 0 && det != 4:
			if kept, err = p.reconnect(); errors.Is(err, errAnother) {
				p.c.k.Printf("%s: %v", p.name, err)
				return false
			}
		}
		if err == nil {
			break
		}
		if p.c.k.Now()-start > p.c.times.away {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	away := p.c.k.Now() - start
	if err := p.startEngine(); err != nil {
		p.c.k.Printf("%s: %v", p.name, err)
	}
	p.listen()
	p.mu.Lock()
	var again, lost []*command
	for _, m := range p.take(allOnes) {
		if m.tries++; m.tries < maxTries {
			again = append(again, m)
		} else {
			lost = append(lost, m)
		}
	}
	emptied := kept != powerKept && p.unflushed
	var flushes []*command
	if emptied {
		again, flushes = p.cacheLost(again)
	}
	p.waiting = append(again, p.waiting...)
	p.recovering = false
	p.refill()
	p.mu.Unlock()
	p.c.k.Printf("%s: the connection was lost, and is back after %v with the same device: %d commands are sent again", p.name, away.Round(time.Millisecond), len(again))
	p.dark = false
	p.sayPower(kept, emptied)
	for _, m := range flushes {
		m.finish(errPower)
	}
	for _, m := range lost {
		m.finish(fmt.Errorf("%w: its connection comes and goes", disk.ErrIO))
	}
	return true
}

// same tells whether two identifications are those of one device. That of a packet device does not know its medium.
func (i identity) same(o identity) bool {
	return i.packet == o.packet && i.serial == o.serial && i.model == o.model && i.wwn == o.wwn && (i.packet || i.sectors == o.sectors && i.sector == o.sector)
}

// reconnect resets the connection, sees that the same device is there, and tells whether that kept its power. If it is another, the port's identification
// stays as it was.
func (p *port) reconnect() (power, error) {
	if err := p.hardReset(); err != nil {
		return 0, err
	}
	if err := p.softReset(); err != nil {
		return 0, err
	}
	was := p.id
	if err := p.identify(); err != nil {
		return 0, err
	}
	now := p.id
	if !now.same(was) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.id = was
		return 0, fmt.Errorf("%w, serial number %s", errAnother, now.serial)
	}
	if was.packet {
		p.mu.Lock()
		p.id.sectors, p.id.sector = was.sectors, was.sector
		p.mu.Unlock()
	}
	kept := p.powerOf(now)
	if kept == powerLost {
		p.dark = true // also if what follows fails and is tried again
		if err := p.putMark(); err != nil {
			return 0, err
		}
	}
	if p.dark {
		kept = powerLost
	}
	return kept, nil
}
