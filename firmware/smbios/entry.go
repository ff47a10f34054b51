package smbios

import (
	"encoding/binary"
	"fmt"
)

// Names of the fw_cfg files that firmware looks for.
const (
	TablesFile = "etc/smbios/smbios-tables"
	AnchorFile = "etc/smbios/smbios-anchor"
)

// Lengths of the entry points.
const (
	entry2Len = 31
	entry3Len = 24
)

// Chunk is bytes that must be written to guest memory at a physical address.
type Chunk struct {
	Addr uint64
	Data []byte
}

// File is one fw_cfg file.
type File struct {
	Name string
	Data []byte
}

// Size returns how many bytes the structures take, without entry points.
func (t *Tables) Size() int { return len(t.data) }

// EntrySize is how much [Tables.Place] takes at its anchor: a 3.0 entry point
// and, on the next multiple of 16, a 2.1 entry point.
const EntrySize = 32 + 32

// entry3 is the 64-bit entry point (section 5.2.2).
func (t *Tables) entry3(addr uint64) []byte {
	b := make([]byte, 0, entry3Len)
	b = append(b, "_SM3_"...)
	b = append(b, 0, entry3Len, 3, 6, 0, 1, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.data)))
	b = binary.LittleEndian.AppendUint64(b, addr)
	b[5] = sum(b)
	return b
}

// entry2 is the 32-bit entry point (section 5.2.1). It can say less than 64
// KiB.
func (t *Tables) entry2(addr uint32) ([]byte, error) {
	if len(t.data) > 0xffff {
		return nil, fmt.Errorf("smbios: %d bytes of structures are over the 65535 of a 2.1 entry point", len(t.data))
	}
	le := binary.LittleEndian
	b := make([]byte, 0, entry2Len)
	b = append(b, "_SM_"...)
	b = append(b, 0, entry2Len, 2, 8)
	b = le.AppendUint16(b, uint16(t.largest))
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, "_DMI_"...)
	b = append(b, 0)
	b = le.AppendUint16(b, uint16(len(t.data)))
	b = le.AppendUint32(b, addr)
	b = le.AppendUint16(b, uint16(t.count))
	b = append(b, 0x28)
	b[21] = sum(b[16:])
	b[4] = sum(b)
	return b, nil
}

// sum returns the byte that makes the bytes of p add up to zero.
func sum(p []byte) byte {
	var s byte
	for _, b := range p {
		s += b
	}
	return -s
}

// Place fixes the structures at a physical address below 4 GiB and the entry
// points at anchor, a multiple of 16 in 0xF0000 to 0xFFFFF, where systems
// search. It returns what to write where.
func (t *Tables) Place(anchor, addr uint64) ([]Chunk, error) {
	if anchor&15 != 0 || anchor < 0xf0000 || anchor+EntrySize > 0x100000 {
		return nil, fmt.Errorf("smbios: entry point at %#x: must be a multiple of 16 in 0xf0000 to %#x", anchor, 0x100000-EntrySize)
	}
	n := uint64(len(t.data))
	if addr == 0 || addr > 1<<32-n {
		return nil, fmt.Errorf("smbios: structures of %d bytes at %#x do not end below 4 GiB", n, addr)
	}
	if addr < anchor+EntrySize && anchor < addr+n {
		return nil, fmt.Errorf("smbios: structures at %#x overlap the entry point at %#x", addr, anchor)
	}
	entry := make([]byte, EntrySize)
	copy(entry, t.entry3(addr))
	if e2, err := t.entry2(uint32(addr)); err == nil {
		copy(entry[32:], e2)
	}
	return []Chunk{{anchor, entry}, {addr, append([]byte(nil), t.data...)}}, nil
}

// FwCfg returns the structures as fw_cfg files. The anchor is an entry point
// of version 3.0, or 2.1 for firmware which knows only that (SeaBIOS before
// 1.17); firmware fills in the address and the checksums.
func (t *Tables) FwCfg(version3 bool) ([]File, error) {
	data := append([]byte(nil), t.data...)
	if version3 {
		return []File{{TablesFile, data}, {AnchorFile, t.entry3(0)}}, nil
	}
	anchor, err := t.entry2(0)
	if err != nil {
		return nil, err
	}
	return []File{{TablesFile, data}, {AnchorFile, anchor}}, nil
}
