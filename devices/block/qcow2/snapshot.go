package qcow2

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Snapshot is an internal snapshot.
type Snapshot struct {
	// ID is unique in the image, Name is for people and may be ambiguous.
	ID, Name string
	// Date is when it was made; Clock is how long the guest had run then.
	Date  time.Time
	Clock time.Duration
	// StateSize is how many bytes of the machine's state it has.
	StateSize uint64
	// DiskSize is the size of its disk in bytes, 0 if it is not recorded.
	DiskSize int64

	l1Offset int64
	l1Size   int64 // entries
	extra    []byte
}

// snapshotFixed is the length of a snapshot table entry's first part.
const snapshotFixed = 40

// maxSnapshotTable bounds the snapshot table in bytes.
const maxSnapshotTable = 64 << 20

// loadSnapshots reads and checks the snapshot table.
func (im *Image) loadSnapshots() error {
	at := int64(im.h.SnapshotsOffset)
	if at > im.length {
		return im.damage("snapshot table", at, "it is behind the end of the file, which has %d bytes", im.length)
	}
	p := make([]byte, min(im.length-at, maxSnapshotTable))
	if n, err := im.f.ReadAt(p, at); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the snapshot table of image %s: %w", im.name, err)
	} else {
		p = p[:n]
	}
	l, used, err := parseSnapshots(im.name, p, int(im.h.NbSnapshots), at)
	if err != nil {
		return err
	}
	if err := im.claim("the snapshot table", -1, at, used); err != nil {
		return err
	}
	for _, s := range l {
		if s.l1Offset&(im.geo.clusterSize-1) != 0 || s.l1Offset == 0 {
			return im.damage(fmt.Sprintf("snapshot %q", s.Name), at, "the offset %#x of its L1 table is not aligned to clusters", s.l1Offset)
		}
		if s.l1Size == 0 {
			continue
		}
		if err := im.claim(fmt.Sprintf("the L1 table of snapshot %q", s.Name), -1, s.l1Offset, s.l1Size*8); err != nil {
			return err
		}
	}
	im.snapshots = l
	im.snapAt = run{at >> im.geo.clusterBits, im.geo.clusters(used)}
	return nil
}

// parseSnapshots reads n entries of a snapshot table from p, which is at offset
// at of the file, and returns how long they are.
func parseSnapshots(image string, p []byte, n int, at int64) ([]Snapshot, int64, error) {
	var l []Snapshot
	off := 0
	for i := range n {
		damage := func(what string, args ...any) error {
			return &DamageError{image, fmt.Sprintf("snapshot table, entry %d", i), at + int64(off), fmt.Sprintf(what, args...)}
		}
		e := p[min(off, len(p)):]
		if len(e) < snapshotFixed {
			return nil, 0, damage("it ends behind the end of the file, or the table is longer than %d bytes", maxSnapshotTable)
		}
		s := Snapshot{
			l1Offset:  int64(be.Uint64(e)),
			l1Size:    int64(be.Uint32(e[8:])),
			Date:      time.Unix(int64(be.Uint32(e[16:])), int64(be.Uint32(e[20:]))).UTC(),
			Clock:     time.Duration(be.Uint64(e[24:])),
			StateSize: uint64(be.Uint32(e[32:])),
		}
		idLen, nameLen := int64(be.Uint16(e[12:])), int64(be.Uint16(e[14:]))
		extraLen := int64(be.Uint32(e[36:]))
		size := snapshotFixed + extraLen + idLen + nameLen
		switch {
		case size > int64(len(e)):
			return nil, 0, damage("its %d bytes end behind the end of the file", size)
		case s.l1Offset < 0 || s.l1Size > maxL1Bytes/8:
			return nil, 0, damage("an L1 table of %d entries at %#x", s.l1Size, uint64(s.l1Offset))
		}
		e = e[snapshotFixed:]
		s.extra = append([]byte(nil), e[:extraLen]...)
		if extraLen >= 8 {
			s.StateSize = be.Uint64(s.extra)
		}
		if extraLen >= 16 {
			s.DiskSize = int64(be.Uint64(s.extra[8:]))
			if s.DiskSize < 0 {
				return nil, 0, damage("a disk of %d bytes", uint64(s.DiskSize))
			}
		}
		s.ID = string(e[extraLen : extraLen+idLen])
		s.Name = string(e[extraLen+idLen : extraLen+idLen+nameLen])
		l = append(l, s)
		off += int(size+7) &^ 7
	}
	return l, int64(min(off, len(p))), nil
}

// encodeSnapshots makes a snapshot table.
func encodeSnapshots(l []Snapshot) []byte {
	var p []byte
	for _, s := range l {
		p = be.AppendUint64(p, uint64(s.l1Offset))
		p = be.AppendUint32(p, uint32(s.l1Size))
		p = be.AppendUint16(p, uint16(len(s.ID)))
		p = be.AppendUint16(p, uint16(len(s.Name)))
		p = be.AppendUint32(p, uint32(s.Date.Unix()))
		p = be.AppendUint32(p, uint32(s.Date.Nanosecond()))
		p = be.AppendUint64(p, uint64(s.Clock))
		p = be.AppendUint32(p, uint32(s.StateSize))
		extra := append([]byte(nil), s.extra...)
		extra = append(extra, make([]byte, max(0, 16-len(extra)))...)
		be.PutUint64(extra, s.StateSize)
		be.PutUint64(extra[8:], uint64(s.DiskSize))
		p = be.AppendUint32(p, uint32(len(extra)))
		p = append(p, extra...)
		p = append(p, s.ID...)
		p = append(p, s.Name...)
		p = append(p, make([]byte, -len(p)&7)...)
	}
	return p
}

// Snapshots lists the internal snapshots, oldest first.
func (im *Image) Snapshots() []Snapshot {
	im.ops.RLock()
	defer im.ops.RUnlock()
	return append([]Snapshot(nil), im.snapshots...)
}

// findSnapshot finds a snapshot by its ID or, if there is none, by its name.
// If there is none either, the error wraps fs.ErrNotExist.
func (im *Image) findSnapshot(which string) (*Snapshot, error) {
	for i := range im.snapshots {
		if im.snapshots[i].ID == which {
			return &im.snapshots[i], nil
		}
	}
	for i := range im.snapshots {
		if im.snapshots[i].Name == which {
			return &im.snapshots[i], nil
		}
	}
	return nil, fmt.Errorf("snapshot %q of image %s: %w; list those there are with \"dfemu image snapshot\"", which, im.name, fs.ErrNotExist)
}
