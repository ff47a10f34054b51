package perf

import (
	"bytes"
	"encoding/binary"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Limits of a stack that frame pointers tell: beyond them the register is taken
// to be used for something else.
const (
	maxFrame = 1 << 20 // bytes, of one activation
	// maxDepth bounds the frames of a sample.
	maxDepth = 64
)

// callers appends the frames above the first of f, by return addresses and frame pointers,
// as far as they can be believed: each return address must follow a call, and
// the stack must grow. begin is where the function of f begins, if that is known.
func callers(read reader, f frame, mode x86.Mode, begin uint64, add func(frame) bool) {
	w := word{read, 8}
	if mode != x86.Mode64 {
		w.size = 4
	}
	// Before a function has made its frame the caller is on top of the stack.
	if f.exact {
		if ret, ok := w.load(f.sp); ok && (w.bare(f.ip, begin) && w.afterCall(ret) || w.leaf(f.ip, begin) && w.calls(ret, begin)) {
			f = frame{ip: ret, sp: f.sp + w.size, bp: f.bp, user: f.user, bpKnown: f.bpKnown}
			if !add(f) {
				return
			}
		}
	}
	for f.bpKnown && f.bp >= f.sp && f.bp-f.sp < maxFrame && f.bp%w.size == 0 {
		next, ok := w.load(f.bp)
		ret, okRet := w.load(f.bp + w.size)
		if !ok || !okRet || !w.afterCall(ret) {
			return
		}
		f = frame{ip: ret, sp: f.bp + 2*w.size, bp: next, user: f.user, bpKnown: true}
		if !add(f) {
			return
		}
	}
}

// word reads a stack whose words are of 4 or 8 bytes.
type word struct {
	read reader
	size uint64
}

func (w word) load(va uint64) (uint64, bool) {
	var b [8]byte
	if w.read(va, b[:w.size]) != int(w.size) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// calls reports whether the instruction before ret is a call of target.
func (w word) calls(ret, target uint64) bool {
	var b [5]byte
	if w.read(ret-5, b[:]) != 5 || b[0] != 0xe8 {
		return false
	}
	to := ret + uint64(int64(int32(binary.LittleEndian.Uint32(b[1:]))))
	if w.size == 4 {
		to &= 0xffffffff
	}
	return to == target
}

// afterCall reports whether some call may end before ret: E8 with a displacement, or FF /2 with
// any form of operand (Intel SDM vol. 2, CALL).
func (w word) afterCall(ret uint64) bool {
	if ret < 7 {
		return false
	}
	var b [7]byte
	if w.read(ret-7, b[:]) != 7 {
		return false
	}
	if b[2] == 0xe8 {
		return true
	}
	for n := 2; n <= 7; n++ {
		if b[7-n] == 0xff && b[8-n]>>3&7 == 2 && operandLen(b[8-n:]) == n-1 {
			return true
		}
	}
	return false
}

// operandLen returns the length of ModRM, SIB and displacement, with 32- or 64-bit addresses.
func operandLen(p []byte) int {
	mod, rm := p[0]>>6, p[0]&7
	n := 1
	if mod == 3 {
		return n
	}
	if rm == 4 {
		n++
		if mod == 0 && len(p) > 1 && p[1]&7 == 5 {
			return n + 4
		}
	}
	switch {
	case mod == 1:
		n++
	case mod == 2, mod == 0 && rm == 5:
		n += 4
	}
	return n
}

// endbr is the length of ENDBR64 and ENDBR32.
const endbr = 4

// bare reports whether the code at ip runs without a frame of its own: at the beginning of a function, before
// the frame pointer is saved, and at its return.
func (w word) bare(ip, begin uint64) bool {
	if ip == begin {
		return true
	}
	var b [endbr + 1]byte
	n := w.read(ip, b[:])
	p := b[:n]
	if n == len(b) && p[0] == 0xf3 && p[1] == 0x0f && p[2] == 0x1e && (p[3] == 0xfa || p[3] == 0xfb) {
		p = p[endbr:]
	}
	return len(p) > 0 && (p[0] == 0x55 || p[0] == 0xc3) // PUSH RBP, RET
}

// maxPrologue is how far from a function's beginning its frame is made; functions in Go look at
// the size of the stack before.
const maxPrologue = 64

// leaf reports whether a function has not set the frame pointer (MOV RBP, RSP) from where it begins to
// ip: those that call nothing often do without.
func (w word) leaf(ip, begin uint64) bool {
	if begin == 0 || ip < begin {
		return false
	}
	var b [maxPrologue]byte
	p := b[:w.read(begin, b[:min(ip-begin, maxPrologue)])]
	return !bytes.Contains(p, []byte{0x89, 0xe5}) && !bytes.Contains(p, []byte{0x8b, 0xec})
}

// first returns the frame that a sample is in.
func first(s *cpu.Sample) frame {
	return frame{ip: s.RIP, sp: s.RSP, bp: s.RBP, exact: true, user: s.CPL == 3, bpKnown: true}
}
