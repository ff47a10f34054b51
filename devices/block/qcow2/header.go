package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

var be = binary.BigEndian

// Magic are the first four bytes of every image.
const Magic = "QFI\xfb"

// Bits of the header's feature fields.
const (
	incompatDirty       = 1 << 0 // refcounts may be wrong
	incompatCorrupt     = 1 << 1 // must not be written to
	incompatDataFile    = 1 << 2
	incompatCompression = 1 << 3 // the compression type is not deflate
	incompatExtendedL2  = 1 << 4

	compatLazy = 1 << 0

	autoclearBitmaps = 1 << 0
)

// Offsets of header fields that change after an image was made.
const (
	offSize         = 24
	offRefcount     = 48
	offSnapshots    = 60
	offIncompatible = 72
	offAutoclear    = 88
)

// Header extension types.
const (
	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extFeatureNames  = 0x6803f857
	extBitmaps       = 0x23852875
	extEncryption    = 0x0537be77
	extDataFile      = 0x44415441
)

// Limits on what is kept in memory; those of QEMU.
const (
	minClusterBits   = 9
	maxClusterBits   = 21
	maxL1Bytes       = 32 << 20
	maxRefTableBytes = 8 << 20
	maxSnapshots     = 65536
	maxBackingName   = 1023
	headerV2         = 72
	headerV3         = 104
)

// Extension is a header extension.
type Extension struct {
	Type uint32
	Data []byte
}

// Header is the first structure of an image. Field names follow the format's
// description; offsets are in bytes.
type Header struct {
	Version               uint32
	ClusterBits           uint32
	Size                  uint64 // of the disk, bytes
	CryptMethod           uint32
	L1Size                uint32 // entries
	L1TableOffset         uint64
	RefcountTableOffset   uint64
	RefcountTableClusters uint32
	NbSnapshots           uint32
	SnapshotsOffset       uint64
	IncompatibleFeatures  uint64
	CompatibleFeatures    uint64
	AutoclearFeatures     uint64
	RefcountOrder         uint32 // refcounts have 1<<RefcountOrder bits
	HeaderLength          uint32
	CompressionType       Compression

	BackingFile   string // "" for none
	BackingFormat string // "" if not recorded
	Extensions    []Extension
}

// ParseHeader reads a header from the beginning of an image, its first cluster
// or all of a shorter file. It checks every field on its own and against the
// header's other fields, not against the rest of the file. Errors are
// *[DamageError] or *[UnsupportedError] that name the image.
func ParseHeader(image string, p []byte) (*Header, error) {
	h, err := parseFixed(image, p)
	if err != nil {
		return nil, err
	}
	damage := func(off int64, where, what string, args ...any) error {
		return &DamageError{image, where, off, fmt.Sprintf(what, args...)}
	}
	cluster := uint64(1) << h.ClusterBits
	p = p[:min(uint64(len(p)), cluster)]
	nameOff, nameLen := be.Uint64(p[8:]), uint64(be.Uint32(p[16:]))
	end := uint64(len(p)) // of the extensions
	if nameOff != 0 {
		if nameLen > maxBackingName {
			return nil, damage(16, "header, backing file name", "it has %d bytes, more than %d", nameLen, maxBackingName)
		}
		if nameOff < uint64(h.HeaderLength) || nameOff > uint64(len(p)) || nameLen > uint64(len(p))-nameOff {
			return nil, damage(8, "header, backing file name", "%d bytes at offset %d are not inside the first cluster", nameLen, nameOff)
		}
		h.BackingFile = string(p[nameOff : nameOff+nameLen])
		end = nameOff
		if nameLen == 0 || bytes.IndexByte(p[nameOff:nameOff+nameLen], 0) >= 0 {
			return nil, damage(int64(nameOff), "header, backing file name", "%q is no file name", h.BackingFile)
		}
	}
	if err := h.parseExtensions(image, p[:end]); err != nil {
		return nil, err
	}
	return h, nil
}

// parseFixed reads the fields at fixed offsets.
func parseFixed(image string, p []byte) (*Header, error) {
	damage := func(off int64, field, what string, args ...any) error {
		return &DamageError{image, "header, " + field, off, fmt.Sprintf(what, args...)}
	}
	if len(p) < headerV2 {
		return nil, damage(0, "length", "the file has only %d bytes", len(p))
	}
	if string(p[:4]) != Magic {
		return nil, damage(0, "magic", "%q is not %q: this is no qcow2 image", p[:4], Magic)
	}
	h := &Header{
		Version:               be.Uint32(p[4:]),
		ClusterBits:           be.Uint32(p[20:]),
		Size:                  be.Uint64(p[24:]),
		CryptMethod:           be.Uint32(p[32:]),
		L1Size:                be.Uint32(p[36:]),
		L1TableOffset:         be.Uint64(p[40:]),
		RefcountTableOffset:   be.Uint64(p[48:]),
		RefcountTableClusters: be.Uint32(p[56:]),
		NbSnapshots:           be.Uint32(p[60:]),
		SnapshotsOffset:       be.Uint64(p[64:]),
		RefcountOrder:         4,
		HeaderLength:          headerV2,
	}
	switch h.Version {
	case 2:
	case 3:
		if len(p) < headerV3 {
			return nil, damage(0, "length", "the file has only %d bytes", len(p))
		}
		h.IncompatibleFeatures = be.Uint64(p[72:])
		h.CompatibleFeatures = be.Uint64(p[80:])
		h.AutoclearFeatures = be.Uint64(p[88:])
		h.RefcountOrder = be.Uint32(p[96:])
		h.HeaderLength = be.Uint32(p[100:])
	case 1:
		return nil, &UnsupportedError{image, "version 1 of the format"}
	default:
		return nil, &UnsupportedError{image, fmt.Sprintf("version %d of the format", h.Version)}
	}
	if h.ClusterBits < minClusterBits || h.ClusterBits > maxClusterBits {
		return nil, damage(20, "cluster_bits", "%d is not between %d and %d", h.ClusterBits, minClusterBits, maxClusterBits)
	}
	cluster := uint64(1) << h.ClusterBits
	if h.Version == 3 {
		if h.HeaderLength < headerV3 || h.HeaderLength%8 != 0 || uint64(h.HeaderLength) > min(cluster, uint64(len(p))) {
			return nil, damage(100, "header_length", "%d is not a multiple of 8 from %d to the end of the first cluster", h.HeaderLength, headerV3)
		}
		if h.HeaderLength > headerV3 {
			h.CompressionType = Compression(p[104])
		}
	}
	return h, h.checkFields(image)
}

// checkFields checks the fields at fixed offsets.
func (h *Header) checkFields(image string) error {
	damage := func(off int64, field, what string, args ...any) error {
		return &DamageError{image, "header, " + field, off, fmt.Sprintf(what, args...)}
	}
	const known = incompatDirty | incompatCorrupt | incompatCompression | incompatExtendedL2
	switch {
	case h.IncompatibleFeatures&incompatDataFile != 0:
		return &UnsupportedError{image, "an external data file"}
	case h.IncompatibleFeatures&^known != 0:
		return &UnsupportedError{image, fmt.Sprintf("unknown incompatible features %#x", h.IncompatibleFeatures&^known)}
	case h.CryptMethod != 0:
		return &UnsupportedError{image, fmt.Sprintf("encryption (method %d)", h.CryptMethod)}
	case h.RefcountOrder > 6:
		return damage(96, "refcount_order", "%d is more than 6", h.RefcountOrder)
	case (h.CompressionType != Deflate) != (h.IncompatibleFeatures&incompatCompression != 0):
		return damage(104, "compression_type", "%d does not agree with the incompatible features %#x", h.CompressionType, h.IncompatibleFeatures)
	case h.CompressionType > Zstd:
		return &UnsupportedError{image, fmt.Sprintf("compression type %d", h.CompressionType)}
	case h.IncompatibleFeatures&incompatExtendedL2 != 0 && h.ClusterBits < 14:
		return damage(20, "cluster_bits", "%d is too small for extended L2 entries, which need 14", h.ClusterBits)
	}
	cluster := uint64(1) << h.ClusterBits
	g := h.geometry()
	need := (h.Size + uint64(g.l2Span) - 1) / uint64(g.l2Span)
	switch {
	case h.Size < 512 || h.Size > 1<<62:
		return damage(24, "size", "a disk of %d bytes", h.Size)
	case need > maxL1Bytes/8:
		return damage(24, "size", "a disk of %d bytes is too large for clusters of %d", h.Size, cluster)
	case h.L1Size > maxL1Bytes/8:
		return damage(36, "l1_size", "%d entries are more than %d", h.L1Size, maxL1Bytes/8)
	case uint64(h.L1Size) < need:
		return damage(36, "l1_size", "%d entries are too few for a disk of %d bytes, which needs %d", h.L1Size, h.Size, need)
	case h.L1TableOffset%cluster != 0 || h.L1TableOffset == 0 || h.L1TableOffset > 1<<55:
		return damage(40, "l1_table_offset", "%#x is not the offset of a cluster", h.L1TableOffset)
	case h.RefcountTableOffset%cluster != 0 || h.RefcountTableOffset == 0 || h.RefcountTableOffset > 1<<55:
		return damage(48, "refcount_table_offset", "%#x is not the offset of a cluster", h.RefcountTableOffset)
	case h.RefcountTableClusters == 0 || uint64(h.RefcountTableClusters)*cluster > max(maxRefTableBytes, cluster):
		return damage(56, "refcount_table_clusters", "%d clusters of %d bytes are none or more than %d bytes", h.RefcountTableClusters, cluster, maxRefTableBytes)
	case h.NbSnapshots > maxSnapshots:
		return damage(60, "nb_snapshots", "%d are more than %d", h.NbSnapshots, maxSnapshots)
	case h.NbSnapshots > 0 && (h.SnapshotsOffset%cluster != 0 || h.SnapshotsOffset == 0 || h.SnapshotsOffset > 1<<55):
		return damage(64, "snapshots_offset", "%#x is not the offset of a cluster", h.SnapshotsOffset)
	}
	return nil
}

// parseExtensions reads the extensions that follow the header in p.
func (h *Header) parseExtensions(image string, p []byte) error {
	for off := uint64(h.HeaderLength); uint64(len(p)) >= off+8; {
		typ, n := be.Uint32(p[off:]), uint64(be.Uint32(p[off+4:]))
		if typ == extEnd {
			return nil
		}
		off += 8
		if n > uint64(len(p))-off {
			return &DamageError{image, fmt.Sprintf("header extension %#x", typ), int64(off) - 8,
				fmt.Sprintf("%d bytes are not inside the first cluster", n)}
		}
		data := bytes.Clone(p[off : off+n])
		h.Extensions = append(h.Extensions, Extension{typ, data})
		if typ == extBackingFormat {
			h.BackingFormat = string(data)
		}
		off += (n + 7) &^ 7
	}
	return nil
}

// errHeaderRoom reports names that do not fit into the first cluster.
var errHeaderRoom = errors.New("the header with the name of the backing file does not fit into one cluster: take larger clusters or a shorter name")

// encode makes the first cluster of an image.
func (h *Header) encode() ([]byte, error) {
	p := make([]byte, h.HeaderLength)
	copy(p, Magic)
	be.PutUint32(p[4:], h.Version)
	be.PutUint32(p[20:], h.ClusterBits)
	be.PutUint64(p[offSize:], h.Size)
	be.PutUint32(p[32:], h.CryptMethod)
	be.PutUint32(p[36:], h.L1Size)
	be.PutUint64(p[40:], h.L1TableOffset)
	be.PutUint64(p[offRefcount:], h.RefcountTableOffset)
	be.PutUint32(p[56:], h.RefcountTableClusters)
	be.PutUint32(p[offSnapshots:], h.NbSnapshots)
	be.PutUint64(p[64:], h.SnapshotsOffset)
	if h.Version >= 3 {
		be.PutUint64(p[offIncompatible:], h.IncompatibleFeatures)
		be.PutUint64(p[80:], h.CompatibleFeatures)
		be.PutUint64(p[offAutoclear:], h.AutoclearFeatures)
		be.PutUint32(p[96:], h.RefcountOrder)
		be.PutUint32(p[100:], h.HeaderLength)
		if h.HeaderLength > headerV3 {
			p[104] = byte(h.CompressionType)
		}
	}
	for _, e := range h.Extensions {
		p = be.AppendUint32(p, e.Type)
		p = be.AppendUint32(p, uint32(len(e.Data)))
		p = append(p, e.Data...)
		p = append(p, make([]byte, -len(e.Data)&7)...)
	}
	p = append(p, make([]byte, 8)...) // extEnd
	if h.BackingFile != "" {
		be.PutUint64(p[8:], uint64(len(p)))
		be.PutUint32(p[16:], uint32(len(h.BackingFile)))
		p = append(p, h.BackingFile...)
	}
	if len(p) > 1<<h.ClusterBits {
		return nil, errHeaderRoom
	}
	return append(p, make([]byte, 1<<h.ClusterBits-len(p))...), nil
}

// featureNames is the extension that lets older programs say what they lack.
func featureNames() Extension {
	var p []byte
	for _, f := range []struct {
		kind, bit byte
		name      string
	}{
		{0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"},
		{0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
	} {
		e := make([]byte, 48)
		e[0], e[1] = f.kind, f.bit
		copy(e[2:], f.name)
		p = append(p, e...)
	}
	return Extension{extFeatureNames, p}
}
