package interp

import "unsafe"

// following returns the op after o.
//
// Invariant: o is in the ops of a block and has returned stNext, which the op
// that newOps puts behind the last one never does, so that there is another.
func following(o *Op) *Op {
	return (*Op)(unsafe.Add(unsafe.Pointer(o), unsafe.Sizeof(*o)))
}
