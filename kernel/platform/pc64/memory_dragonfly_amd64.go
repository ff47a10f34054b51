package pc64

import (
	"sync/atomic"
	"time"

	"dfemu/kernel/kern/lwkt"
	"dfemu/kernel/vm"
)

// Where free pages get few, those that are left are for the Go runtime, which cannot do without: memory for devices is refused first, then an expendable
// thread whose own code touches a new page of the heap gets a fault instead of it, which is a panic of that thread alone.

var (
	water     vm.Water
	memoryLow atomic.Uint32 // free pages are few: who gives memory back sleeps on it
	dmaPages  int           // pages that devices have
)

// noteMemory wakes who gives memory back when there is little.
func noteMemory(c *lwkt.CPU) {
	if pages.Free() < water.Low && memoryLow.CompareAndSwap(0, 1) {
		c.Wakeup(addressOf(&memoryLow), 1)
	}
}

// allocDMA is getPages for memory of devices, which leaves the reserve alone.
func allocDMA(order int, limit uint64) uint64 {
	if order > vm.MaxOrder || water.Spare(pages.Free()) < 1<<order {
		return 0
	}
	a := getPages(order, limit)
	if a != 0 {
		dmaPages += 1 << order
	}
	return a
}

// refused tells whether the thread that runs is not to get a page of the reserve: an expendable one whose own code, not the runtime's, wants it. It then has
// a fault like any other, and a panic; what that is handled with is not refused.
func refused(va uint64, c *lwkt.CPU, x *context) bool {
	if water.Spare(pages.Free()) > 0 {
		x.refused = false
		return false
	}
	t := system.Thread(c.Current())
	if !x.expendable || x.refused || x.flags&trapFlag != 0 || t.Crit() > 0 || x.guards != 0 {
		return false // with tokens, too, the runtime makes no panics
	}
	if ok, there := heapPage(va); !ok || there || !panics(x) {
		return false
	}
	x.refused = true
	print("\nout of memory: thread ")
	printDec(uint64(c.Current()))
	print(" (")
	printName(t)
	print(") gets no page for ")
	printHex(va)
	print("\n")
	return true
}

// heapPage tells whether an address is one of the heap that may be touched, and whether its page is there.
func heapPage(va uint64) (ok, there bool) {
	lockVM()
	defer unlockVM()
	prot, ok := space.Lookup(va)
	if e, _ := findEntry(va); e != 0 {
		there = load64(e)&ptePresent != 0
	}
	return ok && prot&vm.Write != 0, there
}

// panics tells whether the runtime can make a panic of a fault where the thread is: in code that is not the runtime's, or in a copy or clearing of memory
// that such code has asked for. These have no frame: who called is on top of the stack.
func panics(x *context) bool {
	name, _, _, ok := symbolize(x.rip)
	if ok && (name == "runtime.memmove" || name == "runtime.memclrNoHeapPointers") && mapped(x.sp) {
		name, _, _, ok = symbolize(load64(x.sp) - 1)
	}
	switch name {
	case "runtime.memclrNoHeapPointersChunked", "runtime.growslice":
		return ok
	}
	for _, p := range [...]string{"runtime.", "runtime/", "internal/", "sync.", "sync/", "syscall.", "reflect."} {
		if len(name) >= len(p) && name[:len(p)] == p {
			return false
		}
	}
	return ok
}

// outOfMemory ends the system: the runtime touches a page that was promised and cannot be had.
func outOfMemory(va uint64) {
	vmLock.Store(0)
	if !comeDown() {
		halted()
	}
	print("\nout of memory: ")
	printDec(uint64(pages.Free()))
	print(" pages free of ")
	printDec(uint64(pages.Total()))
	print(", devices have ")
	printDec(uint64(dmaPages))
	print("; the Go runtime needs the page at ")
	printHex(va)
	p := this()
	if p.ctx == 0 {
		print("\n")
		report("out of memory", 0, 0, framePointer())
		return
	}
	x := (*context)(pointer(p.ctx))
	print(" for thread ")
	printDec(uint64(x.tid))
	print(" (")
	printName(system.Thread(lwkt.ThreadID(x.tid)))
	print(")\n")
	report("out of memory", 0, x.rip, x.bp)
}

// Available implements kern.Platform.
func (*Platform) Available() int64 { return int64(water.Spare(pages.Free())) * pageSize }

// WaitLowMemory implements kern.Platform.
func (p *Platform) WaitLowMemory(timeout time.Duration) bool {
	return memoryLow.Swap(0) != 0 || p.Wait(&memoryLow, 0, timeout) && memoryLow.Swap(0) != 0
}
