// Package pc64 is the bottom layer of the kernel on a PC's bare metal: it takes the
// processors over from the boot stub, and is the operating system under the
// kernel's own Go runtime. The runtime is the stock one for DragonFly; its system
// calls end here and are answered with LWKT threads ([dfemu/kernel/kern/lwkt]), a page
// allocator, clocks and signals.
//
// Two kinds of code meet in this package. The bottom layer runs with interrupts off on a
// stack of the CPU's own, below the Go runtime: it is Go that does not allocate, does not
// block, and stores no pointers into memory that outlives a call. Its functions are
// reached from kstart, ksyscall, ktrap, kidle and knested. All other functions, the
// exported ones, are ordinary Go that runs in the kernel's threads and calls the bottom
// layer by system calls.
package pc64
