//go:build linux && amd64

package kvm

import (
	"testing"

	"golang.org/x/sys/unix"

	"dfemu/cpu/cputest"
	"dfemu/cpu/x86"
)

func available(t *testing.T) {
	t.Helper()
	fd, err := open()
	if err != nil {
		t.Skipf("KVM is not available: %v", err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
}

func TestGuests(t *testing.T) {
	available(t)
	skip := map[string]string{}
	if fast, why := Usable(); !fast {
		// Seen on one: it sets RIP and leaves CS at CPL 3.
		skip["SYSCALL"] = "a KVM without hardware virtualization cannot be relied on for SYSCALL from CPL 3: " + why
	}
	if !bare(t).model.Features.Has(x86.FeatMOVBE) {
		skip["MOVBE"] = "this host's KVM hides MOVBE, and raises #UD for it instead of giving up"
	}
	cputest.Run(t, New, skip)
}

func TestKicks(t *testing.T) {
	available(t)
	cputest.Kicks(t, New)
}

func TestState(t *testing.T) {
	available(t)
	var ignore []string
	if a := bare(t); !a.caps.tscOffset {
		ignore = append(ignore, ".TSCOffset")
		t.Log("this host's KVM keeps no TSC offsets: they are not compared")
	}
	cputest.State(t, New, ignore...)
}
