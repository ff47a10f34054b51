package ahci

import (
	"dfemu/devices/ahci/ata"
	"dfemu/devices/internal/aio"
)

// Reads of a file that the host's page cache is not used for are started and land later, so that no worker waits for each:
// those that have other commands beside them.

// A reader is a drive that can leave the transfers of some requests to its caller.
type reader interface {
	ata.Drive
	// Suits tells whether there are such requests.
	Suits() bool
	// Begin describes the read of a request in o, in place of Execute, or returns false: then the request is for Execute.
	// It does not wait.
	Begin(r *ata.Request, o *aio.Op) bool
	// End ends a request after its read.
	End(r *ata.Request, o *aio.Op)
}

// makeReads makes a queue for reads if the drive gains by it and the host has the means. The caller holds mu.
func (p *port) makeReads() {
	if v, ok := p.drive.(reader); ok && v.Suits() {
		// Without the means, all is done with calls that wait.
		p.reads, _ = aio.New(p.land)
	}
}

// begun begins a request whose read nobody has to wait for, and reports whether it is one; startReads starts it. The caller
// holds mu.
func (p *port) begun(r *request) bool {
	if p.reads == nil || p.running == 0 && p.waiting()&^(1<<r.slot) == 0 || r.disturbed() {
		return false
	}
	v, ok := r.drive.(reader)
	if !ok || !v.Begin(&r.Request, &r.op) {
		return false
	}
	p.active |= 1 << r.slot
	p.running++
	r.op.Owner = r
	p.ready = append(p.ready, &r.op)
	return true
}

// startReads starts what was begun, with the lock released, and reports whether there was anything.
func (p *port) startReads() bool {
	l, q := p.ready, p.reads
	if len(l) == 0 {
		return false
	}
	p.ready = nil
	p.mu.Unlock()
	q.Start(l)
	p.mu.Lock()
	return true
}

// land ends the requests whose reads have ended, and reports those that were queued together.
func (p *port) land(l []*aio.Op) {
	for _, o := range l {
		r := o.Owner.(*request)
		r.drive.(reader).End(&r.Request, o)
		r.written()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range l {
		r := o.Owner.(*request)
		p.active &^= 1 << r.slot
		p.running--
		p.finish(r)
	}
	p.flush()
	if p.running == 0 {
		p.drained()
	}
	p.kick()
}
