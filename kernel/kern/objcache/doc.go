// Package objcache keeps objects of one type ready for use: a slab of zones per CPU, and above it
// caches of constructed objects in magazines.
//
// It does not replace the garbage collector. It is for objects that are expensive to
// construct, that devices know by address, or whose number shall be limited.
package objcache
