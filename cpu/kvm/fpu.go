//go:build linux && amd64

package kvm

import (
	"encoding/binary"

	"dfemu/cpu/x86"
)

// Layout of an XSAVE area in the standard format (Intel SDM vol. 1, 13.4),
// as saved by the 64-bit forms of the instructions. The place of the AVX
// state is by CPUID leaf 0Dh, and the same on all processors so far.
const (
	xsFCW    = 0
	xsFSW    = 2
	xsFTW    = 4
	xsFOP    = 6
	xsFIP    = 8
	xsFDP    = 16
	xsMXCSR  = 24
	xsST     = 32
	xsXMM    = 160
	xsBV     = 512
	xsYMM    = 576
	mxcsrOff = 0x1f80
)

// unpackFPU sets the x87 and vector state of s from an XSAVE area. Components
// that the area leaves out are in their initial state.
func unpackFPU(s *x86.State, p *[xsaveSize]byte) {
	le := binary.LittleEndian
	bv := le.Uint64(p[xsBV:])
	s.FPU = x86.FPU{CW: 0x37f}
	if bv&x86.XCR0_X87 != 0 {
		f := &s.FPU
		f.CW, f.SW, f.Tag, f.FOP = le.Uint16(p[xsFCW:]), le.Uint16(p[xsFSW:]), p[xsFTW], le.Uint16(p[xsFOP:])
		f.FIP, f.FDP = le.Uint64(p[xsFIP:]), le.Uint64(p[xsFDP:])
		for i := range f.R {
			// The area has the registers in stack order.
			at := p[xsST+16*((i-int(f.SW>>11))&7):]
			f.R[i] = x86.F80{Mant: le.Uint64(at), SE: le.Uint16(at[8:])}
		}
	}
	s.MXCSR = mxcsrOff
	if bv&(x86.XCR0_SSE|x86.XCR0_AVX) != 0 {
		s.MXCSR = le.Uint32(p[xsMXCSR:])
	}
	for i := range s.Vec {
		s.Vec[i] = [4]uint64{}
		if bv&x86.XCR0_SSE != 0 {
			s.Vec[i][0], s.Vec[i][1] = le.Uint64(p[xsXMM+16*i:]), le.Uint64(p[xsXMM+16*i+8:])
		}
		if bv&x86.XCR0_AVX != 0 {
			s.Vec[i][2], s.Vec[i][3] = le.Uint64(p[xsYMM+16*i:]), le.Uint64(p[xsYMM+16*i+8:])
		}
	}
}

// packFPU puts the x87 and vector state of s into an XSAVE area, whose other
// components stay. The selectors of the last instruction and operand are not
// part of the 64-bit format. avx: the host has AVX state.
func packFPU(p *[xsaveSize]byte, s *x86.State, avx bool) {
	le := binary.LittleEndian
	f := &s.FPU
	le.PutUint16(p[xsFCW:], f.CW)
	le.PutUint16(p[xsFSW:], f.SW)
	p[xsFTW] = f.Tag
	le.PutUint16(p[xsFOP:], f.FOP)
	le.PutUint64(p[xsFIP:], f.FIP)
	le.PutUint64(p[xsFDP:], f.FDP)
	for i := range f.R {
		at := p[xsST+16*((i-int(f.SW>>11))&7):]
		le.PutUint64(at, f.R[i].Mant)
		le.PutUint16(at[8:], f.R[i].SE)
	}
	le.PutUint32(p[xsMXCSR:], s.MXCSR)
	bv := le.Uint64(p[xsBV:]) | x86.XCR0_X87 | x86.XCR0_SSE
	if avx {
		bv |= x86.XCR0_AVX
	}
	for i := range s.Vec {
		le.PutUint64(p[xsXMM+16*i:], s.Vec[i][0])
		le.PutUint64(p[xsXMM+16*i+8:], s.Vec[i][1])
		if avx {
			le.PutUint64(p[xsYMM+16*i:], s.Vec[i][2])
			le.PutUint64(p[xsYMM+16*i+8:], s.Vec[i][3])
		}
	}
	le.PutUint64(p[xsBV:], bv)
}
