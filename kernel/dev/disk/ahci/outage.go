package ahci

import (
	"errors"
	"fmt"
	"time"

	"dfemu/kernel/subr/disk"
)

// errAnother says that a device is not the one that was there.
var errAnother = errors.New("another device is in its place")

// outage waits for a device whose connection has gone to come back, for a short time: nobody takes a drive out and puts it in again so fast, so it has
// not lost what its cache had. If it is the same device, what it had is sent again, but not without end, and who has it open need not know. The
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
	err := error(errNoDevice)
	for err != nil {
		switch det := p.read(portSSTS) & 15; {
		case p.read(portCMD) == allOnes:
			return false // the controller is gone
		case det != 0 && det != 4:
			if err = p.reconnect(); errors.Is(err, errAnother) {
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
	p.waiting = append(again, p.waiting...)
	p.recovering = false
	p.refill()
	p.mu.Unlock()
	p.c.k.Printf("%s: the connection was lost, and is back after %v with the same device: %d commands are sent again", p.name, away.Round(time.Millisecond), len(again))
	for _, m := range lost {
		m.finish(fmt.Errorf("%w: its connection comes and goes", disk.ErrIO))
	}
	return true
}

// same tells whether two identifications are those of one device. That of a packet device does not know its medium.
func (i identity) same(o identity) bool {
	return i.packet == o.packet && i.serial == o.serial && i.model == o.model && (i.packet || i.sectors == o.sectors && i.sector == o.sector)
}

// reconnect resets the connection and sees that the same device is there. If it is not, the port's identification stays as it was.
func (p *port) reconnect() error {
	if err := p.hardReset(); err != nil {
		return err
	}
	if err := p.softReset(); err != nil {
		return err
	}
	was := p.id
	if err := p.identify(); err != nil {
		return err
	}
	now := p.id
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.same(was) {
		p.id = was
		return fmt.Errorf("%w, serial number %s", errAnother, now.serial)
	}
	if was.packet {
		p.id.sectors, p.id.sector = was.sectors, was.sector
	}
	return nil
}
