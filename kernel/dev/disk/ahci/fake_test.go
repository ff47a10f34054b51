package ahci

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"dfemu/kernel/dev/disk/drivertest"
)

// hba is a controller for tests, with as much of AHCI as the driver uses.
type hba struct {
	h *drivertest.Host

	mu      sync.Mutex
	cap     uint32
	ghc, is uint32
	stuck   bool // a reset does not end
	gone    bool
	ports   []*fakePort
	commands
}

// commands counts what drives were sent.
type commands struct{ count map[byte]int }

// fakePort is a port with a drive.
type fakePort struct {
	multiplier bool // it is one, with nothing at its first port
	a          *hba
	n          int

	clb                               uint64
	is, ie, cmd, tfd, sig, ssts, sctl uint32
	serr, sact, ci                    uint32
	era                               int // changes whenever commands under way are forgotten
	fatal                             bool
	log                               []byte // page 10h

	// What the drive is like.
	present, busy bool
	hung          bool // until its connection is reset
	identify      []byte
	data          []byte
	// answer tells what becomes of a command.
	answer func(cmd byte, lba uint64) reply
}

// reply is what becomes of a command: an error register, or none; no answer at all; less data.
type reply struct {
	err    byte
	silent bool
	hang   bool // nor to others, until it is reset
	short  int
	badLog func(log []byte)
}

func newHBA(h *drivertest.Host, n int) *hba {
	a := &hba{h: h, cap: 31<<capSlots | capNCQ | cap64 | capCLO | uint32(n-1)}
	a.count = map[byte]int{}
	for i := range n {
		a.ports = append(a.ports, &fakePort{a: a, n: i, tfd: 0x7f, sig: 0xffffffff})
	}
	return a
}

// drive connects a drive with n sectors to a port before the start.
func (a *hba) drive(i, n int) *fakePort {
	p := a.ports[i]
	p.present, p.identify, p.data = true, identification(n), make([]byte, n*512)
	p.connect()
	return p
}

func (p *fakePort) connect() {
	p.ssts, p.sig, p.tfd = 0x133, sigATA, 0x50
	if p.busy {
		p.tfd = 0x80
	}
	p.serr |= 1<<26 | 1<<16
}

// identification is what a drive with n sectors says of itself.
func identification(n int) []byte {
	b := make([]byte, 512)
	word := func(i int, v uint16) { binary.LittleEndian.PutUint16(b[2*i:], v) }
	text := func(i, size int, s string) {
		for j := range size {
			c := byte(' ')
			if j < len(s) {
				c = s[j]
			}
			b[2*i+j^1] = c
		}
	}
	text(10, 20, "SN 1")
	text(23, 8, "F1")
	text(27, 40, "FAKE")
	word(49, 1<<9)
	binary.LittleEndian.PutUint32(b[120:], uint32(n))
	word(47, 0x8010)
	word(59, 0x110)
	word(75, 31)
	word(76, 1<<8)
	word(78, 1<<6)
	word(79, 1<<6)
	word(85, 1<<5)
	word(87, 1<<14)
	word(83, 1<<14|1<<13|1<<10)
	binary.LittleEndian.PutUint64(b[200:], uint64(n))
	word(169, 1)
	return b
}

func (a *hba) Size() uint64 { return regPorts + uint64(len(a.ports))*portSize }

func (a *hba) Read32(off uint64) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return allOnes
	}
	switch off {
	case regCAP:
		return a.cap
	case regGHC:
		return a.ghc
	case regIS:
		return a.is
	case regPI:
		return 1<<len(a.ports) - 1
	case regVS:
		return 0x10300
	}
	if off < regPorts {
		return 0
	}
	p := a.ports[(off-regPorts)/portSize]
	switch off % portSize {
	case portCLB:
		return uint32(p.clb)
	case portIS:
		return p.is
	case portIE:
		return p.ie
	case portCMD:
		return p.cmd | p.cmd&cmdStart<<15 | p.cmd&cmdFRE<<10
	case portTFD:
		return p.tfd
	case portSIG:
		return p.sig
	case portSSTS:
		return p.ssts
	case portSCTL:
		return p.sctl
	case portSERR:
		return p.serr
	case portSACT:
		return p.sact
	case portCI:
		return p.ci
	}
	return 0
}

func (a *hba) Write32(off uint64, v uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return
	}
	switch off {
	case regGHC:
		if v&ghcReset != 0 && !a.stuck {
			v &^= ghcReset
			for _, p := range a.ports {
				p.forget()
				p.cmd, p.ie, p.is = 0, 0, 0
			}
		}
		a.ghc = v
	case regIS:
		a.is &^= v
		for _, p := range a.ports {
			p.signal() // what is pending is pending
		}
	}
	if off < regPorts {
		return
	}
	p := a.ports[(off-regPorts)/portSize]
	switch off % portSize {
	case portCLB:
		p.clb = p.clb&^0xffffffff | uint64(v)
	case portCLB + 4:
		p.clb = p.clb&0xffffffff | uint64(v)<<32
	case portIS:
		p.is &^= v
	case portIE:
		p.ie = v
		p.signal()
	case portCMD:
		if v&cmdStart == 0 && p.cmd&cmdStart != 0 {
			p.forget()
		}
		if v&cmdCLO != 0 {
			p.tfd &^= tfdBusy | tfdDRQ
		}
		p.cmd = v &^ (cmdCLO | cmdCR | cmdFR)
	case portSCTL:
		if v&15 == 1 {
			p.forget()
			p.ssts, p.hung = 0, false
		} else if p.sctl&15 == 1 && p.present {
			p.connect()
		}
		p.sctl = v
	case portSERR:
		p.serr &^= v
		if p.serr&(1<<26) == 0 {
			p.is &^= intConnect
		}
		if p.serr&(1<<16) == 0 {
			p.is &^= intPhy
		}
	case portSACT:
		p.sact |= v
	case portCI:
		for i := range 32 {
			if v>>i&1 != 0 && p.cmd&cmdStart != 0 {
				p.ci |= 1 << i
				go p.execute(i, p.era)
			}
		}
	}
}

// forget ends commands without a word.
func (p *fakePort) forget() {
	p.era++
	p.ci, p.sact, p.fatal = 0, 0, false
	if !p.busy && p.present {
		p.tfd = p.tfd&^0x81 | 0x50
	}
}

// signal sends an interrupt if there is reason to.
func (p *fakePort) signal() {
	if p.is&p.ie == 0 {
		return
	}
	p.a.is |= 1 << p.n
	if p.a.ghc&ghcIntr != 0 {
		p.a.h.Raise(0)
	}
}

// unplug takes the drive out, or puts it in.
func (p *fakePort) plug(in bool) {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	p.present = in
	p.forget()
	if in {
		p.connect()
		p.is |= intConnect
	} else {
		p.ssts, p.tfd = 0, 0x7f
		p.serr |= 1 << 16
		p.is |= intPhy
	}
	p.signal()
}

// execute is a drive with a command of a slot.
func (p *fakePort) execute(slot, era int) {
	a := p.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if era != p.era || p.fatal || !p.present || p.busy || p.hung {
		return
	}
	header := a.h.Memory(p.clb+uint64(slot)*32, 32)
	table := a.h.Memory(binary.LittleEndian.Uint64(header[8:]), tableSize)
	t := table[:64]
	cmd, n := t[2], 0
	if t[1]&0x80 == 0 { // control
		switch pm := t[1] & 15; {
		case uint16(pm)<<12 != binary.LittleEndian.Uint16(header)&0xf000:
			panic("a command's header and its FIS are for different ports of a multiplier")
		case p.multiplier && pm != ownPort:
			return // there is nothing at its first port
		case p.multiplier:
			p.sig = sigMultiplier
		}
		p.ci &^= 1 << slot
		return
	}
	a.count[cmd]++
	lba := uint64(t[4]) | uint64(t[5])<<8 | uint64(t[6])<<16 | uint64(t[8])<<24 | uint64(t[9])<<32 | uint64(t[10])<<40
	count := int(t[12]) | int(t[13])<<8
	var mem []byte
	if binary.LittleEndian.Uint16(header[2:]) > 0 {
		n = int(binary.LittleEndian.Uint32(table[tablePRDT+12:])&0x3fffff) + 1
		mem = a.h.Memory(binary.LittleEndian.Uint64(table[tablePRDT:]), n)
	}
	r := reply{}
	if p.answer != nil {
		r = p.answer(cmd, lba)
	}
	queued := cmd == ataReadFPDMA || cmd == ataWriteFPDMA
	if queued {
		count = int(t[3]) | int(t[11])<<8
		p.ci &^= 1 << slot
	} else {
		p.cmd = p.cmd&^(31<<cmdSlot) | uint32(slot)<<cmdSlot
	}
	switch {
	case r.silent || r.hang:
		p.hung = p.hung || r.hang
		return
	case r.err != 0:
		p.fatal = true
		p.tfd = 0x41 | uint32(r.err)<<8
		p.is |= intTFE
		if queued {
			p.log = make([]byte, 512)
			p.log[0], p.log[2], p.log[3] = byte(slot), 0x41, r.err
			if r.badLog != nil {
				r.badLog(p.log)
			} else {
				p.log[511] = -(p.log[0] + p.log[2] + p.log[3])
			}
		}
		p.signal()
		return
	}
	limit := func(b []byte) []byte { return b[:max(0, len(b)-r.short)] }
	inside := int(lba)*512+n <= len(p.data)
	switch cmd {
	case ataIdentify:
		copy(limit(mem), p.identify)
	case ataSetMultiple:
		p.identify[118], p.identify[119] = byte(count), 1
	case ataReadLogExt:
		copy(mem, p.log)
	case ataReadFPDMA, ataReadDMAExt, ataReadDMA:
		if count*512 != n || !inside {
			panic("a read whose memory is not what it says, or outside the disk")
		}
		copy(limit(mem), p.data[lba*512:])
	case ataWriteFPDMA, ataWriteDMAExt, ataWriteDMA:
		if count*512 != n || !inside {
			panic("a write whose memory is not what it says, or outside the disk")
		}
		copy(p.data[lba*512:], limit(mem))
	}
	binary.LittleEndian.PutUint32(header[4:], uint32(n-r.short))
	if queued {
		p.sact &^= 1 << slot
		p.is |= 1 << 3
	} else {
		p.ci &^= 1 << slot
		p.is |= 1
	}
	p.signal()
}

// The rest of kern.Registers, which the driver does not use.
func (a *hba) Read8(uint64) uint8     { panic("8 bits") }
func (a *hba) Read16(uint64) uint16   { panic("16 bits") }
func (a *hba) Read64(uint64) uint64   { panic("64 bits") }
func (a *hba) Write8(uint64, uint8)   { panic("8 bits") }
func (a *hba) Write16(uint64, uint16) { panic("16 bits") }
func (a *hba) Write64(uint64, uint64) { panic("64 bits") }
func chance(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }
