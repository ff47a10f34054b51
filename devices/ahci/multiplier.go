package ahci

import (
	"fmt"

	"dfemu/devices/ahci/ata"
)

// controlPort is the port of a multiplier that answers for itself.
const controlPort = 15

// pmSignature is what the control port reports after a software reset (Serial ATA
// 3.3, section 16.3.3.9).
var pmSignature = ata.Result{Status: ata.StatusReady | ata.StatusSeek, Error: 1, LBA: 0x966901, Count: 1}

// General status and control registers of a multiplier (Serial ATA 3.3, section
// 16.4.1).
const (
	gscrID        = 0
	gscrRevision  = 1
	gscrPorts     = 2
	gscrError     = 32
	gscrErrorMask = 33
	gscrFeatures  = 64
	gscrEnabled   = 96

	pmNotify = 1 << 3 // asynchronous notification
)

// Port status and control registers (section 16.4.2).
const (
	pscrStatus = iota
	pscrError
	pscrControl
)

// Multiplier is a port multiplier. The lock of the port it is attached to guards it.
type Multiplier struct {
	p       *port
	ports   []fanPort
	mask    uint32 // GSCR[33]
	enabled uint32 // GSCR[96]
}

// A fanPort is one device port of a multiplier.
type fanPort struct {
	drive     ata.Drive
	serr, ctl uint32 // PSCR[1], PSCR[2]
}

// AttachMultiplier connects a port multiplier with the given number of device ports
// (1 to 15) to port n. The adapter must have been made for that.
func (d *Device) AttachMultiplier(n, ports int) (*Multiplier, error) {
	p, err := d.port(n)
	if err != nil {
		return nil, err
	}
	switch {
	case !d.o.PortMultipliers:
		return nil, fmt.Errorf("%s supports no port multipliers; enable them when it is made", d.o.Name)
	case ports < 1 || ports > 15:
		return nil, fmt.Errorf("%s: a port multiplier with %d ports: must be 1 to 15", p.describe(), ports)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.drive != nil || p.mult != nil {
		return nil, fmt.Errorf("%s is in use or closed; detach first what is there", p.describe())
	}
	m := &Multiplier{p: p, ports: make([]fanPort, ports)}
	m.reset()
	p.mult = m
	p.state("port multiplier attached")
	p.connect()
	return m, nil
}

// Attach connects a drive to device port i of the multiplier.
func (m *Multiplier) Attach(i int, v ata.Drive) error {
	p := m.p
	p.mu.Lock()
	if i < 0 || i >= len(m.ports) || m.ports[i].drive != nil || p.closed {
		p.mu.Unlock()
		return fmt.Errorf("%s: device port %d does not exist or is in use (there are %d)", p.describe(), i, len(m.ports))
	}
	m.ports[i].drive = v
	v.OnNotify(func() { p.notify(uint8(i)) })
	v.Reset(true)
	p.state("drive attached to device port %d", i)
	m.event(i, serrN|serrX)
	// A host that knows no multipliers sees the drive at device port 0.
	p.mu.Unlock()
	m.tell()
	return nil
}

// Drive returns what is attached to device port i, or nil.
func (m *Multiplier) Drive(i int) ata.Drive {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	if i < 0 || i >= len(m.ports) {
		return nil
	}
	return m.ports[i].drive
}

// Detach disconnects the drive at device port i and returns it, when it has ended
// what it did.
func (m *Multiplier) Detach(i int) (ata.Drive, error) {
	p := m.p
	p.mu.Lock()
	if i < 0 || i >= len(m.ports) || m.ports[i].drive == nil {
		p.mu.Unlock()
		return nil, fmt.Errorf("%s: no drive at device port %d", p.describe(), i)
	}
	v := m.ports[i].drive
	m.ports[i].drive = nil
	p.state("drive detached from device port %d", i)
	p.forget(uint8(i))
	m.event(i, serrN)
	p.drain()
	v.OnNotify(nil)
	p.mu.Unlock()
	m.tell()
	return v, nil
}

// reset is what a COMRESET does to the multiplier.
func (m *Multiplier) reset() {
	m.mask, m.enabled = 0x0400ffff, 0
	for i := range m.ports {
		f := &m.ports[i]
		f.ctl, f.serr = 0, 0
		if f.drive != nil {
			f.serr = serrN | serrX
		}
	}
}

// event sets bits of a device port's PSCR[1].
func (m *Multiplier) event(i int, bits uint32) { m.ports[i].serr |= bits }

// tell notifies the host of events that it selected.
func (m *Multiplier) tell() {
	m.p.mu.Lock()
	on := m.enabled&pmNotify != 0 && m.errors() != 0
	m.p.mu.Unlock()
	if on {
		m.p.notify(controlPort)
	}
}

// errors is GSCR[32]: the device ports with selected bits in PSCR[1].
func (m *Multiplier) errors() uint32 {
	v := uint32(0)
	for i := range m.ports {
		if m.ports[i].serr&m.mask != 0 {
			v |= 1 << i
		}
	}
	return v
}

// at returns what answers at a device port.
func (m *Multiplier) at(pmp uint8) ata.Drive {
	if pmp == controlPort {
		return controller{m}
	}
	if int(pmp) >= len(m.ports) || m.ports[pmp].ctl&0xf != 0 || m.ports[pmp].drive == nil {
		return nil
	}
	return m.ports[pmp].drive
}

// greeting is what the host sees after a COMRESET: the drive at device port 0, for
// hosts that know no multipliers, or if there is none the multiplier.
func (m *Multiplier) greeting() ata.Result {
	if v := m.ports[0].drive; v != nil {
		return v.Signature()
	}
	return pmSignature
}

// forget drops the commands to a device port: nobody answers them.
func (p *port) forget(pmp uint8) {
	s := &p.dev[p.station(pmp)]
	for i := range p.slots {
		if r := &p.slots[i]; p.taken>>i&1 != 0 && r.pmp == pmp {
			r.links--
			r.phase = phaseHung
			p.delayed &^= 1 << i
			p.overdue &^= 1 << i
			p.held &^= 1 << i
		}
	}
	if p.fbs&fbsEN != 0 {
		s.done, s.queued = 0, 0
	}
}

func (m *Multiplier) read(port, reg int) (uint32, bool) {
	if port == controlPort {
		switch reg {
		case gscrID:
			return 0x29228086, true
		case gscrRevision:
			return 0x010e, true // revision 1; specifications 1.0 to 1.2
		case gscrPorts:
			return uint32(len(m.ports)), true
		case gscrError:
			return m.errors(), true
		case gscrErrorMask:
			return m.mask, true
		case gscrFeatures:
			return pmNotify, true
		case gscrEnabled:
			return m.enabled, true
		}
		return 0, reg < 256
	}
	if port >= len(m.ports) {
		return 0, false
	}
	f := &m.ports[port]
	switch reg {
	case pscrStatus:
		switch {
		case f.ctl&0xf == detOffline:
			return detOffline, true
		case f.ctl&0xf != 0 || f.drive == nil:
			return 0, true
		}
		return detPresent | m.p.spd<<4 | ipmActive<<8, true
	case pscrError:
		return f.serr, true
	case pscrControl:
		return f.ctl, true
	}
	return 0, false
}

func (m *Multiplier) write(port, reg int, v uint32) bool {
	if port == controlPort {
		switch reg {
		case gscrErrorMask:
			m.mask = v
		case gscrEnabled:
			m.enabled = v & pmNotify
		default:
			return false
		}
		return true
	}
	if port >= len(m.ports) {
		return false
	}
	f := &m.ports[port]
	switch reg {
	case pscrError:
		f.serr &^= v
	case pscrControl:
		was := f.ctl & 0xf
		f.ctl = v & 0x000fffff
		if was == v&0xf || f.drive == nil {
			break
		}
		m.p.forget(uint8(port))
		if f.ctl&0xf == 0 {
			f.drive.Reset(true)
			m.event(port, serrX)
		}
		m.event(port, serrN)
	default:
		return false
	}
	return true
}

// A controller is the control port of a multiplier, which takes two commands.
type controller struct{ m *Multiplier }

// Signature implements [ata.Drive].
func (controller) Signature() ata.Result { return pmSignature }

// Reset implements [ata.Drive].
func (controller) Reset(bool) {}

// Asleep implements [ata.Drive].
func (controller) Asleep() bool { return false }

// OnNotify implements [ata.Drive].
func (controller) OnNotify(func()) {}

// Abort implements [ata.Drive].
func (controller) Abort(*ata.Request) {}

// SaveState implements [ata.Drive]; the multiplier is saved with its port.
func (controller) SaveState() ([]byte, error) { return nil, nil }

// RestoreState implements [ata.Drive].
func (controller) RestoreState([]byte) error { return nil }

// Close implements [ata.Drive].
func (controller) Close() error { return nil }

// Parse implements [ata.Drive].
func (controller) Parse(t *ata.Task, _ *[16]byte) ata.Command {
	c := ata.Command{Opcode: t.Command, Name: "unknown command"}
	switch t.Command {
	case ata.CmdReadBuffer:
		c.Name = "READ PORT MULTIPLIER"
	case ata.CmdWriteBuffer:
		c.Name = "WRITE PORT MULTIPLIER"
	default:
		c.Refused = ata.ErrAborted
	}
	return c
}

// Execute implements [ata.Drive].
func (c controller) Execute(r *ata.Request) {
	if r.Command.Refused != 0 {
		r.Fail(r.Command.Refused)
		return
	}
	t := &r.Task
	port, reg := int(t.Device&0xf), int(t.Feature)
	p := c.m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.Command == ata.CmdReadBuffer {
		v, ok := c.m.read(port, reg)
		if !ok {
			r.Fail(ata.ErrAborted)
			return
		}
		r.Finish()
		r.Result.Count, r.Result.LBA = uint16(v&0xff), uint64(v>>8)
		return
	}
	if !c.m.write(port, reg, uint32(t.Count&0xff)|uint32(t.LBA&0xffffff)<<8) {
		r.Fail(ata.ErrAborted)
		return
	}
	r.Finish()
}
