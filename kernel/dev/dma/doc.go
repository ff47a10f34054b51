// Package dma accesses memory that a device reads and writes meanwhile: each access is made in one
// piece, and in order with those before and after.
package dma
