package interp

import "dfemu/cpu/x86"

// mxcsrMask has the bits of MXCSR that may be set.
const mxcsrMask = 0xffff

// mxcsrReset is MXCSR after power-up.
const mxcsrReset = 0x1f80

// Offsets in the XSAVE area (Intel SDM vol. 1, 10.5.1 and 13.4).
const (
	xsMXCSR    = 24
	xsMask     = 28
	xsST       = 32
	xsXMM      = 160
	xsLegacy   = 512 // size of the legacy region, offset of the header
	xsCompBV   = xsLegacy + 8
	xsYMM      = 576
	xsYMMSize  = 256
	xsCompact  = 1 << 63 // in XCOMP_BV
	fxsaveSize = 512
)

// compileState handles the instructions that save and restore x87 and vector state.
func compileState(in *x86.Inst, o *Op) (done, end bool) {
	switch in.Op {
	case x86.FXSAVE:
		o.fn = fxsave
	case x86.FXRSTOR:
		o.fn = fxrstor
	case x86.XSAVE:
		o.aux = saveAll
		o.fn = xsave
	case x86.XSAVEOPT:
		o.aux = saveInUse
		o.fn = xsave
	case x86.XSAVEC:
		o.aux = saveCompact
		o.fn = xsave
	case x86.XRSTOR:
		o.fn = xrstor
	case x86.FNSTENV:
		o.fn = fnstenv
	case x86.FLDENV:
		o.fn = fldenv
	case x86.FNSAVE:
		o.fn = fnsave
	case x86.FRSTOR:
		o.fn = frstor
	default:
		return false, false
	}
	return true, false
}

// The XSAVE instructions, in Op.aux.
const (
	saveAll     = iota // XSAVE
	saveInUse          // XSAVEOPT
	saveCompact        // XSAVEC
)

// area is a state image in memory whose pages have been probed. Accesses that fail
// nevertheless (the page tables change meanwhile) are noted.
type area struct {
	c      *CPU
	o      *Op
	va     uint64
	failed bool
}

func (a *area) put(off, v uint64) {
	if !a.failed && !storeAt(a.c, a.o, a.va+off, v) {
		a.failed = true
	}
}

func (a *area) put32(off uint64, v uint32) {
	if !a.failed && !storeAt(a.c, a.o, a.va+off, v) {
		a.failed = true
	}
}

func (a *area) get(off uint64) (v uint64) {
	if !a.failed {
		var ok bool
		v, ok = loadAt[uint64](a.c, a.o, a.va+off)
		a.failed = !ok
	}
	return v
}

func (a *area) status() status { return finish(!a.failed, stNext) }

// area returns the n-byte memory operand, which must have an alignment. FXSAVE
// and FXRSTOR look at that last: in the stack segment, an address that is not canonical raises #SS.
func (c *CPU) area(o *Op, n int, align uint64, acc access) (a area, ok bool) {
	va, ok := c.address(o, n, acc)
	if !ok || n == fxsaveSize && !c.wholeCanonical(o, va, n) || !c.aligned(va, align) || !c.probe(o, va, n, acc) {
		return a, false
	}
	return area{c: c, o: o, va: va}, true
}

// vectors is the number of vector registers that the present mode saves and restores.
func (c *CPU) vectors() int {
	if c.mode == x86.Mode64 {
		return 16
	}
	return 8
}

func (a *area) saveX87(wide bool) {
	f := &a.c.s.FPU
	a.put(0, uint64(f.CW)|uint64(f.SW)<<16|uint64(f.Tag)<<32|uint64(f.FOP)<<48)
	if wide {
		a.put(8, f.FIP)
		a.put(16, f.FDP)
	} else {
		a.put(8, f.FIP&0xffffffff|uint64(f.FCS)<<32)
		a.put(16, f.FDP&0xffffffff|uint64(f.FDS)<<32)
	}
	top := f.SW >> 11 & 7
	for i := range uint16(8) {
		r := &f.R[(top+i)&7]
		at := xsST + 16*uint64(i)
		a.put(at, r.Mant)
		a.put(at+8, uint64(r.SE))
	}
}

// loadX87 reads an x87 image without making it the state yet.
func (a *area) loadX87(wide bool) (f x86.FPU) {
	v := a.get(0)
	f.CW, f.SW, f.Tag, f.FOP = uint16(v), uint16(v>>16), uint8(v>>32), uint16(v>>48)&0x7ff
	f.FIP, f.FDP = a.get(8), a.get(16)
	if !wide {
		f.FCS, f.FDS = uint16(f.FIP>>32), uint16(f.FDP>>32)
		f.FIP &= 0xffffffff
		f.FDP &= 0xffffffff
	}
	top := f.SW >> 11 & 7
	for i := range uint16(8) {
		at := xsST + 16*uint64(i)
		f.R[(top+i)&7] = x86.F80{Mant: a.get(at), SE: uint16(a.get(at + 8))}
	}
	fixSW(&f)
	return f
}

func (a *area) saveXMM() {
	for i := range a.c.vectors() {
		v := &a.c.s.Vec[i]
		at := xsXMM + 16*uint64(i)
		a.put(at, v[0])
		a.put(at+8, v[1])
	}
}

func (a *area) loadXMM(v *[16][2]uint64) {
	for i := range a.c.vectors() {
		at := xsXMM + 16*uint64(i)
		v[i] = [2]uint64{a.get(at), a.get(at + 8)}
	}
}

func (a *area) saveMXCSR() {
	a.put32(xsMXCSR, a.c.s.MXCSR)
	a.put32(xsMask, mxcsrMask)
}

func fxsave(c *CPU, o *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	a, ok := c.area(o, fxsaveSize, 16, accWrite)
	if !ok {
		return stFault
	}
	a.saveX87(o.size == 8)
	a.saveMXCSR()
	a.saveXMM()
	return a.status()
}

func fxrstor(c *CPU, o *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	a, ok := c.area(o, fxsaveSize, 16, accRead)
	if !ok {
		return stFault
	}
	f := a.loadX87(o.size == 8)
	mxcsr := uint32(a.get(xsMXCSR))
	var xmm [16][2]uint64
	a.loadXMM(&xmm)
	switch {
	case a.failed:
		return stFault
	case mxcsr&^mxcsrMask != 0:
		return c.gp(0)
	}
	c.s.FPU = f
	c.s.MXCSR = mxcsr
	c.restoreXMM(&xmm)
	return stNext
}

func (c *CPU) restoreXMM(v *[16][2]uint64) {
	for i := range c.vectors() {
		c.s.Vec[i][0], c.s.Vec[i][1] = v[i][0], v[i][1]
	}
}

// xsaveReady checks what all XSAVE instructions need and returns the components they are
// for: those of XCR0 that EDX:EAX asks for.
func (c *CPU) xsaveReady() (rfbm uint64, ok bool) {
	if c.s.CR4&x86.CR4_OSXSAVE == 0 {
		c.ud()
		return 0, false
	}
	if c.s.CR0&x86.CR0_TS != 0 {
		c.fault(x86.VecNM, 0)
		return 0, false
	}
	return c.s.XCR0 & (c.r[x86.RAX]&0xffffffff | c.r[x86.RDX]<<32), true
}

// inUse is XINUSE: the components that are not in their initial configuration (SDM vol. 1, 13.6).
func (c *CPU) inUse() (m uint64) {
	f := c.s.FPU
	if f != (x86.FPU{CW: 0x37f}) {
		m |= x86.XCR0_X87
	}
	for i := range c.s.Vec {
		v := &c.s.Vec[i]
		if v[0]|v[1] != 0 {
			m |= x86.XCR0_SSE
		}
		if v[2]|v[3] != 0 {
			m |= x86.XCR0_AVX
		}
	}
	return m
}

// xsave is XSAVE, XSAVEOPT or XSAVEC (SDM vol. 1, 13.7, 13.9, 13.10).
func xsave(c *CPU, o *Op) status {
	rfbm, ok := c.xsaveReady()
	if !ok {
		return stFault
	}
	n := xsYMM
	if rfbm&x86.XCR0_AVX != 0 {
		n += xsYMMSize
	}
	a, ok := c.area(o, n, 64, accWrite)
	if !ok {
		return stFault
	}
	used := c.inUse()
	save := rfbm
	mxcsr := rfbm&(x86.XCR0_SSE|x86.XCR0_AVX) != 0
	switch o.aux {
	case saveInUse:
		save &= used
	case saveCompact:
		if c.s.MXCSR != mxcsrReset {
			used |= x86.XCR0_SSE
		}
		save &= used
		mxcsr = save&x86.XCR0_SSE != 0
	}
	var bv uint64
	if o.aux != saveCompact {
		bv = a.get(xsLegacy) &^ rfbm
	}
	if save&x86.XCR0_X87 != 0 {
		a.saveX87(o.size == 8)
	}
	if mxcsr {
		a.saveMXCSR()
	}
	if save&x86.XCR0_SSE != 0 {
		a.saveXMM()
	}
	if save&x86.XCR0_AVX != 0 {
		for i := range c.vectors() {
			v := &c.s.Vec[i]
			at := xsYMM + 16*uint64(i)
			a.put(at, v[2])
			a.put(at+8, v[3])
		}
	}
	a.put(xsLegacy, bv|used&rfbm)
	if o.aux == saveCompact {
		a.put(xsCompBV, rfbm|xsCompact)
	}
	return a.status()
}

// xrstor is XRSTOR (SDM vol. 1, 13.8). With these components, AVX state lies at the same offset in
// the standard and the compacted format.
func xrstor(c *CPU, o *Op) status {
	rfbm, ok := c.xsaveReady()
	if !ok {
		return stFault
	}
	a, ok := c.area(o, xsYMM, 64, accRead)
	if !ok {
		return stFault
	}
	bv, comp := a.get(xsLegacy), a.get(xsCompBV)
	reserved := a.get(xsLegacy + 16)
	compact := comp&xsCompact != 0
	bad := false
	if compact {
		for off := uint64(24); off < 64; off += 8 {
			reserved |= a.get(xsLegacy + off)
		}
		comp &^= xsCompact
		bad = !c.sys.features.Has(x86.FeatXSAVEC) || comp&^c.s.XCR0 != 0 || bv&^comp != 0
	} else {
		bad = comp != 0 || bv&^c.s.XCR0 != 0
	}
	if a.failed {
		return stFault
	}
	if bad || reserved != 0 {
		return c.gp(0)
	}
	load := rfbm & bv
	if load&x86.XCR0_AVX != 0 {
		if a, ok = c.area(o, xsYMM+xsYMMSize, 64, accRead); !ok {
			return stFault
		}
	}
	mxcsr := c.s.MXCSR
	switch {
	case compact && rfbm&^bv&x86.XCR0_SSE != 0:
		mxcsr = mxcsrReset
	case compact && load&x86.XCR0_SSE != 0, !compact && rfbm&(x86.XCR0_SSE|x86.XCR0_AVX) != 0:
		mxcsr = uint32(a.get(xsMXCSR))
	}
	f := x86.FPU{CW: 0x37f}
	if load&x86.XCR0_X87 != 0 {
		f = a.loadX87(o.size == 8)
	}
	var xmm, ymm [16][2]uint64
	if load&x86.XCR0_SSE != 0 {
		a.loadXMM(&xmm)
	}
	if load&x86.XCR0_AVX != 0 {
		for i := range c.vectors() {
			at := xsYMM + 16*uint64(i)
			ymm[i] = [2]uint64{a.get(at), a.get(at + 8)}
		}
	}
	switch {
	case a.failed:
		return stFault
	case mxcsr&^mxcsrMask != 0:
		return c.gp(0)
	}
	c.s.MXCSR = mxcsr
	if rfbm&x86.XCR0_X87 != 0 {
		c.s.FPU = f
	}
	if rfbm&x86.XCR0_SSE != 0 {
		c.restoreXMM(&xmm)
	}
	if rfbm&x86.XCR0_AVX != 0 {
		for i := range c.vectors() {
			c.s.Vec[i][2], c.s.Vec[i][3] = ymm[i][0], ymm[i][1]
		}
	}
	return stNext
}
