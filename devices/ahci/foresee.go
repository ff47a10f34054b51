package ahci

import "encoding/binary"

// foresee looks at commands that were just issued for breaches of the specification that show without executing them. It is
// called by the processor that wrote PxCI, when a breach is to halt it there; whoever takes the commands looks at them again.
// The caller holds mu.
func (p *port) foresee(slots uint32) {
	for i := range p.slots {
		if slots>>i&1 != 0 && p.d.fn.BusMaster() {
			(&request{p: p, slot: i}).foresee()
		}
	}
}

func (r *request) foresee() {
	p := r.p
	if what, err := r.load(); err != nil {
		p.violation("6.2.1", "%s cannot be accessed: %v", what, err)
		return
	}
	if r.header&hdrB != 0 || !r.checkFIS() {
		return
	}
	if r.fis[1]&h2dCommand == 0 {
		if r.Task.Control&controlSRST != 0 {
			r.checkReset()
		}
		return
	}
	v := p.target(r.pmp)
	if v == nil || v.Asleep() {
		return
	}
	r.Command = v.Parse(&r.Task, &r.Packet)
	if r.Command.Protocol.Queued() {
		r.takeTag()
	} else {
		// Those that wait count, too.
		r.checkAlone(p.dev[p.station(r.pmp)].queued > 0 || p.mult == nil && p.sact.Load() != 0)
	}
	if r.Command.Refused != 0 {
		return // it moves nothing
	}
	r.checkDirection()
	n, left := int(r.header>>hdrPRDTL), r.Command.Bytes
	t, err := p.d.mem.View(r.table+tablePRDT, n*prdSize)
	if err != nil {
		if left > 0 {
			p.violation("6.2.1", "PRD table cannot be accessed: %v", err)
		}
		return
	}
	for i := 0; i < n && left > 0; i++ {
		e := t[i*prdSize : (i+1)*prdSize]
		count := binary.LittleEndian.Uint32(e[12:])
		r.checkPRD(i, binary.LittleEndian.Uint64(e), count)
		left -= int64(count&prdCount|1) + 1
	}
}
