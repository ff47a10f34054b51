package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/crc64"

	"github.com/ulikunitz/xz/lzma"
)

// The .xz format, version 1.2.0. The container is read here, because kernels
// are packed with the x86 filter.
const (
	xzHeaderLen = 12

	xzFilterX86   = 0x04
	xzFilterLZMA2 = 0x21

	xzCheckNone   = 0
	xzCheckCRC32  = 1
	xzCheckCRC64  = 4
	xzCheckSHA256 = 10
)

func unxz(p []byte, limit uint64) ([]byte, error) {
	if len(p) < xzHeaderLen {
		return nil, fmt.Errorf("xz: stream header is truncated")
	}
	if binary.LittleEndian.Uint32(p[8:]) != crc32.ChecksumIEEE(p[6:8]) {
		return nil, fmt.Errorf("xz: stream header has a wrong checksum")
	}
	check := p[7]
	if p[6] != 0 || check > 15 {
		return nil, fmt.Errorf("xz: stream flags %#x %#x are not known", p[6], check)
	}
	p = p[xzHeaderLen:]
	var out []byte
	for {
		if len(p) == 0 {
			return nil, fmt.Errorf("xz: the index is missing")
		}
		if p[0] == 0 { // the index follows the last block
			return out, nil
		}
		block, rest, err := xzBlock(p, check, limit-uint64(len(out)))
		if err != nil {
			return nil, fmt.Errorf("xz: %w", err)
		}
		if out == nil {
			out = block
		} else {
			out = append(out, block...)
		}
		p = rest
	}
}

// xzVarint reads a number of at most 63 bits.
func xzVarint(b []byte) (v uint64, rest []byte, err error) {
	for i := 0; i < 9 && i < len(b); i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("block header: bad number")
}

// xzFilters reads a block header, its size byte first, and returns the
// dictionary size, and whether the x86 filter is applied and with which start.
func xzFilters(h []byte) (dict uint64, x86 bool, start uint32, err error) {
	flags := h[1]
	if flags&0x3c != 0 {
		return 0, false, 0, fmt.Errorf("block header: flags %#x are not known", flags)
	}
	b := h[2 : len(h)-4]
	for _, present := range []byte{0x40, 0x80} { // packed and unpacked size
		if flags&present != 0 {
			if _, b, err = xzVarint(b); err != nil {
				return 0, false, 0, err
			}
		}
	}
	last := uint64(0)
	for n := int(flags&3) + 1; n > 0; n-- {
		var id, size uint64
		if id, b, err = xzVarint(b); err != nil {
			return 0, false, 0, err
		}
		if size, b, err = xzVarint(b); err != nil {
			return 0, false, 0, err
		}
		if size > uint64(len(b)) {
			return 0, false, 0, fmt.Errorf("block header: properties of filter %#x pass its end", id)
		}
		props := b[:size]
		b = b[size:]
		switch {
		case id == xzFilterX86 && n == 2 && (size == 0 || size == 4):
			x86 = true
			if size == 4 {
				start = binary.LittleEndian.Uint32(props)
			}
		case id == xzFilterLZMA2 && size == 1 && props[0] <= 40:
			dict = lzma2Dict(props[0])
		default:
			return 0, false, 0, fmt.Errorf("block header: filter %#x with %d bytes of properties is not known", id, size)
		}
		last = id
	}
	if last != xzFilterLZMA2 {
		return 0, false, 0, fmt.Errorf("block header: the last filter is %#x, must be LZMA2", last)
	}
	return dict, x86, start, nil
}

// lzma2Dict is the dictionary size that a property byte stands for.
func lzma2Dict(b byte) uint64 {
	if b == 40 {
		return 1<<32 - 1
	}
	return uint64(2|b&1) << (b/2 + 11)
}

// xzBlock unpacks one block and returns what follows it.
func xzBlock(p []byte, check byte, limit uint64) (out, rest []byte, err error) {
	size := (int(p[0]) + 1) * 4
	if size > len(p) {
		return nil, nil, fmt.Errorf("block header is truncated")
	}
	if size < 8 || binary.LittleEndian.Uint32(p[size-4:]) != crc32.ChecksumIEEE(p[:size-4]) {
		return nil, nil, fmt.Errorf("block header has a wrong checksum")
	}
	dict, x86, start, err := xzFilters(p[:size])
	if err != nil {
		return nil, nil, err
	}
	// As in unlzma, the dictionary need not be larger than the contents.
	dict = max(min(dict, limit), lzmaMinDict)
	src := bytes.NewReader(p[size:])
	cfg := lzma.Reader2Config{DictCap: int(dict)}
	r, err := cfg.NewReader2(src)
	if err != nil {
		return nil, nil, err
	}
	if out, err = readAll("lzma2", r, limit, limit); err != nil {
		return nil, nil, err
	}
	if x86 {
		unfilterX86(out, start)
	}
	used := len(p) - size - src.Len()
	rest = p[min(size+(used+3)&^3, len(p)):]
	sum, err := xzSum(check, out)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.HasPrefix(rest, sum) {
		return nil, nil, fmt.Errorf("contents have a wrong checksum, or it is truncated")
	}
	return out, rest[len(sum):], nil
}

func xzSum(check byte, p []byte) ([]byte, error) {
	switch check {
	case xzCheckNone:
		return nil, nil
	case xzCheckCRC32:
		return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(p)), nil
	case xzCheckCRC64:
		return binary.LittleEndian.AppendUint64(nil, crc64.Checksum(p, crc64.MakeTable(crc64.ECMA))), nil
	case xzCheckSHA256:
		s := sha256.Sum256(p)
		return s[:], nil
	}
	return nil, fmt.Errorf("check %d is not known", check)
}

// unfilterX86 turns the absolute targets of CALL and JMP instructions back
// into relative ones, in place. The filter changed an operand where its top
// byte was 00 or FF and the bytes before did not look like an operand of
// another such instruction. recent has a bit for each of the last three bytes,
// the latest lowest, which says that the byte was an opcode left alone.
func unfilterX86(b []byte, start uint32) {
	signByte := func(v byte) bool { return v == 0x00 || v == 0xff }
	// top is the byte of the operand that decides, for each value of recent:
	// the one that would be the top byte for the oldest opcode.
	top := [8]int{0, 1, 2, 2, 3, 3, 3, 3}
	allowed := [8]bool{true, true, true, false, true, false, false, false}
	recent := 0
	last := -1
	for i := 0; i+5 <= len(b); i++ {
		if b[i]&0xfe != 0xe8 {
			continue
		}
		if gap := i - last; gap > 3 {
			recent = 0
		} else {
			recent = recent << (gap - 1) & 7
		}
		last = i
		if recent != 0 && (!allowed[recent] || signByte(b[i+4-top[recent]])) {
			recent = recent<<1&7 | 1
			continue
		}
		if !signByte(b[i+4]) {
			recent = recent<<1&7 | 1
			continue
		}
		v := binary.LittleEndian.Uint32(b[i+1:])
		pc := start + uint32(i) + 5
		for {
			v -= pc
			if recent == 0 {
				break
			}
			shift := uint(top[recent]) * 8
			if !signByte(byte(v >> (24 - shift))) {
				break
			}
			v ^= 1<<(32-shift) - 1
		}
		// The operand keeps 25 bits, sign-extended.
		v = uint32(int32(v<<7) >> 7)
		binary.LittleEndian.PutUint32(b[i+1:], v)
		i += 4
	}
}
