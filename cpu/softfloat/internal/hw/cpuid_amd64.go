package hw

import "strings"

// AMD tells whether the host processor is made by AMD.  Makers differ in
// what the architecture leaves open: how far FPREM gets at a time, and the
// last place of transcendental functions.
func AMD() bool {
	_, ebx, _, _ := cpuid(0)
	return ebx == 0x68747541 // "Auth"
}

// Supports tells whether the host can execute the named SSE instruction.
func Supports(name string) bool {
	const osxsave, avx, fma, f16c = 1 << 27, 1 << 28, 1 << 12, 1 << 29
	_, _, features, _ := cpuid(1)
	var state uint32
	if features&osxsave != 0 {
		state = xcr0()
	}
	vex := features&avx != 0 && state&6 == 6
	switch {
	case strings.Contains(name, "tou32"), strings.Contains(name, "tou64"), strings.HasPrefix(name, "fromu"):
		_, ebx, _, _ := cpuid(7)
		return vex && state&0xe6 == 0xe6 && ebx>>16&1 != 0 // AVX-512F
	case strings.Contains(name, "f16"):
		return vex && features&f16c != 0
	case strings.HasPrefix(name, "fm"), strings.HasPrefix(name, "fn"):
		return vex && features&fma != 0
	case strings.HasPrefix(name, "cmp"):
		return vex
	}
	return true
}

func cpuid(leaf uint32) (eax, ebx, ecx, edx uint32)

func xcr0() (r uint32)
