package jit

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"dfemu/cpu/interp"
)

// enter calls code of the host; see enter_amd64.s.
//
//go:noescape
func enter(base unsafe.Pointer, stub, code uintptr)

// goroutine returns the address of the descriptor of the present goroutine; see enter_amd64.s.
func goroutine() uintptr

// Goroutine implements interp.Translator.
func (t *translator) Goroutine() uintptr { return goroutine() }

// Enter implements interp.Translator.
//
// Invariant: at is the address of code that Translate has made, or of a place in it where it is to go on, of the
// present epoch; c is on the heap and reachable, so that its address is good until enter returns.
func (t *translator) Enter(c *interp.CPU, at uintptr) {
	enter(unsafe.Add(unsafe.Pointer(c), bias), t.stubs.enter, at)
}

// codeMemory is mapped twice: to write, and to execute.
type codeMemory struct {
	w    []byte
	x    []byte
	used int
	// shed is up to where the mapping to write has been taken out of memory.
	shed int
}

// shedStep is how much code is written between two calls that take it out of memory, in bytes.
const shedStep = 512 << 10

// append puts code at the end.
func (m *codeMemory) append(code []byte) {
	m.used += copy(m.w[m.used:], code)
	m.used = (m.used + 15) &^ 15
	if end := m.used &^ 0xfff; end-m.shed >= shedStep {
		// The pages stay in the other mapping; patches bring single ones back.
		_ = unix.Madvise(m.w[m.shed:end], unix.MADV_DONTNEED)
		m.shed = end
	}
}

// truncate forgets the code from n on.
func (m *codeMemory) truncate(n int) { m.used, m.shed = n, 0 }

// base is where the code is executed.
func (m *codeMemory) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m.x))) }

func newCodeMemory(size int) (*codeMemory, error) {
	fd, err := unix.MemfdCreate("dfemu-code", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("jit: code memory: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("jit: code memory of %d bytes: %w", size, err)
	}
	m := &codeMemory{}
	if m.w, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("jit: code memory of %d bytes: %w", size, err)
	}
	if m.x, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED); err != nil {
		_ = unix.Munmap(m.w)
		return nil, fmt.Errorf("jit: executable memory of %d bytes: %w", size, err)
	}
	return m, nil
}

func (m *codeMemory) close() {
	_ = unix.Munmap(m.w)
	_ = unix.Munmap(m.x)
}

// patch32 replaces four bytes of code, which other threads may be executing, in one step.
//
// Invariant: addr is that of an aligned doubleword in m.
func (m *codeMemory) patch32(addr uintptr, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&m.w[addr-m.base()])), v)
}
