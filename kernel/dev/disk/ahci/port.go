package ahci

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// State is how far a port has come.
type State int32

// States of a port.
const (
	NeedInit State = iota
	NeedHardReset
	NeedSoftReset
	NeedIdent
	Good
	Failed
)

// String names a state.
func (s State) String() string {
	return [...]string{"NEED_INIT", "NEED_HARD_RESET", "NEED_SOFT_RESET", "NEED_IDENT", "GOOD", "FAILED"}[s]
}

// What a port's thread is told.
const (
	sigStop  = 1 << iota
	sigInt   // an interrupt that is not a plain completion
	sigBusy  // there are commands to look after
	sigLook  // look at the port, whatever there is
	sigRetry // something waits
)

// port is a port of a controller.
type port struct {
	c                  *controller
	n                  int
	name               string
	base               uint64
	mem                kern.DMA
	signals            *kern.Signals
	thread             *kern.Thread
	ready              *kern.Event // probed for the first time
	proceed, announced *kern.Event
	state              atomic.Int32
	pending            atomic.Uint32 // interrupt causes for the thread
	watched            atomic.Bool
	alive              atomic.Bool
	fails              int // recoveries without success

	// Of the device, while the state is Good.
	id   identity
	disk *disk.Disk
	mark byte // see identity.mark
	dark bool // it was without power, which has not been told yet

	mu         sync.Mutex
	recovering bool // nothing is sent or completed
	gone       bool // there is no device
	active     uint32
	queued     bool // what is active is NCQ
	ccb        [slots]*command
	waiting    []*command
	unflushed  bool // the drive's cache may have what was written
	tellFlush  bool // it lost that: the next flush fails
	alone      int  // so many of those that wait are to be sent one at a time
	lonely     bool // what is active is one of them
}

func newPort(c *controller, n int) (*port, error) {
	limit := uint64(0)
	if c.cap&cap64 == 0 {
		limit = 1 << 32
	}
	mem, err := c.k.AllocDMA(portMemory, 4096, limit)
	if err != nil {
		return nil, err
	}
	return &port{c: c, n: n, name: fmt.Sprintf("%s.%d", c.name, n), base: regPorts + uint64(n)*portSize, mem: mem,
		signals: c.k.NewSignals(), ready: c.k.NewEvent(), proceed: c.k.NewEvent(), announced: c.k.NewEvent(), recovering: true, gone: true}, nil
}

func (p *port) read(r uint64) uint32     { return p.c.regs.Read32(p.base + r) }
func (p *port) write(r uint64, v uint32) { p.c.regs.Write32(p.base+r, v) }

// errSlot is the slot of the error CCB, which is used for all the port's thread does itself.
func (p *port) errSlot() int { return min(1, p.c.ncmd-1) }

func (p *port) setState(s State) { p.state.Store(int32(s)) }

// run is the port's thread.
func (p *port) run() {
	defer p.announced.Set() // also after a panic nobody waits for ever
	defer p.ready.Set()
	found := p.find()
	p.ready.Set()
	// Disks get their units in the order of the ports.
	p.proceed.Wait(-1)
	if found {
		p.announce()
	}
	p.listen()
	p.announced.Set()
	timeout := p.idle()
	for {
		sig := p.signals.Take(timeout)
		if sig&sigStop != 0 {
			p.close()
			if p.read(portCMD) != allOnes {
				p.write(portIE, 0)
				_ = p.stopEngine() // the reset of the controller follows
			}
			return
		}
		if is := p.pending.Swap(0); is != 0 {
			p.handle(is)
		}
		if sig == 0 {
			p.lost()
		}
		p.complete()
		if p.check() || sig != 0 {
			// Also what is quiet is watched for a tick: requests that follow one another do not wake this thread each time.
			timeout = p.c.times.tick
			continue
		}
		p.watched.Store(false)
		if timeout = p.idle(); p.busy() {
			p.watched.Store(true)
			timeout = p.c.times.tick
		}
		if sig == 0 && State(p.state.Load()) == Good && p.id.packet {
			p.pollMedium()
		}
	}
}

// idle is for how long the thread sleeps when nothing is under way.
func (p *port) idle() time.Duration {
	if State(p.state.Load()) == Good && p.id.packet {
		return p.c.times.media
	}
	return -1
}

// probe takes in what is connected, if anything.
func (p *port) probe() {
	if p.find() {
		p.announce()
	}
	p.listen()
}

// find takes the port from where it is to Good, or finds that there is no device.
func (p *port) find() bool {
	err := p.advance()
	switch {
	case err == nil:
		return true
	case errors.Is(err, errNoDevice):
		p.setState(NeedInit)
	default:
		p.setState(Failed)
		p.c.k.Printf("%s: %v", p.name, err)
	}
	return false
}

// listen lets the port interrupt: a device may be plugged in to any, also to one that failed. What has come or gone since the last
// reset of the connection is still to be told.
func (p *port) listen() {
	p.write(portSERR, p.read(portSERR)&^serrChange)
	p.write(portIS, allOnes&^uint32(intChange))
	p.write(portIE, intAll)
}

// errNoDevice says that nothing is connected.
var errNoDevice = errors.New("no device")

// advance goes through the states of probing.
func (p *port) advance() error {
	retried := false
	p.setState(NeedInit)
	for {
		var err error
		switch s := State(p.state.Load()); s {
		case NeedInit:
			if err = p.init(); err == nil {
				p.setState(NeedHardReset)
			}
		case NeedHardReset:
			err = p.hardReset()
			if err != nil && !errors.Is(err, errNoDevice) && !retried {
				retried = true
				continue
			}
			if err == nil {
				p.setState(NeedSoftReset)
			}
		case NeedSoftReset:
			if err = p.softReset(); err != nil && !retried {
				retried = true
				p.setState(NeedHardReset)
				continue
			}
			if err == nil {
				p.setState(NeedIdent)
			}
		case NeedIdent:
			if err = p.identify(); err == nil {
				err = p.putMark()
			}
			if err == nil {
				p.setState(Good)
				return nil
			}
			if !retried {
				retried = true
				p.setState(NeedHardReset)
				continue
			}
		}
		if err != nil {
			return err
		}
	}
}

// init stops the port and gives it its memory.
func (p *port) init() error {
	p.write(portIE, 0)
	if err := p.stopEngine(); err != nil {
		return err
	}
	p.write(portCMD, p.read(portCMD)&^cmdFRE)
	if !p.wait(portCMD, cmdFR, 0, p.c.times.stop) {
		return errors.New("it does not stop receiving")
	}
	p.write(portCLB, uint32(p.mem.Phys))
	p.write(portCLB+4, uint32(p.mem.Phys>>32))
	p.write(portFB, uint32(p.mem.Phys+offFIS))
	p.write(portFB+4, uint32((p.mem.Phys+offFIS)>>32))
	p.write(portSERR, allOnes)
	p.write(portIS, allOnes)
	p.write(portCMD, p.read(portCMD)&^cmdATAPI|cmdFRE|cmdPower|cmdSpinUp|cmdActive)
	return nil
}

// present tells whether a device is connected.
func (p *port) present() bool { return p.read(portSSTS)&15 == 3 }

// wait waits until the bits of a register are as they should be.
func (p *port) wait(reg uint64, mask, want uint32, timeout time.Duration) bool {
	end := p.c.k.Now() + timeout
	for {
		v := p.read(reg)
		if v&mask == want {
			return true
		}
		if v == allOnes || p.c.k.Now() > end || reg == portTFD && !p.present() {
			return false
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// stopEngine stops the processing of commands.
func (p *port) stopEngine() error {
	p.write(portCMD, p.read(portCMD)&^cmdStart)
	if !p.wait(portCMD, cmdCR, 0, p.c.times.stop) {
		return errors.New("it does not stop processing commands")
	}
	return nil
}

// startEngine starts it again, with CLO if the device looks busy.
func (p *port) startEngine() error {
	if p.read(portTFD)&(tfdBusy|tfdDRQ) != 0 && p.c.cap&capCLO != 0 {
		p.write(portCMD, p.read(portCMD)|cmdCLO)
		if !p.wait(portCMD, cmdCLO, 0, p.c.times.stop) {
			return errors.New("it does not override the device's busy state")
		}
	}
	p.write(portCMD, p.read(portCMD)|cmdStart)
	return nil
}

// hardReset is a COMRESET (10.4.2).
func (p *port) hardReset() error {
	if err := p.stopEngine(); err != nil {
		return err
	}
	p.write(portSCTL, 0x301)
	time.Sleep(p.c.times.comReset)
	p.write(portSCTL, 0x300)
	end := p.c.k.Now() + p.c.times.presence
	for {
		det := p.read(portSSTS) & 15
		if det == 3 {
			break
		}
		if det == 1 && end < p.c.k.Now()+p.c.times.presence {
			end = p.c.k.Now() + p.c.times.negotiation // something is there: it has time to come up
		}
		if p.c.k.Now() > end {
			if det == 0 || det == 4 {
				return errNoDevice
			}
			return fmt.Errorf("the connection does not come up, status %#x", p.read(portSSTS))
		}
		time.Sleep(500 * time.Microsecond)
	}
	p.write(portSERR, allOnes)
	if !p.wait(portTFD, tfdBusy|tfdDRQ, 0, p.c.times.busy) {
		if !p.present() {
			return errNoDevice
		}
		return fmt.Errorf("the device stays busy after a reset, task file %#x", p.read(portTFD))
	}
	return nil
}

// softReset resets the device by its control register, and looks what it is.
func (p *port) softReset() error {
	if err := p.stopEngine(); err != nil {
		return err
	}
	if err := p.startEngine(); err != nil {
		return err
	}
	const clearBusy, reset = 1 << 10, 1 << 8
	fis := frame{control: 4}
	if p.c.cap&capSPM != 0 {
		fis.multiplier = ownPort // it says that it is one, where a drive does not mind
	}
	if err := p.poll(fis, nil, 0, 0, reset|clearBusy); err != nil {
		return fmt.Errorf("soft reset: %w", err)
	}
	time.Sleep(100 * time.Microsecond)
	fis.control = 0
	if err := p.poll(fis, nil, 0, 0, 0); err != nil {
		return fmt.Errorf("soft reset: %w", err)
	}
	if !p.wait(portTFD, tfdBusy|tfdDRQ, 0, p.c.times.busy) {
		if !p.present() {
			return errNoDevice
		}
		return fmt.Errorf("the device stays busy after a soft reset, task file %#x", p.read(portTFD))
	}
	return nil
}

// handle sees to an interrupt that is more than a completion. The port's interrupts are off.
func (p *port) handle(is uint32) {
	if is&intChange != 0 {
		p.write(portSERR, p.read(portSERR))
		state := State(p.state.Load())
		if state == Good && p.outage() {
			return
		}
		det := p.read(portSSTS) & 15
		if det != 3 {
			time.Sleep(5 * time.Millisecond) // it may be coming up
			det = p.read(portSSTS) & 15
		}
		switch {
		case det == 0 || det == 4:
			if state == Good || state == Failed {
				p.c.k.Printf("%s: the device was removed", p.name)
			}
			p.vanish(disk.ErrGone)
			p.setState(NeedInit)
		default:
			p.c.k.Printf("%s: a device was connected", p.name)
			p.vanish(disk.ErrGone)
			p.probe()
			return
		}
		p.listen()
		return
	}
	if State(p.state.Load()) != Good {
		p.listen()
		return
	}
	p.recover(is)
}

// close keeps requests from being sent.
func (p *port) close() {
	p.mu.Lock()
	p.gone, p.recovering, p.alone = true, true, 0
	p.mu.Unlock()
}

// suspend has the disk, if there is one, wait until the driver has been restarted.
func (p *port) suspend() {
	p.mu.Lock()
	d := p.disk
	p.mu.Unlock()
	if d != nil {
		p.c.layer.Suspend(d)
	}
}

// vanish ends all requests and takes the disk away.
func (p *port) vanish(why error) {
	p.close()
	if p.read(portCMD) != allOnes {
		p.write(portIE, 0)
		if err := p.stopEngine(); err != nil && p.c.regs.Read32(regGHC)&ghcEnable != 0 {
			p.c.k.Printf("%s: %v", p.name, err)
		}
	}
	p.mu.Lock()
	lost := p.take(allOnes)
	lost = append(lost, p.waiting...)
	p.waiting = nil
	d := p.disk
	p.disk = nil
	p.mu.Unlock()
	switch {
	case d == nil:
	case p.c.pci.HasFailed():
		p.c.layer.Suspend(d)
	default:
		p.c.layer.Destroy(d)
	}
	for _, m := range lost {
		m.finish(why)
	}
}

// take removes commands from their slots; the port is locked.
func (p *port) take(mask uint32) []*command {
	var out []*command
	for i, m := range p.ccb {
		if m != nil && mask>>i&1 != 0 {
			p.ccb[i] = nil
			m.moved = p.transferred(i)
			out = append(out, m)
		}
	}
	p.active &^= mask
	return out
}

// announce makes the device a disk.
func (p *port) announce() {
	p.fails = 0
	if p.id.packet {
		p.c.k.Printf("%s: <%s %s> ATAPI, serial number %s", p.name, p.id.model, p.id.firmware, p.id.serial)
		p.open()
		p.pollMedium()
		return
	}
	p.create(p.id.info())
}

// create announces a disk under the next unit, or the one that it had.
func (p *port) create(i disk.Info) {
	i.Where, i.Owner = fmt.Sprintf("%s.port%d", p.c.name, p.n), p.c.pci
	p.open()
	d, revived, err := p.c.layer.CreateUnit(p.id.kind(), i, p)
	if err != nil {
		p.c.k.Printf("%s: %v", p.name, err)
		return
	}
	p.mu.Lock()
	p.disk = d
	p.unflushed = p.unflushed || revived // its cache may have what was written before
	p.mu.Unlock()
}

// open lets requests pass.
func (p *port) open() {
	p.mu.Lock()
	p.gone, p.recovering = false, false
	p.unflushed, p.tellFlush, p.dark = false, false, false
	p.mu.Unlock()
}
