//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
)

// runPage is struct kvm_run, shared with the kernel: page-aligned memory from
// mmap, of the size that KVM_GET_VCPU_MMAP_SIZE tells and the constructor has
// checked to reach beyond every offset below. The kernel writes it only while
// KVM_RUN executes on the thread that reads it.
type runPage []byte

// Offsets in struct kvm_run.
const (
	runExitReason = 8
	runReady      = 12
	runExit       = 32 // the union of what the exits have to tell
	runValidRegs  = 288
	runRegs       = 304
	runMinSize    = runRegs + 2048
)

// Bits of the first word, which is only written by atomic operations.
const (
	runWindow    = 1 << 0 // request_interrupt_window
	runImmediate = 1 << 8 // immediate_exit
)

// requests is the first word: what user space asks of KVM_RUN. Kick sets
// bits of it from any goroutine.
func (r runPage) requests() *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(r)))
}

func (r runPage) exitReason() uint32 { return binary.NativeEndian.Uint32(r[runExitReason:]) }

// ready reports whether an 8259's interrupt could be injected.
func (r runPage) ready() bool     { return r[runReady] != 0 }
func (r runPage) setReady(b byte) { r[runReady] = b }

// u32 and u64 read the exit union.
func (r runPage) u32(off int) uint32 { return binary.NativeEndian.Uint32(r[runExit+off:]) }
func (r runPage) u64(off int) uint64 { return binary.NativeEndian.Uint64(r[runExit+off:]) }

// syncRegs asks for registers at each exit.
func (r runPage) syncRegs() { binary.NativeEndian.PutUint64(r[runValidRegs:], syncRegs) }

// regs are the registers at the last exit, if syncRegs was called.
func (r runPage) regs() *gokvm.Regs { return (*gokvm.Regs)(unsafe.Pointer(&r[runRegs])) }

// loadAcquire and storeRelease access an index of a ring shared with the
// kernel; p is 4-byte aligned in a mapped page.
func loadAcquire(p []byte) uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(p))).Load()
}

func storeRelease(p []byte, v uint32) {
	(*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(p))).Store(v)
}
