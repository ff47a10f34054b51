package ahci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"dfemu/kernel/subr/disk"
)

// identity is what a device says of itself.
type identity struct {
	packet                  bool
	model, serial, firmware string
	sector                  int
	sectors                 uint64
	lba48, flushExt, trim   bool
	wwn                     uint64
	cache                   bool // writes are kept in a cache that needs power, as far as is known
	preserves               bool // settings over a COMRESET
	multiple, mostMultiple  byte // sectors in a block of READ MULTIPLE, 0: not set
	depth                   int  // of the queue, 0 without NCQ
	speed                   string
}

func (i identity) kind() string {
	if i.packet {
		return "cd"
	}
	return "da"
}

func (i identity) info() disk.Info {
	n := disk.Info{Model: i.model, Serial: i.serial, Firmware: i.firmware, SectorSize: i.sector, Sectors: i.sectors,
		MaxTransfer: maxTransfer, CanDelete: i.trim, Detail: "SATA " + i.speed + " Gbps"}
	if !i.lba48 {
		n.MaxTransfer = 256 * i.sector
	}
	if i.depth > 0 {
		n.Detail += fmt.Sprintf(", NCQ %d", i.depth)
	}
	return n
}

// identify asks the device what it is.
func (p *port) identify() error {
	id := identity{speed: map[uint32]string{1: "1.5", 2: "3", 3: "6"}[p.read(portSSTS)>>4&15]}
	cmd := byte(ataIdentify)
	switch sig := p.read(portSIG); sig {
	case sigATAPI:
		id.packet, cmd = true, ataIdentifyPkt
		p.write(portCMD, p.read(portCMD)|cmdATAPI)
	case sigMultiplier:
		return errors.New("a port multiplier: not supported")
	}
	if err := p.poll(frame{command: cmd}, nil, 512, 0, 0); err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	if err := id.parse(p.scratch(512)); err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	if p.c.ncmd < 3 || p.c.cap&capNCQ == 0 {
		id.depth = 0
	}
	p.mu.Lock()
	p.id = id
	p.mu.Unlock()
	return nil
}

// ident is a string of the identification: its words' bytes are swapped.
func ident(b []byte) string {
	s := make([]byte, len(b))
	for i := range b {
		if s[i] = b[i^1]; s[i] < ' ' || s[i] > '~' {
			s[i] = ' '
		}
	}
	return strings.TrimSpace(string(s))
}

// parse reads the 512 bytes of IDENTIFY DEVICE or IDENTIFY PACKET DEVICE (ACS-3, 7.12).
func (i *identity) parse(b []byte) error {
	word := func(n int) uint16 { return binary.LittleEndian.Uint16(b[2*n:]) }
	if b[510] == 0xa5 {
		sum := byte(0)
		for _, v := range b {
			sum += v
		}
		if sum != 0 {
			return errors.New("the checksum is wrong")
		}
	}
	i.serial, i.firmware, i.model = ident(b[20:40]), ident(b[46:54]), ident(b[54:94])
	if i.packet {
		return nil
	}
	if word(49)>>9&1 == 0 {
		return errors.New("the device has no LBA")
	}
	i.sectors = uint64(binary.LittleEndian.Uint32(b[120:]))
	i.lba48 = word(83)>>14 == 1 && word(83)>>10&1 != 0
	i.flushExt = word(83)>>14 == 1 && word(83)>>13&1 != 0
	if i.lba48 {
		i.sectors = binary.LittleEndian.Uint64(b[200:]) & (1<<48 - 1)
	}
	i.sector = 512
	if w := word(106); w>>14 == 1 && w>>12&1 != 0 {
		i.sector = int(binary.LittleEndian.Uint32(b[234:])) * 2
	}
	if i.sector < 512 || i.sector > 4096 || i.sector&(i.sector-1) != 0 {
		return fmt.Errorf("sectors of %d bytes", i.sector)
	}
	switch {
	case i.sectors == 0:
		return errors.New("the device has no sectors")
	case !i.lba48 && i.sectors > 1<<28:
		return fmt.Errorf("%d sectors with addresses of 28 bits", i.sectors)
	}
	if w := word(76); w != 0xffff && w>>8&1 != 0 && i.lba48 {
		i.depth = int(word(75)&31) + 1
	}
	i.trim = word(169)&1 != 0 && i.lba48
	valid := word(87)>>14 == 1 // words 85 to 87
	i.cache = !valid || word(85)>>5&1 != 0
	if valid && word(87)>>8&1 != 0 {
		for n := range 4 {
			i.wwn = i.wwn<<16 | uint64(word(108+n))
		}
	}
	i.preserves = word(76) != 0xffff && word(76) != 0 && word(78)>>6&1 != 0 && word(79)>>6&1 != 0
	i.mostMultiple = byte(word(47))
	if word(59)>>8&1 != 0 {
		i.multiple = byte(word(59))
	}
	return nil
}

// translate makes a request an ATA command, or a packet.
func (p *port) translate(m *command) error {
	b := m.bio
	if p.id.packet {
		return p.packet(m)
	}
	lba, count := uint64(b.Offset)/uint64(p.id.sector), uint64(b.Length)/uint64(p.id.sector)
	f := frame{device: deviceLBA, lba: lba, count: uint16(count)}
	switch {
	case b.Cmd == disk.Flush:
		f = frame{command: ataFlush, device: deviceLBA}
		if p.id.flushExt {
			f.command = ataFlushExt
		}
	case b.Cmd == disk.Delete:
		return p.trim(m, lba, count)
	case p.id.depth > 0:
		f.command, f.features, m.ncq = ataReadFPDMA, uint16(count), true
		if m.write {
			f.command = ataWriteFPDMA
		}
	case p.id.lba48:
		f.command = ataReadDMAExt
		if m.write {
			f.command = ataWriteDMAExt
		}
	default:
		f.command, f.device = ataReadDMA, deviceLBA|byte(lba>>24&15)
		f.lba &= 0xffffff
		if m.write {
			f.command = ataWriteDMA
		}
	}
	m.frame = f
	return nil
}

// trim makes a request a DATA SET MANAGEMENT command, whose ranges are in memory of its own.
func (p *port) trim(m *command, lba, count uint64) error {
	const most = 64 * 0xffff
	if count > most {
		return disk.ErrRange
	}
	limit := uint64(0)
	if p.c.cap&cap64 == 0 {
		limit = 1 << 32
	}
	mem, err := p.c.k.AllocDMA(512, 512, limit)
	if err != nil {
		return err
	}
	for i := 0; count > 0; i++ {
		n := min(count, 0xffff)
		binary.LittleEndian.PutUint64(mem.Bytes[8*i:], lba|n<<48)
		lba, count = lba+n, count-n
	}
	m.bounce, m.phys, m.length, m.write = mem, mem.Phys, 512, true
	m.frame = frame{command: ataDataset, features: 1, count: 1, device: deviceLBA}
	return nil
}
