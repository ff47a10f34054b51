// Package vm has the bookkeeping of memory that needs no hardware: which pages are
// free, and what an address space holds. It does not allocate and stores no pointers, because
// the Go heap itself stands on it. Callers serialize.
package vm
