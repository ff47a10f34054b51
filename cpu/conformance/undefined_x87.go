package conformance

import "dfemu/cpu/x86"

// ignorePointers makes the addresses of the last x87 instruction and operand
// equal in the images of them that instructions store.
func ignorePointers(c *Case, want, got *Result) {
	same := func(at uint64, n int) { sameBytes(c.Operand+at, n, want, got) }
	stale := c.Regs.FPU.SW&swES == 0
	switch op := c.Inst.Op; {
	case op == x86.FXSAVE || savesState(op) && op != x86.XRSTOR:
		if stale {
			same(6, 18)
		}
		same(28, 4)
	case !stale:
	case op == x86.FNSTENV || op == x86.FNSAVE:
		if c.Form.OpSize == 2 {
			same(6, 8)
		} else {
			same(12, 16)
		}
	}
}

// sameBytes makes n bytes of memory equal.
func sameBytes(va uint64, n int, want, got *Result) {
	for i := range n {
		if j, ok := at(va + uint64(i)); ok {
			got.Mem[j] = want.Mem[j]
		}
	}
}

// transcendental reports whether the instruction is an x87 transcendental function.
func transcendental(op x86.Op) bool {
	switch op {
	case x86.F2XM1, x86.FYL2X, x86.FYL2XP1, x86.FPTAN, x86.FPATAN, x86.FSIN, x86.FCOS, x86.FSINCOS:
		return true
	}
	return false
}

// inDomain reports whether the SDM defines the result for the operand in ST(0).
func inDomain(c *Case) bool {
	f := &c.Regs.FPU
	x := f.R[f.SW>>11&7]
	mag := ordinal(x) &^ (1 << 63)
	switch c.Inst.Op {
	case x86.F2XM1: // -1 … 1
		return mag <= ordinal(x86.F80{Mant: 1 << 63, SE: 0x3fff})
	case x86.FYL2XP1: // -(1 - √2/2) … √2 - 1
		limit := x86.F80{Mant: 0xd413cccfe7799211, SE: 0x3ffd}
		if x.SE>>15 != 0 {
			limit = x86.F80{Mant: 0x95f619980c4336f7, SE: 0x3ffd}
		}
		return mag <= ordinal(limit)
	}
	return true
}

// ordinal maps the magnitude of a value to an integer such that neighbours differ by one.
func ordinal(f x86.F80) uint64 {
	// The exponent above the fraction: the top 15 bits of the fraction's place are
	// enough to tell neighbours apart, since only differences of one matter.
	return uint64(f.SE&0x7fff)<<48 | f.Mant<<1>>16
}

// near reports whether two values have the same sign and are at most one unit in the last place apart.
func near(a, b x86.F80) bool {
	if a.SE>>15 != b.SE>>15 {
		return false
	}
	if a.SE == b.SE {
		d := a.Mant - b.Mant
		return d+1 <= 2
	}
	if a.SE > b.SE {
		a, b = b, a
	}
	return b.SE == a.SE+1 && b.Mant == 1<<63 && a.Mant == 1<<64-1
}

// ignoreRounding makes results equal that are near enough.
func ignoreRounding(_ *Case, want, got *Result) {
	w, g := &want.Regs.FPU, &got.Regs.FPU
	g.SW = g.SW&^swC1 | w.SW&swC1
	for i := range w.R {
		if near(w.R[i], g.R[i]) {
			g.R[i] = w.R[i]
		}
	}
}

// ignoreUndomained makes the result equal, which is in the new ST(0), and the
// exceptions. (The generator masks all exceptions, so that nothing else depends on them.)
func ignoreUndomained(_ *Case, want, got *Result) {
	w, g := &want.Regs.FPU, &got.Regs.FPU
	const open = swExceptions | swC1
	g.SW = g.SW&^open | w.SW&open
	if top := w.SW >> 11 & 7; g.SW&swTop == w.SW&swTop {
		g.R[top] = w.R[top]
	}
}
