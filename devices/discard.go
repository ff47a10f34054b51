package devices

// Discarder is a [Memory] that can give pages back to the host.
type Discarder interface {
	// Discard drops the content of the n bytes at addr, both multiples of 4 KiB:
	// they read as zeroes from now on, until they are written. A range that is not
	// wholly RAM is left alone and fails with a *MemoryError.
	Discard(addr, n uint64) error
}
