package pc64

import (
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
	"dfemu/kernel/vm"
)

// System calls of the Go runtime, by DragonFly's numbers.
const (
	sysExit        = 1
	sysRead        = 3
	sysWrite       = 4
	sysOpen        = 5
	sysClose       = 6
	sysGetpid      = 20
	sysKill        = 37
	sysSigaltstack = 53
	sysMunmap      = 73
	sysMprotect    = 74
	sysMadvise     = 75
	sysFcntl       = 92
	sysGetrlimit   = 194
	sysSetrlimit   = 195
	sysMmap        = 197
	sysSysctl      = 202
	sysClock       = 232
	sysNanosleep   = 240
	sysIssetugid   = 253
	sysYield       = 331
	sysSigprocmask = 340
	sysSigaction   = 342
	sysSigreturn   = 344
	sysKqueue      = 362
	sysKevent      = 363
	sysUmtxSleep   = 469
	sysUmtxWakeup  = 470
	sysSetTLS      = 472
	sysExtexit     = 494
	sysLwpCreate   = 495
	sysLwpGettid   = 496
	sysLwpKill     = 497
	sysGetrandom   = 550
)

// Errors, by DragonFly's numbers.
const (
	eNOENT  = 2
	eSRCH   = 3
	eINTR   = 4
	eBADF   = 9
	eNOMEM  = 12
	eBUSY   = 16
	eINVAL  = 22
	eAGAIN  = 35
	eNOSYS  = 78
	eTIMOUT = 60
)

// Messages between CPUs beyond LWKT's own.
const (
	ipiSignal = lwkt.FirstIPIFunc + iota
	ipiTest
	ipiFlag
	ipiWatch
)

// yieldTime is how long a thread that yields leaves the CPU to threads of lower priority.
const yieldTime = 20_000

const (
	randomFD = 9
	kqueueFD = 8
)

var (
	kqTriggered atomic.Uint32
	kqEvent     [4]uint64 // the registered EVFILT_USER event
	unknownSys  [64]uint16
	nUnknownSys int

	readRestarts atomic.Uint64 // reads of the console that are made again after a signal
)

func fail(x *context, errno uint64) {
	x.ax = errno
	x.flags |= 1
}

// ksyscall answers a system call of the thread that runs.
func ksyscall() {
	p := this()
	c := p.kcpu()
	id := c.Current()
	x := (*context)(pointer(p.ctx))
	x.cs, x.ss = 8, 0x10
	x.flags &^= 1
	nr := x.ax
	if nr >= kernelCalls {
		kernelCall(p, c, x, nr)
	} else {
		syscall(p, c, x, nr)
	}
	if p.slow != 0 || c.Current() != id || c.WantResched() || c.HasIPIs() || atomic.LoadUint64(&x.pend)&^x.mask != 0 {
		p.slow = 1
		kexit(p)
		return
	}
	c.ArmTimer()
}

func syscall(p *percpu, c *lwkt.CPU, x *context, nr uint64) {
	switch nr {
	case sysUmtxSleep:
		umtxSleep(c, x)
	case sysUmtxWakeup:
		x.ax = 0
		c.Wakeup(x.di, int(int32(x.si)))
	case sysClock:
		clockGettime(c, x)
	case sysNanosleep:
		d := int64(load64(x.di))*second + int64(load64(x.di+8))
		if x.ax = 0; d <= 0 {
			c.Yield()
			return
		}
		x.asleep = sysNanosleep
		c.SleepLock(addressOf(x))
		c.SleepOn(addressOf(x), now()+d)
	case sysYield:
		// The runtime yields to let another thread finish what this one waits for, and
		// knows nothing of priorities: a lower one gets its turn, too.
		x.ax = 0
		if c.HasLower() {
			x.asleep = sysNanosleep
			c.SleepLock(addressOf(x))
			c.SleepOn(addressOf(x), now()+yieldTime)
			return
		}
		c.Yield()
	case sysKevent:
		kevent(c, x)
	case sysSigprocmask:
		sigprocmask(x)
	case sysLwpKill, sysKill:
		kill(c, x, nr)
	case sysSigreturn:
		sigreturn(p, x)
	case sysMmap:
		mmap(x)
	case sysMunmap, sysMadvise:
		unmap(x, nr)
	case sysMprotect:
		mprotect(x)
	case sysLwpCreate:
		lwpCreate(c, x)
	case sysExtexit:
		c.Exit()
		p.slow = 1
	case sysLwpGettid:
		x.ax = uint64(x.tid)
	case sysSetTLS: // (which, {base, size}, size of that)
		x.fs = load64(x.si)
		x.ax = 0
	case sysSigaltstack:
		sigaltstack(x)
	case sysSigaction:
		sigaction(x)
	case sysSysctl:
		sysctl(x)
	case sysOpen:
		open(x)
	case sysRead:
		read(c, x)
	case sysGetrandom: // (buffer, length, flags)
		x.ax = min(x.si, 1<<20)
		fillRandom(x.di, x.ax)
	case sysWrite:
		if x.di != 1 && x.di != 2 {
			fail(x, eBADF)
			return
		}
		writeConsole(x.si, x.dx)
		x.ax = x.dx
	case sysClose, sysIssetugid, sysSetrlimit:
		x.ax = 0
	case sysFcntl:
		x.ax = 0
		if x.si == 3 { // F_GETFL: O_RDWR, blocking
			x.ax = 2
		}
	case sysGetpid:
		x.ax = 1
	case sysGetrlimit:
		store64(x.si, 1024)
		store64(x.si+8, 1024)
		x.ax = 0
	case sysKqueue:
		x.ax = kqueueFD
	case sysExit:
		exit(x)
	default:
		unknown(nr)
		fail(x, eNOSYS)
	}
}

// unknown notes a system call nobody answers.
func unknown(nr uint64) {
	if nUnknownSys < len(unknownSys) {
		unknownSys[nUnknownSys] = uint16(nr)
		nUnknownSys++
	}
}

// umtxSleep is umtx_sleep(address, value, microseconds).
func umtxSleep(c *lwkt.CPU, x *context) {
	load32(x.di) // is there now, which it must be with the queue locked
	c.SleepLock(x.di)
	if load32(x.di) != uint32(x.si) {
		c.SleepUnlock(x.di)
		fail(x, eBUSY)
		return
	}
	until := int64(0)
	if us := int32(x.dx); us > 0 {
		until = now() + int64(us)*1000
	} else if us < 0 { // the runtime lets long times overflow
		until = now() + (1<<31-1)*1000
	}
	x.ax = 0
	x.asleep = sysUmtxSleep
	c.SleepOn(x.di, until)
}

// finishSleep completes the system call in which a thread slept, now that it runs again.
func finishSleep(c *lwkt.CPU, x *context) {
	nr := x.asleep
	if nr == 0 {
		return
	}
	x.asleep = 0
	result := system.Thread(c.Current()).Result()
	switch {
	case result == lwkt.Interrupted && nr == sysRead && restarts(x):
		readRestarts.Add(1)
		x.ax = uint64(nr)
		x.rip -= 2 // the length of SYSCALL
	case result == lwkt.Interrupted:
		fail(x, eINTR)
	case nr == sysUmtxSleep && result == lwkt.TimedOut:
		fail(x, eAGAIN)
	case nr == sysKevent && result == lwkt.TimedOut:
		x.ax = 0
	case nr == sysKevent || nr == sysRead:
		// What was waited for is there, unless somebody else was faster: the call is made again.
		x.ax = uint64(nr)
		x.rip -= 2
	case nr == kernelSleep:
		x.ax = uint64(result) | c.Stats.Switches<<sleepShift
	}
}

func clockGettime(c *lwkt.CPU, x *context) {
	n := uint64(now())
	switch x.di {
	case 0, 9, 10, 13: // CLOCK_REALTIME, _PRECISE, _FAST, CLOCK_SECOND
		n += wallZero
	case 4, 5, 7, 8, 11, 12: // CLOCK_MONOTONIC, CLOCK_UPTIME and their kin
	case 14: // CLOCK_THREAD_CPUTIME_ID
		n = uint64(system.Thread(c.Current()).Runtime)
	default:
		fail(x, eINVAL)
		return
	}
	store64(x.si, n/second)
	store64(x.si+8, n%second)
	x.ax = 0
}

// kevent is kevent(queue, changes, number, events, number, time). The only filter is
// EVFILT_USER, by which the runtime's network poller wakes itself.
func kevent(c *lwkt.CPU, x *context) {
	const user, trigger = -9, 0x1000000
	for i := range x.dx {
		e := x.si + i*32
		if int16(load32(e+8)) != user {
			fail(x, eINVAL)
			return
		}
		if load32(e+12)&trigger != 0 {
			kqTriggered.Store(1)
			c.Wakeup(addressOf(&kqEvent), 1)
		} else {
			kqEvent = [4]uint64{load64(e), load64(e + 8), load64(e + 16), load64(e + 24)}
		}
	}
	x.ax = 0
	if x.r8 == 0 {
		return
	}
	store64(x.r10, 0) // is there now
	until := int64(0)
	poll := false
	if x.r9 != 0 {
		d := int64(load64(x.r9))*second + int64(load64(x.r9+8))
		poll = d <= 0
		until = now() + d
	}
	ident := addressOf(&kqEvent)
	c.SleepLock(ident)
	if kqTriggered.CompareAndSwap(1, 0) {
		c.SleepUnlock(ident)
		for i, v := range kqEvent {
			store64(x.r10+uint64(i)*8, v)
		}
		x.ax = 1
		return
	}
	if poll {
		c.SleepUnlock(ident)
		return
	}
	x.asleep = sysKevent
	x.dx = 0 // the changes are made
	c.SleepOn(ident, until)
}

func sigprocmask(x *context) {
	set, old := x.si, x.dx
	was := x.mask
	x.ax = 0
	if set != 0 {
		v := load64(set)
		switch x.di {
		case 1:
			x.mask |= v
		case 2:
			x.mask &^= v
		case 3:
			x.mask = v
		default:
			fail(x, eINVAL)
			return
		}
	}
	if old != 0 {
		store64(old, was)
		store64(old+8, 0)
	}
}

// kill is lwp_kill(pid, tid, signal) and kill(pid, signal).
func kill(c *lwkt.CPU, x *context, nr uint64) {
	id, sig := lwkt.ThreadID(x.si), x.dx
	if nr == sysKill {
		id, sig = c.Current(), x.si
	}
	if id <= 0 || int(id) >= system.Threads() || !system.Thread(id).Used() || system.Thread(id).Idle() {
		fail(x, eSRCH)
		return
	}
	x.ax = 0
	if sig > 0 && sig < nsig {
		post(c, id, sig)
	}
}

// mmap is mmap(address, length, protection, flags, descriptor, pad, offset), anonymous.
func mmap(x *context) {
	const fixed, anon = 0x10, 0x1000
	addr, n := x.di, (x.si+pageSize-1)&^uint64(pageSize-1)
	if n == 0 || x.r10&anon == 0 {
		fail(x, eINVAL)
		return
	}
	lockVM()
	if x.r10&fixed == 0 {
		switch {
		case addr != 0 && space.Within(addr, addr+n) && space.Empty(addr, addr+n):
		case addr != 0 && !space.Within(addr, addr+n):
			addr = 0 // low memory is the programs': the runtime then lets the kernel choose
		default:
			align := uint64(pageSize)
			if n >= 1<<20 {
				align = largePage
			}
			addr = space.Find(heapBase+largePage, n, align)
		}
	}
	ok := addr != 0 && addr&(pageSize-1) == 0 && space.Within(addr, addr+n)
	if ok {
		ok = space.Set(addr, addr+n, vm.Prot(x.dx&7))
	}
	unlockVM()
	if !ok {
		fail(x, eNOMEM)
		return
	}
	x.ax = addr
	if x.r10&fixed != 0 && x.dx == 0 {
		release(addr, addr+n)
	}
}

// unmap is munmap(address, length) and madvise(address, length, MADV_FREE or
// MADV_DONTNEED), which keeps the addresses.
func unmap(x *context, nr uint64) {
	addr, end := x.di, x.di+(x.si+pageSize-1)&^uint64(pageSize-1)
	if addr&(pageSize-1) != 0 || !space.Within(addr, end) {
		fail(x, eINVAL)
		return
	}
	x.ax = 0
	if nr == sysMadvise && x.dx != 4 && x.dx != 5 {
		return
	}
	if nr == sysMunmap {
		lockVM()
		ok := space.Clear(addr, end)
		unlockVM()
		if !ok {
			fail(x, eNOMEM)
			return
		}
	}
	release(addr, end)
}

func mprotect(x *context) {
	addr, end := x.di, x.di+(x.si+pageSize-1)&^uint64(pageSize-1)
	if addr&(pageSize-1) != 0 || !space.Within(addr, end) {
		fail(x, eINVAL)
		return
	}
	lockVM()
	ok := space.Set(addr, end, vm.Prot(x.dx&7))
	unlockVM()
	if !ok {
		fail(x, eNOMEM)
		return
	}
	x.ax = 0
	protect(addr, end, vm.Prot(x.dx&7))
}

// lwpCreate is lwp_create({function, argument, stack, …}).
func lwpCreate(c *lwkt.CPU, x *context) {
	fn, arg, stack := load64(x.di), load64(x.di+8), load64(x.di+16)
	id := newLWP(c, lwkt.Attr{CPU: leastLoaded(c), Priority: lwkt.PriKernel, Floating: true, Name: "go"})
	if id == 0 {
		fail(x, eAGAIN)
		return
	}
	n := contextOf(id)
	n.rip, n.di, n.sp = fn, arg, stack-8
	n.mask = x.mask
	x.ax = 0
	c.Schedule(id)
}

// newLWP makes a thread with a context.
func newLWP(c *lwkt.CPU, a lwkt.Attr) lwkt.ThreadID {
	id := c.NewThread(a)
	if id == 0 {
		return 0
	}
	x := contextOf(id)
	va := addressOf(x)
	lockVM()
	e := entryFor(va, 1)
	if e != 0 && load64(e)&ptePresent == 0 {
		if pg := newTable(); pg != 0 {
			store64(e, pg|ptePresent|pteWrite|pteNX)
		}
	}
	ok := e != 0 && load64(e)&ptePresent != 0
	unlockVM()
	if !ok {
		die("out of memory for a thread")
	}
	zero(va, contextSize)
	x.tid = int32(id)
	x.cs, x.ss, x.flags = 8, 0x10, 0x202
	x.altFlags = noAltStk
	return id
}

// leastLoaded is where a new thread goes: the CPU itself if no other has less to do.
func leastLoaded(c *lwkt.CPU) int {
	best := c.ID()
	for i := range ncpu {
		j := (c.ID() + i) % ncpu
		if system.CPU(j).Load() < system.CPU(best).Load() && atomic.LoadUint32(&percpuOf(j).up) != 0 {
			best = j
		}
	}
	return best
}

func sigaltstack(x *context) {
	if x.si != 0 {
		store64(x.si, x.altSP)
		store64(x.si+8, x.altSize)
		store64(x.si+16, uint64(uint32(x.altFlags)))
	}
	if x.di != 0 {
		x.altSP, x.altSize, x.altFlags = load64(x.di), load64(x.di+8), int32(load32(x.di+16))
	}
	x.ax = 0
}

func sigaction(x *context) {
	if x.di == 0 || x.di >= nsig {
		fail(x, eINVAL)
		return
	}
	a := &actions[x.di]
	old := *a
	if x.si != 0 {
		*a = *(*action)(pointer(x.si))
	}
	if x.dx != 0 {
		*(*action)(pointer(x.dx)) = old
	}
	x.ax = 0
}

// sysctl answers hw.ncpu and hw.pagesize.
func sysctl(x *context) {
	const hw, hwNCPU, hwPageSize = 6, 3, 7
	switch a, b := load32(x.di), load32(x.di+4); {
	case a == hw && b == hwNCPU && x.dx != 0:
		store32(x.dx, uint32(ncpu))
	case a == hw && b == hwPageSize && x.dx != 0:
		store32(x.dx, pageSize)
	default:
		fail(x, eNOENT)
		return
	}
	x.ax = 0
}

// open knows the one file the runtime opens.
func open(x *context) {
	const name = "/dev/urandom\x00"
	for i := range uint64(len(name)) {
		if load8(x.di+i) != name[i] {
			fail(x, eNOENT)
			return
		}
	}
	x.ax = randomFD
}

func read(c *lwkt.CPU, x *context) {
	switch x.di {
	case randomFD:
		fillRandom(x.si, x.dx)
		x.ax = x.dx
	case 0:
		ident := addressOf(&inputID)
		if x.dx > 0 {
			store8(x.si, 0) // is there now
		}
		c.SleepLock(ident)
		if n := takeInput(x.si, min(x.dx, pageSize)); n > 0 || x.dx == 0 {
			c.SleepUnlock(ident)
			x.ax = n
			return
		}
		x.asleep = sysRead
		c.SleepOn(ident, 0)
	default:
		fail(x, eBADF)
	}
}

// exit is the end of the kernel's Go program.
func exit(x *context) {
	if x.di == 0 {
		powerOff()
	}
	dieAt("the kernel's program has ended", x.di, x.rip, x.bp)
}
