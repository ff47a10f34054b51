// Package block has the host-side stores behind disks: a raw image in a file or
// on a block device, bytes in memory, qcow2 images (package qcow2), exports of
// NBD servers (package nbd), a copy-on-write overlay over another store, and
// wrappers that limit, delay, or lose what was not flushed when the power
// fails. All implement [devices.Block]. [ParseDisk] and [Open] make them from
// the description of a disk on the command line.
//
// Disks are made of 512-byte sectors. A store whose size is no multiple of 512
// shows whole sectors only: bytes of a partial last sector cannot be reached
// and are never changed. Stores smaller than one sector are refused.
package block

import "dfemu/devices/block/internal/host"

// SectorSize is the unit in bytes that capacities are rounded down to.
const SectorSize = 512

// check reports a range outside [0, size). Callers promise not to pass one; a
// mistake of theirs must not reach past the end of the store.
func check(what, name string, off, n, size int64) error {
	return host.Check(what, name, off, n, size)
}
