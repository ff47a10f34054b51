package aml

import (
	"encoding/hex"
	"strings"
)

// Int is an integer constant in its shortest encoding (section 20.2.3). All
// ones in 64 bits is written as the Ones operator; tables with a revision of
// 2 or more have 64-bit integers.
func Int(v uint64) Term {
	return func(e *Encoder) {
		switch {
		case v <= 1:
			e.u8(byte(v))
		case v == ^uint64(0):
			e.u8(0xff)
		case v <= 0xff:
			e.u8(0x0a, byte(v))
		case v <= 0xffff:
			e.u8(0x0b)
			e.u16(uint16(v))
		case v <= 0xffffffff:
			e.u8(0x0c)
			e.u32(uint32(v))
		default:
			e.u8(0x0e)
			e.u64(v)
		}
	}
}

// String is a string constant: ASCII 1 to 127.
func String(s string) Term {
	return func(e *Encoder) {
		for i := 0; i < len(s); i++ {
			if s[i] == 0 || s[i] > 0x7f {
				e.fail("string %q: byte %d is not ASCII 1 to 127", s, i)
				return
			}
		}
		e.u8(0x0d)
		e.put([]byte(s))
		e.u8(0)
	}
}

// Buffer is a buffer that holds p.
func Buffer(p []byte) Term {
	return func(e *Encoder) {
		e.pkg([]byte{0x11}, func(in *Encoder) {
			Int(uint64(len(p)))(in)
			in.put(p)
		})
	}
}

// BufferSize is a buffer of n zero bytes; n may be any integer term.
func BufferSize(n Term) Term {
	return func(e *Encoder) { e.pkg([]byte{0x11}, func(in *Encoder) { n(in) }) }
}

// Package is a package of the elements. Up to 255 are written as a Package,
// more as a VarPackage.
func Package(elems ...Term) Term {
	return func(e *Encoder) {
		if len(elems) <= 255 {
			e.pkg([]byte{0x12}, func(in *Encoder) {
				in.u8(byte(len(elems)))
				in.terms(elems)
			})
			return
		}
		e.pkg([]byte{0x13}, func(in *Encoder) {
			Int(uint64(len(elems)))(in)
			in.terms(elems)
		})
	}
}

// EISAID is the compressed form of an EISA or PNP identifier such as
// "PNP0A08": three letters and four hexadecimal digits (section 19.6.36).
func EISAID(id string) Term {
	return func(e *Encoder) {
		bad := len(id) != 7
		var v uint32
		for i := 0; i < 3 && !bad; i++ {
			bad = id[i] < 'A' || id[i] > 'Z'
			v = v<<5 | uint32(id[i]-'A'+1)&0x1f
		}
		var low []byte
		if !bad {
			var err error
			low, err = hex.DecodeString(id[3:])
			bad = err != nil
		}
		if bad {
			e.fail("EISA id %q is not three capitals and four hexadecimal digits", id)
			return
		}
		// The identifier is big-endian inside the little-endian integer.
		Int(uint64(v>>8) | uint64(v&0xff)<<8 | uint64(low[0])<<16 | uint64(low[1])<<24)(e)
	}
}

// UUID is the 16-byte buffer that ToUUID makes of the usual text form
// (section 19.6.142): the first three groups are byte-swapped.
func UUID(s string) Term {
	return func(e *Encoder) {
		raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		if err != nil || len(raw) != 16 || len(s) != 36 {
			e.fail("UUID %q is not of the form aabbccdd-eeff-gghh-iijj-kkllmmnnoopp", s)
			return
		}
		order := [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}
		out := make([]byte, 16)
		for i, j := range order {
			out[i] = raw[j]
		}
		Buffer(out)(e)
	}
}
