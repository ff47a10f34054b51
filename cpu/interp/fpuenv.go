package interp

import (
	"encoding/binary"

	"dfemu/cpu/x86"
)

// fixSW makes the summary bits of a status word that was loaded agree with its
// exceptions: ES and B are set while one of them is not masked.
func fixSW(f *x86.FPU) {
	const esb = swES | 1<<15
	f.SW &^= esb
	if f.SW&^f.CW&0x3f != 0 {
		f.SW |= esb
	}
	f.CW = f.CW&0x1f3f | 0x40
}

// fullTag returns the tag word with two bits for each physical register (Intel SDM
// vol. 1, 8.1.7): 0 valid, 1 zero, 2 special, 3 empty.
func fullTag(f *x86.FPU) (tag uint16) {
	for i := range f.R {
		r := &f.R[i]
		e := r.SE & 0x7fff
		t := uint16(0)
		switch {
		case f.Tag>>i&1 == 0:
			t = 3
		case e == 0 && r.Mant == 0:
			t = 1
		case e == 0 || e == 0x7fff || r.Mant>>63 == 0:
			t = 2
		}
		tag |= t << (2 * i)
	}
	return tag
}

// envSize is the size of the x87 environment for operand size n.
func envSize(n uint8) int {
	if n == 2 {
		return 14
	}
	return 28
}

// encodeEnv writes the x87 environment (SDM vol. 1, figures 8-9 to 8-12).
func (c *CPU) encodeEnv(p []byte, size uint8) {
	f := &c.s.FPU
	le := binary.LittleEndian
	var w [7]uint32
	w[0], w[1], w[2] = uint32(f.CW), uint32(f.SW), uint32(fullTag(f))
	if c.protected() {
		w[3], w[4] = uint32(f.FIP), uint32(f.FCS)
		w[5], w[6] = uint32(f.FDP), uint32(f.FDS)
		if size != 2 {
			w[4] |= uint32(f.FOP) & 0x7ff << 16
		}
	} else {
		ip := uint32(f.FIP) + uint32(f.FCS)<<4
		dp := uint32(f.FDP) + uint32(f.FDS)<<4
		w[3], w[4] = ip&0xffff, ip>>16<<12|uint32(f.FOP)&0x7ff
		w[5], w[6] = dp&0xffff, dp>>16<<12
	}
	for i, v := range w {
		if size == 2 {
			le.PutUint16(p[2*i:], uint16(v))
			continue
		}
		if i < 3 || i == 6 && c.protected() || (i == 3 || i == 5) && !c.protected() {
			v |= 0xffff << 16 // reserved halves
		}
		le.PutUint32(p[4*i:], v)
	}
}

// decodeEnv reads an x87 environment into f, whose registers stay.
func (c *CPU) decodeEnv(f *x86.FPU, p []byte, size uint8) {
	le := binary.LittleEndian
	var w [7]uint32
	for i := range w {
		if size == 2 {
			w[i] = uint32(le.Uint16(p[2*i:]))
		} else {
			w[i] = le.Uint32(p[4*i:])
		}
	}
	f.CW, f.SW = uint16(w[0]), uint16(w[1])
	f.Tag = 0
	for i := range 8 {
		if w[2]>>(2*i)&3 != 3 {
			f.Tag |= 1 << i
		}
	}
	if c.protected() {
		f.FIP, f.FCS = uint64(w[3]), uint16(w[4])
		f.FDP, f.FDS = uint64(w[5]), uint16(w[6])
		f.FOP = 0 // the 16-bit format has no place for it
		if size != 2 {
			f.FOP = uint16(w[4]>>16) & 0x7ff
		}
	} else {
		f.FIP, f.FCS = uint64(w[3]&0xffff|w[4]>>12<<16), 0
		f.FDP, f.FDS = uint64(w[5]&0xffff|w[6]>>12<<16), 0
		f.FOP = uint16(w[4]) & 0x7ff
	}
	fixSW(f)
}

// storeImage and loadImage access an image at o's memory operand.
func (c *CPU) storeImage(o *Op, p []byte) bool {
	va, ok := c.address(o, len(p), accWrite)
	return ok && c.imageAligned(o, va, len(p)) && c.storeBytes(o, va, p)
}

func (c *CPU) loadImage(o *Op, p []byte) bool {
	va, ok := c.address(o, len(p), accRead)
	return ok && c.imageAligned(o, va, len(p)) && c.loadBytes(o, va, p)
}

// imageAligned makes the alignment check of an image of n bytes (SDM vol. 3, table 6-7).
func (c *CPU) imageAligned(o *Op, va uint64, n int) bool {
	if c.ctx&ctxSlow == 0 || !c.wholeCanonical(o, va, n) {
		return c.ctx&ctxSlow == 0
	}
	align := 4
	switch n {
	case 10:
		align = 8
	case 14, 94:
		align = 2
	}
	return c.checkAlign(va, align)
}

// fnstenv stores the environment and masks all exceptions.
func fnstenv(c *CPU, o *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	var p [28]byte
	c.encodeEnv(p[:], o.size)
	if !c.storeImage(o, p[:envSize(o.size)]) {
		return stFault
	}
	c.s.FPU.CW |= 0x3f
	fixSW(&c.s.FPU)
	return stNext
}

func fldenv(c *CPU, o *Op) status {
	var p [28]byte
	if !c.x87Ready(true) || !c.loadImage(o, p[:envSize(o.size)]) {
		return stFault
	}
	c.decodeEnv(&c.s.FPU, p[:], o.size)
	return stNext
}

// fnsave stores environment and registers, and initialises the x87.
func fnsave(c *CPU, o *Op) status {
	if !c.x87Ready(false) {
		return stFault
	}
	f := &c.s.FPU
	var p [108]byte
	n := envSize(o.size)
	c.encodeEnv(p[:], o.size)
	top := f.SW >> 11 & 7
	for i := range uint16(8) {
		r := &f.R[(top+i)&7]
		at := p[n+10*int(i):]
		binary.LittleEndian.PutUint64(at, r.Mant)
		binary.LittleEndian.PutUint16(at[8:], r.SE)
	}
	if !c.storeImage(o, p[:n+80]) {
		return stFault
	}
	*f = x86.FPU{CW: 0x37f, R: f.R}
	return stNext
}

func frstor(c *CPU, o *Op) status {
	var p [108]byte
	n := envSize(o.size)
	if !c.x87Ready(true) || !c.loadImage(o, p[:n+80]) {
		return stFault
	}
	f := &c.s.FPU
	c.decodeEnv(f, p[:], o.size)
	top := f.SW >> 11 & 7
	for i := range uint16(8) {
		at := p[n+10*int(i):]
		f.R[(top+i)&7] = x86.F80{Mant: binary.LittleEndian.Uint64(at), SE: binary.LittleEndian.Uint16(at[8:])}
	}
	return stNext
}
