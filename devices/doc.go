// Package devices is the contract every device model is written against:
// registers, interrupts, guest memory, time, and the host-side back ends for
// blocks and characters.
//
// A device receives everything it may touch at construction and keeps no
// global state. It does not know its address: handlers receive an offset into
// their region. It never calls the host's clock: time comes from a [Clock].
// It reaches guest memory only through a [Memory], which checks bounds.
//
// Concurrency: register handlers may be called by several virtual CPUs at
// once, and concurrently with the device's own goroutines. A device guards
// its state with its own lock. It may hold that lock while it drives a [Line],
// sends an [MSI] or sets a [Timer]: these never call back into the device on
// the same goroutine.
package devices
