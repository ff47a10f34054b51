package ahci

import (
	"encoding/binary"
	"math/bits"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
)

// disturbed tells whether a fault was injected into the request.
func (r *request) disturbed() bool { return r.effect != (devices.Effect{}) }

// run executes the request; no lock is held.
func (r *request) run() {
	if r.disturbed() {
		r.runFaulty()
		return
	}
	r.drive.Execute(&r.Request)
	if len(r.segs) > 0 && !r.out() {
		r.written()
	}
}

// finish is called when the drive is done with a request, or when it never got it.
func (p *port) finish(r *request) {
	defer r.trim()
	if r.links != p.links {
		return // the link was reset, or the drive is gone: nobody answers
	}
	s := &p.dev[p.station(r.pmp)]
	if r.starts != p.starts {
		// ST was cleared. The drive answers all the same, and is not busy any more.
		if !r.accepted {
			s.result(&r.Result)
			p.storeD2H(&r.Result, r.pmp, false)
		}
		return
	}
	if p.fatal || s.fatal {
		// After an error nothing more is reported; the guest asks for it again.
		r.phase = phaseHung
		return
	}
	if r.effect.Drop {
		r.phase = phaseHung
		if r.accepted {
			s.queued--
		}
		return
	}
	if r.effect.Hold > 0 {
		r.phase, r.after = phaseHeld, r.effect.Hold
		p.held |= 1 << r.slot
		return
	}
	p.complete(r, s)
}

// complete posts the end of a request.
func (p *port) complete(r *request, s *station) {
	p.post(r, s)
	p.completedOne(r)
	for h := p.held; h != 0; h &= h - 1 {
		o := &p.slots[bits.TrailingZeros32(h)]
		if o.after--; o.after <= 0 && !p.fatal {
			p.held &^= 1 << o.slot
			o.phase = phaseNone
			p.post(o, &p.dev[p.station(o.pmp)])
			p.completedOne(o)
		}
	}
}

// completedOne counts and reports the end of a request.
func (p *port) completedOne(r *request) {
	if p.d.ccc.on.Load() && !r.Result.Failed() {
		p.d.cccCompleted(p.n, 1)
	}
	if r.cmd != nil {
		p.d.probe.Completion(r.cmd, devices.Status{
			Code: uint32(r.Result.Status) | uint32(r.Result.Error)<<8, Name: statusName(&r.Result),
		})
	}
}

// post stores the FISes that end a command and clears its bits.
func (p *port) post(r *request, s *station) {
	e := &r.effect
	irq := !e.LoseInterrupt
	if r.accepted {
		if r.Result.Failed() {
			p.queueFailed(r, s)
			return
		}
		if r.overflow(p) {
			r.phase = phaseHung
			return
		}
		s.queued--
		p.taken &^= 1 << r.slot
		if p.batch == 0 {
			p.doneSince = p.d.o.Clock.Now()
		}
		p.batch++
		s.done |= 1 << r.Tag
		s.pmp = r.pmp
		if r.processed() {
			p.setIS(isDPS)
		}
		if *e != (devices.Effect{}) {
			p.quietly = !irq
			p.flush()
			p.quietly = false
			if e.Duplicate {
				p.storeSDB(1<<r.Tag, uint8(s.tfd), 0, r.pmp, irq)
				if irq {
					p.setIS(isSDBS)
				}
			}
		}
	} else {
		p.postPlain(r, s, irq)
		if e.Duplicate {
			p.storeD2H(&r.Result, r.pmp, irq)
			if irq {
				p.setIS(isDHRS)
			}
		}
	}
	if e.ExtraInterrupt {
		p.d.spurious(p.n)
	}
}

// postPlain posts the end of a command that is not queued.
func (p *port) postPlain(r *request, s *station, irq bool) {
	bit := uint32(1) << r.slot
	if r.overflow(p) {
		p.hang(r, s)
		return
	}
	if r.Command.Bytes > 0 {
		binary.LittleEndian.PutUint32(p.buf[:], uint32(r.Moved))
		if err := p.d.mem.Write(r.headerAt+4, p.buf[:4]); err != nil {
			p.busError("command header", err)
			return
		}
	}
	failed := r.Result.Failed()
	answer := true
	switch {
	case r.Command.Protocol == ata.PIOIn && !failed:
		p.storePIO(r, irq, true)
		answer = false
	case r.Command.Protocol == ata.PIOOut && r.Moved > 0:
		p.storePIO(r, irq, false)
	case r.Command.Protocol == ata.Packet:
		p.storePacket(r, irq)
	}
	if r.processed() {
		p.setIS(isDPS)
	}
	s.result(&r.Result)
	bits := uint32(isPSS)
	if answer {
		bits = isDHRS
		p.storeD2H(&r.Result, r.pmp, irq)
	}
	if !failed {
		p.ci.And(^bit)
		p.taken &^= bit
	}
	if irq {
		p.setIS(bits)
	}
	if failed {
		p.taskFileError(r, s, irq)
	}
	p.rest()
}

// overflow deals with a PRD table that describes less than the drive transfers
// (section 6.1.4). To the host, the rest of the data is lost; it reports true if
// the drive waits in vain for data from the host.
func (r *request) overflow(p *port) bool {
	if !r.short || r.Result.Failed() || !r.out() && r.Moved < r.Data.Size {
		return false
	}
	p.setIS(isOFS)
	return r.out()
}

// taskFileError stops the port, or with FIS-based switching the one device, until
// the guest has seen to it (sections 6.2.2 and 9.3.5).
func (p *port) taskFileError(r *request, s *station, irq bool) {
	s.fatal = true
	if p.fbs&fbsEN != 0 {
		p.fbs = p.fbs&^fbsDWE | fbsSDE | uint32(r.pmp)<<16
	} else {
		p.fatal = true
	}
	if irq {
		p.setIS(isTFES)
	} else {
		p.is.Or(isTFES)
	}
}

// queueFailed ends queued commands with an error: those that are complete are
// reported first, the others are never.
func (p *port) queueFailed(r *request, s *station) {
	p.flush()
	s.queued = 0
	irq := !r.effect.LoseInterrupt
	p.storeSDB(0, r.Result.Status, r.Result.Error, r.pmp, irq)
	if irq {
		p.setIS(isSDBS)
	}
	p.taskFileError(r, s, irq)
}

// flush reports the queued commands that are complete.
func (p *port) flush() {
	if p.batch == 0 {
		return
	}
	p.batch = 0
	for i := range p.dev {
		s := &p.dev[i]
		if s.done != 0 {
			done := s.done
			s.done = 0
			p.storeSDB(done, ata.StatusReady, 0, s.pmp, !p.quietly)
			p.sact.And(^done)
			if !p.quietly {
				p.setIS(isSDBS)
			}
		}
		if p.fbs&fbsEN == 0 {
			break
		}
	}
	p.rest()
}

// store copies a FIS into the received FIS structure, if reception is enabled.
func (p *port) store(off uint64, fis []byte, pmp uint8, what string) {
	if p.cmd&cmdFRE == 0 {
		return
	}
	at := p.fb + off
	if p.fbs&fbsEN != 0 {
		at += uint64(pmp) * rxStride
	}
	if err := p.d.mem.Write(at, fis); err != nil {
		p.busError(what, err)
		return
	}
	if p.d.probe.Wants(devices.ClassDMA) {
		p.d.probe.DMA(devices.Transfer{Addr: at, Bytes: len(fis), Write: true, What: what})
	}
}

// storeD2H stores a Register Device to Host FIS, with the I bit if irq is set.
func (p *port) storeD2H(r *ata.Result, pmp uint8, irq bool) {
	flags := uint8(0)
	if irq {
		flags = fisInterrupt
	}
	putResult(p.buf[:], fisD2H, flags, pmp, r)
	p.store(rxD2H, p.buf[:d2hSize], pmp, "D2H Register FIS")
}

// storeSDB stores a Set Device Bits FIS and takes its status over, except BSY and
// DRQ.
func (p *port) storeSDB(done uint32, status, errors, pmp uint8, irq bool) {
	b := p.buf[:sdbSize]
	b[0], b[1], b[2], b[3] = fisSDB, pmp, status&0x77, errors
	if irq {
		b[1] |= fisInterrupt
	}
	binary.LittleEndian.PutUint32(b[4:], done)
	p.store(rxSDB, b, pmp, "Set Device Bits FIS")
	s := &p.dev[p.station(pmp)]
	s.tfd = s.tfd&0x88 | uint32(status&0x77) | uint32(errors)<<8
}

// storeDMASetup stores the DMA Setup FIS that starts the data of a queued command.
func (p *port) storeDMASetup(r *request) {
	b := p.buf[:dmaSetupSize]
	clear(b)
	b[0], b[1] = fisDMASetup, r.pmp
	if !r.out() {
		b[1] |= fisIn
	}
	b[4] = byte(r.Tag)
	binary.LittleEndian.PutUint32(b[20:], uint32(min(r.Command.Bytes, 1<<32-1)))
	p.store(rxDMASetup, b, r.pmp, "DMA Setup FIS")
}

// storePIO stores the PIO Setup FISes of a transfer, one for each block. To the host,
// each one interrupts; from the host, each but the first.
func (p *port) storePIO(r *request, irq, in bool) {
	block := int64(max(r.Command.Block, 1))
	total := r.wanted
	for at := int64(0); at < total; at += block {
		flags := uint8(0)
		if in {
			flags = fisIn
		}
		if irq && (in || at > 0) {
			flags |= fisInterrupt
		}
		// After the last block of a read the status is final; otherwise the drive
		// is busy with the next one.
		ends := uint8(ata.StatusReady | ata.StatusSeek)
		if at+block < total || !in {
			ends = ata.StatusBusy | ata.StatusReady | ata.StatusSeek
		}
		p.storePIOSetup(r, flags, ends, uint16(min(block, total-at)))
		if irq && !in && at > 0 {
			p.setIS(isPSS)
		}
		if p.fatal {
			return
		}
	}
}

func (p *port) storePIOSetup(r *request, flags, ends uint8, n uint16) {
	b := p.buf[:pioSetupSize]
	res := r.Result
	res.Status, res.Error = ata.StatusReady|ata.StatusSeek|ata.StatusData, 0
	putResult(b, fisPIOSetup, flags, r.pmp, &res)
	b[15] = ends
	binary.LittleEndian.PutUint16(b[16:], n)
	p.store(rxPIOSetup, b, r.pmp, "PIO Setup FIS")
}

// storePacket stores the PIO Setup FISes of a packet command: for the packet, and
// for the data if it does not use DMA.
func (p *port) storePacket(r *request, irq bool) {
	const packetSize = 12
	p.storePIOSetup(r, 0, ata.StatusBusy, packetSize)
	if r.Task.Feature&1 != 0 || r.Moved == 0 {
		return
	}
	// The byte count limit of each block is in bits 23:8 of the address.
	limit := int64(r.Task.LBA >> 8 & 0xfffe)
	if limit == 0 {
		limit = 0xfffe
	}
	flags := uint8(0)
	if !r.out() {
		flags = fisIn
	}
	if irq {
		flags |= fisInterrupt
	}
	for at := int64(0); at < r.Moved && !p.fatal; at += limit {
		p.storePIOSetup(r, flags, ata.StatusBusy, uint16(min(limit, r.Moved-at)))
	}
	if irq {
		p.setIS(isPSS)
	}
}

// notify is called by a drive, or for one behind a port multiplier, that has
// something to tell: a Set Device Bits FIS with the N bit (Serial ATA 3.3, section
// 13.8).
func (p *port) notify(pmp uint8) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.det != detPresent || p.cmd&cmdFRE == 0 || p.closed {
		return
	}
	p.wake()
	b := p.buf[:sdbSize]
	s := &p.dev[p.station(pmp)]
	b[0], b[1], b[2], b[3] = fisSDB, fisNotify|fisInterrupt|pmp, uint8(s.tfd)&0x77, uint8(s.tfd>>8)
	binary.LittleEndian.PutUint32(b[4:], 0)
	p.store(rxSDB, b, pmp, "Set Device Bits FIS")
	p.sntf |= 1 << pmp
	p.setIS(isSDBS)
}

// statusName names the end of a command.
func statusName(r *ata.Result) string {
	switch {
	case !r.Failed():
		return "successful"
	case r.Status&ata.StatusFault != 0:
		return "DF"
	case r.Error&ata.ErrCRC != 0:
		return "ICRC"
	case r.Error&ata.ErrUncorrectable != 0:
		return "UNC"
	case r.Error&ata.ErrNotFound != 0:
		return "IDNF"
	case r.Error&ata.ErrAborted != 0:
		return "ABRT"
	}
	return "ERR"
}
