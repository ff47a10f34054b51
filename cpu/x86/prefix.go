package x86

// prefixes is what the bytes before the opcode say.
type prefixes struct {
	seg  uint8 // segment override, or noSeg
	rep  uint8 // 0, or the last of F3 and F2
	opsz bool  // 66
	adsz bool  // 67
	lock bool  // F0
	rex  uint8 // REX, if it stands right before the opcode (or 0)
	w    bool  // REX.W or VEX.W
	l    bool  // VEX.L
	r    uint8 // 8 for REX.R or VEX.R, likewise below
	x    uint8
	b    uint8
	vvvv uint8
}

const noSeg = 0xff

// prefixKind classifies a byte where a prefix may stand.
type prefixKind uint8

const (
	pkNone  prefixKind = iota // not a prefix
	pkSeg                     // 26, 2E, 36, 3E
	pkSegFG                   // 64, 65: in 64-bit mode too
	pkOpSize
	pkAddrSize
	pkLock
	pkRep
	pkREX // a prefix in 64-bit mode only
)

// prefixKinds is indexed by byte.
var prefixKinds = [256]prefixKind{
	0x26: pkSeg, 0x2e: pkSeg, 0x36: pkSeg, 0x3e: pkSeg, 0x64: pkSegFG, 0x65: pkSegFG,
	0x66: pkOpSize, 0x67: pkAddrSize, 0xf0: pkLock, 0xf2: pkRep, 0xf3: pkRep,
	0x40: pkREX, 0x41: pkREX, 0x42: pkREX, 0x43: pkREX, 0x44: pkREX, 0x45: pkREX, 0x46: pkREX, 0x47: pkREX,
	0x48: pkREX, 0x49: pkREX, 0x4a: pkREX, 0x4b: pkREX, 0x4c: pkREX, 0x4d: pkREX, 0x4e: pkREX, 0x4f: pkREX,
}

// segOf returns the segment that an override prefix names.
func segOf(b byte) uint8 {
	if b >= 0x64 {
		return b - 0x64 + FS
	}
	return b >> 3 & 3
}

// read reads the legacy and REX prefixes at the start of code and returns
// where the opcode begins, which is at most MaxInstLen. In 64-bit mode the
// overrides of ES, CS, SS and DS are not looked at.
func (p *prefixes) read(mode Mode, code []byte) int {
	p.seg = noSeg
	for i, b := range code[:MaxInstLen] {
		k := prefixKinds[b]
		if k == pkNone || k == pkREX && mode != Mode64 {
			p.setREX()
			return i
		}
		if k == pkREX {
			p.rex = b
			continue
		}
		p.rex = 0 // a REX that something follows but the opcode has no effect
		switch k {
		case pkSeg:
			if mode != Mode64 {
				p.seg = segOf(b)
			}
		case pkSegFG:
			p.seg = segOf(b)
		case pkOpSize:
			p.opsz = true
		case pkAddrSize:
			p.adsz = true
		case pkLock:
			p.lock = true
		case pkRep:
			p.rep = b
		}
	}
	return MaxInstLen
}

// setREX takes the bits of the REX prefix apart.
func (p *prefixes) setREX() {
	p.w = p.rex&8 != 0
	p.r = p.rex & 4 << 1
	p.x = p.rex & 2 << 2
	p.b = p.rex & 1 << 3
}

// readVEX reads a VEX prefix at the start of code (C4 or C5, Intel SDM vol.
// 2, 2.3.5) into p and returns the opcode map and the prefix's length. ok is
// false when the prefix raises #UD.
func (p *prefixes) readVEX(mode Mode, code []byte) (m Map, n int, ok bool) {
	if p.opsz || p.rep != 0 || p.lock || p.rex != 0 {
		return 0, 2, false
	}
	last := code[1]
	m, n = MapVEX1, 2
	p.r = ^code[1] >> 7 << 3
	if code[0] == 0xc4 {
		last = code[2]
		n = 3
		p.x = ^code[1] >> 6 & 1 << 3
		p.b = ^code[1] >> 5 & 1 << 3
		p.w = last&0x80 != 0
		mm := code[1] & 0x1f
		if mm < 1 || mm > 3 {
			return 0, n, false
		}
		m = MapVEX1 + Map(mm-1)
	}
	p.vvvv = ^last >> 3 & 15
	p.l = last&4 != 0
	switch last & 3 {
	case 1:
		p.opsz = true
	case 2:
		p.rep = 0xf3
	case 3:
		p.rep = 0xf2
	}
	if mode != Mode64 { // eight registers: the bits that would name more are ignored
		p.r, p.x, p.b = 0, 0, 0
		p.vvvv &= 7
	}
	return m, n, true
}
