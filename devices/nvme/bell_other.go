//go:build !linux

package nvme

func newBell() bell { return newChannelBell() }
