//go:build race

package devtest

import "testing"

// HostileMemory skips a test whose guest may aim two of a device's engines at the same bytes of memory: hardware
// would let it, and the race detector is right to report it.
func HostileMemory(t testing.TB) {
	t.Skip("the guest's own races in its memory would be reported as the device's")
}
