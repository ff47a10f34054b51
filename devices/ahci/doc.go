// Package ahci is a Serial ATA host bus adapter with the AHCI 1.3.1 programming
// interface, in the shape of the ICH9's (8086:2922): up to 32 ports, 32 command
// slots, native command queuing, port multipliers, hot-plug.
//
// A [Device] owns ports; to a port, a drive of package ata (disks) or atapi
// (optical drives) is attached, or a [Multiplier] with up to 15 of them, before
// the machine starts or while it runs.
//
// How a command travels: a write to PxCI marks slots and wakes a worker of the
// port. The worker takes a slot, reads command header, command FIS and PRD table
// once (request.go), has the drive execute the command directly on guest memory,
// and posts the FISes that answer it (complete.go). Reads of files that the host's
// page cache is not used for are started in batches and land in batches, where
// there are several at a time (reads.go). Register accesses never wait for a drive. Whatever ends commands early (PxCMD.ST cleared, COMRESET,
// HBA reset) drops their results and shows its end (PxCMD.CR, PxSSTS, GHC.HR)
// only when no transfer touches guest memory any more.
//
// Completed queued commands are reported in one Set Device Bits FIS for several
// while the port has more work and a fast drive, so that a deep queue costs few
// interrupts.
//
// Concurrency: each port has its lock; the registers of the whole adapter have
// another, which may be taken while a port's is held. Workers hold no lock while
// a drive executes.
//
// Injected faults: the status of devices.Effect is, for disks, the Error register in
// bits 7:0 and the Status register in bits 15:8, for packet devices the sense key
// in bits 23:16, the additional sense code in bits 15:8 and its qualifier in bits
// 7:0; zero aborts the command.
package ahci
