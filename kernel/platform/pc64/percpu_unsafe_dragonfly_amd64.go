package pc64

import "unsafe"

// Invariants of the unsafe code in this package: physical memory that is not the
// Go heap's is reached through the direct map, which covers all of it and is never
// unmapped; the areas of CPUs and contexts are never freed.

// The area of a CPU: percpu, the stand-ins for a g and an m, tables, vector state of nested
// faults, then stacks. The g's stack bounds are left zero, below every stack.
const (
	areaG      = 0x1000
	areaTables = 0x1800
	areaFPU    = 0x2000
	areaM      = 0x3000
	areaStack  = 0x14000 // top of the kernel stack, 60 KiB
	areaTrap   = 0x18000 // tops of the interrupt stacks, 12 KiB each
	areaNMI    = 0x1c000
	areaFault  = 0x20000
	areaCheck  = 0x24000
	areaSize   = 0x24000
	areaStride = 0x40000
)

// areaGuards are the pages of an area that are not there: the lowest of each stack.
var areaGuards = [...]uint64{0x4000, areaStack, areaTrap, areaNMI, areaFault}

// bspArea is the boot processor's area, not aligned.
var bspArea [areaSize + 4096]byte

// percpu is what GS points to. The first fields are known to assembly.
type percpu struct {
	self    uint64
	ctx     uint64 // context of the thread that runs, 0 when idle
	stack   uint64
	feat    uint64
	slow    uint64 // return from the system call through the context
	kfs     uint64
	index   uint64
	scratch uint64
	xmask   uint64
	tsc0    uint64
	tscmul  uint64
	wall    uint64
	idle    uint64
	nested  uint64
	nsys    uint64
	step    uint64 // the thread executes one instruction with interrupts off; see stepAlone

	apicID   uint32
	pending  [4]uint64 // device interrupts that came in a critical section
	timerDue bool
	up       uint32
	faults   uint64
	traps    uint64
	irqs     uint64
	flush    uint32 // atomic: another CPU wants the translations forgotten
	stopFP   uint64 // frame pointer and instruction at which the CPU was stopped
	stopPC   uint64
	stopped  uint32
}

const (
	featFSGS  = 1
	featXSAVE = 2
)

// context is a thread's registers and what the kernel keeps of it as a process does of a
// thread. It fills a page.
type context struct {
	ax, bx, cx, dx, si, di, bp, r8, r9, r10, r11, r12, r13, r14, r15 uint64
	rip, cs, flags, sp, ss                                           uint64
	fpv, fs, errcode, vec, cr2                                       uint64
	_                                                                [7]uint64
	fpu                                                              [2816]byte

	tid      int32
	asleep   int32  // which system call sleeps; see finishSleep
	pend     uint64 // atomic: signals that wait
	mask     uint64
	altSP    uint64
	altSize  uint64
	altFlags int32
	sigCode  uint64
	sigAddr  uint64
	sysArg   uint64
	eventBuf uint64
	eventMax uint64
	guards   int64 // see noPreempt

	expendable, refused bool // see refused
}

const contextSize = 4096

func percpuAddress() uintptr
func contextAddress() uintptr

// this is the percpu of the CPU that asks, in the bottom layer.
func this() *percpu { return (*percpu)(pointer(uint64(percpuAddress()))) }

// pointer makes an address a pointer; the memory must be mapped and no object of the heap.
func pointer(a uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

// areas are the addresses of the CPUs' areas.
var areas [MaxCPUs]uint64

func percpuOf(cpu int) *percpu { return (*percpu)(pointer(areas[cpu])) }

// phys is a pointer to physical memory.
func phys(p uint64) unsafe.Pointer { return pointer(directMap + p) }

func load64(a uint64) uint64     { return *(*uint64)(pointer(a)) }
func load32(a uint64) uint32     { return *(*uint32)(pointer(a)) }
func load8(a uint64) byte        { return *(*byte)(pointer(a)) }
func store64(a uint64, v uint64) { *(*uint64)(pointer(a)) = v }
func store32(a uint64, v uint32) { *(*uint32)(pointer(a)) = v }
func store8(a uint64, v byte)    { *(*byte)(pointer(a)) = v }

// view is memory as a slice, not to be kept.
func view(a uint64, n int) []byte { return unsafe.Slice((*byte)(pointer(a)), n) }

func addressOf[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// sliceAt makes zeroed memory a slice of n elements.
func sliceAt[T any](a uint64, n int) []T { return unsafe.Slice((*T)(pointer(a)), n) }

func sizeOf[T any]() uint64 {
	var v T
	return uint64(unsafe.Sizeof(v))
}

// checkLayout compares the structures with what assembly knows of them.
func checkLayout() bool {
	var p percpu
	var c context
	return unsafe.Offsetof(p.nsys) == 112 && unsafe.Offsetof(p.step) == 120 && unsafe.Offsetof(p.xmask) == 64 && unsafe.Offsetof(p.idle) == 96 &&
		unsafe.Offsetof(c.cr2) == 192 && unsafe.Offsetof(c.fpu) == 256 && unsafe.Sizeof(c) <= contextSize
}
