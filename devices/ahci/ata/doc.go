// Package ata is a disk drive as its registers show it: the commands of ACS-4
// (ATA/ATAPI Command Set 4) over a [devices.Block], with native command queuing
// as the Serial ATA specification defines it.
//
// It knows nothing of the host controller. The controller gives it a [Task], the
// content of a Register Host to Device FIS; [Drive.Parse] turns that into a typed
// [Command] before anything acts on it, and [Drive.Execute] carries a [Request]
// out and leaves a [Result], the content of the FIS that answers it. The types
// are shared with packet devices (package atapi).
//
// Concurrency: a controller executes one command at a time, except that queued
// commands (protocols Queued…) may be executed concurrently with each other.
package ata
