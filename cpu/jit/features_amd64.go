//go:build linux

package jit

import "dfemu/cpu/x86"

// cpuid executes CPUID; see cpuid_amd64.s.
//
//go:noescape
func cpuid(leaf, subleaf uint32) (a, b, c, d uint32)

// hostFeatures returns the features of the processor that this program runs on.
func hostFeatures() x86.FeatureSet {
	var s x86.FeatureSet
	for f := x86.Feature(1); int(f) < x86.NumFeatures; f++ {
		bit := f.Bit()
		if top, _, _, _ := cpuid(bit.Leaf&0x80000000, 0); bit.Name == "" || bit.Leaf > top {
			continue
		}
		a, b, c, d := cpuid(bit.Leaf, bit.Subleaf)
		if [4]uint32{a, b, c, d}[bit.Reg]>>bit.Bit&1 != 0 {
			s = s.With(f)
		}
	}
	return s
}
