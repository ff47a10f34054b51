package softfloat

// Conversions between the x87 register format and the formats in memory.

// F32ToF80 loads a (FLD m32fp).
func (e *Env) F32ToF80(a uint32) F80 {
	e.RoundedUp = false
	return pack80(e.convert(&ext64, unpack(&binary32, uint64(a))))
}

// F64ToF80 loads a (FLD m64fp).
func (e *Env) F64ToF80(a uint64) F80 {
	e.RoundedUp = false
	return pack80(e.convert(&ext64, unpack(&binary64, a)))
}

// I64ToF80 loads an integer of any width (FILD), always exactly.
func I64ToF80(a int64) F80 {
	if a < 0 {
		return pack80(integer(-uint64(a), true))
	}
	return pack80(integer(uint64(a), false))
}

// F80ToF32 stores a (FST m32fp).  On an unmasked OE or UE nothing is to be
// stored.
func (e *Env) F80ToF32(a F80) uint32 { return uint32(e.store(&binary32, a)) }

// F80ToF64 stores a (FST m64fp).  On an unmasked OE or UE nothing is to be
// stored.
func (e *Env) F80ToF64(a F80) uint64 { return e.store(&binary64, a) }

func (e *Env) store(f *format, a F80) uint64 {
	n := unpack80(a)
	n.denorm = false // stores do not raise DE
	this := Env{Round: e.Round, Masks: e.Masks}
	r := this.convert(f, n).pack(f)
	if this.Flags&(OE|UE)&^this.Masks != 0 {
		// With no result there is nothing inexact about it.
		this.Flags &^= PE
		this.RoundedUp = false
	}
	e.Flags |= this.Flags
	e.RoundedUp = this.RoundedUp
	return r
}

// The stores to integers raise IE and return the integer indefinite 0x80...
// for NaNs and values out of range.  Pass Env.Round for FIST and RoundZero
// for FISTTP.

// F80ToI16 stores a (FIST m16int).
func (e *Env) F80ToI16(a F80, rm RoundingMode) int16 {
	e.RoundedUp = false
	return int16(e.toInt(unpack80(a), rm, 16))
}

// F80ToI32 stores a (FIST m32int).
func (e *Env) F80ToI32(a F80, rm RoundingMode) int32 {
	e.RoundedUp = false
	return int32(e.toInt(unpack80(a), rm, 32))
}

// F80ToI64 stores a (FISTP m64int).
func (e *Env) F80ToI64(a F80, rm RoundingMode) int64 {
	e.RoundedUp = false
	return e.toInt(unpack80(a), rm, 64)
}
