package ahci

import (
	"encoding/json"
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
)

const stateVersion = 1

// deviceState is the adapter in the form in which it is saved.
type deviceState struct {
	Version                      int
	Cap                          uint32
	Function                     []byte
	GHC, IS, Level, BOHC, Index  uint32
	CCCCtl, CCCPorts, CCCPending uint32
	CCCRunning                   bool
	Ports                        []portState
}

type portState struct {
	CLB, FB                                             uint64
	IS, IE, CMD, SCTL, SERR, SACT, CI, SNTF, FBS, Taken uint32
	DET, SPD, IPM                                       uint32
	Cut, Fatal, LinkWaits                               bool
	Last                                                int
	Stations                                            [16]stationState
	Requests                                            []requestState
	Drive                                               []byte // nil: none
	FanOut                                              int    // of a port multiplier, 0: none
	Mask, Enabled                                       uint32
	Fan                                                 []fanState
}

type stationState struct {
	TFD, SIG            uint32
	Fatal, SRST, Unsent bool
	First               ata.Result
	Queued              int
}

type fanState struct {
	SERR, CTL uint32
	Drive     []byte
}

// requestState is a command that was fetched and not completed. One that was put off
// is understood again from its FIS when the state is restored.
type requestState struct {
	Slot     int
	Phase    phase
	Lost     bool // its drive is gone: the answer goes nowhere
	Accepted bool
	Header   uint32
	HeaderAt uint64
	Table    uint64
	FIS      []byte
	Packet   [16]byte
	Tag      int
	Wait     int64 // ns until it is executed
	After    int
	Effect   devices.Effect
	Result   ata.Result
	Moved    int64
}

// SaveState implements devices.Saver. Commands that a drive worked on were completed
// by Pause; those not fetched yet are bits of PxCI; those that injected faults put off
// or keep back are recorded.
func (d *Device) SaveState() ([]byte, error) {
	s := deviceState{Version: stateVersion, Cap: d.cap}
	var err error
	if s.Function, err = d.fn.SaveState(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	s.GHC, s.IS, s.Level, s.BOHC, s.Index = d.ghc, d.is, d.level, d.bohc, d.index
	s.CCCCtl, s.CCCPorts, s.CCCPending, s.CCCRunning = d.ccc.ctl, d.ccc.ports, d.ccc.complete, d.ccc.running
	d.mu.Unlock()
	for _, p := range d.ports {
		ps, err := p.save()
		if err != nil {
			return nil, err
		}
		s.Ports = append(s.Ports, ps)
	}
	return json.Marshal(&s)
}

func (p *port) save() (portState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running > 0 {
		return portState{}, fmt.Errorf("save %s: commands are being executed; pause the adapter first", p.describe())
	}
	p.flush()
	s := portState{
		CLB: p.clb, FB: p.fb, IS: p.is.Load(), IE: p.ie, CMD: p.cmd, SCTL: p.sctl, SERR: p.serr.Load(), SACT: p.sact.Load(), CI: p.ci.Load(),
		SNTF: p.sntf, FBS: p.fbs, Taken: p.taken, DET: p.det, SPD: p.spd, IPM: p.ipm,
		Cut: p.cut, Fatal: p.fatal, LinkWaits: p.linkWaits, Last: p.last,
	}
	for i := range p.dev {
		v := &p.dev[i]
		s.Stations[i] = stationState{v.tfd, v.sig, v.fatal, v.srst, v.unsent, v.first, v.queued}
	}
	now := p.d.o.Clock.Now()
	for i := range p.slots {
		r := &p.slots[i]
		bit := uint32(1) << i
		if p.taken&bit == 0 {
			continue
		}
		q := requestState{
			Slot: i, Phase: phaseHung, Lost: r.links != p.links, Accepted: r.accepted, Header: r.header, HeaderAt: r.headerAt,
			Table: r.table, FIS: append([]byte(nil), r.fis[:]...), Packet: r.Packet, Tag: r.Tag, Effect: r.effect,
			Result: r.Result, Moved: r.Moved, After: r.after,
		}
		switch {
		case (p.delayed|p.overdue)&bit != 0:
			q.Phase, q.Wait = phaseDelayed, max(r.due-now, 0)
		case p.held&bit != 0:
			q.Phase = phaseHeld
		}
		s.Requests = append(s.Requests, q)
	}
	var err error
	if p.drive != nil {
		if s.Drive, err = p.drive.SaveState(); err != nil {
			return s, err
		}
	}
	if m := p.mult; m != nil {
		s.FanOut, s.Mask, s.Enabled = len(m.ports), m.mask, m.enabled
		for i := range m.ports {
			f := fanState{SERR: m.ports[i].serr, CTL: m.ports[i].ctl}
			if v := m.ports[i].drive; v != nil {
				if f.Drive, err = v.SaveState(); err != nil {
					return s, err
				}
			}
			s.Fan = append(s.Fan, f)
		}
	}
	return s, nil
}

// RestoreState implements devices.Saver. The adapter must have been made with the
// same options and have the same drives attached.
func (d *Device) RestoreState(b []byte) error {
	var s deviceState
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s: restore state: %w", d.o.Name, err)
	}
	if s.Version != stateVersion || s.Cap != d.cap || len(s.Ports) != len(d.ports) {
		return fmt.Errorf("%s: restore state: it belongs to an adapter of another version or with other options (version %d, CAP %#x; want %d, %#x)",
			d.o.Name, s.Version, s.Cap, stateVersion, d.cap)
	}
	for i, p := range d.ports {
		if err := p.checkState(&s.Ports[i]); err != nil {
			return fmt.Errorf("%s: restore state: %w", p.describe(), err)
		}
	}
	if err := d.fn.RestoreState(s.Function); err != nil {
		return err
	}
	d.mu.Lock()
	d.ghc, d.is, d.level, d.bohc = s.GHC&ghcIE, s.IS, s.Level, s.BOHC&0x1f
	d.index = s.Index & 0x1ffc
	d.ccc.ctl, d.ccc.ports, d.ccc.complete = s.CCCCtl&0xffffff01, s.CCCPorts, s.CCCPending
	d.ccc.on.Store(d.ccc.ctl&cccEN != 0)
	d.ccc.running = false
	if s.CCCRunning {
		d.startCCC()
	}
	d.line = false
	d.setLine(d.is != 0 && d.ghc&ghcIE != 0)
	d.mu.Unlock()
	var errs []error
	for i, p := range d.ports {
		errs = append(errs, p.restore(&s.Ports[i]))
	}
	return errors.Join(errs...)
}

func (p *port) checkState(s *portState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	fan := 0
	if p.mult != nil {
		fan = len(p.mult.ports)
	}
	switch {
	case p.running > 0:
		return errors.New("commands are being executed; pause the adapter first")
	case (s.Drive != nil) != (p.drive != nil) || s.FanOut != fan || len(s.Fan) != fan:
		return errors.New("other drives were attached when it was saved")
	case s.Last < 0 || s.Last > 31 || len(s.Requests) > 32 || s.DET > detOffline:
		return errors.New("a value is out of range")
	}
	for i := range s.Requests {
		if q := &s.Requests[i]; q.Slot < 0 || q.Slot > 31 || q.Tag < 0 || q.Tag > 31 || len(q.FIS) != 64 || q.Wait < 0 {
			return fmt.Errorf("request %d cannot be", i)
		}
	}
	for i := range s.Fan {
		if (s.Fan[i].Drive != nil) != (p.mult.ports[i].drive != nil) {
			return fmt.Errorf("another drive was attached to device port %d when it was saved", i)
		}
	}
	return nil
}

func (p *port) restore(s *portState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose()
	p.clb, p.fb = s.CLB&^0x3ff, s.FB&^0xff
	p.is.Store(s.IS & isAll)
	p.serr.Store(s.SERR & serrAll)
	p.sact.Store(s.SACT & p.d.slots)
	p.ci.Store(s.CI & p.d.slots)
	p.ie, p.cmd = s.IE&isAll, s.CMD&^(cmdCR|cmdFR)
	p.sctl, p.sntf = s.SCTL, s.SNTF
	if p.d.o.FISSwitching {
		p.fbs = s.FBS
	}
	p.det, p.spd, p.ipm = s.DET, s.SPD, s.IPM
	p.cut, p.fatal, p.linkWaits, p.last = s.Cut, s.Fatal, s.LinkWaits, s.Last
	p.taken = 0
	for i, v := range s.Stations {
		p.dev[i] = station{tfd: v.TFD, sig: v.SIG, fatal: v.Fatal, srst: v.SRST, unsent: v.Unsent, first: v.First, queued: v.Queued}
	}
	var errs []error
	if p.drive != nil {
		errs = append(errs, p.drive.RestoreState(s.Drive))
	}
	if m := p.mult; m != nil {
		m.mask, m.enabled = s.Mask, s.Enabled&pmNotify
		for i := range m.ports {
			f := &m.ports[i]
			f.serr, f.ctl = s.Fan[i].SERR, s.Fan[i].CTL
			if f.drive != nil {
				errs = append(errs, f.drive.RestoreState(s.Fan[i].Drive))
			}
		}
	}
	for i := range s.Requests {
		p.restoreRequest(&s.Requests[i])
	}
	p.armDelay()
	if p.linkWaits {
		p.connect()
	}
	return errors.Join(errs...)
}

// restoreRequest puts a recorded command back into its slot.
func (p *port) restoreRequest(q *requestState) {
	r := &p.slots[q.Slot]
	bit := uint32(1) << q.Slot
	r.header, r.headerAt, r.table = q.Header, q.HeaderAt, q.Table
	copy(r.fis[:], q.FIS)
	r.Packet, r.Tag, r.effect = q.Packet, q.Tag, q.Effect
	r.Task = decodeH2D(&r.fis)
	r.pmp = r.fis[1] & 0xf
	r.starts, r.links = p.starts, p.links
	if q.Lost {
		r.links--
	}
	r.accepted, r.phase, r.cmd = q.Accepted, q.Phase, nil
	r.Result, r.Moved, r.after = q.Result, q.Moved, q.After
	r.segs, r.Data.Pieces, r.Data.Size = r.segs[:0], r.Data.Pieces[:0], 0
	p.taken |= bit
	r.drive = p.target(r.pmp)
	if r.drive == nil {
		r.phase = phaseHung
		return
	}
	r.Command = r.drive.Parse(&r.Task, &r.Packet)
	r.wanted, r.short = r.Command.Bytes, false
	switch q.Phase {
	case phaseDelayed:
		p.delayed |= bit
		r.due = p.d.o.Clock.Now() + q.Wait
	case phaseHeld:
		p.held |= bit
	}
}
