package aml

import (
	"encoding/binary"
	"fmt"
)

// MaxPackage is the largest value of a PkgLength: 28 bits (section 20.2.4).
const MaxPackage = 1<<28 - 1

// Term is one piece of AML that can write itself to an [Encoder].
type Term func(e *Encoder)

// Encoder collects bytes and the first error. It is not safe for concurrent
// use.
type Encoder struct {
	buf []byte
	err error
}

// Encode writes the terms one after another and returns the bytes, which the
// caller owns, or the first error any of them met.
func Encode(terms ...Term) ([]byte, error) {
	var e Encoder
	e.terms(terms)
	if e.err != nil {
		return nil, e.err
	}
	return e.buf, nil
}

func (e *Encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("aml: "+format, args...)
	}
}

func (e *Encoder) terms(terms []Term) {
	for _, t := range terms {
		if t != nil {
			t(e)
		}
	}
}

func (e *Encoder) u8(v ...byte)  { e.buf = append(e.buf, v...) }
func (e *Encoder) u16(v uint16)  { e.buf = binary.LittleEndian.AppendUint16(e.buf, v) }
func (e *Encoder) u32(v uint32)  { e.buf = binary.LittleEndian.AppendUint32(e.buf, v) }
func (e *Encoder) u64(v uint64)  { e.buf = binary.LittleEndian.AppendUint64(e.buf, v) }
func (e *Encoder) put(p []byte)  { e.buf = append(e.buf, p...) }
func (e *Encoder) name(s string) { e.buf = appendPath(e, e.buf, s) }

// pkg writes opcode bytes, a PkgLength and what body writes. The length counts
// its own bytes, so the body is encoded first.
func (e *Encoder) pkg(op []byte, body func(*Encoder)) {
	var inner Encoder
	body(&inner)
	if inner.err != nil {
		if e.err == nil {
			e.err = inner.err
		}
		return
	}
	e.put(op)
	n := len(inner.buf)
	size := 1
	for ; size < 4; size++ {
		if n+size <= pkgLimit(size) {
			break
		}
	}
	if n+size > MaxPackage {
		e.fail("package of %d bytes is over the %d that a PkgLength can say", n, MaxPackage)
		return
	}
	e.pkgLength(n+size, size)
	e.put(inner.buf)
}

// pkgLimit returns the largest value that a PkgLength of size bytes can hold.
func pkgLimit(size int) int {
	if size == 1 {
		return 0x3f
	}
	return 1<<(4+8*(size-1)) - 1
}

// pkgLength writes v as a PkgLength of exactly size bytes: six bits when alone,
// else the low nibble in the lead byte and eight bits in each that follows.
func (e *Encoder) pkgLength(v, size int) {
	if size == 1 {
		e.u8(byte(v))
		return
	}
	e.u8(byte(size-1)<<6 | byte(v&0xf))
	for v >>= 4; size > 1; size-- {
		e.u8(byte(v))
		v >>= 8
	}
}

// fieldLength writes a bit count in the PkgLength encoding. Unlike a package
// it does not count its own bytes (section 20.2.5.2).
func (e *Encoder) fieldLength(bits uint32) {
	if bits > MaxPackage {
		e.fail("field of %d bits is over the %d that a PkgLength can say", bits, MaxPackage)
		return
	}
	size := 1
	for int(bits) > pkgLimit(size) {
		size++
	}
	e.pkgLength(int(bits), size)
}
