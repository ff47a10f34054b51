package ahci

import (
	"encoding/binary"
	"fmt"

	"dfemu/kernel/subr/disk"
)

// SCSI commands of a packet device (SPC-4, MMC-6).
const (
	scsiTestUnit = 0x00
	scsiSense    = 0x03
	scsiCapacity = 0x25
	scsiRead10   = 0x28
	senseNotRdy  = 2
	senseMedium  = 3
)

// packetFrame is the command that takes a packet of n bytes of data.
func packetFrame(n int) frame {
	f := frame{command: ataPacket, lba: uint64(min(n, 0xfffe)) << 8}
	if n > 0 {
		f.features = 1 // DMA
	}
	return f
}

// packet makes a request a packet.
func (p *port) packet(m *command) error {
	b := m.bio
	if b.Cmd != disk.Read {
		if b.Cmd == disk.Flush {
			return disk.ErrSupported
		}
		return disk.ErrReadOnly
	}
	m.cdb = make([]byte, 12)
	m.cdb[0] = scsiRead10
	binary.BigEndian.PutUint32(m.cdb[2:], uint32(b.Offset/int64(p.id.sector)))
	binary.BigEndian.PutUint16(m.cdb[7:], uint16(b.Length/int64(p.id.sector)))
	m.frame = packetFrame(m.length)
	return nil
}

// scsi executes a packet by polling; the port is to itself.
func (p *port) scsi(n int, cdb ...byte) ([]byte, error) {
	full := make([]byte, 12)
	copy(full, cdb)
	if err := p.poll(packetFrame(n), full, n, 0, 0); err != nil {
		return nil, err
	}
	return p.scratch(n), nil
}

// sense asks why a packet failed; the engine is stopped and is started for it.
func (p *port) sense() error {
	if err := p.stopEngine(); err != nil {
		return err
	}
	if err := p.startEngine(); err != nil {
		return err
	}
	b, err := p.scsi(18, scsiSense, 0, 0, 0, 18)
	if err != nil {
		return fmt.Errorf("%w: sense: %w", disk.ErrIO, err)
	}
	key, code := b[2]&15, b[12]
	switch key {
	case senseNotRdy:
		return fmt.Errorf("%w: sense key %d code %#02x", disk.ErrNoMedium, key, code)
	case senseMedium:
		return fmt.Errorf("%w: sense key %d code %#02x", disk.ErrMedium, key, code)
	}
	return fmt.Errorf("%w: sense key %d code %#02x", disk.ErrIO, key, code)
}

// pollMedium looks whether there is a medium, when nothing else is under way: a disk comes and goes with it.
func (p *port) pollMedium() {
	p.mu.Lock()
	if p.active != 0 || len(p.waiting) > 0 || p.gone {
		p.mu.Unlock()
		return
	}
	p.recovering = true
	p.mu.Unlock()
	p.write(portIE, 0)
	sectors, size := p.medium()
	p.write(portSERR, p.read(portSERR)&^serrChange)
	p.write(portIS, intAll&^intChange)
	p.mu.Lock()
	p.recovering = false
	d := p.disk
	changed := (d == nil) != (sectors == 0) || d != nil && sectors != p.id.sectors
	if changed {
		p.disk = nil
	}
	p.id.sectors, p.id.sector = sectors, size
	p.refill()
	p.mu.Unlock()
	p.write(portIE, intAll)
	if !changed {
		return
	}
	if d != nil {
		p.c.layer.Destroy(d)
	}
	if sectors == 0 {
		p.c.k.Printf("%s: no medium", p.name)
		return
	}
	i := p.id.info()
	i.ReadOnly, i.Removable, i.MaxTransfer, i.CanDelete = true, true, 64<<10, false
	p.create(i)
}

// medium returns what READ CAPACITY says, 0 without a medium.
func (p *port) medium() (sectors uint64, size int) {
	for range 3 { // a unit attention is told first
		if _, err := p.scsi(0, scsiTestUnit); err != nil {
			_ = p.sense() // clears it
			continue
		}
		b, err := p.scsi(8, scsiCapacity)
		if err != nil {
			_ = p.sense()
			continue
		}
		last, n := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		if n < 512 || n > 4096 || n&(n-1) != 0 || last == allOnes {
			return 0, 0
		}
		return uint64(last) + 1, n
	}
	return 0, 0
}
