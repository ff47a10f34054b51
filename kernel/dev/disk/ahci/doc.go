// Package ahci drives Serial ATA controllers (Serial ATA AHCI 1.3.1): a thread for each port, which takes it through
// reset and identification, looks after what takes too long, and recovers from errors; disks with native command
// queuing, and ATAPI devices.
package ahci
