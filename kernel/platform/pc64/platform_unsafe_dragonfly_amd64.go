package pc64

import (
	"errors"
	"fmt"
	"runtime"
	rtdebug "runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/acpi"
)

// Platform is the bare machine as the kernel sees it. There is one.
type Platform struct {
	mu         sync.Mutex
	interrupts []interrupts  // of each CPU
	nInts      int           // of all CPUs
	slots      chan struct{} // taken by the kernel's threads but those of interrupts
	full       atomic.Bool   // somebody has been told to wait for one
}

// interrupts are those of a CPU, by vector.
type interrupts struct {
	list [nVectors]*kern.Interrupt // keeps them from the collector: the bottom layer has their addresses
	n    int
}

// maxInterrupts is how many interrupts there may be: each takes a thread.
func maxInterrupts() int { return system.Threads() / 4 }

// New returns the machine the kernel runs on.
func New() *Platform {
	// What is left is for the threads of interrupts, and for the Go runtime, which ends the system when it gets none.
	return &Platform{slots: make(chan struct{}, max(32, system.Threads()-maxInterrupts()-4*ncpu-32)), interrupts: make([]interrupts, ncpu)}
}

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// blockingCall is kcall for calls that block: the Go scheduler gets the processor back at
// once.
//
//go:nosplit
func blockingCall(nr, a, b, c uint64) (uint64, bool) {
	entersyscallblock()
	r, failed := kcall(nr, a, b, c)
	exitsyscall()
	return r, failed
}

// CPUs implements kern.Platform.
func (*Platform) CPUs() int { return ncpu }

// CPU implements kern.Platform.
func (*Platform) CPU() int {
	n, _ := kcall(kernelCPU, 0, 0, 0)
	return int(n)
}

// Now implements kern.Platform.
func (*Platform) Now() time.Duration { return time.Duration(now()) }

// StartThread implements kern.Platform. The thread is a goroutine that has a thread of LWKT to itself. Where there are very many it waits for one of them to end; those
// that outrank drivers' own do not.
func (p *Platform) StartThread(a kern.ThreadAttr, f func()) {
	go func() {
		if a.Priority < kern.IntrSupport {
			p.takeSlot(a.Name)
			defer func() { <-p.slots }()
		}
		// The goroutine ends locked, and its thread with it.
		runtime.LockOSThread()
		rtdebug.SetPanicOnFault(true) // also where memory is out; see refused
		setThread(a)
		f()
	}()
}

// takeSlot waits until there may be one more thread.
func (p *Platform) takeSlot(name string) {
	select {
	case p.slots <- struct{}{}:
		p.full.Store(false)
	default:
		if !p.full.Swap(true) {
			p.Console([]byte(fmt.Sprintf("threads: there are %d, and no more can be had: %s waits until one ends\n", cap(p.slots), name)))
		}
		p.slots <- struct{}{}
		p.full.Store(false)
	}
}

// Full tells whether somebody waits for a thread to end, to begin one.
func (p *Platform) Full() bool { return p.full.Load() }

// setThread makes the calling thread what a says.
func setThread(a kern.ThreadAttr) {
	arg := uint64(a.Priority) & 31
	if a.Intr {
		arg |= 1 << 8
	}
	if a.Expendable {
		arg |= 1 << 9
	}
	arg |= uint64(a.CPU) << 16
	name := a.Name + "\x00"
	p := unsafe.StringData(name)
	kcall(kernelThread, arg, uint64(uintptr(unsafe.Pointer(p))), uint64(len(name)))
	runtime.KeepAlive(p)
}

// Wait implements kern.Platform.
func (*Platform) Wait(addr *atomic.Uint32, val uint32, timeout time.Duration) bool {
	if addr.Load() != val {
		return true
	}
	until := uint64(0)
	if timeout == 0 {
		return false
	} else if timeout > 0 {
		until = uint64(now() + int64(timeout))
	}
	r, _ := blockingCall(kernelSleep, uint64(uintptr(unsafe.Pointer(addr))), uint64(val), until)
	return r&(1<<sleepShift-1) != sleepTimedOut
}

// WaitOrder is Wait without a timeout that tells the place of the switch that ended the sleep among all of the
// CPU: when LWKT let the thread run, whatever the Go scheduler does then. It is 0 if the thread has not slept.
func WaitOrder(addr *atomic.Uint32, val uint32) uint64 {
	r, _ := blockingCall(kernelSleep, uint64(uintptr(unsafe.Pointer(addr))), uint64(val), 0)
	return r >> sleepShift
}

// Wake implements kern.Platform.
func (*Platform) Wake(addr *atomic.Uint32, n int) {
	kcall(kernelWakeup, uint64(uintptr(unsafe.Pointer(addr))), uint64(n), 0)
}

// AllocDMA implements kern.Platform.
func (*Platform) AllocDMA(size, align int, limit uint64) (kern.DMA, error) {
	if size <= 0 || align < 0 || align&(align-1) != 0 {
		return kern.DMA{}, errors.New("allocate DMA memory: size must be positive and alignment a power of two")
	}
	order := orderOf(max(size, align))
	if limit == 0 {
		limit = 1 << 62
	}
	a, failed := kcall(kernelAlloc, uint64(order), limit, 0)
	if failed {
		return kern.DMA{}, fmt.Errorf("%w: no %d contiguous bytes for devices below %#x", kern.ErrNoMemory, pageSize<<order, limit)
	}
	return kern.DMA{Phys: a, Bytes: view(directMap+a, size)}, nil
}

// FreeDMA implements kern.Platform.
func (*Platform) FreeDMA(d kern.DMA) {
	if len(d.Bytes) > 0 {
		kcall(kernelFree, d.Phys, uint64(orderOf(len(d.Bytes))), 0)
	}
}

func orderOf(size int) int {
	order := 0
	for pageSize<<order < size {
		order++
	}
	return order
}

// MapRegisters implements kern.Platform.
func (*Platform) MapRegisters(phys, size uint64) (kern.Registers, error) {
	if size == 0 || phys+size < phys || phys+size > 1<<39 {
		return nil, fmt.Errorf("map registers: %#x bytes at %#x are outside what can be mapped", size, phys)
	}
	if phys+size > 4<<30 {
		if _, failed := kcall(kernelMapDevice, phys, size, 0); failed {
			return nil, errors.New("map registers: no memory for page tables")
		}
	}
	return registers{directMap + phys, size}, nil
}

// NewInterrupt implements kern.Platform.
func (p *Platform) NewInterrupt(cpu int) (*kern.Interrupt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nInts >= maxInterrupts() {
		return nil, fmt.Errorf("allocate an interrupt: there are %d, and no threads for more", p.nInts)
	}
	if cpu < 0 || cpu >= ncpu {
		cpu = p.leastInterrupts()
	}
	mine := &p.interrupts[cpu]
	for v := vecFree; v < vecTimer; v++ {
		if mine.list[v] != nil {
			continue
		}
		at := uint64(v | cpu<<8)
		i := &kern.Interrupt{
			Addr: 0xfee00000 | uint64(percpuOf(cpu).apicID)<<12, Data: uint32(v), CPU: cpu,
			Release: func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				kcall(kernelSetVector, at, 0, 0)
				mine.list[v] = nil
				mine.n--
				p.nInts--
			},
		}
		mine.list[v] = i
		mine.n++
		p.nInts++
		kcall(kernelSetVector, at, uint64(uintptr(unsafe.Pointer(&i.Pending))), uint64(uintptr(unsafe.Pointer(&i.Count))))
		return i, nil
	}
	return nil, fmt.Errorf("allocate an interrupt: all vectors of cpu%d are in use", cpu)
}

// leastInterrupts is the CPU with the fewest interrupts.
func (p *Platform) leastInterrupts() int {
	best := 0
	for i := range ncpu {
		if p.interrupts[i].n < p.interrupts[best].n {
			best = i
		}
	}
	return best
}

// NewPin implements kern.Platform.
func (p *Platform) NewPin(gsi uint32, cpu int) (*kern.Interrupt, error) {
	if cpu < 0 || cpu >= ncpu || percpuOf(cpu).apicID > 254 {
		cpu = 0 // an I/O APIC names only so many
	}
	i, err := p.NewInterrupt(cpu)
	if err != nil {
		return nil, err
	}
	vec := i.Data
	if _, failed := kcall(kernelSetPin, uint64(vec), uint64(gsi), uint64(i.CPU)); failed {
		i.Release()
		return nil, fmt.Errorf("allocate interrupt %d: no I/O APIC has it", gsi)
	}
	i.Addr, i.Data = 0, 0
	i.Rearm = func() { kcall(kernelUnmask, uint64(gsi), 0, 0) }
	return i, nil
}

// Console implements kern.Platform.
func (*Platform) Console(b []byte) {
	if len(b) > 0 {
		kcall(sysWrite, 1, uint64(uintptr(unsafe.Pointer(&b[0]))), uint64(len(b)))
	}
}

// ReadConsole waits for console input and returns how much it has read.
func (*Platform) ReadConsole(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	for {
		n, failed := blockingCall(sysRead, 0, uint64(uintptr(unsafe.Pointer(&b[0]))), uint64(len(b)))
		if !failed {
			return int(n)
		}
		if n != eINTR {
			return 0
		}
	}
}

// ECAMs lists the memory windows of PCI configuration space.
func (*Platform) ECAMs() []acpi.ECAM { return tables.ECAMs[:tables.NECAMs] }

// registers are device registers in the direct map.
type registers struct{ base, size uint64 }

func (r registers) at(off, n uint64) unsafe.Pointer {
	if off > r.size || n > r.size-off || off&(n-1) != 0 {
		panic(fmt.Sprintf("device registers: access of %d bytes at %#x of %#x", n, off, r.size))
	}
	return pointer(r.base + off)
}

func (r registers) Size() uint64 { return r.size }

func (r registers) Read8(off uint64) uint8 { return mmioRead8(r.at(off, 1)) }

func (r registers) Read16(off uint64) uint16 { return mmioRead16(r.at(off, 2)) }

func (r registers) Read32(off uint64) uint32 { return atomic.LoadUint32((*uint32)(r.at(off, 4))) }

func (r registers) Read64(off uint64) uint64 { return atomic.LoadUint64((*uint64)(r.at(off, 8))) }

func (r registers) Write8(off uint64, v uint8) { mmioWrite8(r.at(off, 1), v) }

func (r registers) Write16(off uint64, v uint16) { mmioWrite16(r.at(off, 2), v) }

func (r registers) Write32(off uint64, v uint32) { mmioWrite32(r.at(off, 4), v) }

func (r registers) Write64(off uint64, v uint64) { mmioWrite64(r.at(off, 8), v) }

// In assembly, so that an access is one plain instruction of its size.
func mmioRead8(p unsafe.Pointer) uint8
func mmioRead16(p unsafe.Pointer) uint16
func mmioWrite8(p unsafe.Pointer, v uint8)
func mmioWrite16(p unsafe.Pointer, v uint16)
func mmioWrite32(p unsafe.Pointer, v uint32)
func mmioWrite64(p unsafe.Pointer, v uint64)

// SendInterrupt makes an interrupt come on its CPU as if a device had sent it. The caller runs on
// that CPU.
func (*Platform) SendInterrupt(i *kern.Interrupt) {
	kcall(kernelRaise, uint64(i.CPU), uint64(i.Data), 0)
}
