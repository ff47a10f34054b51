package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
)

const lzopMagic = "\x89LZO\x00\r\n\x1a\n"

// Flags of an lzop header.
const (
	lzopAdler32   = 1 << 0 // of the unpacked block
	lzopAdler32C  = 1 << 1 // of the packed block
	lzopExtra     = 1 << 6
	lzopCRC32     = 1 << 8
	lzopCRC32C    = 1 << 9
	lzopFilter    = 1 << 11
	lzopNewHeader = 0x0940
	lzopMaxBlock  = 64 << 20
)

// fields reads big-endian fields; after the end all are zero and short is set.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.b, f.short = nil, true
		return make([]byte, min(n, 8))
	}
	p := f.b[:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u8() byte    { return f.take(1)[0] }
func (f *fields) u16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) u32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }

// unlzop reads the file format of lzop: a header, then blocks of LZO1X.
func unlzop(p []byte, limit uint64) ([]byte, error) {
	f := &fields{b: p[len(lzopMagic):]}
	version := f.u16()
	f.u16() // of the library
	if version >= lzopNewHeader {
		f.u16() // needed to extract
	}
	if method := f.u8(); method < 1 || method > 3 {
		return nil, fmt.Errorf("lzo: method %d is not LZO1X", method)
	}
	if version >= lzopNewHeader {
		f.u8() // level
	}
	flags := f.u32()
	if flags&(lzopFilter|lzopExtra) != 0 {
		return nil, fmt.Errorf("lzo: flags %#x: filters and extra fields are not known", flags)
	}
	f.u32() // mode
	f.u32() // time
	if version >= lzopNewHeader {
		f.u32()
	}
	f.take(uint64(f.u8())) // name
	f.u32()                // checksum
	out := make([]byte, 0, min(limit, maxPayload))
	for {
		size := f.u32()
		if f.short {
			return nil, fmt.Errorf("lzo: file is truncated")
		}
		if size == 0 {
			return out, nil
		}
		if uint64(size) > limit-uint64(len(out)) || size > lzopMaxBlock {
			return nil, fmt.Errorf("lzo: %w", overLimit(limit))
		}
		block, err := lzopBlock(f, flags, size)
		if err != nil {
			return nil, fmt.Errorf("lzo: %w", err)
		}
		out = append(out, block...)
	}
}

func lzopBlock(f *fields, flags, size uint32) ([]byte, error) {
	packed := f.u32()
	if packed > size {
		return nil, fmt.Errorf("block of %d bytes unpacks to %d", packed, size)
	}
	adler, crc := flags&lzopAdler32 != 0, flags&lzopCRC32 != 0
	var wantAdler, wantCRC uint32
	if adler {
		wantAdler = f.u32()
	}
	if crc {
		wantCRC = f.u32()
	}
	if packed < size { // what is stored has one pair of sums
		if flags&lzopAdler32C != 0 {
			f.u32()
		}
		if flags&lzopCRC32C != 0 {
			f.u32()
		}
	}
	src := f.take(uint64(packed))
	if f.short {
		return nil, errors.New("block is truncated")
	}
	out := src
	if packed < size {
		var err error
		if out, err = unlzo1x(src, int(size)); err != nil {
			return nil, err
		}
	}
	if uint32(len(out)) != size {
		return nil, fmt.Errorf("block unpacks to %d bytes, want %d", len(out), size)
	}
	if adler && adler32.Checksum(out) != wantAdler || crc && crc32.ChecksumIEEE(out) != wantCRC {
		return nil, errors.New("block has a wrong checksum")
	}
	return out, nil
}

var errLZO = errors.New("malformed LZO1X stream")

// lzo is a reader of an LZO1X stream (Linux, Documentation/staging/lzo.rst).
type lzo struct {
	src, out []byte
	limit    int
	bad      bool
}

func (z *lzo) next() int {
	if len(z.src) == 0 {
		z.bad = true
		return 0
	}
	b := z.src[0]
	z.src = z.src[1:]
	return int(b)
}

// length is the low bits of an instruction, or, when they are zero, their
// largest value and 255 for each zero byte that follows, and the byte then.
func (z *lzo) length(v, mask int) int {
	if v &= mask; v != 0 {
		return v
	}
	n := mask
	for !z.bad {
		b := z.next()
		if b != 0 {
			return n + b
		}
		if n += 255; n > z.limit {
			z.bad = true
		}
	}
	return 0
}

func (z *lzo) literals(n int) {
	if z.bad || n > len(z.src) || n > z.limit-len(z.out) {
		z.bad = true
		return
	}
	z.out = append(z.out, z.src[:n]...)
	z.src = z.src[n:]
}

func (z *lzo) match(dist, n int) {
	if z.bad || dist > len(z.out) || n > z.limit-len(z.out) {
		z.bad = true
		return
	}
	for from := len(z.out) - dist; n > 0; n-- {
		z.out = append(z.out, z.out[from])
		from++
	}
}

// unlzo1x unpacks a stream into at most limit bytes.
func unlzo1x(src []byte, limit int) ([]byte, error) {
	z := &lzo{src: src, out: make([]byte, 0, limit), limit: limit}
	// state is how many literals the last instruction copied, 4 for more
	// than 3: it decides what the instructions below 16 mean.
	state := 0
	if len(src) > 0 && src[0] > 17 {
		n := z.next() - 17
		z.literals(n)
		state = min(n, 4)
	}
	for !z.bad {
		op := z.next()
		var tail int // bits 1:0 say how many literals follow the match
		switch {
		case op >= 64:
			tail = op & 3
			n := op>>5 + 1
			dist := z.next()<<3 + op>>2&7 + 1
			z.match(dist, n)
		case op >= 32:
			n := z.length(op, 31) + 2
			w := z.next() | z.next()<<8
			tail = w & 3
			z.match(w>>2+1, n)
		case op >= 16:
			n := z.length(op, 7) + 2
			w := z.next() | z.next()<<8
			tail = w & 3
			dist := op&8<<11 + w>>2
			if dist == 0 {
				if z.bad {
					return nil, errLZO
				}
				return z.out, nil
			}
			z.match(dist+16384, n)
		case state == 0:
			z.literals(z.length(op, 15) + 3)
			state = 4
			continue
		default:
			tail = op & 3
			dist := z.next()<<2 + op>>2
			if state == 4 {
				z.match(dist+2049, 3)
			} else {
				z.match(dist+1, 2)
			}
		}
		z.literals(tail)
		state = tail
	}
	return nil, errLZO
}
