package interp

import "dfemu/cpu/x86"

// compileVectorMove takes the moves of whole registers, quadwords and elements
// between XMM or YMM registers, memory and general-purpose registers.
func compileVectorMove(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.MOVAPS, x86.MOVAPD, x86.MOVUPS, x86.MOVUPD, x86.MOVDQA, x86.MOVDQU, x86.LDDQU,
		x86.MOVNTPS, x86.MOVNTPD, x86.MOVNTDQ, x86.MOVNTDQA,
		x86.VMOVAPS, x86.VMOVAPD, x86.VMOVUPS, x86.VMOVUPD, x86.VMOVDQA, x86.VMOVDQU, x86.VLDDQU,
		x86.VMOVNTPS, x86.VMOVNTPD, x86.VMOVNTDQ, x86.VMOVNTDQA:
		compileMoveWhole(in, o)
	case x86.MOVSS, x86.MOVSD, x86.VMOVSS, x86.VMOVSD:
		compileMoveScalar(in, o)
	case x86.MOVD, x86.MOVQ, x86.VMOVD, x86.VMOVQ:
		compileMoveGeneral(in, o)
	case x86.MOVLPS, x86.MOVLPD, x86.VMOVLPS, x86.VMOVLPD:
		bindVec(in, o)
		o.fn = loadLow
		if isMem(in, 0) {
			o.fn = storeLow64
		}
	case x86.MOVHPS, x86.MOVHPD, x86.VMOVHPS, x86.VMOVHPD:
		bindVec(in, o)
		o.fn = loadHigh
		if isMem(in, 0) {
			o.fn = storeHigh
		}
	case x86.MOVDDUP, x86.VMOVDDUP:
		bindVec(in, o)
		switch {
		case in.VecLen == 32:
			o.fn = movddup256
		case o.aux&auxMem != 0:
			o.fn = loadDup
		default:
			o.fn = movddup
		}
	case x86.MOVMSKPS, x86.VMOVMSKPS, x86.MOVMSKPD, x86.VMOVMSKPD, x86.PMOVMSKB, x86.VPMOVMSKB:
		bindVec(in, o)
		o.fn = moveMask
		o.size = 1
		switch in.Op {
		case x86.MOVMSKPS, x86.VMOVMSKPS:
			o.size = 4
		case x86.MOVMSKPD, x86.VMOVMSKPD:
			o.size = 8
		}
		if in.Op == x86.PMOVMSKB {
			o.fn = ssePMOVMSKB
		}
	default:
		return false
	}
	return true
}

// compileMoveWhole takes moves of 16 or 32 bytes.
func compileMoveWhole(in *x86.Inst, o *Op) {
	bindVec(in, o)
	type form struct{ sse, vex, vex256 handler }
	f := form{moveReg, moveRegVEX, moveReg256}
	switch {
	case isMem(in, 0):
		f = form{storeReg, storeRegVEX, storeReg256}
	case o.aux&auxMem != 0:
		f = form{loadReg, loadRegVEX, loadReg256}
	}
	switch {
	case !in.VEX:
		o.fn = f.sse
	case in.VecLen == 32:
		o.fn = f.vex256
	default:
		o.fn = f.vex
	}
}

func moveReg(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0], d[1] = s[0], s[1]
	return stNext
}

func moveRegVEX(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0], d[1], d[2], d[3] = s[0], s[1], 0, 0
	return stNext
}

func moveReg256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	c.s.Vec[o.dst&15] = c.s.Vec[o.src&15]
	return stNext
}

func loadReg(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	v, ok := c.loadLane(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	d[0], d[1] = v.lo, v.hi
	return stNext
}

func loadRegVEX(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	v, ok := c.loadLane(o)
	if !ok {
		return stFault
	}
	c.s.Vec[o.dst&15] = [4]uint64{v.lo, v.hi, 0, 0}
	return stNext
}

func loadReg256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.loadLanes(o)
	if !ok {
		return stFault
	}
	c.s.Vec[o.dst&15] = [4]uint64{l.lo, l.hi, h.lo, h.hi}
	return stNext
}

func storeReg(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	s := &c.s.Vec[o.src&15]
	if !c.storeLane(o, lane{s[0], s[1]}) {
		return stFault
	}
	return stNext
}

func storeRegVEX(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	s := &c.s.Vec[o.src&15]
	if !c.storeLane(o, lane{s[0], s[1]}) {
		return stFault
	}
	return stNext
}

func storeReg256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	s := &c.s.Vec[o.src&15]
	if !c.storeLanes(o, lane{s[0], s[1]}, lane{s[2], s[3]}) {
		return stFault
	}
	return stNext
}

// compileMoveScalar takes MOVSS and MOVSD. Loads clear the rest of the
// XMM register; moves between registers keep it (or take it from the first source).
func compileMoveScalar(in *x86.Inst, o *Op) {
	bindVec(in, o)
	single := in.Op == x86.MOVSS || in.Op == x86.VMOVSS
	switch {
	case isMem(in, 0):
		o.fn = storeLow64
		if single {
			o.fn = storeLow32
		}
	case o.aux&auxMem != 0:
		o.fn = load64
		if single {
			o.fn = load32
		}
	default:
		o.fn = mergeSD
		if single {
			o.fn = mergeSS
		}
	}
}

func load32(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := load[uint32](c, o)
	if !ok {
		return stFault
	}
	c.setXMM(o, lane{lo: uint64(v)})
	return stNext
}

func load64(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := load[uint64](c, o)
	if !ok {
		return stFault
	}
	c.setXMM(o, lane{lo: v})
	return stNext
}

func storeLow32(c *CPU, o *Op) status {
	if !c.vecReady(o) || !store(c, o, uint32(c.s.Vec[o.src&15][0])) {
		return stFault
	}
	return stNext
}

func storeLow64(c *CPU, o *Op) status {
	if !c.vecReady(o) || !store(c, o, c.s.Vec[o.src&15][0]) {
		return stFault
	}
	return stNext
}

func storeHigh(c *CPU, o *Op) status {
	if !c.vecReady(o) || !store(c, o, c.s.Vec[o.src&15][1]) {
		return stFault
	}
	return stNext
}

func mergeSS(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	a, b := c.xmm(o.aux&auxReg), c.s.Vec[o.src&15][0]
	c.setXMM(o, lane{a.lo&^0xffffffff | b&0xffffffff, a.hi})
	return stNext
}

func mergeSD(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.setXMM(o, lane{c.s.Vec[o.src&15][0], c.s.Vec[o.aux&auxReg][1]})
	return stNext
}

// compileMoveGeneral takes MOVD and MOVQ on XMM registers.
func compileMoveGeneral(in *x86.Inst, o *Op) {
	bindVec(in, o)
	dst, src := &in.Args[0], &in.Args[1]
	wide := in.Op == x86.MOVQ || in.Op == x86.VMOVQ
	switch {
	case dst.Kind == x86.KindMem:
		o.fn = storeLow32
		if wide {
			o.fn = storeLow64
		}
	case src.Kind == x86.KindMem:
		o.fn = load32
		if wide {
			o.fn = load64
		}
	case dst.Kind == x86.KindReg:
		o.fn = xmmToReg32
		if wide {
			o.fn = xmmToReg64
		}
	case src.Kind == x86.KindReg:
		o.fn = regToXMM32
		if wide {
			o.fn = regToXMM64
		}
	default:
		o.fn = moveLow64
	}
}

func xmmToReg32(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.r[o.dst&15] = uint64(uint32(c.s.Vec[o.src&15][0]))
	return stNext
}

func xmmToReg64(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.r[o.dst&15] = c.s.Vec[o.src&15][0]
	return stNext
}

func regToXMM32(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.setXMM(o, lane{lo: uint64(uint32(c.r[o.src&15]))})
	return stNext
}

func regToXMM64(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.setXMM(o, lane{lo: c.r[o.src&15]})
	return stNext
}

func moveLow64(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.setXMM(o, lane{lo: c.s.Vec[o.src&15][0]})
	return stNext
}

// loadLow and loadHigh replace one quadword of the first source.
func loadLow(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := load[uint64](c, o)
	if !ok {
		return stFault
	}
	c.setXMM(o, lane{v, c.s.Vec[o.aux&auxReg][1]})
	return stNext
}

func loadHigh(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := load[uint64](c, o)
	if !ok {
		return stFault
	}
	c.setXMM(o, lane{c.s.Vec[o.aux&auxReg][0], v})
	return stNext
}

func movddup(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v := c.s.Vec[o.src&15][0]
	c.setXMM(o, lane{v, v})
	return stNext
}

func loadDup(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := load[uint64](c, o)
	if !ok {
		return stFault
	}
	c.setXMM(o, lane{v, v})
	return stNext
}

func movddup256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	c.setYMM(o, lane{l.lo, l.lo}, lane{h.lo, h.lo})
	return stNext
}

// byteSigns gathers the top bits of the bytes of v, dwordSigns of its two doublewords.
func byteSigns(v uint64) uint64  { return v & h8 >> 7 * 0x0102040810204080 >> 56 }
func dwordSigns(v uint64) uint64 { return v>>31&1 | v>>63<<1 }

func ssePMOVMSKB(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	s := &c.s.Vec[o.src&15]
	c.r[o.dst&15] = byteSigns(s[0]) | byteSigns(s[1])<<8
	return stNext
}

// moveMask gathers the top bits of elements of o.size bytes.
func moveMask(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	n := 2
	if o.aux&aux256 != 0 {
		n = 4
	}
	var m uint64
	for i, v := range c.s.Vec[o.src&15][:n] {
		switch o.size {
		case 1:
			m |= byteSigns(v) << (8 * i)
		case 4:
			m |= dwordSigns(v) << (2 * i)
		default:
			m |= v >> 63 << i
		}
	}
	c.r[o.dst&15] = m
	return stNext
}
