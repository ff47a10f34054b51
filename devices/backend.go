package devices

import "io"

// Block is the store behind a disk. Offsets and lengths are in bytes; callers
// keep them within [0, Size). Methods may be called concurrently; requests
// that overlap in time have no order between them. Reads and writes are
// complete or return an error. Flush returns once everything acknowledged
// before it was called survives a loss of power.
type Block interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the capacity in bytes.
	Size() int64
	// ReadOnly tells whether WriteAt, Discard and WriteZeroes fail.
	ReadOnly() bool
	// Flush makes completed writes durable.
	Flush() error
	// Discard tells that the range's content is no longer needed. What it
	// reads as afterwards is undefined unless the store says otherwise.
	Discard(off, n int64) error
	// WriteZeroes makes the range read as zeroes; unmap allows the store to
	// deallocate it.
	WriteZeroes(off, n int64, unmap bool) error
}

// VectorBlock is a [Block] that moves several buffers in one request. Wrappers
// that cannot say at compile time what they wrap implement it always, buffer by
// buffer if need be.
type VectorBlock interface {
	// ReadVAt fills all of bufs from byte off on, or returns an error.
	ReadVAt(bufs [][]byte, off int64) error
	// WriteVAt stores all of bufs from byte off on, or returns an error.
	WriteVAt(bufs [][]byte, off int64) error
}

// DescriptorBlock is a [Block] in a file of the host that its user may read itself, with many reads under way and nobody
// waiting for each.
type DescriptorBlock interface {
	// Descriptor returns a descriptor on which byte off of the store, which is off of the file too, and what follows can be
	// read into bufs, or false where that is done better, or only, by the methods of Block. The descriptor is valid until
	// Close. With no bufs it tells whether there are such reads at all.
	Descriptor(bufs [][]byte, off int64) (fd int, ok bool)
}

// FUABlock is a [Block] that can make one write durable without making all the
// others durable too (Force Unit Access).
type FUABlock interface {
	// WriteFUA is WriteAt whose data survives a loss of power once it returns
	// without error. It says nothing about other writes.
	WriteFUA(p []byte, off int64) (int, error)
}

// Extent is a range of a store with one allocation state.
type Extent struct {
	// Off and Len are in bytes.
	Off, Len int64
	// Zero tells that the range reads as zeroes, without reading it.
	Zero bool
	// Allocated tells that this store, not one below it, has room for it.
	Allocated bool
}

// ExtentBlock is a [Block] that knows which of its ranges have content.
type ExtentBlock interface {
	// Extents calls f for consecutive extents that cover [off, off+n), in
	// order, until f returns false. A store that does not know about a range
	// reports it as allocated and not zero.
	Extents(off, n int64, f func(Extent) bool) error
}

// Receiver is a device that takes characters from the host (a UART, a virtio
// console). Receive takes as many bytes of p as the device has room for and
// returns their number without waiting. When it took fewer than len(p), the
// device calls the function given to OnSpace once there is room again.
type Receiver interface {
	Receive(p []byte) int
	OnSpace(f func())
}
