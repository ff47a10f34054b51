package pc64

import (
	"sync/atomic"

	"dfemu/kernel/vm"
)

// Page table entries.
const (
	ptePresent  = 1 << 0
	pteWrite    = 1 << 1
	pteUser     = 1 << 2
	pteThrough  = 1 << 3
	pteNoCache  = 1 << 4
	pteLarge    = 1 << 7
	pteGlobal   = 1 << 8
	pteNX       = 1 << 63
	pteAddr     = 0x000ffffffffff000
	largePage   = 2 << 20
	deviceFlags = ptePresent | pteWrite | pteNoCache | pteThrough | pteNX
)

// vmLock guards the page tables, free pages and the address space. While it is held the kernel touches no
// memory that may not be there.
var (
	vmLock   atomic.Uint32
	pages    vm.Buddy
	space    vm.Space
	rootPT   uint64 // physical
	ramEnd   uint64 // physical addresses below are in the page array
	ramPages int
	earlyRun = true // page tables come from early memory
	faultsIn uint64
)

func lockVM() {
	for !vmLock.CompareAndSwap(0, 1) {
		flushIfAsked()
		pause()
	}
}

func unlockVM() { vmLock.Store(0) }

// getPages returns 1<<order zeroed pages that end at or below limit, or 0.
func getPages(order int, limit uint64) uint64 {
	p := pages.Get(order, int(min(limit, ramEnd)/pageSize))
	if p < 0 {
		return 0
	}
	a := uint64(p) * pageSize
	zero(directMap+a, pageSize<<order)
	return a
}

func newTable() uint64 {
	if earlyRun {
		return early(pageSize)
	}
	return getPages(0, ramEnd)
}

// entryFor returns the address of the page table entry for va at a level (1: 4 KiB, 2: 2 MiB),
// making tables; 0 when memory is out or a larger page is in the way.
func entryFor(va uint64, level int) uint64 {
	t := rootPT
	for l := 4; l > level; l-- {
		e := directMap + t + va>>(12+9*(l-1))&511*8
		v := load64(e)
		if v&ptePresent == 0 {
			n := newTable()
			if n == 0 {
				return 0
			}
			v = n | ptePresent | pteWrite
			store64(e, v)
		} else if v&pteLarge != 0 {
			return 0
		}
		t = v & pteAddr
	}
	return directMap + t + va>>(12+9*(level-1))&511*8
}

// findEntry returns the address of the entry of a 4 KiB page if its tables exist, and else
// how far the next page is that may be there.
func findEntry(va uint64) (e, skip uint64) {
	t := rootPT
	for l := 4; l > 1; l-- {
		shift := 12 + 9*(l-1)
		v := load64(directMap + t + va>>shift&511*8)
		if v&ptePresent == 0 || v&pteLarge != 0 {
			size := uint64(1) << shift
			return 0, size - va&(size-1)
		}
		t = v & pteAddr
	}
	return directMap + t + va>>12&511*8, pageSize
}

// mapDirect maps physical memory from start to end into the direct map.
func mapDirect(start, end, flags uint64) bool {
	for p := start &^ (largePage - 1); p < end; p += largePage {
		e := entryFor(directMap+p, 2)
		if e == 0 {
			return false
		}
		if load64(e)&ptePresent == 0 {
			store64(e, p|flags|pteLarge)
		}
	}
	return true
}

// initPaging makes the kernel's page tables: the image by its segments, all RAM and
// the devices below 4 GiB in the direct map, and nothing at 0.
func initPaging() {
	rootPT = early(pageSize)
	for i := range nMemoryMap {
		if m := &memoryMap[i]; m.typ == 1 {
			ramEnd = max(ramEnd, (m.addr+m.size)&^(pageSize-1))
			mapDirect(m.addr, m.addr+m.size, ptePresent|pteWrite|pteNX)
		}
	}
	mapDirect(0, 1<<20, ptePresent|pteWrite|pteNX)
	for i := range nMemoryMap { // the firmware's tables are memory, too
		if m := &memoryMap[i]; m.typ == 3 || m.typ == 4 {
			mapDirect(m.addr, m.addr+m.size, ptePresent|pteWrite|pteNX)
		}
	}
	mapDirect(0, 4<<30, deviceFlags)
	segs := uint64(directMap + stubSegs)
	for i := range load64(segs) {
		s := segs + 8 + i*32
		va, pa, size, prot := load64(s), load64(s+8), load64(s+16), load64(s+24)
		flags := uint64(ptePresent | pteGlobal)
		if prot&2 != 0 {
			flags |= pteWrite
		}
		if prot&1 == 0 {
			flags |= pteNX
		}
		off := va & (pageSize - 1)
		for o := uint64(0); o < size+off; o += pageSize {
			store64(entryFor(va-off+o, 1), pa-off+o|flags)
		}
	}
	setCR3(rootPT)
}

// initPages gives the memory that is left to the allocator.
func initPages() {
	ramPages = int(ramEnd / pageSize)
	array := earlySlice[vm.Page](ramPages)
	regions := earlySlice[vm.Region](4096)
	pages.Init(array)
	space.Init(regions, heapBase, heapEnd)
	earlyRun = false
	last := (earlyNext + pageSize - 1) / pageSize
	for i := range nMemoryMap {
		m := &memoryMap[i]
		if m.typ != 1 {
			continue
		}
		first, end := (m.addr+pageSize-1)/pageSize, (m.addr+m.size)/pageSize
		if first < 256 {
			first = 256 // the first MiB is the firmware's and the processors' start-up code's
		}
		// The stub, the image and early memory.
		const taken = stubBase / pageSize
		if first < last && end > taken {
			if first < taken {
				pages.Add(int(first), taken)
			}
			first = last
		}
		if first < end {
			pages.Add(int(first), int(end))
		}
	}
	water = vm.WaterFor(pages.Total())
}

// fault makes the page at an address be there if the address space says so. It returns
// false when the access is an error.
func fault(va, code uint64) bool {
	lockVM()
	defer unlockVM()
	prot, ok := space.Lookup(va)
	if !ok || prot&vm.Read == 0 || code&2 != 0 && prot&vm.Write == 0 || code&16 != 0 && prot&vm.Exec == 0 {
		return false
	}
	va &^= pageSize - 1
	e := entryFor(va, 1)
	if e == 0 {
		outOfMemory(va)
	}
	if v := load64(e); v&ptePresent != 0 {
		// Another CPU was faster, or this one remembers an older entry.
		invlpg(va)
		return code&2 == 0 || v&pteWrite != 0
	}
	faultsIn++
	// A heap is touched in order: a few pages at once, while there are many.
	n := uint64(1)
	if pages.Free() > pages.Total()/4 {
		n = 16
	}
	start := va &^ (n*pageSize - 1)
	first := e - (va-start)/pageSize*8
	for a := start; a < start+n*pageSize; a += pageSize {
		if p, ok := space.Lookup(a); !ok || p != prot {
			continue
		}
		// One table covers all 16 pages.
		e := first + (a-start)/pageSize*8
		if load64(e)&ptePresent != 0 {
			continue
		}
		p := getPages(0, ramEnd)
		if p == 0 {
			if a <= va {
				outOfMemory(va)
			}
			break
		}
		store64(e, p|pteFlags(prot))
	}
	return true
}

func pteFlags(p vm.Prot) uint64 {
	flags := uint64(ptePresent)
	if p&vm.Write != 0 {
		flags |= pteWrite
	}
	if p&vm.Exec == 0 {
		flags |= pteNX
	}
	return flags
}

// release frees the pages of a range, which the address space may keep.
func release(start, end uint64) {
	for start < end {
		var batch [64]uint64
		n := 0
		lockVM()
		for start < end && n < len(batch) {
			e, skip := findEntry(start)
			if e != 0 {
				if v := load64(e); v&ptePresent != 0 {
					store64(e, 0)
					batch[n] = v & pteAddr
					n++
				}
			}
			start += skip
		}
		unlockVM()
		if n == 0 {
			continue
		}
		// No CPU may use the pages any more when they are free.
		flushAll()
		lockVM()
		for _, p := range batch[:n] {
			pages.Put(int(p/pageSize), 0)
		}
		unlockVM()
	}
}

// protect changes the pages of a range that are there to what the address space says.
func protect(start, end uint64, p vm.Prot) {
	lockVM()
	for start < end {
		e, skip := findEntry(start)
		if e != 0 {
			if v := load64(e); v&ptePresent != 0 {
				store64(e, v&pteAddr|pteFlags(p))
			}
		}
		start += skip
	}
	unlockVM()
	flushAll()
}

// flushIfAsked forgets the CPU's translations when another CPU waits for it. Every loop with interrupts
// off calls it.
func flushIfAsked() {
	p := this()
	if atomic.LoadUint32(&p.flush) != 0 {
		atomic.StoreUint32(&p.flush, 0)
		setCR3(getCR3())
	}
}

// flushAll makes all CPUs forget their translations and returns when they have.
func flushAll() {
	me := this()
	setCR3(getCR3())
	for i := range ncpu {
		if p := percpuOf(i); p != me && atomic.LoadUint32(&p.up) != 0 {
			if atomic.SwapUint32(&p.flush, 1) == 0 {
				sendVector(p.apicID, vecFlush)
			}
		}
	}
	for i := range ncpu {
		for p := percpuOf(i); p != me && atomic.LoadUint32(&p.flush) != 0; {
			flushIfAsked()
			pause()
		}
	}
}
