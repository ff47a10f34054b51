package part

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Offsets in the GPT header (UEFI specification, 5.3.2).
const (
	gptSignature   = "EFI PART"
	gptHeaderSize  = 12
	gptHeaderCRC   = 16
	gptMyLBA       = 24
	gptFirstUsable = 40
	gptLastUsable  = 48
	gptEntriesLBA  = 72
	gptEntries     = 80
	gptEntrySize   = 84
	gptEntriesCRC  = 88
	gptMinHeader   = 92
)

const mbrProtective = 0xee

// gpt reads a GPT, the backup if the first is damaged.
func (r *reader) gpt(first []byte) bool {
	protected := false
	if first[510] == 0x55 && first[511] == 0xaa {
		for i := range 4 {
			protected = protected || first[mbrTable+16*i+4] == mbrProtective
		}
	}
	if r.sectors < 3 {
		return false
	}
	ok, found := r.gptAt(1, "first")
	if ok {
		return true
	}
	if !found && !protected {
		return false
	}
	if !found {
		r.problem("the first GPT header is missing")
	}
	ok, found = r.gptAt(r.sectors-1, "backup")
	if !ok && !found {
		r.problem("the backup GPT header is missing")
	}
	return ok
}

// gptAt reads the GPT whose header is at a sector. found tells whether there is one, ok whether it
// is sound.
func (r *reader) gptAt(lba uint64, which string) (ok, found bool) {
	h, err := r.read(lba, r.size)
	if err != nil {
		r.problem("the %s GPT header: %v", which, err)
		return false, false
	}
	if string(h[:8]) != gptSignature {
		return false, false
	}
	le := binary.LittleEndian
	size := le.Uint32(h[gptHeaderSize:])
	if size < gptMinHeader || size > uint32(len(h)) {
		r.problem("the %s GPT header says it has %d bytes", which, size)
		return false, true
	}
	crc := le.Uint32(h[gptHeaderCRC:])
	le.PutUint32(h[gptHeaderCRC:], 0)
	if crc32.ChecksumIEEE(h[:size]) != crc {
		r.problem("the %s GPT header has a wrong checksum", which)
		return false, true
	}
	if le.Uint64(h[gptMyLBA:]) != lba {
		r.problem("the %s GPT header belongs in sector %d", which, le.Uint64(h[gptMyLBA:]))
		return false, true
	}
	n, each := le.Uint32(h[gptEntries:]), le.Uint32(h[gptEntrySize:])
	if n > 1024 || each < 128 || each > 1024 || each%8 != 0 {
		r.problem("the %s GPT has %d entries of %d bytes", which, n, each)
		return false, true
	}
	table, err := r.read(le.Uint64(h[gptEntriesLBA:]), int(n*each))
	if err != nil {
		r.problem("the entries of the %s GPT: %v", which, err)
		return false, true
	}
	if crc32.ChecksumIEEE(table[:n*each]) != le.Uint32(h[gptEntriesCRC:]) {
		r.problem("the entries of the %s GPT have a wrong checksum", which)
		return false, true
	}
	firstOK, lastOK := max(le.Uint64(h[gptFirstUsable:]), 2), min(le.Uint64(h[gptLastUsable:]), r.sectors-1)
	if n > maxEntries {
		r.problem("only the first %d of %d GPT entries are used", maxEntries, n)
	}
	for i := range min(n, maxEntries) {
		e := table[i*each:][:each]
		if allZero(e[:16]) {
			continue
		}
		start, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if start < firstOK || last < start || last > lastOK {
			r.problem("GPT entry %d, sectors %d to %d, is outside the usable %d to %d", i, start, last, firstOK, lastOK)
			continue
		}
		if r.overlaps(start, last-start+1) {
			r.problem("GPT entry %d, sectors %d to %d, overlaps another", i, start, last)
			continue
		}
		name := make([]uint16, 0, 36)
		for j := 56; j < 128; j += 2 {
			c := le.Uint16(e[j:])
			if c == 0 {
				break
			}
			name = append(name, c)
		}
		r.t.Slices = append(r.t.Slices, Slice{
			Number: int(i), Start: start, Count: last - start + 1,
			Type: uuid(e), UUID: uuid(e[16:]), Label: label(name),
		})
	}
	return true, true
}

// label is a slice's name, fit for a console.
func label(name []uint16) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(utf16.Decode(name)))
}

// overlaps tells whether a range shares sectors with a slice there is.
func (r *reader) overlaps(start, count uint64) bool {
	for _, s := range r.t.Slices {
		if start < s.Start+s.Count && s.Start < start+count {
			return true
		}
	}
	return false
}
