package objcache

import "unsafe"

// objectOf returns the object around a T that Get has returned. The T is its first field, so both have
// one address; the whole object is one allocation, which the pointer keeps alive.
func objectOf[T any](p *T) *object[T] { return (*object[T])(unsafe.Pointer(p)) }
