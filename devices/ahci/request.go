package ahci

import (
	"encoding/binary"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/internal/aio"
)

// Fields of the first word of a command header (AHCI 1.3.1, section 4.2.2).
const (
	hdrCFL   = 0x1f
	hdrA     = 1 << 5  // ATAPI
	hdrW     = 1 << 6  // write
	hdrR     = 1 << 8  // reset
	hdrB     = 1 << 9  // BIST
	hdrC     = 1 << 10 // clear BSY when the FIS was taken
	hdrPMP   = 12      // shift
	hdrPRDTL = 16      // shift
)

const (
	headerSize  = 32
	tablePacket = 0x40 // of the ATAPI command in the command table
	tablePRDT   = 0x80
	prdSize     = 16
	prdI        = 1 << 31
	prdCount    = 0x3fffff
)

// A segment is one piece of guest memory that a PRD describes.
type segment struct {
	addr uint64
	n    uint32
	irq  bool // the I bit
}

// phase is where a command is that was fetched and is not on a worker.
type phase uint8

const (
	phaseNone    phase = iota
	phaseDelayed       // until request.due
	phaseHung          // until a reset
	phaseHeld          // executed; completed after request.after others
)

// A request is one command slot. The port's lock guards it, except while a worker
// executes it.
type request struct {
	ata.Request
	p    *port
	slot int

	header   uint32 // first word
	headerAt uint64 // address of the command header
	table    uint64 // address of the command table
	fis      [64]byte
	pmp      uint8
	drive    ata.Drive
	segs     []segment
	wanted   int64 // bytes of the transfer before an injected fault cut it short
	short    bool  // PRDs describe less than the command transfers

	starts, links uint32 // epochs at which the command was fetched
	accepted      bool   // a queued command that the drive has taken
	phase         phase
	due           int64 // clock's time
	after         int   // later completions to wait for
	effect        devices.Effect
	op            aio.Op           // of a read that nobody waits for
	cmd           *devices.Command // for observers, or nil
}

// fetch reads the command header and the command FIS of a slot, once. It reports
// false after a bus error.
func (r *request) fetch() bool {
	p := r.p
	if what, err := r.load(); err != nil {
		return p.busError(what, err)
	}
	if p.d.probe.Wants(devices.ClassDMA) {
		p.d.probe.DMA(devices.Transfer{Addr: r.headerAt, Bytes: headerSize, What: "command header"})
		p.d.probe.DMA(devices.Transfer{Addr: r.table, Bytes: tablePRDT, What: "command table"})
	}
	r.Tag = r.slot
	r.effect, r.cmd, r.phase, r.accepted = devices.Effect{}, nil, phaseNone, false
	r.Moved, r.short = 0, false
	r.starts, r.links = p.starts, p.links
	r.segs = r.segs[:0]
	r.Data.Pieces, r.Data.Size = r.Data.Pieces[:0], 0
	return true
}

// load reads the command header and the command FIS. After a bus error it says what
// could not be read.
func (r *request) load() (what string, err error) {
	p := r.p
	r.headerAt = p.clb + uint64(r.slot)*headerSize
	h, err := p.d.mem.View(r.headerAt, headerSize)
	if err != nil {
		return "command header", err
	}
	r.header = binary.LittleEndian.Uint32(h)
	table := binary.LittleEndian.Uint64(h[8:])
	if p.d.o.No64 {
		table &= 0xffffffff
	}
	if p.d.strict() {
		r.checkHeader(table)
	}
	table &^= 0x7f
	r.table = table
	t, err := p.d.mem.View(table, tablePRDT)
	if err != nil {
		return "command table", err
	}
	copy(r.fis[:], t)
	copy(r.Packet[:], t[tablePacket:])
	r.pmp = r.fis[1] & 0xf
	r.Task = decodeH2D(&r.fis)
	return "", nil
}

func (r *request) checkHeader(table uint64) {
	p := r.p
	if n := r.header & hdrCFL; n < 2 || n > 16 {
		p.violation("4.2.2", "slot %d: command FIS of %d words; must be 2 to 16", r.slot, n)
	}
	if r.header&(1<<11) != 0 {
		p.violation("4.2.2", "slot %d: a reserved bit of the command header is set (%#x)", r.slot, r.header)
	}
	if table&0x7f != 0 {
		p.violation("4.2.2", "slot %d: the command table at %#x is not aligned to 128 bytes", r.slot, table)
	}
	if p.d.o.No64 && table>>32 != 0 {
		p.violation("4.2.2", "slot %d: the command table is above 4 GiB on an adapter without 64-bit addressing", r.slot)
	}
}

// checkFIS tells whether the command FIS is one that the port sends.
func (r *request) checkFIS() bool {
	ok := r.fis[0] == fisH2D && r.header&hdrCFL >= 4
	if !ok {
		r.p.violation("4.2.3.1", "slot %d: command FIS of type %#x and %d words; must be a Register FIS (0x27)", r.slot, r.fis[0], r.header&hdrCFL)
	}
	return ok
}

// target finds the drive that the command FIS goes to.
func (p *port) target(pmp uint8) ata.Drive {
	if p.mult != nil {
		return p.mult.at(pmp)
	}
	return p.drive
}

// scatter reads the PRD table as far as the command needs it and finds the memory it
// describes. It reports false after a bus error.
func (r *request) scatter() bool {
	p := r.p
	want := r.Command.Bytes
	r.wanted = want
	if want <= 0 {
		return true
	}
	n := int(r.header >> hdrPRDTL)
	table := r.table + tablePRDT
	t, err := p.d.mem.View(table, n*prdSize)
	if err != nil {
		return p.busError("PRD table", err)
	}
	flip := -1
	if r.effect.FlipTable != 0 && n > 0 {
		flip = int(r.effect.Seed % uint64(n))
	}
	trace, strict := p.d.probe.Wants(devices.ClassDMA), p.d.strict()
	if trace {
		p.d.probe.DMA(devices.Transfer{Addr: table, Bytes: n * prdSize, What: "PRD table"})
	}
	for i := 0; i < n && r.Data.Size < want; i++ {
		e := t[i*prdSize : i*prdSize+prdSize]
		addr, count := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint32(e[12:])
		if strict {
			r.checkPRD(i, addr, count)
		}
		if p.d.o.No64 {
			addr &= 0xffffffff
		}
		if i == flip {
			addr ^= r.effect.FlipTable
		}
		addr &^= 1
		// A count of zero is one byte, which is odd: lengths are even.
		size := int64(count&prdCount|1) + 1
		size = min(size, want-r.Data.Size)
		v, err := p.d.mem.View(addr, int(size))
		if err != nil {
			if i == flip { // the driver is not to blame
				return p.fatalError("data", err)
			}
			return p.busError("data", err)
		}
		if trace && r.out() {
			p.d.probe.DMA(devices.Transfer{Addr: addr, Bytes: int(size), What: "data"})
		}
		r.segs = append(r.segs, segment{addr, uint32(size), count&prdI != 0})
		r.Data.Pieces = append(r.Data.Pieces, v)
		r.Data.Size += size
	}
	r.short = r.Data.Size < want
	return true
}

func (r *request) checkPRD(i int, addr uint64, count uint32) {
	switch {
	case addr&1 != 0:
		r.p.violation("4.2.3.3", "slot %d: PRD %d: address %#x is odd", r.slot, i, addr)
	case count&1 == 0:
		r.p.violation("4.2.3.3", "slot %d: PRD %d: byte count field %#x means an odd length", r.slot, i, count&prdCount)
	case count&0x7fc00000 != 0:
		r.p.violation("4.2.3.3", "slot %d: PRD %d: reserved bits of %#x are set", r.slot, i, count)
	case r.p.d.o.No64 && addr>>32 != 0:
		r.p.violation("4.2.3.3", "slot %d: PRD %d: address %#x on an adapter without 64-bit addressing", r.slot, i, addr)
	}
}

// trim keeps a rare long PRD table from staying allocated.
func (r *request) trim() {
	if cap(r.segs) > 1024 {
		r.segs, r.Data.Pieces = nil, nil
	}
}

// written tells the CPUs about data that a read brought into memory.
func (r *request) written() {
	left := r.Moved
	if r.Result.Failed() {
		left = r.Data.Size // some of it may have changed
	}
	trace := r.p.d.probe.Wants(devices.ClassDMA)
	for _, s := range r.segs {
		if left <= 0 {
			break
		}
		n := min(int64(s.n), left)
		r.p.d.mem.Written(s.addr, int(n))
		if trace {
			r.p.d.probe.DMA(devices.Transfer{Addr: s.addr, Bytes: int(n), Write: true, What: "data"})
		}
		left -= n
	}
}

// processed tells whether a PRD with the I bit set was used up.
func (r *request) processed() bool {
	left := r.Moved
	for _, s := range r.segs {
		if left < int64(s.n) {
			break
		}
		if s.irq {
			return true
		}
		left -= int64(s.n)
	}
	return false
}

// out tells whether the command moves data to the drive.
func (r *request) out() bool { return r.Command.Write }

// busError stops the port after an access to memory failed (section 6.2.1).
func (p *port) busError(what string, err error) bool {
	if p.d.strict() {
		p.violation("6.2.1", "%s cannot be accessed: %v", what, err)
	}
	return p.fatalError(what, err)
}

// fatalError is busError when the driver has no part in it.
func (p *port) fatalError(what string, err error) bool {
	p.fatal = true
	p.state("host bus error: %s: %v", what, err)
	p.setIS(isHBFS)
	return false
}
