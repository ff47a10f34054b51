package fwcfg

import "encoding/binary"

// Control field of a DMA descriptor. A new key is in its upper half.
const (
	dmaError  = 1 << 0
	dmaRead   = 1 << 1
	dmaSkip   = 1 << 2
	dmaSelect = 1 << 3
	dmaWrite  = 1 << 4
)

// descriptorSize is that of {control u32, length u32, address u64}, big-endian.
const descriptorSize = 16

// A command is a parsed DMA descriptor.
type command struct {
	control uint32
	length  uint32
	addr    uint64
}

func parseCommand(p *[descriptorSize]byte) command {
	b := binary.BigEndian
	return command{b.Uint32(p[0:]), b.Uint32(p[4:]), b.Uint64(p[8:])}
}

// dma runs the descriptor at addr and stores its outcome in its control field:
// 0, or the error bit. A descriptor outside of memory has nowhere to tell.
func (d *Device) dma(addr uint64) {
	if d.mem == nil {
		return
	}
	var p [descriptorSize]byte
	if d.mem.Read(addr, p[:]) != nil {
		return
	}
	var result uint32
	if !d.run(parseCommand(&p)) {
		result = dmaError
	}
	_ = d.mem.Write(addr, binary.BigEndian.AppendUint32(nil, result))
}

// run does a command and tells whether it succeeded.
func (d *Device) run(c command) bool {
	if c.control&dmaSelect != 0 {
		d.selectKey(uint16(c.control >> 16))
	}
	switch {
	case c.control&dmaRead != 0:
		return d.dmaRead(c)
	case c.control&dmaWrite != 0:
		return d.dmaWrite(c)
	case c.control&dmaSkip != 0:
		d.skip(uint64(c.length))
	}
	return true
}

// zeroes is what lies beyond an item's end; it is never written to.
var zeroes [4096]byte

// dmaRead copies from the item into memory, and zeroes where it ends.
func (d *Device) dmaRead(c command) bool {
	if c.addr+uint64(c.length) < c.addr {
		return false
	}
	addr, left := c.addr, uint64(c.length)
	for left > 0 {
		p := d.rest()
		if len(p) == 0 {
			p = zeroes[:]
		}
		p = p[:min(uint64(len(p)), left)]
		if d.mem.Write(addr, p) != nil {
			return false
		}
		d.skip(uint64(len(p)))
		addr, left = addr+uint64(len(p)), left-uint64(len(p))
	}
	return true
}

// dmaWrite copies from memory into a writable item, within its size.
func (d *Device) dmaWrite(c command) bool {
	it := d.items[d.state.Key]
	if it == nil || it.changed == nil || uint64(c.length) > uint64(len(d.rest())) {
		return false
	}
	off := int(d.state.Offset)
	p := make([]byte, c.length)
	if d.mem.Read(c.addr, p) != nil {
		return false
	}
	copy(it.data[off:], p)
	d.skip(uint64(c.length))
	it.changed(off, p)
	return true
}
