package pc64

// What the boot stub leaves in its segment; see images/kernelelf.go.
const (
	stubEAX  = stubBase + 0x200
	stubEBX  = stubBase + 0x204
	stubSegs = stubBase + 0x210
	stubPML4 = stubBase + 0x1000
	stubEnd  = stubBase + 0x9000
)

const (
	multibootMagic = 0x2badb002
	pvhMagic       = 0x336ec578
)

// memoryRange is a piece of the memory map; type 1 is RAM.
type memoryRange struct {
	addr, size uint64
	typ        uint32
}

var (
	memoryMap  [128]memoryRange
	nMemoryMap int
	cmdline    [2048]byte
	nCmdline   int
	rsdpHint   uint64
	bootedBy   string
)

// readBootInfo copies what the loader says, before any of its memory is used.
func readBootInfo() {
	eax, ebx := load32(directMap+stubEAX), uint64(load32(directMap+stubEBX))
	switch {
	case eax == multibootMagic:
		bootedBy = "Multiboot"
		readMultiboot(directMap + ebx)
	case ebx != 0 && load32(directMap+ebx) == pvhMagic:
		bootedBy = "PVH"
		readPVH(directMap + ebx)
	}
}

// readMultiboot reads the information structure of Multiboot 0.6.96, section 3.3.
func readMultiboot(a uint64) {
	flags := load32(a)
	if flags&4 != 0 {
		copyCmdline(uint64(load32(a + 16)))
	}
	if flags&64 != 0 {
		p := directMap + uint64(load32(a+48))
		for end := p + uint64(load32(a+44)); p < end; p += uint64(load32(p)) + 4 {
			addRange(load64(p+4), load64(p+12), load32(p+20))
		}
	} else if flags&1 != 0 {
		addRange(0, uint64(load32(a+4))<<10, 1)
		addRange(1<<20, uint64(load32(a+8))<<10, 1)
	}
}

// readPVH reads struct hvm_start_info.
func readPVH(a uint64) {
	if c := load64(a + 24); c != 0 {
		copyCmdline(c)
	}
	rsdpHint = load64(a + 32)
	if load32(a+4) == 0 {
		return
	}
	p := directMap + load64(a+40)
	for range load32(a + 48) {
		addRange(load64(p), load64(p+8), load32(p+16))
		p += 24
	}
}

func addRange(addr, size uint64, typ uint32) {
	if nMemoryMap < len(memoryMap) && size != 0 {
		memoryMap[nMemoryMap] = memoryRange{addr, size, typ}
		nMemoryMap++
	}
}

func copyCmdline(p uint64) {
	for nCmdline < len(cmdline)-1 {
		b := load8(directMap + p + uint64(nCmdline))
		if b == 0 {
			break
		}
		cmdline[nCmdline] = b
		nCmdline++
	}
}

// earlyNext and earlyEnd bound the memory that is given out for good at start-up.
var earlyNext, earlyEnd uint64

// initEarly finds the memory behind the image.
func initEarly() bool {
	segs := uint64(directMap + stubSegs)
	for i := range load64(segs) {
		s := segs + 8 + i*32
		earlyNext = max(earlyNext, load64(s+8)+load64(s+16))
	}
	earlyNext = (earlyNext + pageSize - 1) &^ (pageSize - 1)
	for i := range nMemoryMap {
		m := &memoryMap[i]
		if m.typ == 1 && m.addr <= earlyNext && earlyNext < m.addr+m.size {
			earlyEnd = min(m.addr+m.size, 4<<30)
		}
	}
	return earlyEnd > earlyNext
}

// early returns zeroed physical memory of whole pages, below 4 GiB.
func early(n uint64) uint64 {
	n = (n + pageSize - 1) &^ (pageSize - 1)
	if n > earlyEnd-earlyNext {
		die("not enough memory to start")
	}
	p := earlyNext
	earlyNext += n
	zero(directMap+p, n)
	return p
}

// earlySlice is early for n elements, as a slice.
func earlySlice[T any](n int) []T { return sliceAt[T](directMap+early(sizeOf[T]()*uint64(n)), n) }
