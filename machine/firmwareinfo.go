package machine

import (
	"encoding/binary"

	"dfemu/firmware/e820"
)

// encodeMap is a memory map in the form of the fw_cfg file "etc/e820": 20
// bytes an entry.
func encodeMap(m e820.Map) []byte {
	var p []byte
	for _, e := range m {
		p = binary.LittleEndian.AppendUint64(p, e.Addr)
		p = binary.LittleEndian.AppendUint64(p, e.Size)
		p = binary.LittleEndian.AppendUint32(p, uint32(e.Type))
	}
	return p
}

// CMOS bytes in which firmware looks for the size of memory and the number of
// processors.
const (
	cmosExtLow   = 0x30 // KiB above 1 MiB, up to 64 MiB
	cmosExt2Low  = 0x34 // 64 KiB units above 16 MiB
	cmosHighLow  = 0x5b // 64 KiB units above 4 GiB, three bytes
	cmosCPUs     = 0x5f // processors besides the first
	cmosBaseLow  = 0x15 // KiB of conventional memory
	cmosBootDisk = 0x3d
)

// cmosMemory writes the sizes of memory into the RTC's RAM.
func (p *pc) cmosMemory() {
	var low, high uint64
	for _, b := range p.layout.Banks {
		if b.Addr < 1<<32 {
			low = b.Addr + b.Size
		} else {
			high += b.Size
		}
	}
	put := func(at uint8, v uint64, n int) {
		for i := range n {
			p.rtc.SetCMOS(at+uint8(i), uint8(v>>(8*i)))
		}
	}
	put(cmosBaseLow, 640, 2)
	put(cmosExtLow, min((low-1<<20)>>10, 0xfc00), 2)
	put(0x17, min((low-1<<20)>>10, 0xfc00), 2)
	if low > 16<<20 {
		put(cmosExt2Low, min((low-16<<20)>>16, 0xffff), 2)
	}
	put(cmosHighLow, high>>16, 3)
	put(cmosCPUs, uint64(p.m.cfg.CPUs-1), 1)
	put(cmosBootDisk, 0x21, 1) // disk, then CD
}
