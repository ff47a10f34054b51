// Package virtio drives virtio devices on PCI: the modern transport with split
// queues (Virtual I/O Device specification 1.2), and on it block devices, network devices and
// the entropy source.
package virtio
