// Package qcow2 reads, writes, checks and makes disk images in QEMU's
// copy-on-write format, versions 2 and 3 ("The QCOW2 image file format",
// docs/interop/qcow2.txt of QEMU; names here are those of that text).
//
// An open [Image] is a store for a disk. Supported are backing chains of raw
// and qcow2 images, clusters compressed with deflate and zstd, zero clusters,
// extended L2 entries (subclusters), all refcount widths, lazy refcounts, and
// internal snapshots. Encrypted images and images with an external data file
// are refused.
//
// # What a crash leaves
//
// Metadata is kept in memory and written by Flush in an order that keeps the
// image consistent whenever the process or the host stops: data, refcounts and
// new L2 tables become durable before anything points at them, and a cluster is
// given up only after nothing durable points at it. A crash can therefore leak
// clusters, which a check finds and repairs, but loses nothing that a Flush has
// acknowledged. With lazy refcounts, refcounts are written when the image is
// closed; the dirty bit tells that they must be computed again after a crash,
// which opening the image for writing does.
//
// # Damage
//
// Everything is checked before it is used: offsets for alignment, for being
// inside the file and for not being another structure's, refcounts for agreeing
// with their use. A contradiction is a [DamageError], which says what is wrong
// and where. Images with few tables are checked so when they are opened, larger
// ones table by table at first use; damage found while the image is open for
// writing sets its corrupt bit and stops all further changes.
package qcow2
