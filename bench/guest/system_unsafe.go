//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// A forked child shares nothing with the Go runtime's other threads, and must
// not call into it: it makes raw system calls with arguments that the parent
// prepared, and ends.

// setupSyscall: one operation is one system call that does next to nothing.
func setupSyscall() (func(int), func(), error) {
	return func(n int) {
		for range n {
			syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
		}
	}, nil, nil
}

// exitProgram is an ELF file of one page whose code is _exit(0).
var exitProgram = append([]byte{
	0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 64-bit, little-endian
	2, 0, 62, 0, 1, 0, 0, 0, // ET_EXEC, x86-64
	0x78, 0, 0x40, 0, 0, 0, 0, 0, // entry 0x400078
	64, 0, 0, 0, 0, 0, 0, 0, // program headers
	0, 0, 0, 0, 0, 0, 0, 0, // no section headers
	0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
	1, 0, 0, 0, 5, 0, 0, 0, // PT_LOAD, R+X
	0, 0, 0, 0, 0, 0, 0, 0, // offset
	0, 0, 0x40, 0, 0, 0, 0, 0, // virtual address
	0, 0, 0x40, 0, 0, 0, 0, 0, // physical address
	0x81, 0, 0, 0, 0, 0, 0, 0, // size in the file
	0x81, 0, 0, 0, 0, 0, 0, 0, // size in memory
	0, 0x10, 0, 0, 0, 0, 0, 0, // alignment
},
	0x31, 0xff, // xor edi, edi
	0xb8, 60, 0, 0, 0, // mov eax, SYS_exit
	0x0f, 0x05, // syscall
)

// setupFork: one operation forks, executes a program that ends at once, and
// waits for it.
func setupFork() (func(int), func(), error) {
	dir, err := os.MkdirTemp("", "dfemu-bench-*")
	if err != nil {
		return nil, nil, err
	}
	name := filepath.Join(dir, "exit")
	if err := os.WriteFile(name, exitProgram, 0o755); err != nil {
		return nil, nil, err
	}
	path, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, nil, err
	}
	argv := []*byte{path, nil}
	env := []*byte{nil}
	run := func(n int) {
		for range n {
			pid := fork()
			if pid == 0 {
				syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(path)),
					uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])))
				exit(1)
			}
			wait(pid)
		}
	}
	return run, func() { _ = os.RemoveAll(dir) }, nil
}

// fork returns 0 in the child. A failure ends the program: there is nothing to
// measure.
//
//go:norace
func fork() int {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		panic(fmt.Sprintf("fork: %v", errno))
	}
	return int(pid)
}

func exit(code int) { syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0) }

func wait(pid int) {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

// setupPipe: one operation sends a byte to another process, which sends it back.
func setupPipe() (func(int), func(), error) {
	var there, back [2]int
	if err := syscall.Pipe(there[:]); err != nil {
		return nil, nil, err
	}
	if err := syscall.Pipe(back[:]); err != nil {
		return nil, nil, err
	}
	var b [1]byte
	p := uintptr(unsafe.Pointer(&b[0]))
	pid := fork()
	if pid == 0 {
		syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(there[1]), 0, 0)
		for {
			n, _, _ := syscall.RawSyscall(syscall.SYS_READ, uintptr(there[0]), p, 1)
			if n != 1 {
				exit(0)
			}
			syscall.RawSyscall(syscall.SYS_WRITE, uintptr(back[1]), p, 1)
		}
	}
	run := func(n int) {
		p := uintptr(unsafe.Pointer(&b[0]))
		for range n {
			syscall.RawSyscall(syscall.SYS_WRITE, uintptr(there[1]), p, 1)
			syscall.RawSyscall(syscall.SYS_READ, uintptr(back[0]), p, 1)
		}
	}
	return run, func() {
		for _, fd := range []int{there[0], there[1], back[0], back[1]} {
			_ = syscall.Close(fd)
		}
		wait(pid)
	}, nil
}

// setupFault: one operation touches one page for the first time.
func setupFault() (func(int), func(), error) {
	const batch = 4096 // pages, 16 MiB
	return func(n int) {
		for n > 0 {
			k := min(n, batch)
			m, err := syscall.Mmap(-1, 0, k*4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
			if err != nil {
				panic(err)
			}
			_ = syscall.Madvise(m, syscall.MADV_NOHUGEPAGE)
			for i := range k {
				m[i*4096] = 1
			}
			_ = syscall.Munmap(m)
			n -= k
		}
	}, nil, nil
}
