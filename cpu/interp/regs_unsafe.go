package interp

import "unsafe"

// word is an operand of general-purpose instructions.
type word interface {
	uint8 | uint16 | uint32 | uint64
}

// sizeOf returns the bytes in T. It is a constant in each instance.
func sizeOf[T word]() uint64 { return uint64(unsafe.Sizeof(T(0))) }

// getReg reads register n, in the numbering of regNum.
//
// Invariant: hosts are little-endian, so that the low bytes of a register
// come first; byte offsets stay below the size of c.r by the mask.
func getReg[T word](c *CPU, n uint8) T {
	if sizeOf[T]() == 1 {
		return T(*(*uint8)(unsafe.Add(unsafe.Pointer(&c.r), n&0xff)))
	}
	return T(c.r[n&31])
}

// setReg writes register n, in the numbering of regNum. As in hardware, a
// 32-bit write clears the upper half, 8- and 16-bit writes leave the rest.
func setReg[T word](c *CPU, n uint8, v T) {
	switch sizeOf[T]() {
	case 1:
		*(*uint8)(unsafe.Add(unsafe.Pointer(&c.r), n&0xff)) = uint8(v)
	case 2:
		*(*uint16)(unsafe.Pointer(&c.r[n&31])) = uint16(v)
	default:
		c.r[n&31] = uint64(v)
	}
}

// hostPage is a page of guest memory in the host.
type hostPage = unsafe.Pointer
