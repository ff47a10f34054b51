package pc64

import (
	"sync/atomic"
	"unsafe"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/lwkt"
)

// A thread that holds tokens or is in a critical section must not be stopped by the Go scheduler, which
// knows nothing of them and would make the thread block. The runtime has a mark for that in
// its m, preemptoff; unlike other means it lets the thread block by itself. The image
// builder says where it is. The mark is the calling thread's own, and no other writes it.

const stubRuntime = stubBase + 0x3c0

// offsetM and offsetPreemptOff are the fields' places in the runtime's g and m.
var offsetM, offsetPreemptOff uint64

func currentG() uint64

func preemptOff() *string { return (*string)(pointer(load64(currentG()+offsetM) + offsetPreemptOff)) }

// noPreempt is set while at least one token is held; how many is in the
// thread's context, which only the thread itself changes.
func noPreempt(by int64) {
	x := (*context)(pointer(uint64(contextAddress())))
	was := x.guards
	x.guards += by
	switch {
	case was == 0:
		*preemptOff() = "lwkt"
	case x.guards == 0:
		*preemptOff() = ""
	}
}

// GetToken implements kern.Platform.
func (*Platform) GetToken(t *kern.Token, mode kern.TokenMode) {
	noPreempt(1)
	a := uint64(uintptr(unsafe.Pointer(t)))
	if held, _ := kcall(kernelToken, a, uint64(mode), 0); held == 0 {
		blockingCall(kernelToken, a, uint64(mode), 1)
	}
}

// TryToken implements kern.Platform.
func (*Platform) TryToken(t *kern.Token, mode kern.TokenMode) bool {
	noPreempt(1)
	held, _ := kcall(kernelToken, uint64(uintptr(unsafe.Pointer(t))), uint64(mode), 0)
	if held == 0 {
		noPreempt(-1)
	}
	return held != 0
}

// ReleaseToken implements kern.Platform.
func (*Platform) ReleaseToken(t *kern.Token) {
	kcall(kernelRelease, uint64(uintptr(unsafe.Pointer(t))), 0, 0)
	noPreempt(-1)
}

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// CritEnter implements kern.Platform. Pinned, a goroutine keeps its thread, and in a critical section
// that keeps its CPU.
func (*Platform) CritEnter() {
	procPin()
	thisThread().CritEnter()
}

// CritExit implements kern.Platform.
func (*Platform) CritExit() {
	if thisThread().CritExit() {
		kcall(kernelSplz, 0, 0, 0)
	}
	procUnpin()
}

// SendPassive implements kern.Platform.
func (*Platform) SendPassive(cpu int, flag *atomic.Uint32) {
	kcall(kernelPassive, uint64(cpu), uint64(uintptr(unsafe.Pointer(flag))), 0)
}

// Migrate implements kern.Platform.
func (*Platform) Migrate(cpu int) { kcall(kernelMigrate, uint64(cpu), 0, 0) }

// thisThread is the calling thread, which must be one of the kernel's.
func thisThread() *lwkt.Thread {
	x := (*context)(pointer(uint64(contextAddress())))
	return system.Thread(lwkt.ThreadID(x.tid))
}
