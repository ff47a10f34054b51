//go:build !race

package devtest

import "testing"

// HostileMemory skips, in builds with the race detector, a test whose guest may aim two of a device's engines at the
// same bytes of memory.
func HostileMemory(testing.TB) {}
