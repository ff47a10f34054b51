package ahci

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/internal/aio"
)

// A station is what the adapter knows of one device behind a port: the one drive
// attached, or with FIS-based switching each behind a port multiplier.
type station struct {
	tfd    uint32 // PxTFD: Status in bits 7:0, Error in 15:8
	sig    uint32 // PxSIG
	fatal  bool   // an error stopped the processing of commands
	srst   bool   // SRST is set in the device's Control register
	unsent bool   // first is still to be stored in memory
	first  ata.Result
	done   uint32 // tags of queued commands to be reported as completed
	queued int    // queued commands outstanding
	pmp    uint8  // device port of the commands in done
}

// busy tells whether the device takes no command now (section 5.3.2.3).
func (s *station) busy() bool { return s.tfd&(ata.StatusBusy|ata.StatusData) != 0 }

func (s *station) result(r *ata.Result) { s.tfd = uint32(r.Status) | uint32(r.Error)<<8 }

// port is one port of the adapter.
type port struct {
	d *Device
	n int

	mu     sync.Mutex // guards everything that follows
	reads  *aio.Queue // reads of a file that nobody waits for; nil if the drive does not gain by them
	ready  []*aio.Op  // reads that are still to be started
	wakeup *sync.Cond // on mu: a worker has something to do
	quiet  *sync.Cond // on mu: running fell to 0, a worker ended

	clb, fb            uint64
	is, serr, sact, ci atomic.Uint32 // written with mu held, read also without
	ie, cmd            uint32
	sctl               uint32
	sntf               uint32
	fbs                uint32
	det, spd, ipm      uint32 // of PxSSTS
	dev                [16]station
	drive              ata.Drive
	mult               *Multiplier
	cut                bool // the cable is cut
	linkWaits          bool // the link comes up when running is 0
	holdsReset         bool // a reset of the adapter waits for this port
	fatal              bool // no command is taken until ST is cleared
	last               int  // slot taken last
	taken              uint32
	delayed, overdue   uint32 // slots of delayed commands, and of those whose time has come
	held, active       uint32 // active: a worker has them
	doneSince          int64  // clock's time of the oldest one in station.done
	batch              int    // completed queued commands not yet reported
	quietly            bool   // report them without an interrupt
	starting           bool   // ST was set while the drive still had something to do
	starts, links      uint32 // epochs: of ST, of the link
	slots              [32]request
	timer              devices.Timer // of delayed commands
	paused, closed     bool
	workers, idle      int
	waking, running    int
	average            int64 // ns that the drive takes for a command
	since              int64 // clock's time at which the latest command was begun
	buf                [64]byte
}

func newPort(d *Device, n int) *port {
	p := &port{d: d, n: n, last: 31, average: 2 * slowDrive}
	p.wakeup, p.quiet = sync.NewCond(&p.mu), sync.NewCond(&p.mu)
	for i := range p.slots {
		p.slots[i].p, p.slots[i].slot = p, i
	}
	p.timer = d.o.Clock.NewTimer(p.delayDue)
	return p
}

// state reports a change of state.
func (p *port) state(format string, a ...any) {
	if p.d.probe.Wants(devices.ClassState) {
		p.d.probe.State(fmt.Sprintf("port %d: ", p.n) + fmt.Sprintf(format, a...))
	}
}

// violation reports a breach of the specification in a command, if anybody wants to know.
func (p *port) violation(clause, format string, a ...any) {
	if p.d.strict() {
		p.d.violation(devices.ByQueue, p.n, clause, fmt.Sprintf(format, a...))
	}
}

// misuse is that of Device, of a register of the port.
func (p *port) misuse(clause, format string, a ...any) {
	if p.d.strict() {
		p.d.misuse(p.n, clause, fmt.Sprintf(format, a...))
	}
}

// drives returns all drives of the port; mu is held.
func (p *port) drives() []ata.Drive {
	var l []ata.Drive
	if p.drive != nil {
		l = append(l, p.drive)
	}
	if p.mult != nil {
		for i := range p.mult.ports {
			if v := p.mult.ports[i].drive; v != nil {
				l = append(l, v)
			}
		}
	}
	return l
}

// station returns the index of the station for a device port: with command-based
// switching there is one only.
func (p *port) station(pmp uint8) int {
	if p.fbs&fbsEN != 0 {
		return int(pmp & 0xf)
	}
	return 0
}

// shown is the station that PxTFD and PxSIG show.
func (p *port) shown() *station {
	return &p.dev[p.station(uint8(p.fbs>>8))]
}

// setIS sets bits of PxIS and interrupts the guest if it wants that.
func (p *port) setIS(bits uint32) {
	p.is.Or(bits)
	if bits&p.ie != 0 {
		p.d.raise(p.n)
	}
}

// pending is PxIS as the guest sees it. It needs no lock.
func (p *port) pending() uint32 {
	v, serr := p.is.Load(), p.serr.Load()
	if serr&serrX != 0 {
		v |= isPCS
	}
	if serr&serrN != 0 {
		v |= isPRCS
	}
	if serr&serrF != 0 {
		v |= isUFS
	}
	return v
}

// setSERR sets bits of PxSERR, some of which show in PxIS.
func (p *port) setSERR(bits uint32) {
	p.serr.Or(bits)
	if p.pending()&isFromSERR&p.ie != 0 {
		p.d.raise(p.n)
	}
}

// follow is called when PxIS or PxIE may have lost bits.
func (p *port) follow() {
	if p.pending()&p.ie == 0 {
		p.d.lower(p.n)
	} else {
		p.d.raise(p.n)
	}
}

// lose forgets all commands that were fetched: their results go nowhere. The bits
// of PxCI and PxSACT stay.
func (p *port) lose() {
	p.links++
	p.starts++
	p.delayed, p.overdue, p.held = 0, 0, 0
	p.timer.Stop()
	for i := range p.dev {
		p.dev[i].done, p.dev[i].queued = 0, 0
	}
	p.batch = 0
	p.fatal = true
}

// stop ends command processing: ST was cleared (section 10.3.1). What a drive is
// working on goes on there.
func (p *port) stop() {
	p.starts++
	p.ci.Store(0)
	p.sact.Store(0)
	p.taken = 0
	p.delayed, p.overdue, p.held = 0, 0, 0
	p.timer.Stop()
	p.cmd &^= cmdCCS
	p.fatal = false
	p.last = 31
	for i := range p.dev {
		p.dev[i].done, p.dev[i].queued, p.dev[i].fatal = 0, 0, false
	}
	p.batch = 0
	p.fbs &^= fbsSDE | fbsDWE
}

// hardReset is what a reset of the adapter does to the port. With power it is the
// state after power-on.
func (p *port) hardReset(power bool) {
	p.lose()
	p.stop()
	p.is.Store(0)
	p.ie = 0
	p.d.lower(p.n)
	p.serr.Store(0)
	p.sctl, p.sntf, p.fbs = 0, 0, 0
	p.cmd = cmdPOD | cmdHPCP
	if p.d.cap&capSSS == 0 {
		p.cmd |= cmdSUD
	}
	if p.d.o.FISSwitching {
		p.cmd |= cmdFBSCP
		p.fbs = fbsADO
	}
	if power {
		p.clb, p.fb = 0, 0
	}
	p.linkDown()
	if p.running > 0 && !p.holdsReset {
		p.holdsReset = true
		p.d.resetting.Add(1)
	}
	p.connect()
}

// linkDown is what the port shows without a link (section 10.4.2).
func (p *port) linkDown() {
	p.det, p.spd, p.ipm = detNone, 0, 0
	p.linkWaits = false
	for i := range p.dev {
		p.dev[i] = station{tfd: 0x7f, sig: sigNone}
	}
	if p.mult != nil {
		p.mult.reset()
	}
}

// connect brings the link up, now or when the drive has finished what it does.
func (p *port) connect() {
	if p.det == detPresent || p.sctl&0xf != 0 || p.cmd&cmdSUD == 0 || p.cut || p.drive == nil && p.mult == nil {
		return
	}
	if p.running > 0 {
		p.linkWaits = true
		return
	}
	p.linkWaits = false
	p.det, p.ipm = detPresent, ipmActive
	p.spd = uint32(p.d.o.Speed)
	if limit := p.sctl >> 4 & 0xf; limit != 0 {
		p.spd = min(p.spd, limit)
	}
	p.state("link up, generation %d", p.spd)
	p.setSERR(serrN | serrX)
	for _, v := range p.drives() {
		v.Reset(true)
	}
	if p.drive != nil {
		p.greet(0, p.drive.Signature())
		return
	}
	p.greet(0, p.mult.greeting())
}

// greet receives the first Register FIS after a reset (section 5.3.6): it sets
// PxSIG, and goes to memory once FIS reception is enabled.
func (p *port) greet(pmp uint8, r ata.Result) {
	s := &p.dev[p.station(pmp)]
	s.result(&r)
	s.sig = signature(&r)
	s.first, s.unsent = r, true
	p.sendFirst(pmp)
}

// sendFirst stores the FIS that greet received.
func (p *port) sendFirst(pmp uint8) {
	s := &p.dev[p.station(pmp)]
	if s.unsent && p.cmd&cmdFRE != 0 {
		s.unsent = false
		p.storeD2H(&s.first, pmp, false)
	}
}

// drained is called when the drive has nothing to do any more.
func (p *port) drained() {
	p.quiet.Broadcast()
	if p.starting {
		p.starting = false
		p.kick()
	}
	if p.linkWaits {
		p.connect()
	}
	if p.holdsReset {
		p.holdsReset = false
		p.d.resetting.Add(-1)
	}
}

// drain waits until no command is being executed.
func (p *port) drain() {
	for p.running > 0 {
		p.quiet.Wait()
	}
}

// close ends the workers and closes what is attached.
func (p *port) close() error {
	p.mu.Lock()
	p.closed = true
	p.lose()
	p.wakeup.Broadcast()
	for p.workers > 0 {
		p.quiet.Wait()
	}
	p.drain()
	l, reads := p.drives(), p.reads
	p.drive, p.mult, p.reads = nil, nil, nil
	p.mu.Unlock()
	reads.Close()
	var errs []error
	for _, v := range l {
		errs = append(errs, v.Close())
	}
	return errors.Join(errs...)
}
