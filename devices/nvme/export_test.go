package nvme

import "dfemu/devices"

// Load32 loads a word of guest memory that the controller stores atomically.
func Load32(b []byte, off int) uint32 { return load32(b, off) }

// Store32 is its counterpart for what a driver publishes.
func Store32(b []byte, off int, v uint32) { store32(b, off, v) }

// ExpireWatch has the watch of a submission queue expire.
func (d *Device) ExpireWatch(queue int) { d.sqs[queue].Load().watched() }

// KnownTail is the tail of a submission queue that commands are taken up to.
func (d *Device) KnownTail(queue int) uint32 { return d.sqs[queue].Load().tail.Load() }

// Bank is the register table.
func Bank() *devices.Bank { return bank }
