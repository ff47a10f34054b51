package qcow2

import "fmt"

// DamageError reports an image whose content contradicts itself or its format.
type DamageError struct {
	// Image is the file's name.
	Image string
	// Where names the structure, as "L1 table, entry 3".
	Where string
	// Offset is the structure's place in the file in bytes, or -1.
	Offset int64
	// What is wrong with it.
	What string
}

// Error implements error.
func (e *DamageError) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at file offset %#x", e.Offset)
	}
	return fmt.Sprintf("qcow2 image %s is damaged: %s%s: %s; find out more with \"dfemu image check\", or restore it from a copy", e.Image, e.Where, at, e.What)
}

// UnsupportedError reports an image that is well-formed and needs something
// that this package does not have.
type UnsupportedError struct {
	// Image is the file's name.
	Image string
	// What is needed.
	What string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("qcow2 image %s uses %s, which is not supported; convert it with \"qemu-img convert -O qcow2\"", e.Image, e.What)
}
