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

// Receiver is a device that takes characters from the host (a UART, a virtio
// console). Receive takes as many bytes of p as the device has room for and
// returns their number without waiting. When it took fewer than len(p), the
// device calls the function given to OnSpace once there is room again.
type Receiver interface {
	Receive(p []byte) int
	OnSpace(f func())
}
