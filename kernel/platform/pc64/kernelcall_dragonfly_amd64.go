package pc64

import (
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
	"dfemu/kernel/vm"
)

// The kernel's own system calls, which its Go part makes by kcall.
const (
	kernelCalls     = 0x1000 + iota
	kernelSleep     // (address, value, deadline): lwkt.SleepResult | the CPU's switches when it ran again << sleepShift, 0 without a sleep
	kernelWakeup    // (address, number)
	kernelSplz      // see to what became pending in a critical section
	kernelCPU       // number of the CPU
	kernelThread    // (priority | interrupt<<8 | expendable<<9 | (CPU+1)<<16, name, its length)
	kernelAlloc     // (order, limit): physical address
	kernelFree      // (physical address, order)
	kernelMapDevice // (physical address, size)
	kernelSetVector // (vector, address of Pending, address of Count)
	kernelToken     // (token, mode, whether to wait): whether it is held
	kernelRelease   // (token)
	kernelMigrate   // (CPU)
	kernelPassive   // (CPU, address of a flag)
	kernelRaise     // (CPU, vector)
	kernelTest      // (what, a, b): see test
	kernelDebug     // enter the debugger
	kernelYield     // let equals run
	kernelSetPin    // (vector, global system interrupt, CPU): make that the vector's, masked
	kernelUnmask    // (global system interrupt)
	kernelGDB       // (whether to stop at once): look for gdb
	kernelConfig    // (address and kind of access, value): see configAccess
	kernelEntropy   // (address, number of bytes): into the random source; how many it was given
)

const (
	sleepShift    = 8
	sleepTimedOut = uint64(lwkt.TimedOut)
	vecConsole    = vecDevice
	vecDebug      = vecDevice + 1 // the debugger's serial port
	vecFree       = vecDevice + 2 // the first for devices
)

// vector is what an interrupt of a device is on one CPU.
type vector struct {
	// pending and count are the addresses of what it changes.
	pending, count uint64
	// gsi is the global system interrupt plus one, of a pin's.
	gsi uint32
}

// deviceVectors are those of all CPUs, nVectors of each.
var deviceVectors []vector

const nVectors = 256

func vectorOf(cpu, vec int) *vector { return &deviceVectors[cpu*nVectors+vec&(nVectors-1)] }

func kernelCall(p *percpu, c *lwkt.CPU, x *context, nr uint64) {
	id := c.Current()
	switch nr {
	case kernelSleep:
		load32(x.di) // is there now
		c.SleepLock(x.di)
		x.ax = 0
		if load32(x.di) != uint32(x.si) {
			c.SleepUnlock(x.di)
			return
		}
		x.asleep = kernelSleep
		c.SleepAhead(x.di, int64(x.dx))
	case kernelWakeup:
		x.ax = uint64(c.Wakeup(x.di, int(int64(x.si))))
	case kernelSplz:
		p.slow = 1
		x.ax = 0
	case kernelCPU:
		x.ax = p.index
	case kernelThread:
		x.ax = 0
		var name [24]byte
		for i := range min(x.dx, uint64(len(name))) {
			name[i] = load8(x.si + i)
		}
		system.Thread(id).Name = name
		c.SetClass(id, x.di>>8&1 != 0, false)
		x.expendable = x.di>>9&1 != 0
		c.SetPriority(id, int(x.di&31), 0)
		if cpu := int(x.di>>16) - 1; cpu >= 0 && cpu < ncpu && cpu != c.ID() {
			c.Migrate(cpu)
		}
	case kernelAlloc:
		lockVM()
		a := allocDMA(int(min(x.di, vm.MaxOrder+1)), x.si)
		unlockVM()
		noteMemory(c)
		if a == 0 {
			fail(x, eNOMEM)
			return
		}
		x.ax = a
	case kernelFree:
		lockVM()
		pages.Put(int(x.di/pageSize), int(x.si))
		dmaPages -= 1 << x.si
		unlockVM()
		x.ax = 0
	case kernelMapDevice:
		lockVM()
		ok := mapDirect(x.di, x.di+x.si, deviceFlags)
		unlockVM()
		if x.ax = 0; !ok {
			fail(x, eNOMEM)
		}
	case kernelSetVector:
		x.ax = 0
		cpu := int(x.di >> 8)
		if cpu >= ncpu {
			fail(x, eINVAL)
			return
		}
		v := vectorOf(cpu, int(x.di&255))
		if v.gsi != 0 && x.si == 0 {
			maskGSI(v.gsi-1, true)
			v.gsi = 0
		}
		atomic.StoreUint64(&v.count, x.dx)
		atomic.StoreUint64(&v.pending, x.si)
	case kernelSetPin:
		x.ax = 0
		gsi := uint32(x.si)
		if x.di < vecDevice || x.di >= vecTimer || x.dx >= uint64(ncpu) || !routeGSI(gsi, uint32(x.di), percpuOf(int(x.dx)).apicID, true, pinLow(gsi), true) {
			fail(x, eINVAL)
			return
		}
		vectorOf(int(x.dx), int(x.di)).gsi = gsi + 1
	case kernelUnmask:
		x.ax = 0
		maskGSI(uint32(x.di), false)
	case kernelConfig:
		x.ax = configAccess(x.di, x.si)
	case kernelEntropy:
		if x.si > 0 {
			takeEntropy(x.di, x.si)
		}
		lockRandom()
		x.ax = randomPool.Added()
		randomLock.Store(0)
	case kernelToken:
		tok := (*lwkt.Token)(pointer(x.di))
		if !system.Thread(id).Bound() {
			die("a thread that is not the kernel's takes a token")
		}
		x.ax = 1
		if x.dx != 0 {
			c.WaitToken(tok, lwkt.Mode(x.si))
		} else if !c.TryToken(tok, lwkt.Mode(x.si)) {
			x.ax = 0
		}
	case kernelRelease:
		c.ReleaseToken((*lwkt.Token)(pointer(x.di)))
		x.ax = 0
	case kernelMigrate:
		x.ax = 0
		if cpu := int(x.di); cpu >= 0 && cpu < ncpu && cpu != c.ID() {
			c.Migrate(cpu)
		}
	case kernelPassive:
		x.ax = 0
		if x.di < uint64(ncpu) {
			c.SendPassive(int(x.di), ipiFlag, x.si, 0)
		}
	case kernelRaise:
		x.ax = 0
		if x.di < uint64(ncpu) && x.si >= vecDevice && x.si < vecTimer {
			sendVector(percpuOf(int(x.di)).apicID, uint32(x.si))
		}
	case kernelDebug:
		x.ax = 0
		breakIn(c)
	case kernelGDB:
		x.ax = 0
		if x.di == 0 {
			debugInterrupt(c)
		} else {
			stopForGDB(c, enterIfNew)
		}
	case kernelYield:
		x.ax = 0
		c.Yield()
	case kernelTest:
		test(p, c, x)
	default:
		fail(x, eNOSYS)
	}
}

// flagIPI sets a flag of the Go heap, which its owner keeps alive.
func flagIPI(_ *lwkt.CPU, a, _ uint64) { atomic.StoreUint32((*uint32)(pointer(a)), 1) }

// runPending takes the device interrupts in one word of the CPU's pending ones.
func runPending(p *percpu, c *lwkt.CPU, w int) {
	v := p.pending[w]
	p.pending[w] = 0
	for i := range 64 {
		if v>>i&1 != 0 {
			deviceInterrupt(c, w*64+i)
		}
	}
}

func deviceInterrupt(c *lwkt.CPU, vec int) {
	if vec == vecConsole {
		consoleInterrupt(c)
		return
	}
	if vec == vecDebug {
		debugInterrupt(c)
		return
	}
	v := vectorOf(c.ID(), vec)
	pending, count := atomic.LoadUint64(&v.pending), atomic.LoadUint64(&v.count)
	if pending == 0 {
		return
	}
	atomic.AddUint64((*uint64)(pointer(count)), 1)
	atomic.StoreUint32((*uint32)(pointer(pending)), 1)
	c.Wakeup(pending, 1)
}

// StartConsole turns the console's input interrupt on.
func StartConsole() {
	isa := tables.ISA[consoleIRQ]
	routeGSI(isa.GSI, vecConsole, percpuOf(0).apicID, isa.Level, isa.ActiveLow, false)
	out8(com1+uartIER, 1)
}

// PowerOff turns the machine off.
func PowerOff() { powerOff() }
