//go:build linux && amd64

package kvm

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// PhysBits returns how many physical address bits guests are shown: the host's,
// but at most 46. Memory and windows for devices have to lie below.
func PhysBits() (int, error) {
	sys, err := open()
	if err != nil {
		return 0, err
	}
	defer unix.Close(sys)
	host := &gokvm.CPUID{Nent: maxLeaves, Entries: make([]gokvm.CPUIDEntry2, maxLeaves)}
	if err := gokvm.GetSupportedCPUID(uintptr(sys), host); err != nil {
		return 0, fmt.Errorf("kvm: what this host offers (CPUID): %w", err)
	}
	for i := range min(int(host.Nent), len(host.Entries)) {
		if e := &host.Entries[i]; e.Function == 0x80000008 {
			return int(shownBits(e.Eax)), nil
		}
	}
	return int(shownBits(0)), nil
}

// shownBits returns the physical address bits that guests are shown, by the
// host's CPUID leaf 80000008h.
func shownBits(eax uint32) uint8 {
	if b := uint8(eax); b != 0 {
		return min(physBits, b)
	}
	return physBits
}
