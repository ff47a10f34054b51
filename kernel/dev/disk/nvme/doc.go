// Package nvme drives NVM Express controllers (NVM Express Base Specification 1.4): a thread per controller that
// brings it up, looks for namespaces, and takes care of what goes wrong; queues per CPU, which requests are sent to
// without a common lock; a disk for each active namespace.
package nvme
