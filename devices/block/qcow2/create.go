package qcow2

import (
	"errors"
	"fmt"
	"math/bits"
	"os"

	"dfemu/devices/block/internal/host"
)

// CreateOptions says what a new image is like.
type CreateOptions struct {
	// Size of the disk in bytes, a multiple of 512; 0 means the backing
	// file's.
	Size int64
	// Version of the format, 2 or 3; 0 means 3.
	Version int
	// ClusterSize in bytes, a power of two from 512 to 2 MiB; 0 means 64 KiB.
	ClusterSize int64
	// RefcountBits is the width of refcounts, a power of two up to 64; 0 means
	// 16, which is the only one in version 2.
	RefcountBits int
	// Compression of compressed clusters; only Deflate in version 2.
	Compression Compression
	// LazyRefcounts puts off writing refcounts until the image is closed. Not
	// in version 2.
	LazyRefcounts bool
	// ExtendedL2 has 32 subclusters in a cluster, of at least 512 bytes. Not
	// in version 2.
	ExtendedL2 bool
	// BackingFile is the image below, as it is to be recorded: relative names
	// are relative to the new image's folder. BackingFormat is its format,
	// "raw" or "qcow2", and must be given.
	BackingFile, BackingFormat string
}

// header checks the options and makes a header without offsets of them.
func (o CreateOptions) header() (*Header, error) {
	if o.Version == 0 {
		o.Version = 3
	}
	if o.ClusterSize == 0 {
		o.ClusterSize = 65536
	}
	if o.RefcountBits == 0 {
		o.RefcountBits = 16
	}
	h := &Header{
		Version: uint32(o.Version), Size: uint64(o.Size), HeaderLength: headerV2,
		ClusterBits:     uint32(bits.TrailingZeros64(uint64(o.ClusterSize))),
		RefcountOrder:   uint32(bits.TrailingZeros(uint(o.RefcountBits))),
		CompressionType: o.Compression, BackingFile: o.BackingFile, BackingFormat: o.BackingFormat,
	}
	switch {
	case o.Version != 2 && o.Version != 3:
		return nil, fmt.Errorf("version %d of the format: must be 2 or 3", o.Version)
	case o.ClusterSize < 1<<minClusterBits || o.ClusterSize > 1<<maxClusterBits || o.ClusterSize&(o.ClusterSize-1) != 0:
		return nil, fmt.Errorf("clusters of %d bytes: must be a power of two from %d to %d", o.ClusterSize, 1<<minClusterBits, 1<<maxClusterBits)
	case o.RefcountBits < 1 || o.RefcountBits > 64 || o.RefcountBits&(o.RefcountBits-1) != 0:
		return nil, fmt.Errorf("refcounts of %d bits: must be a power of two up to 64", o.RefcountBits)
	case o.Compression > Zstd:
		return nil, fmt.Errorf("compression %v: must be zlib or zstd", o.Compression)
	case o.Version == 2 && (o.RefcountBits != 16 || o.Compression != Deflate || o.LazyRefcounts || o.ExtendedL2):
		return nil, errors.New("version 2 of the format has only refcounts of 16 bits and zlib, and neither lazy refcounts nor extended L2 entries: use version 3")
	case o.ExtendedL2 && o.ClusterSize < 16384:
		return nil, fmt.Errorf("extended L2 entries with clusters of %d bytes: must be at least 16384", o.ClusterSize)
	case o.Size < 512 || o.Size%512 != 0:
		return nil, fmt.Errorf("a disk of %d bytes: must be a multiple of 512, and not 0", o.Size)
	case len(o.BackingFile) > maxBackingName:
		return nil, fmt.Errorf("the backing file's name has %d bytes: must be at most %d", len(o.BackingFile), maxBackingName)
	case o.BackingFile != "" && o.BackingFormat != "raw" && o.BackingFormat != "qcow2":
		return nil, fmt.Errorf("backing file %s: give its format, raw or qcow2; it is not guessed, because a guest may have written the file", o.BackingFile)
	case o.BackingFile == "" && o.BackingFormat != "":
		return nil, errors.New("a format of the backing file without a backing file")
	}
	if o.Version == 3 {
		h.HeaderLength = headerV3 + 8
		if o.LazyRefcounts {
			h.CompatibleFeatures |= compatLazy
		}
		if o.ExtendedL2 {
			h.IncompatibleFeatures |= incompatExtendedL2
		}
		if o.Compression != Deflate {
			h.IncompatibleFeatures |= incompatCompression
		}
	}
	if o.BackingFormat != "" {
		h.Extensions = append(h.Extensions, Extension{extBackingFormat, []byte(o.BackingFormat)})
	}
	if o.Version == 3 && o.ClusterSize >= 4096 {
		h.Extensions = append(h.Extensions, featureNames())
	}
	return h, nil
}

// Create makes a new, empty image in the file called name. If the file is there
// already the error wraps fs.ErrExist.
func Create(name string, o CreateOptions) error {
	if o.BackingFile != "" {
		n, err := backingSize(name, o)
		if err != nil {
			return fmt.Errorf("create image %s: %w", name, err)
		}
		if o.Size == 0 {
			o.Size = n
		}
	}
	h, err := o.header()
	if err != nil {
		return fmt.Errorf("create image %s: %w", name, err)
	}
	f, err := host.Create(name)
	if err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	err = formatImage(f, h)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("create image %s: %w", name, errors.Join(err, os.Remove(name)))
	}
	return nil
}

// backingSize opens the image that a new one is to have below it.
func backingSize(name string, o CreateOptions) (int64, error) {
	file, remote := backingName(name, o.BackingFile)
	if remote {
		if o.Size == 0 {
			return 0, fmt.Errorf("backing file %s is not a file: give the size of the disk", file)
		}
		return o.Size, nil
	}
	if o.BackingFormat == "qcow2" {
		im, err := Open(file, Options{ReadOnly: true})
		if err != nil {
			return 0, fmt.Errorf("backing file: %w", err)
		}
		return im.Size(), im.Close()
	}
	r, err := openRaw(file, false)
	if err != nil {
		return 0, fmt.Errorf("backing file: %w", err)
	}
	return (r.Size() + 511) &^ 511, r.Close()
}

// formatImage writes an empty image: the header, the refcount table, its blocks,
// and the L1 table, one after the other.
func formatImage(f container, h *Header) error {
	g := h.geometry()
	l1 := (int64(h.Size) + g.l2Span - 1) / g.l2Span
	if l1 > maxL1Bytes/8 {
		return fmt.Errorf("a disk of %d bytes is too large for clusters of %d", h.Size, g.clusterSize)
	}
	l1Clusters := max(g.clusters(l1*8), 1)
	table, blocks := int64(1), int64(1)
	for {
		total := 1 + table + blocks + l1Clusters
		b := (total + g.refsPer - 1) / g.refsPer
		t := g.clusters(b * 8)
		if b == blocks && t == table {
			break
		}
		blocks, table = max(b, blocks), max(t, table)
	}
	total := 1 + table + blocks + l1Clusters
	h.RefcountTableOffset, h.RefcountTableClusters = uint64(g.clusterSize), uint32(table)
	h.L1TableOffset, h.L1Size = uint64(1+table+blocks)<<g.clusterBits, uint32(l1)
	p, err := h.encode()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(p, 0); err != nil {
		return err
	}
	entries := make([]uint64, table*g.clusterSize/8)
	for i := range blocks {
		off := (1 + table + i) << g.clusterBits
		entries[i] = uint64(off)
		b := make([]byte, g.clusterSize)
		for k := range min(g.refsPer, total-i*g.refsPer) {
			setRefcount(b, k, g.refOrder, 1)
		}
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(encodeTable(entries, 0, table*g.clusterSize), g.clusterSize); err != nil {
		return err
	}
	return f.Truncate(total << g.clusterBits)
}
