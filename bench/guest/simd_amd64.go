package main

// mulAddSSE and mulAddAVX2 compute a[i] = a[i]*b[i] + c[i] for n elements, a
// multiple of 8.

//go:noescape
func mulAddSSE(a, b, c *float64, n int)

//go:noescape
func mulAddAVX2(a, b, c *float64, n int)

func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

func xgetbv() uint32

// hasAVX2 reports whether AVX2 and FMA are there and the system saves the
// registers.
func hasAVX2() bool {
	const (
		fma     = 1 << 12
		osxsave = 1 << 27
		avx2    = 1 << 5
		ymm     = 1<<1 | 1<<2
	)
	top, _, _, _ := cpuid(0, 0)
	_, _, c, _ := cpuid(1, 0)
	if top < 7 || c&(fma|osxsave) != fma|osxsave || xgetbv()&ymm != ymm {
		return false
	}
	_, b, _, _ := cpuid(7, 0)
	return b&avx2 != 0
}
