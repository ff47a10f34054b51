// Package virtio is what all virtio devices share: virtqueues, split and
// packed, and the PCI transport (Virtual I/O Device, version 1.2; "modern"
// devices only). The kinds of devices are in the folders below. Each is a
// [Model] around a [Device]: queues that the driver fills with requests are
// served with [Device.Serve], [Device.Handle] or package requests, and queues
// with room for what arrives are filled with [Queue.Pop] and [Queue.Push].
//
// Rings and buffers are in memory that the guest writes at will. Everything
// read from there is read once and checked. A ring that makes no sense stops
// the device: DEVICE_NEEDS_RESET is set and the driver told (section 2.1.2).
//
// While the function is no bus master the queues stand still; they go on when
// the guest turns bus mastering on.
package virtio

// Feature bits that belong to no kind of device (section 6).
const (
	FeatureIndirectDesc = 1 << 28
	FeatureEventIdx     = 1 << 29
	FeatureVersion1     = 1 << 32
	FeatureRingPacked   = 1 << 34
	FeatureRingReset    = 1 << 40
)

// Bits of the device status (section 2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)
