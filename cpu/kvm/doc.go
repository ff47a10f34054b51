// Package kvm runs x86-64 guests on Linux's KVM. The local APICs are in the
// kernel (split irqchip); the 8259s, the I/O APIC and the timers around them
// are devices of the machine.
//
// The ioctls come from github.com/bobuhiro11/gokvm/kvm where that package has
// them and gets them right; abi.go lists the others and why. The calls that
// hand a pointer through that package's Ioctl function pass it as an integer
// through a Go call, so they are only made with pointers into heap objects,
// which do not move.
//
// A reader starts at New (accel.go); Run (vcpu.go) alternates between KVM_RUN
// and exit.go; state.go copies a processor's state out and in; fallback.go
// lets the interpreter execute what the host's KVM gives up on; probe.go
// decides whether KVM is worth using.
//
// # Kicks
//
// A processor inside KVM_RUN is reached by a signal to its thread, to which
// its goroutine is locked. The signal is SIGURG: the Go runtime installs a
// handler for it in every program, uses it to preempt threads, and ignores
// those that it did not ask for, so no handler and no signal mask is needed
// and a late signal does no harm. What makes the kick reliable is not the
// signal but the immediate_exit byte of the shared kvm_run page, which is set
// first: a signal that comes before KVM_RUN has entered the kernel finds the
// byte set there, and one that comes later interrupts it. See VCPU.Kick.
package kvm
