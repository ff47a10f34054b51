// Package kern is what the rest of the kernel is written against: threads,
// waiting and waking, interrupts, memory for devices, the log. Below it is a
// [Platform], the bare machine or, in tests, [Host]; above it are drivers and
// subsystems, which get a [Kernel] and keep nothing global.
package kern
