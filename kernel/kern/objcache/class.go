package objcache

import "math/bits"

// MaxChunk is the size up to which memory is handed out in chunks; from there on it comes
// in pages.
const MaxChunk = 16 << 10

// Classes is the number of chunk sizes below MaxChunk.
const Classes = 72

// Class returns the chunk class of a size from 1 to below MaxChunk, and the size of its chunks.
// Sizes are in steps of 8 bytes below 128, and of a sixteenth of the
// power of two above.
func Class(size int) (class, chunk int) {
	if size < 128 {
		n := max((size+7)/8, 1)
		return n - 1, n * 8
	}
	// From 128<<k up to 256<<k the step is 16<<k; the first class of each such range belongs to
	// the size 128<<k itself.
	k := bits.Len(uint(size)) - 8
	step := 16 << k
	n := (size + step - 1) / step // 8 to 16
	if n == 16 {
		k, step, n = k+1, step*2, 8
	}
	return 15 + k*8 + n - 8, n * step
}
