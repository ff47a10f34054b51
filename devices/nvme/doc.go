// Package nvme is an NVM Express controller on PCI Express: NVM Express Base
// Specification 2.0, the NVM and Zoned Namespace Command Sets 1.0/1.1 and the
// NVMe over PCIe Transport 1.0.
//
// A [Subsystem] owns the namespaces, their reservations, zones and stores, and
// the firmware slots; a [Device] is one controller of it, a PCI function. Most
// machines have one of each, which [New] makes together.
//
// Each submission queue has a goroutine of its own that is woken by the doorbell
// and serves commands one after the other while the store answers quickly, and
// hands them to helpers as soon as it does not. Completions are posted in the
// order in which commands end. A doorbell write never waits for a store. Reads of
// files that the host's page cache is not used for are started in batches, and
// land in batches, where there are several at a time (reads.go).
//
// Lock order: namespace.guard, Device.mu, Subsystem.mu, other locks of namespaces, subQueue.mu,
// compQueue.mu, Device.irqMu. The vCPU's goroutine takes only the last three
// when it writes a doorbell.
//
// What is not modelled: metadata and protection information, directives,
// virtualization management, security protocols, boot partitions and the
// persistent memory region. They are reported as absent.
package nvme
