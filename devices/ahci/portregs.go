package ahci

import (
	"fmt"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
)

// read returns the port register at off. Those that drivers poll are read without
// the lock: their bits change after what they tell of is in memory.
func (p *port) read(off uint64) uint32 {
	switch off {
	case pxIS:
		return p.pending()
	case pxSACT:
		return p.sact.Load()
	case pxCI:
		return p.ci.Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch off {
	case pxCLB:
		return uint32(p.clb)
	case pxCLBU:
		return uint32(p.clb >> 32)
	case pxFB:
		return uint32(p.fb)
	case pxFBU:
		return uint32(p.fb >> 32)
	case pxIE:
		return p.ie
	case pxCMD:
		v := p.cmd
		if p.engineRuns() {
			v |= cmdCR
		}
		if p.cmd&cmdFRE != 0 {
			v |= cmdFR
		}
		return v
	case pxTFD:
		return p.shown().tfd
	case pxSIG:
		return p.shown().sig
	case pxSSTS:
		return p.det | p.spd<<4 | p.ipm<<8
	case pxSCTL:
		return p.sctl
	case pxSERR:
		return p.serr.Load()
	case pxSNTF:
		return p.sntf
	case pxFBS:
		return p.fbs
	}
	return 0
}

// engineRuns is PxCMD.CR: the command list is being processed, or was and the drive
// still moves data.
func (p *port) engineRuns() bool { return p.cmd&cmdST != 0 || p.running > 0 }

// write stores the bits of v in mask, whole bytes, in the port register at off.
func (p *port) write(off uint64, v, mask uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch off {
	case pxCI:
		p.issue(v)
	case pxSACT:
		p.writeSACT(v)
	case pxIS:
		p.writeIS(v)
	case pxIE:
		p.check("3.3.6", "PxIE", v, ^uint32(isAll))
		p.ie = (p.ie&^mask | v) & isAll
		p.follow()
	case pxCMD:
		p.writeCMD(p.cmd&^mask | v)
	case pxCLB, pxCLBU:
		p.writeBase("3.3.1", &p.clb, off == pxCLBU, v, mask, 0x3ff, cmdST, "PxCLB")
	case pxFB, pxFBU:
		low := uint32(0xff)
		if p.fbs&fbsEN != 0 {
			low = 0xfff
		}
		p.writeBase("3.3.3", &p.fb, off == pxFBU, v, mask, low, cmdFRE, "PxFB")
	case pxSCTL:
		p.writeSCTL(p.sctl&^mask | v)
	case pxSERR:
		p.serr.And(^v)
		p.follow()
	case pxSNTF:
		p.sntf &^= v
	case pxFBS:
		p.writeFBS(p.fbs&^mask | v)
	case pxTFD, pxSIG, pxSSTS, pxDEVSLP, pxVS:
		return devices.ErrReadOnly
	default:
		p.d.reserved(portBase+uint64(p.n)*portStride+off, uint64(v))
	}
	return nil
}

// check reports reserved bits that are written as one.
func (p *port) check(clause, name string, v, reserved uint32) {
	if v&reserved != 0 {
		p.misuse(clause, "write of %#x to %s sets the reserved bits %#x", v, name, v&reserved)
	}
}

// writeIS clears bits of PxIS. Those that reflect PxSERR.DIAG are cleared there.
func (p *port) writeIS(v uint32) {
	p.is.And(^v)
	p.follow()
}

// writeBase sets one half of the address of the command list or of the received FIS
// structure. low are the bits that are always zero; running is the bit of PxCMD
// during which the address must not change.
func (p *port) writeBase(clause string, base *uint64, upper bool, v, mask, low, running uint32, name string) {
	if p.cmd&running != 0 || running == cmdST && p.engineRuns() {
		p.misuse(clause, "%s changed while the adapter uses it (PxCMD is %#x); stop it first", name, p.cmd)
	}
	if upper {
		if p.d.o.No64 {
			if v != 0 {
				p.misuse(clause, "%sU set to %#x on an adapter without 64-bit addressing (CAP.S64A)", name, v)
			}
			return
		}
		*base = *base&(uint64(^mask)<<32|0xffffffff) | uint64(v)<<32
		return
	}
	p.check(clause, name, v, low)
	*base = (*base&^uint64(mask) | uint64(v)) &^ uint64(low)
}

// writeCMD serves a write to PxCMD; v is the whole register.
func (p *port) writeCMD(v uint32) {
	p.check("3.3.7", "PxCMD", v, 7<<5)
	old := p.cmd
	p.cmd = old&^cmdPlain | v&cmdPlain
	if v&cmdASP&^old != 0 && v&cmdALPE == 0 && old&cmdALPE == 0 {
		p.misuse("3.3.7", "PxCMD.ASP set without ALPE")
	}
	if p.d.cap&capSPM != 0 {
		p.cmd = p.cmd&^cmdPMA | v&cmdPMA
	}
	if p.d.cap&capSSS != 0 && (v^old)&cmdSUD != 0 {
		p.cmd ^= cmdSUD
		if v&cmdSUD != 0 {
			p.state("spin-up")
			p.connect()
		}
	}
	// FRE before ST, so that one write may set both.
	if v&cmdFRE != 0 && old&cmdFRE == 0 {
		if p.fb == 0 {
			p.misuse("10.3.2", "PxCMD.FRE set before PxFB")
		}
		p.cmd |= cmdFRE
		for i := range p.dev {
			p.sendFirst(uint8(i))
			if p.fbs&fbsEN == 0 {
				break
			}
		}
	}
	if v&cmdST == 0 && old&cmdST != 0 {
		p.cmd &^= cmdST
		p.stop()
		p.state("command processing stopped")
	}
	if v&cmdFRE == 0 && old&cmdFRE != 0 {
		if p.engineRuns() {
			p.misuse("10.3.2", "PxCMD.FRE cleared while the command list runs; clear ST and wait for CR first")
		}
		p.cmd &^= cmdFRE
	}
	if v&cmdCLO != 0 {
		p.override()
	}
	if v&cmdST != 0 && old&cmdST == 0 {
		p.start()
	}
	p.power(v >> 28)
}

// override serves PxCMD.CLO: BSY and DRQ are cleared.
func (p *port) override() {
	if p.cmd&cmdST != 0 {
		p.misuse("3.3.7", "PxCMD.CLO set while ST is set; clear ST and wait for CR first")
		return
	}
	for i := range p.dev {
		p.dev[i].tfd &^= ata.StatusBusy | ata.StatusData
	}
}

// start serves PxCMD.ST (section 10.3.1).
func (p *port) start() {
	if p.d.strict() {
		s := p.shown()
		switch {
		case p.running > 0:
			p.misuse("10.3.1", "PxCMD.ST set before CR was clear")
		case p.cmd&cmdFRE == 0:
			p.misuse("10.3.1", "PxCMD.ST set while FIS reception is not running; set FRE first")
		case p.det != detPresent:
			p.misuse("10.3.1", "PxCMD.ST set without a device (PxSSTS.DET is %d)", p.det)
		case s.busy():
			p.misuse("10.3.1", "PxCMD.ST set while the device is busy (PxTFD.STS is %#x); wait, or set CLO first", s.tfd&0xff)
		}
		if p.clb == 0 {
			p.misuse("10.3.1", "PxCMD.ST set before PxCLB")
		}
		p.d.mu.Lock()
		p.d.checkOwner("PxCMD.ST set")
		p.d.mu.Unlock()
	}
	p.stop()
	p.cmd |= cmdST
	p.starting = p.running > 0
	p.state("command processing started")
	p.kick()
}

// power serves PxCMD.ICC (section 8.3.1.2): a change takes place if nothing is going
// on and PxSCTL.IPM allows it.
func (p *port) power(icc uint32) {
	if p.det != detPresent || icc == 0 {
		return
	}
	switch {
	case icc == ipmActive:
		p.wake()
	case icc == ipmPartial && p.sctl>>8&1 == 0, icc == ipmSlumber && p.sctl>>8&2 == 0:
		if p.ci.Load()|p.sact.Load() != 0 {
			p.misuse("8.3.1.2", "PxCMD.ICC set to %d while commands are outstanding", icc)
			return
		}
		p.ipm = icc
		p.state("link power state %d", icc)
	default:
		p.misuse("3.3.7", "PxCMD.ICC set to %d, which is reserved, not supported or disabled in PxSCTL.IPM", icc)
	}
}

// rest is aggressive link power management: with nothing to do, the link enters the
// state that PxCMD.ASP selects (section 8.3.1.3).
func (p *port) rest() {
	if p.cmd&cmdALPE == 0 || p.ipm != ipmActive || p.ci.Load()|p.sact.Load() != 0 {
		return
	}
	state, bit := uint32(ipmPartial), uint32(1)
	if p.cmd&cmdASP != 0 {
		state, bit = ipmSlumber, 2
	}
	if p.sctl>>8&bit == 0 {
		p.ipm = state
	}
}

// wake brings the link to its active state.
func (p *port) wake() {
	if p.ipm > ipmActive {
		p.ipm = ipmActive
		p.setSERR(serrW)
		p.state("link power state 1")
	}
}

// writeSCTL serves a write to PxSCTL: COMRESET while DET is 1, off-line while it is
// 4 (section 3.3.11).
func (p *port) writeSCTL(v uint32) {
	p.check("3.3.11", "PxSCTL", v, 0xfff00000)
	v &= 0x000fffff
	was, det := p.sctl&0xf, v&0xf
	p.sctl = v
	if was == det {
		return
	}
	if p.cmd&cmdST != 0 {
		p.misuse("3.3.11", "PxSCTL.DET changed from %d to %d while ST is set", was, det)
	}
	switch det {
	case sctlCOMRESET:
		p.state("COMRESET")
		p.dropLink()
	case detOffline:
		p.state("off-line")
		p.dropLink()
		p.det = detOffline
	case 0:
		if p.det == detOffline {
			p.det = detNone
		}
		p.connect()
		p.kick()
	default:
		p.misuse("3.3.11", "PxSCTL.DET set to the reserved value %d", det)
	}
}

// dropLink takes the link down, from either end.
func (p *port) dropLink() {
	up := p.det == detPresent
	p.lose()
	p.linkDown()
	if p.cmd&cmdST == 0 {
		p.stop()
	}
	if up {
		p.setSERR(serrN)
	}
}

// writeSACT sets bits of PxSACT.
func (p *port) writeSACT(v uint32) {
	if p.d.strict() {
		switch {
		case v&^p.d.slots != 0:
			p.misuse("3.3.13", "PxSACT bits %#x set for slots that do not exist", v&^p.d.slots)
		case p.cmd&cmdST == 0 && v != 0:
			p.misuse("3.3.13", "PxSACT written while ST is clear")
		case v&p.sact.Load() != 0:
			p.misuse("3.3.13", "PxSACT bits %#x set for tags that are still outstanding", v&p.sact.Load())
		}
	}
	if p.cmd&cmdST != 0 {
		p.sact.Or(v & p.d.slots)
	}
}

// issue serves a write to PxCI.
func (p *port) issue(v uint32) {
	if p.d.strict() {
		switch {
		case v&^p.d.slots != 0:
			p.misuse("3.3.14", "PxCI bits %#x set for slots that do not exist", v&^p.d.slots)
		case p.cmd&cmdST == 0 && v != 0:
			p.misuse("3.3.14", "PxCI written while ST is clear; the write is ignored")
		case v != 0 && !p.d.fn.BusMaster():
			p.misuse("2.1.2", "PxCI written while Bus Master Enable is clear; nothing is fetched until it is set")
		case v&(p.ci.Load()|p.taken) != 0:
			p.misuse("5.5.1", "command issued to the busy slots %#x", v&(p.ci.Load()|p.taken))
		}
	}
	if p.cmd&cmdST == 0 {
		return
	}
	p.ci.Or(v & p.d.slots)
	if p.d.probe.Wants(devices.ClassPrompt) {
		p.foresee(v & p.d.slots &^ p.taken)
	}
	p.wake()
	if p.d.ccc.on.Load() {
		p.d.cccIssued(p.n)
	}
	p.kick()
}

// writeFBS serves a write to PxFBS; v is the whole register (section 9.3).
func (p *port) writeFBS(v uint32) {
	if !p.d.o.FISSwitching {
		p.check("3.3.16", "PxFBS", v, ^uint32(0))
		return
	}
	if (v^p.fbs)&fbsEN != 0 {
		if p.cmd&cmdST != 0 {
			p.misuse("3.3.16", "PxFBS.EN changed while ST is set")
		} else {
			p.fbs ^= fbsEN
			for i := range p.dev[1:] {
				p.dev[1+i] = station{tfd: p.dev[0].tfd & 0x7f, sig: sigNone}
			}
		}
	}
	p.fbs = p.fbs&^fbsDEV | v&fbsDEV
	if v&fbsDEC != 0 && p.fbs&fbsSDE != 0 {
		p.clearDeviceError(int(p.fbs >> 16 & 0xf))
	}
}

// clearDeviceError serves PxFBS.DEC: commands to the device with the error are
// dropped, those to others go on (section 9.3.5).
func (p *port) clearDeviceError(n int) {
	s := &p.dev[n]
	s.fatal = false
	s.done, s.queued = 0, 0
	for i := range p.slots {
		r := &p.slots[i]
		if bit := uint32(1) << i; (p.ci.Load()|p.sact.Load()|p.taken)&bit != 0 && p.station(r.pmp) == n {
			p.ci.And(^bit)
			p.sact.And(^bit)
			p.taken &^= bit
			p.delayed &^= bit
			p.overdue &^= bit
			p.held &^= bit
			r.starts--
		}
	}
	p.fbs &^= fbsSDE | fbsDWE
	p.kick()
}

// describe names the port in errors.
func (p *port) describe() string { return fmt.Sprintf("%s port %d", p.d.o.Name, p.n) }
