package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// The operations on single bits.
const (
	bitTest = iota
	bitSet
	bitReset
	bitComplement
)

// compileBit handles BT, BTS, BTR, BTC, the bit scans and counts, and CRC32.
func compileBit(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.BT, x86.BTS, x86.BTR, x86.BTC:
		compileBT(in, o)
		return true
	}
	o.dst = 0
	switch in.Op {
	case x86.BSF:
		o.fn = bySize(o.size, nil, bsf[uint16], bsf[uint32], bsf[uint64])
	case x86.BSR:
		o.fn = bySize(o.size, nil, bsr[uint16], bsr[uint32], bsr[uint64])
	case x86.TZCNT:
		o.fn = bySize(o.size, nil, tzcnt[uint16], tzcnt[uint32], tzcnt[uint64])
	case x86.LZCNT:
		o.fn = bySize(o.size, nil, lzcnt[uint16], lzcnt[uint32], lzcnt[uint64])
	case x86.POPCNT:
		o.fn = bySize(o.size, nil, popcnt[uint16], popcnt[uint32], popcnt[uint64])
	case x86.CRC32:
		o.fn = bySize(in.Args[1].Size, crc32c[uint8], crc32c[uint16], crc32c[uint32], crc32c[uint64])
	default:
		return false
	}
	o.dst = regNum(&in.Args[0])
	o.aux = operand(in, o, 1)
	return true
}

func compileBT(in *x86.Inst, o *Op) {
	o.aux = uint8(in.Op - x86.BT)
	imm := in.Args[1].Kind == x86.KindImm
	if imm {
		o.imm = uint64(in.Args[1].Imm) & (8*uint64(o.size) - 1)
	} else {
		o.src = regNum(&in.Args[1])
	}
	switch {
	case !isMem(in, 0) && imm:
		o.dst = regNum(&in.Args[0])
		o.fn = bySize(o.size, nil, bitRegImm[uint16], bitRegImm[uint32], bitRegImm[uint64])
	case !isMem(in, 0):
		o.dst = regNum(&in.Args[0])
		o.fn = bySize(o.size, nil, bitRegReg[uint16], bitRegReg[uint32], bitRegReg[uint64])
	case in.Lock && imm:
		o.fn = bySize(o.size, nil, bitLockImm[uint16], bitLockImm[uint32], bitLockImm[uint64])
	case in.Lock:
		o.fn = bySize(o.size, nil, bitLockReg[uint16], bitLockReg[uint32], bitLockReg[uint64])
	case imm:
		o.fn = bySize(o.size, nil, bitMemImm[uint16], bitMemImm[uint32], bitMemImm[uint64])
	default:
		o.fn = bySize(o.size, nil, bitMemReg[uint16], bitMemReg[uint32], bitMemReg[uint64])
	}
}

// bitResult applies an operation on bit n.
func bitResult[T word](op uint8, v T, n uint64) T {
	m := T(1) << n
	switch op {
	case bitSet:
		return v | m
	case bitReset:
		return v &^ m
	case bitComplement:
		return v ^ m
	}
	return v
}

func bitReg[T word](c *CPU, o *Op, n uint64) status {
	v := getReg[T](c, o.dst)
	if o.aux != bitTest {
		setReg(c, o.dst, bitResult(o.aux, v, n))
	}
	c.setCF(v>>n&1 != 0)
	return stNext
}

func bitRegImm[T word](c *CPU, o *Op) status { return bitReg[T](c, o, o.imm) }

func bitRegReg[T word](c *CPU, o *Op) status {
	return bitReg[T](c, o, c.r[o.src&31]&(8*sizeOf[T]()-1))
}

// bitAddress returns the linear address of the operand that holds the bit o.src: the offset in
// the register is signed and may point outside the operand.
func bitAddress[T word](c *CPU, o *Op) (va, n uint64, ok bool) {
	size := sizeOf[T]()
	bit := int64(sext(getReg[T](c, o.src)))
	n = uint64(bit) & (8*size - 1)
	delta := uint64(bit>>3) &^ (size - 1)
	off := (c.r[o.base&31] + c.r[o.index&31]<<(o.scale&3) + o.disp + delta) & o.amask
	if !o.legacy {
		return off + c.segBase[o.seg&7], n, true
	}
	acc := accWrite
	if o.aux == bitTest {
		acc = accRead
	}
	va, ok = c.linear(o.seg, off, size, acc)
	return va, n, ok
}

// bitMem applies an operation to bit n of the T at va.
func bitMem[T word](c *CPU, o *Op, va, n uint64) status {
	if o.aux == bitTest {
		v, ok := loadAt[T](c, o, va)
		if !ok {
			return stFault
		}
		c.setCF(v>>n&1 != 0)
		return stNext
	}
	v, ok := loadForStore[T](c, o, va)
	if !ok || !storeAt(c, o, va, bitResult(o.aux, v, n)) {
		return stFault
	}
	c.setCF(v>>n&1 != 0)
	return stNext
}

func bitMemImm[T word](c *CPU, o *Op) status {
	acc := accWrite
	if o.aux == bitTest {
		acc = accRead
	}
	va, ok := c.address(o, int(sizeOf[T]()), acc)
	if !ok {
		return stFault
	}
	return bitMem[T](c, o, va, o.imm)
}

func bitMemReg[T word](c *CPU, o *Op) status {
	va, n, ok := bitAddress[T](c, o)
	if !ok {
		return stFault
	}
	return bitMem[T](c, o, va, n)
}

// bitLock is bitMem with LOCK.
func bitLock[T word](c *CPU, o *Op, va, n uint64) status {
	op := o.aux
	v, ok := lockedAt(c, o, va, func(v T) T { return bitResult(op, v, n) })
	if !ok {
		return stFault
	}
	c.setCF(v>>n&1 != 0)
	return stNext
}

func bitLockImm[T word](c *CPU, o *Op) status {
	va, ok := c.address(o, int(sizeOf[T]()), accWrite)
	if !ok {
		return stFault
	}
	return bitLock[T](c, o, va, o.imm)
}

func bitLockReg[T word](c *CPU, o *Op) status {
	va, n, ok := bitAddress[T](c, o)
	if !ok {
		return stFault
	}
	return bitLock[T](c, o, va, n)
}

// bsf and bsr leave the destination as it is when the source is 0; the flags but ZF, which are
// undefined, follow from the source.
func bsf[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	flagsLogic(c, v)
	if v != 0 {
		setReg(c, o.dst, T(bits.TrailingZeros64(uint64(v))))
	}
	return stNext
}

func bsr[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	flagsLogic(c, v)
	if v != 0 {
		setReg(c, o.dst, T(63-bits.LeadingZeros64(uint64(v))))
	}
	return stNext
}

// counted sets the flags of TZCNT and LZCNT: CF tells a source of 0.
func (c *CPU) counted(n uint64, zero bool) {
	c.setCO(n, zero, false)
}

func tzcnt[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	n := uint64(bits.TrailingZeros64(uint64(v)))
	if v == 0 {
		n = 8 * sizeOf[T]()
	}
	setReg(c, o.dst, T(n))
	c.counted(n, v == 0)
	return stNext
}

func lzcnt[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	n := uint64(bits.LeadingZeros64(uint64(v))) - (64 - 8*sizeOf[T]())
	setReg(c, o.dst, T(n))
	c.counted(n, v == 0)
	return stNext
}

// popcnt clears all flags but ZF.
func popcnt[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	setReg(c, o.dst, T(bits.OnesCount64(uint64(v))))
	c.onlyZF(v == 0)
	return stNext
}

// onlyZF sets or clears ZF and clears the other flags.
func (c *CPU) onlyZF(zf bool) {
	c.fres, c.fcarry = 1, 0
	if zf {
		c.fres, c.fcarry = 0, fcPFOdd
	}
}

// castagnoli is the remainder of each byte for the reflected polynomial of CRC32.
var castagnoli = func() (t [256]uint32) {
	for i := range t {
		v := uint32(i)
		for range 8 {
			v = v>>1 ^ 0x82f63b78&-(v&1)
		}
		t[i] = v
	}
	return t
}()

// crc32c accumulates a source of the size of T in a 32-bit checksum.
func crc32c[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	crc := uint32(c.r[o.dst&31])
	for x, n := uint64(v), sizeOf[T](); n > 0; n-- {
		crc = crc>>8 ^ castagnoli[uint8(crc)^uint8(x)]
		x >>= 8
	}
	c.r[o.dst&31] = uint64(crc)
	return stNext
}
