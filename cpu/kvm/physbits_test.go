//go:build linux && amd64

package kvm

import "testing"

func TestShownBits(t *testing.T) {
	for _, tt := range []struct {
		eax  uint32
		want uint8
	}{{0, 46}, {0x3024, 36}, {0x302e, 46}, {0x3934, 46}} {
		if got := shownBits(tt.eax); got != tt.want {
			t.Errorf("CPUID.80000008H:EAX %#x: %d bits, want %d", tt.eax, got, tt.want)
		}
	}
}
