package ata

import (
	"encoding/binary"
	"math/bits"
)

// Words is IDENTIFY data under construction: 256 little-endian words.
type Words [pageSize]byte

// Set stores a word.
func (w *Words) Set(i int, v uint16) { binary.LittleEndian.PutUint16(w[2*i:], v) }

// Or sets bits of a word.
func (w *Words) Or(i int, v uint16) {
	w.Set(i, binary.LittleEndian.Uint16(w[2*i:])|v)
}

// Set32 stores two words, Set64 four.
func (w *Words) Set32(i int, v uint32) { binary.LittleEndian.PutUint32(w[2*i:], v) }

// Set64 stores four words.
func (w *Words) Set64(i int, v uint64) { binary.LittleEndian.PutUint64(w[2*i:], v) }

// Text stores an ATA string of n words: padded with blanks, the first character
// of each pair in the high byte (ACS-4, section 3.4.9).
func (w *Words) Text(i, n int, s string) {
	for k := range 2 * n {
		c := byte(' ')
		if k < len(s) {
			c = s[k]
		}
		w[2*i+k^1] = c
	}
}

// Seal stores the integrity word (ACS-4, section 7.12.7.86).
func (w *Words) Seal() {
	w[510] = 0xa5
	w[511] = Checksum(w[:511])
}

// Checksum is the byte that makes the sum of p and itself zero.
func Checksum(p []byte) byte {
	var sum byte
	for _, b := range p {
		sum += b
	}
	return -sum
}

// Bits of IDENTIFY words 82 to 87.
const (
	has82SMART     = 1 << 0
	has82Power     = 1 << 3
	has82Cache     = 1 << 5
	has82LookAhead = 1 << 6
	has82WriteBuf  = 1 << 12
	has82ReadBuf   = 1 << 13
	has82NOP       = 1 << 14
	has83APM       = 1 << 3
	has83LBA48     = 1 << 10
	has83Flush     = 1 << 12
	has83FlushExt  = 1 << 13
	has84Errors    = 1 << 0
	has84SelfTest  = 1 << 1
	has84GPL       = 1 << 5
	has84FUA       = 1 << 6
	has84WWN       = 1 << 8
	has84Unload    = 1 << 13
	valid8x        = 1 << 14
)

// identify makes the data of IDENTIFY DEVICE (ACS-4, section 7.12.7).
func (d *Disk) identify() Words {
	d.mu.Lock()
	defer d.mu.Unlock()
	var w Words
	cylinders := uint16(min(d.blocks/(chsHeads*chsSectors), 16383))
	w.Set(0, 0x0040)
	w.Set(1, cylinders)
	w.Set(3, chsHeads)
	w.Set(6, chsSectors)
	w.Text(10, 10, d.o.Serial)
	w.Text(23, 4, d.o.Firmware)
	w.Text(27, 20, d.o.Model)
	w.Set(47, 0x8000|maxMulti)
	w.Set(48, 0x4000)
	w.Set(49, 0x2f00)
	w.Set(50, 0x4000)
	w.Set(53, 0x0007)
	w.Set(54, cylinders)
	w.Set(55, chsHeads)
	w.Set(56, chsSectors)
	w.Set32(57, uint32(cylinders)*chsHeads*chsSectors)
	if d.s.Multi != 0 {
		w.Set(59, 0x100|uint16(d.s.Multi))
	}
	w.Set32(60, uint32(min(d.blocks, max28)))
	w.Set(63, 0x0007)
	if d.s.MWDMA >= 0 {
		w.Or(63, 0x100<<d.s.MWDMA)
	}
	w.Set(64, 0x0003)
	for i := 65; i <= 68; i++ {
		w.Set(i, 120)
	}
	w.Set(75, 31)
	w.Set(76, 1<<12|1<<10|1<<9|1<<8|0xe) // NCQ with priority, power management, PHY counters, 1.5 to 6 Gb/s
	w.Set(77, 1<<6|1<<5|3<<1)            // SEND and RECEIVE FPDMA, NCQ NON-DATA; 6 Gb/s now
	w.Set(78, 1<<6|1<<3|1<<2)
	w.Set(79, flag(d.s.Preserve, 1<<6)|flag(d.s.DIPM, 1<<3)|flag(d.s.AutoAct, 1<<2))
	w.Set(80, 0x0ff0) // ATA/ATAPI-4 to ACS-4
	d.featureWords(&w)
	w.Set(88, 0x007f)
	if d.s.UDMA >= 0 {
		w.Or(88, 0x100<<d.s.UDMA)
	}
	w.Set(91, uint16(d.s.APM))
	w.Set64(100, d.blocks)
	w.Set(106, 0x4000|sectorSizes(d.o.LogicalSize, d.o.PhysicalSize))
	for i := range 4 {
		w.Set(108+i, uint16(d.o.WWN>>(48-16*i)))
	}
	if d.o.LogicalSize > pageSize {
		w.Set32(117, uint32(d.o.LogicalSize/2))
	}
	w.Set(119, valid8x|1<<3|1<<2) // log DMA commands, WRITE UNCORRECTABLE EXT
	w.Set(120, valid8x|1<<3|1<<2)
	if d.offersTrim() {
		w.Set(105, trimPages)
		w.Set(169, 1)
		if d.o.TrimZeroes {
			w.Or(69, 1<<14|1<<5)
		}
	}
	w.Set(209, 0x4000)
	w.Set(217, uint16(d.o.RPM))
	w.Set(222, 0x10ff) // Serial ATA, up to revision 3.2
	w.Seal()
	return w
}

// featureWords fills words 82 to 87; mu is held.
func (d *Disk) featureWords(w *Words) {
	const always82 = has82Power | has82WriteBuf | has82ReadBuf | has82NOP
	w.Set(82, always82|has82SMART|has82Cache|has82LookAhead)
	w.Set(83, valid8x|has83APM|has83LBA48|has83Flush|has83FlushExt)
	w.Set(84, valid8x|has84Errors|has84SelfTest|has84GPL|has84FUA|has84WWN|has84Unload)
	w.Set(85, always82|flag(d.s.SMART.Enabled, has82SMART)|flag(d.cache.Load(), has82Cache)|flag(d.s.LookAhead, has82LookAhead))
	w.Set(86, 1<<15|flag(d.s.APM != 0, has83APM)|has83LBA48|has83Flush|has83FlushExt)
	w.Set(87, valid8x|has84Errors|has84SelfTest|has84GPL|has84FUA|has84WWN|has84Unload)
}

// offersTrim tells whether the disk offers TRIM.
func (d *Disk) offersTrim() bool { return !d.o.NoTrim && !d.store.ReadOnly() }

// sectorSizes is word 106 without its valid bit.
func sectorSizes(logical, physical int) uint16 {
	v := uint16(0)
	if physical > logical {
		v |= 1<<13 | uint16(bits.TrailingZeros(uint(physical/logical)))
	}
	if logical > pageSize {
		v |= 1 << 12
	}
	return v
}

func flag(on bool, v uint16) uint16 {
	if on {
		return v
	}
	return 0
}
