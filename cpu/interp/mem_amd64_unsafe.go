//go:build amd64

package interp

import "unsafe"

// hostLoad and hostStore access guest memory that other processors access at
// the same time. On this host every aligned load and store of up to 8 bytes
// is one access, in the order that x86 promises, as long as the compiler
// neither splits nor repeats it, which it does not for a single sized access.
//
// Invariant: p points into a memory slot with at least the T's size left in its page.
func hostLoad[T word](p unsafe.Pointer) T { return *(*T)(p) }

func hostStore[T word](p unsafe.Pointer, v T) { *(*T)(p) = v }
