package ahci

import (
	"errors"
	"fmt"

	"dfemu/kernel/subr/disk"
)

// power tells whether a drive had power while nobody could see it.
type power int8

const (
	powerUnknown power = iota // the drive keeps no mark
	powerKept
	powerLost
)

// errPower fails the flush that would have told that what was written lasts.
var errPower = fmt.Errorf("%w: the drive was without power, what was written since the last flush may be lost", disk.ErrIO)

// mark is the setting that tells whether the drive has been switched off since: the number of sectors in a block of READ MULTIPLE, which the
// driver does not use. With software settings preservation a drive keeps it over a COMRESET, but not without power (Serial ATA 3.x, 13.5). It is none of
// the likely defaults, nor what is set. 0 is for a drive that has no such thing.
func (i identity) mark() byte {
	n := i.mostMultiple / 2
	if n == i.multiple {
		n /= 2
	}
	if i.packet || !i.preserves || n&(n-1) != 0 {
		return 0
	}
	return n
}

// putMark sets the drive's mark. The port's interrupts are off.
func (p *port) putMark() error {
	n := p.id.mark()
	p.mark = 0
	if n == 0 {
		return nil
	}
	err := p.poll(frame{command: ataSetMultiple, device: deviceLBA, count: uint16(n)}, nil, 0, 0, 0)
	if errors.Is(err, errTask) { // then without
		if err = p.stopEngine(); err == nil {
			p.write(portSERR, allOnes)
			err = p.startEngine()
		}
		return err
	}
	if err == nil {
		p.mark = n
	}
	return err
}

// powerOf tells by what a drive says of itself whether it kept its mark.
func (p *port) powerOf(i identity) power {
	switch {
	case i.packet:
		return powerKept // it has nothing to lose
	case p.mark == 0:
		return powerUnknown
	case i.multiple == p.mark:
		return powerKept
	}
	return powerLost
}

// note takes down what a command that is done means for the drive's cache; the port is locked.
func (p *port) note(done []*command) {
	for _, m := range done {
		switch m.bio.Cmd {
		case disk.Write:
			p.unflushed = p.unflushed || p.id.cache
		case disk.Flush: // nothing else is under way with it
			p.unflushed = false
		}
	}
}

// cacheLost is called once it is known that the drive's cache is empty: what was written and not flushed may be lost. It returns the flushes among the commands that
// were under way or wait, which must not succeed; if there are none, the next one fails. The port is locked.
func (p *port) cacheLost(again []*command) (rest, flushes []*command) {
	split := func(list []*command) (rest []*command) {
		for _, m := range list {
			if m.bio.Cmd == disk.Flush {
				flushes = append(flushes, m)
			} else {
				rest = append(rest, m)
			}
		}
		return rest
	}
	rest, p.waiting = split(again), split(p.waiting)
	p.unflushed, p.tellFlush = false, len(flushes) == 0
	return rest, flushes
}

// sayPower writes to the log what became of the drive's power; lost tells that its cache had something.
func (p *port) sayPower(w power, lost bool) {
	const gone = "what was written since the last flush may be lost, and a flush fails for it"
	switch {
	case w == powerLost && lost:
		p.c.k.Printf("%s: the drive was without power: %s", p.name, gone)
	case w == powerLost:
		p.c.k.Printf("%s: the drive was without power; all that was written had been flushed", p.name)
	case w == powerUnknown && lost:
		p.c.k.Printf("%s: whether the drive kept its power cannot be told: %s", p.name, gone)
	}
}
