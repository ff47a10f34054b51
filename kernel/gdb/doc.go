// Package gdb is the kernel's side of gdb's remote serial protocol (Debugging with GDB, appendix E): registers and memory of a machine that
// stands still, software breakpoints, single steps. gdb's threads are those of LWKT. Like the debugger on the console it runs below the Go
// runtime: it does not allocate, lock or block, but for waiting for the next byte, and all its memory is in a [Server].
package gdb
