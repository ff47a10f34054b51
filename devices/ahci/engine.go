package ahci

import (
	"math/bits"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
)

const (
	// slowDrive is how many ns a command takes on a drive that several workers at
	// a time are of use for; below, waking them costs more than it gains. A byte of
	// data is allowed half a nanosecond more.
	slowDrive = 40_000
	// batchTime is how long, in ns, a completed queued command may wait for others
	// to be reported with it, and batchSize how many are.
	batchTime = 50_000
	batchSize = 16
	// bigTransfer is the size in bytes from which on a transfer takes so long that
	// another worker is of use whatever the drive.
	bigTransfer = 256 << 10
)

// runnable tells whether commands are taken.
func (p *port) runnable() bool {
	return p.cmd&cmdST != 0 && !p.fatal && !p.paused && !p.closed && !p.starting && p.det == detPresent
}

// waiting are the slots with something to do.
func (p *port) waiting() uint32 { return (p.ci.Load()&^p.taken | p.overdue) &^ p.active }

func (p *port) slow() bool { return p.average > slowDrive }

// kick has workers look for commands. It never waits.
func (p *port) kick() {
	if p.waiting() == 0 || !p.runnable() {
		return
	}
	if p.workers-p.idle+p.waking > 0 {
		if !p.slow() && p.running > 0 && p.d.o.Clock.Now()-p.since > 5*slowDrive {
			p.average = 2 * slowDrive // it has not even come back yet
		}
		if !p.slow() {
			return
		}
	}
	p.wakeWorker()
}

// wakeWorker has one more worker look for commands.
func (p *port) wakeWorker() {
	switch {
	case p.idle > p.waking:
		p.waking++
		p.wakeup.Signal()
		// The scheduler keeps a goroutine that was just readied for this thread's
		// next pause, which a virtual CPU makes late. Another one readied after it
		// takes that place, so that an idle thread takes the worker at once.
		go nothing()
	case p.workers < p.d.o.Workers:
		p.workers++
		go p.work()
	}
}

func nothing() {}

// work is a worker: it executes commands until the port is closed.
func (p *port) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed {
		if r := p.next(); r != nil {
			if !p.begun(r) {
				p.execute(r)
			}
			continue
		}
		if p.startReads() {
			continue
		}
		p.flush()
		p.idle++
		p.wakeup.Wait()
		p.idle--
		p.waking = max(p.waking-1, 0)
	}
	p.workers--
	p.quiet.Broadcast()
}

// execute has the drive execute a request, with the lock released.
func (p *port) execute(r *request) {
	bit := uint32(1) << r.slot
	p.active |= bit
	p.running++
	begin := p.d.o.Clock.Now()
	p.since = begin
	if p.waiting() != 0 && (p.slow() || r.Data.Size >= bigTransfer) {
		p.wakeWorker()
	}
	p.startReads() // they do not wait for this
	p.mu.Unlock()
	r.run()
	p.mu.Lock()
	end := p.d.o.Clock.Now()
	p.measure(end-begin, r.Data.Size)
	p.active &^= bit
	p.running--
	p.finish(r)
	if p.batch > 0 && (p.slow() || p.batch >= batchSize || end-p.doneSince > batchTime) {
		p.flush()
	}
	if p.running == 0 {
		p.drained()
	}
}

// measure averages how long the drive takes. A clock that stands still measures
// nothing.
func (p *port) measure(ns, size int64) {
	if ns > 0 {
		p.average += (max(ns-size/2, 0) - p.average) / 8
	}
}

// next takes the next command for a worker, and deals itself with those that need
// none. It returns nil when there is nothing to do.
func (p *port) next() *request {
	for p.runnable() {
		if o := p.overdue &^ p.active; o != 0 {
			r := &p.slots[bits.TrailingZeros32(o)]
			p.overdue &^= 1 << r.slot
			r.phase = phaseNone
			if p.prepare(r) {
				return r
			}
			continue
		}
		r := p.choose()
		if r == nil {
			return nil
		}
		if p.begin(r) {
			return r
		}
	}
	return nil
}

// choose selects the next slot, in a circle from the last one (AHCI 1.3.1, section
// 5.3.2.4), whose device takes a command. It reads the slot's memory.
func (p *port) choose() *request {
	w := p.ci.Load() &^ p.taken &^ p.active
	if w == 0 || !p.d.fn.BusMaster() {
		return nil
	}
	switching := p.fbs&fbsEN != 0
	if !switching && p.dev[0].busy() {
		return nil
	}
	for w != 0 {
		i := (p.last + 1 + bits.TrailingZeros32(bits.RotateLeft32(w, -(p.last+1)))) & 31
		w &^= 1 << i
		r := &p.slots[i]
		if !r.fetch() {
			return nil
		}
		if switching {
			if s := &p.dev[r.pmp]; s.busy() || s.fatal {
				continue
			}
		}
		p.last = i
		return r
	}
	return nil
}

// begin starts a fetched command. It reports whether a worker has to execute it.
func (p *port) begin(r *request) bool {
	p.taken |= 1 << r.slot
	s := &p.dev[p.station(r.pmp)]
	switch {
	case r.fis[0] == fisBIST || r.header&hdrB != 0:
		// The link is in test mode until it is reset.
		p.hang(r, s)
		return false
	case !r.checkFIS():
		p.interfaceError()
		return false
	case r.fis[1]&h2dCommand == 0:
		p.control(r, s)
		return false
	}
	r.drive = p.target(r.pmp)
	if r.drive == nil || r.drive.Asleep() {
		p.hang(r, s)
		return false
	}
	r.Command = r.drive.Parse(&r.Task, &r.Packet)
	return p.admit(r, s)
}

// admit decides how an understood command goes on.
func (p *port) admit(r *request, s *station) bool {
	queued := r.Command.Protocol.Queued()
	if queued {
		r.takeTag()
	} else if !r.checkAlone(s.queued > 0) {
		// A drive aborts everything when it gets another command among queued ones
		// (Serial ATA 3.3, section 13.6.3.3).
		r.Command.Refused = ata.ErrAborted
	}
	if r.Command.Refused != 0 {
		r.Command.Bytes = 0
	}
	if p.d.strict() {
		r.checkDirection()
	}
	if p.d.probe.Faulty() || p.d.probe.Wants(devices.ClassCommand) {
		p.report(r)
	}
	if r.Command.Protocol == ata.Packet && r.header&hdrA == 0 {
		p.hang(r, s) // the drive waits for a packet that is not sent
		return false
	}
	if queued && r.Command.Refused == 0 {
		p.accept(r, s)
	} else {
		s.tfd = s.tfd&^0xff | ata.StatusBusy
		p.cmd = p.cmd&^cmdCCS | uint32(r.slot)<<8
	}
	switch {
	case r.effect.Hang:
		r.phase = phaseHung
		return false
	case r.effect.Delay > 0:
		p.delay(r)
		return false
	}
	return p.prepare(r)
}

// prepare finds the data of a command, at the moment at which it is executed.
func (p *port) prepare(r *request) bool {
	if r.effect.Fail {
		r.fail()
		p.finish(r)
		return false
	}
	if !r.scatter() {
		return false
	}
	if r.effect.ShortOn {
		r.cut(max(r.effect.Short, 0))
	}
	if r.accepted && r.Command.Bytes > 0 {
		p.storeDMASetup(r)
	}
	return true
}

// takeTag takes the tag of a queued command, and looks at it.
func (r *request) takeTag() {
	p := r.p
	r.Tag = int(r.Task.Count >> 3 & 0x1f)
	if sact := p.sact.Load(); r.Tag != r.slot || sact>>r.Tag&1 == 0 {
		p.violation("5.5.1", "slot %d: queued command with tag %d and PxSACT %#x; the tag is the slot's number and its bit is set first", r.slot, r.Tag, sact)
	}
	if p.d.cap&capSNCQ == 0 {
		p.violation("3.1.1", "slot %d: queued command on an adapter without native command queuing (CAP.SNCQ)", r.slot)
	}
}

// checkAlone tells whether a command that is not queued may come: while no queued ones are outstanding.
func (r *request) checkAlone(queued bool) bool {
	if queued {
		r.p.violation("5.5.1", "slot %d: %s issued while queued commands are outstanding", r.slot, r.Command.Name)
	}
	return !queued
}

// checkReset tells whether a FIS that sets SRST has the device busy only until it was sent.
func (r *request) checkReset() bool {
	if r.header&hdrC == 0 {
		r.p.violation("10.4.1", "slot %d: SRST set without the C bit of the command header", r.slot)
	}
	return r.header&hdrC != 0
}

func (r *request) checkDirection() {
	if r.Command.Bytes > 0 && r.Command.Write != (r.header&hdrW != 0) {
		r.p.violation("4.2.2", "slot %d: %s with the W bit of the command header %d", r.slot, r.Command.Name, r.header>>6&1)
	}
	if packet := r.Command.Protocol == ata.Packet; packet != (r.header&hdrA != 0) {
		r.p.violation("4.2.2", "slot %d: %s with the A bit of the command header %d", r.slot, r.Command.Name, r.header>>5&1)
	}
}

// hang leaves a command without an answer. The device shows busy.
func (p *port) hang(r *request, s *station) {
	r.phase = phaseHung
	s.tfd |= ata.StatusBusy
}

// interfaceError stops the port after the device refused a FIS (section 6.2.2).
func (p *port) interfaceError() {
	p.fatal = true
	p.setSERR(serrH)
	p.setIS(isIFS)
}

// control serves a FIS that writes the Control register: software reset (section
// 10.4.1).
func (p *port) control(r *request, s *station) {
	bit := uint32(1) << r.slot
	set := r.Task.Control&controlSRST != 0
	v := p.target(r.pmp)
	switch {
	case set:
		s.srst = v != nil
		s.done, s.queued = 0, 0
		if !r.checkReset() {
			s.tfd |= ata.StatusBusy
			r.phase = phaseHung
			return
		}
		s.tfd &^= ata.StatusBusy | ata.StatusData
	case s.srst:
		s.srst = false
		p.state("software reset of device %d", r.pmp)
		if v != nil {
			v.Reset(false)
			p.greet(r.pmp, v.Signature())
		}
	case v == nil:
		p.hang(r, s)
		return
	}
	p.ci.And(^bit)
	p.taken &^= bit
}

// accept clears BSY for a queued command that the drive has taken.
func (p *port) accept(r *request, s *station) {
	r.accepted = true
	s.queued++
	p.ci.And(^(uint32(1) << r.slot))
	s.tfd = ata.StatusReady | ata.StatusSeek
	res := ata.Result{Status: ata.StatusReady | ata.StatusSeek, LBA: r.Task.LBA, Count: r.Task.Count, Device: r.Task.Device}
	p.storeD2H(&res, r.pmp, false)
}

// report makes the command known to observers and asks for faults.
func (p *port) report(r *request) {
	c := &r.Command
	r.cmd = &devices.Command{
		Queue: p.n, Tag: r.slot, NSID: uint32(r.pmp), Opcode: uint32(c.Opcode), Name: c.Name,
		LBA: c.LBA, Blocks: c.Blocks, Bytes: uint64(max(c.Bytes, 0)), Write: c.Write,
	}
	t, h, packet := r.Task, r.header, r.Packet
	isPacket := c.Protocol == ata.Packet
	r.cmd.Fields = func() []devices.FieldValue {
		l := []devices.FieldValue{
			{Name: "Command", Value: uint64(t.Command)}, {Name: "Features", Value: uint64(t.Feature)}, {Name: "LBA", Value: t.LBA},
			{Name: "Count", Value: uint64(t.Count)}, {Name: "Device", Value: uint64(t.Device)}, {Name: "ICC", Value: uint64(t.ICC)},
			{Name: "Auxiliary", Value: uint64(t.Aux)}, {Name: "PRDTL", Value: uint64(h >> hdrPRDTL)}, {Name: "PMP", Value: uint64(h >> hdrPMP & 0xf)},
		}
		if isPacket {
			for i := range 12 {
				l = append(l, devices.FieldValue{Name: "CDB" + string(rune('0'+i/10)) + string(rune('0'+i%10)), Value: uint64(packet[i])})
			}
		}
		return l
	}
	p.d.probe.Command(r.cmd)
	r.effect = p.d.probe.Decide(r.cmd)
}
