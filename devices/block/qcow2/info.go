package qcow2

import (
	"fmt"

	"dfemu/devices/block/internal/host"
)

// Info describes an image.
type Info struct {
	File   string `json:"filename"`
	Format string `json:"format"`
	// VirtualSize is the disk's size, ActualSize what the file takes of the
	// host's disk, both in bytes.
	VirtualSize   int64      `json:"virtual-size"`
	ActualSize    int64      `json:"actual-size"`
	ClusterSize   int64      `json:"cluster-size"`
	Version       int        `json:"version"`
	Compression   string     `json:"compression-type"`
	RefcountBits  int        `json:"refcount-bits"`
	LazyRefcounts bool       `json:"lazy-refcounts"`
	ExtendedL2    bool       `json:"extended-l2"`
	Dirty         bool       `json:"dirty-flag"`
	Corrupt       bool       `json:"corrupt"`
	BackingFile   string     `json:"backing-filename,omitempty"`
	BackingFormat string     `json:"backing-filename-format,omitempty"`
	BackingPath   string     `json:"full-backing-filename,omitempty"`
	Snapshots     []Snapshot `json:"snapshots,omitempty"`
}

// ReadInfo describes the image in the file called name, which may be in use.
func ReadInfo(name string) (*Info, error) {
	f, err := host.Open(name, host.Options{ReadOnly: true, NoLock: true})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("describe image: %w", err)
	}
	h, length, err := readHeader(name, f)
	if err != nil {
		return nil, err
	}
	im := &Image{name: name, f: f, geo: h.geometry(), h: h, length: length, meta: map[int64]string{}}
	if h.NbSnapshots > 0 {
		if err := im.loadSnapshots(); err != nil {
			return nil, err
		}
	}
	i := &Info{
		File: name, Format: "qcow2", VirtualSize: int64(h.Size), ActualSize: host.Usage(st),
		ClusterSize: im.geo.clusterSize, Version: int(h.Version), Compression: h.CompressionType.String(),
		RefcountBits: 1 << h.RefcountOrder, LazyRefcounts: h.CompatibleFeatures&compatLazy != 0,
		ExtendedL2: im.geo.extended, Dirty: h.IncompatibleFeatures&incompatDirty != 0,
		Corrupt: h.IncompatibleFeatures&incompatCorrupt != 0, BackingFile: h.BackingFile, BackingFormat: h.BackingFormat,
		Snapshots: im.snapshots,
	}
	if h.BackingFile != "" {
		i.BackingPath, _ = backingName(name, h.BackingFile)
	}
	return i, nil
}
