//go:build linux && amd64

package kvm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"dfemu/cpu"
)

// VCPU is one logical processor. It implements [cpu.VCPU].
type VCPU struct {
	a   *Accel
	id  int
	fd  int
	run runPage
	bus cpu.Bus

	// kicked: Run is to return. poke alone makes it look at what is pending.
	kicked atomic.Bool
	nmi    atomic.Bool
	// tid is the thread that executes Run, 0 if none does.
	tid atomic.Int32
	rip atomic.Uint64

	exits       atomic.Uint64
	interpreted atomic.Uint64

	// What follows belongs to the goroutine that executes Run.

	// open: KVM has told of an access that it completes when it is entered
	// again; until then the processor's state is between two instructions.
	open bool
	skew int64 // of the timekeeper, when the TSC was last set right
	buf  buffers
	step *stepper
}

// buffers are the structures of ioctls. They are part of a heap object, and
// so stay where they are while the kernel writes them.
type buffers struct {
	regs   gokvm.Regs
	sregs  gokvm.Sregs
	debug  gokvm.DebugRegs
	xcrs   gokvm.XCRS
	events gokvm.VCPUEvents
	mp     gokvm.MPState
	lapic  gokvm.LAPICState
	clock  gokvm.ClockData
	xsave  [xsaveSize]byte
	msrs   msrEntries
	tsc    uint64
}

func (a *Accel) newVCPU(id, size int) (*VCPU, error) {
	v := &VCPU{a: a, id: id, fd: -1, bus: a.cfg.NewBus(id)}
	err := again(func() error {
		fd, err := gokvm.CreateVCPU(uintptr(a.vm), id)
		v.fd = int(fd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	page, err := unix.Mmap(v.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the run page: %w", err), unix.Close(v.fd))
	}
	v.run = page
	if a.caps.sync {
		v.run.syncRegs()
	}
	if at := a.caps.coalesced * os.Getpagesize(); id == 0 && at > 0 && at+os.Getpagesize() <= size {
		a.ring.page = page[at : at+os.Getpagesize()]
	}
	return v, nil
}

func (v *VCPU) close() error {
	return errors.Join(unix.Munmap(v.run), unix.Close(v.fd))
}

// Kick implements [cpu.VCPU].
//
// No kick is lost: kicked is set first and immediate_exit second, while Run
// clears immediate_exit first and looks at kicked second, so that either Run
// sees the kick or the byte stays set. KVM_RUN reads the byte after it has
// entered the kernel; a signal before that finds the byte set, a signal
// after that is pending when the processor is about to enter the guest.
func (v *VCPU) Kick() {
	v.kicked.Store(true)
	v.poke()
}

// poke makes KVM_RUN return soon, or not begin.
func (v *VCPU) poke() {
	v.run.requests().Or(runImmediate)
	if tid := v.tid.Load(); tid != 0 {
		// The thread may have left Run meanwhile, or even ended: a SIGURG
		// too many is ignored, and there is nobody to wake then.
		_ = unix.Tgkill(unix.Getpid(), int(tid), unix.SIGURG)
	}
}

// Run implements [cpu.VCPU].
func (v *VCPU) Run() (cpu.Exit, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v.tid.Store(int32(unix.Gettid()))
	defer v.tid.Store(0)
	if err := v.catchUp(); err != nil {
		return cpu.Exit{}, err
	}
	for {
		v.run.requests().And(^uint32(runImmediate))
		if v.kicked.Load() {
			if !v.open {
				v.kicked.Store(false)
				return cpu.Exit{Reason: cpu.ExitKicked}, nil
			}
			// Completes what is open and goes no further.
			v.run.requests().Or(runImmediate)
		} else if err := v.inject(); err != nil {
			return cpu.Exit{}, err
		}
		_, err := ioctlRaw(v.fd, ioctlRun, 0)
		v.open = false
		if v.a.caps.sync {
			v.rip.Store(v.run.regs().RIP)
		}
		v.a.ring.drain(v.bus)
		switch {
		case err == nil:
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue // a signal; or a processor that has just been started
		default:
			return cpu.Exit{}, fmt.Errorf("kvm: run cpu%d: %w", v.id, err)
		}
		if exit, leave, err := v.exit(); leave || err != nil {
			return exit, err
		}
	}
}

// RIP implements [cpu.VCPU]. KVM has already left behind instructions that
// write to ports or memory when it tells of the access; those that read, it has not.
func (v *VCPU) RIP() uint64 { return v.rip.Load() }

// Stats implements [cpu.VCPU]. The processor retires instructions uncounted.
func (v *VCPU) Stats() cpu.Stats {
	return cpu.Stats{Exits: v.exits.Load(), Interpreted: v.interpreted.Load()}
}

func (v *VCPU) logf(format string, args ...any) {
	v.a.logf("cpu%d: "+format, append([]any{v.id}, args...)...)
}
