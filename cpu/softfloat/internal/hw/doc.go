// Package hw executes single floating-point instructions on the host
// processor, for tests to compare against.  It is empty on other
// architectures than amd64.
package hw
