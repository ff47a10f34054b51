// Package lwkt is the kernel's light-weight thread layer: threads that belong to
// one CPU each, the scheduler of each CPU, serializing tokens, message queues
// between CPUs, sleep queues and callouts.
//
// The package holds the rules and none of the machinery: it decides which thread a
// CPU runs next, and a [Platform] beneath saves and restores registers, sends
// interrupts and arms timers. So the same code runs at the bottom of the kernel and
// in tests on a development machine.
//
// At the bottom of the kernel there is no Go runtime to lean on, for the runtime's
// own threads are scheduled here. Nothing in this package therefore allocates, blocks in
// a Go primitive, grows a stack without bound, or stores a pointer into memory
// that outlives a call (which would need a write barrier). Threads and CPUs are
// numbers; [System.Init] is given all memory there will be.
//
// A CPU's methods are called on that CPU, in the kernel: with interrupts off, or
// whatever a platform uses to the same effect. What a method may do to another CPU's
// threads it does by sending that CPU a message. Methods of [System] may be called
// from anywhere.
package lwkt
