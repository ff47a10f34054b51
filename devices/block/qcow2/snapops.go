package qcow2

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"dfemu/devices/block/internal/host"
)

// exclusive runs f while no request is in progress, with everything written
// before and after it.
func (im *Image) exclusive(f func() error) error {
	im.ops.Lock()
	defer im.ops.Unlock()
	if im.closed {
		return host.ErrClosed
	}
	if err := im.writable(); err != nil {
		return err
	}
	if err := im.commit(false); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, im.commit(false))
}

// CreateSnapshot makes an internal snapshot of the disk as it is now. when is
// its date, clock how long the guest has run. The name must not be that of
// another. It returns the new snapshot.
func (im *Image) CreateSnapshot(name string, when time.Time, clock time.Duration) (s Snapshot, err error) {
	err = im.exclusive(func() error {
		if name == "" || len(name) > 255 {
			return fmt.Errorf("create a snapshot of image %s: a name must have 1 to 255 bytes", im.name)
		}
		for _, o := range im.snapshots {
			if o.Name == name {
				return fmt.Errorf("create snapshot %q of image %s: %w", name, im.name, fs.ErrExist)
			}
		}
		if len(im.snapshots) >= maxSnapshots {
			return fmt.Errorf("create snapshot %q of image %s: it has %d already, the most there can be", name, im.name, maxSnapshots)
		}
		s = Snapshot{ID: im.newID(), Name: name, Date: when, Clock: clock, DiskSize: int64(im.h.Size), l1Size: int64(len(im.l1))}
		return im.createSnapshot(&s)
	})
	return s, err
}

// newID returns an ID that is not taken.
func (im *Image) newID() string {
	n := uint64(0)
	for _, s := range im.snapshots {
		if k, err := strconv.ParseUint(s.ID, 10, 62); err == nil {
			n = max(n, k)
		}
	}
	return strconv.FormatUint(n+1, 10)
}

func (im *Image) createSnapshot(s *Snapshot) error {
	at, err := im.writeL1(im.l1)
	if err != nil {
		return err
	}
	s.l1Offset = at.c << im.geo.clusterBits
	// From here on every cluster has one more user, and none may be written to
	// in place. The refcounts are durable before the snapshot is.
	if err := im.addUsers(im.l1, at); err != nil {
		return err
	}
	err = im.setCopied(false)
	if err == nil {
		err = im.commit(false)
	}
	if err == nil {
		err = im.writeSnapshots(append(im.snapshots[:len(im.snapshots):len(im.snapshots)], *s))
	}
	if err != nil {
		return errors.Join(err, im.dropUsers(im.l1, at), im.setCopied(true))
	}
	im.mu.Lock()
	im.metaL1(at, int64(len(im.l1)), fmt.Sprintf("the L1 table of snapshot %q", s.Name))
	im.mu.Unlock()
	return nil
}

// metaL1 notes that a table of n entries is in clusters at.
func (im *Image) metaL1(at run, n int64, what string) {
	for c := at.c; c < at.c+im.geo.clusters(n*8); c++ {
		im.meta[c] = what
	}
}

// DeleteSnapshot deletes the snapshot with this ID or name.
func (im *Image) DeleteSnapshot(which string) error {
	return im.exclusive(func() error {
		s, err := im.findSnapshot(which)
		if err != nil {
			return err
		}
		gone := *s
		l1, err := im.readTable(fmt.Sprintf("the L1 table of snapshot %q", gone.Name), gone.l1Offset, gone.l1Size)
		if err != nil {
			return err
		}
		// A snapshot with damaged tables stays.
		if err := im.walk(l1, func(int64) error { return nil }); err != nil {
			return err
		}
		var rest []Snapshot
		for _, o := range im.snapshots {
			if o.ID != gone.ID || o.l1Offset != gone.l1Offset {
				rest = append(rest, o)
			}
		}
		if err := im.writeSnapshots(rest); err != nil {
			return err
		}
		im.mu.Lock()
		at := run{gone.l1Offset >> im.geo.clusterBits, im.geo.clusters(gone.l1Size * 8)}
		im.unclaim(gone.l1Offset, gone.l1Size*8)
		im.mu.Unlock()
		return errors.Join(im.dropUsers(l1, at), im.setCopied(true))
	})
}

// ApplySnapshot makes the disk what it was when the snapshot with this ID or
// name was made. What it was until now is lost. The snapshot stays. A snapshot
// of a disk of another size is refused.
func (im *Image) ApplySnapshot(which string) error {
	return im.exclusive(func() error {
		s, err := im.findSnapshot(which)
		if err != nil {
			return err
		}
		if s.DiskSize != 0 && s.DiskSize != int64(im.h.Size) {
			return fmt.Errorf("apply snapshot %q of image %s: its disk has %d bytes, the present one %d; resize the image first with \"qemu-img resize\"", s.Name, im.name, s.DiskSize, im.h.Size)
		}
		l1, err := im.readTable(fmt.Sprintf("the L1 table of snapshot %q", s.Name), s.l1Offset, s.l1Size)
		if err != nil {
			return err
		}
		need := (int64(im.h.Size) + im.geo.l2Span - 1) / im.geo.l2Span
		for int64(len(l1)) < need {
			l1 = append(l1, 0)
		}
		return im.applySnapshot(l1)
	})
}

func (im *Image) applySnapshot(l1 []uint64) error {
	for i := range l1 {
		l1[i] &^= flagCopied
	}
	at, err := im.writeL1(l1)
	if err != nil {
		return err
	}
	if err := im.addUsers(l1, at); err != nil {
		return err
	}
	if err := im.commit(false); err != nil {
		return errors.Join(err, im.dropUsers(l1, at))
	}
	p := be.AppendUint32(nil, uint32(len(l1)))
	p = be.AppendUint64(p, uint64(at.c)<<im.geo.clusterBits)
	if err := im.writeHeader(p, 36); err != nil {
		return errors.Join(err, im.dropUsers(l1, at))
	}
	im.mu.Lock()
	old, oldAt, oldSize := im.l1, int64(im.h.L1TableOffset), int64(im.h.L1Size)
	im.unclaim(oldAt, oldSize*8)
	for _, e := range old {
		if e != 0 {
			im.unclaim(int64(e&maskOffset), im.geo.clusterSize)
		}
	}
	im.h.L1TableOffset, im.h.L1Size = uint64(at.c)<<im.geo.clusterBits, uint32(len(l1))
	im.metaL1(at, int64(len(l1)), "L1 table")
	err = im.useL1(l1)
	im.mu.Unlock()
	if err != nil {
		return err
	}
	return errors.Join(im.dropUsers(old, run{oldAt >> im.geo.clusterBits, im.geo.clusters(oldSize * 8)}), im.setCopied(true))
}

// writeHeader durably writes fields of the header.
func (im *Image) writeHeader(p []byte, off int64) error {
	if err := im.sync(); err != nil {
		return err
	}
	if _, err := im.f.WriteAt(p, off); err != nil {
		return err
	}
	return im.sync()
}

// writeL1 writes an L1 table, without its flags, to new clusters.
func (im *Image) writeL1(l1 []uint64) (run, error) {
	im.mu.Lock()
	n := max(1, im.geo.clusters(int64(len(l1))*8))
	c, err := im.allocMeta(n)
	im.mu.Unlock()
	if err != nil {
		return run{}, err
	}
	t := make([]uint64, n*im.geo.clusterSize/8)
	for i, e := range l1 {
		t[i] = e &^ flagCopied
	}
	at := run{c, n}
	_, err = im.f.WriteAt(encodeTable(t, 0, int64(len(t))*8), c<<im.geo.clusterBits)
	im.unsynced.Store(true)
	if err != nil {
		im.mu.Lock()
		im.refs.release(at)
		im.mu.Unlock()
		return run{}, err
	}
	return at, nil
}

// writeSnapshots replaces the snapshot table.
func (im *Image) writeSnapshots(l []Snapshot) error {
	p := encodeSnapshots(l)
	if len(p) > maxSnapshotTable {
		return fmt.Errorf("the snapshot table of image %s would have %d bytes, more than %d: delete snapshots", im.name, len(p), maxSnapshotTable)
	}
	var at run
	if len(l) > 0 {
		im.mu.Lock()
		at.n = im.geo.clusters(int64(len(p)))
		var err error
		at.c, err = im.allocMeta(at.n)
		im.mu.Unlock()
		if err != nil {
			return err
		}
	}
	err := func() error {
		p := append(p, make([]byte, at.n<<im.geo.clusterBits-int64(len(p)))...)
		if _, err := im.f.WriteAt(p, at.c<<im.geo.clusterBits); err != nil && len(p) > 0 {
			return err
		}
		im.unsynced.Store(true)
		// The new table's refcount, too, must be there before it is used.
		if err := im.commit(false); err != nil {
			return err
		}
		h := be.AppendUint32(nil, uint32(len(l)))
		h = be.AppendUint64(h, uint64(at.c)<<im.geo.clusterBits)
		return im.writeHeader(h, offSnapshots)
	}()
	im.mu.Lock()
	defer im.mu.Unlock()
	if err != nil {
		im.refs.release(at)
		return err
	}
	if old := im.snapAt; old.n > 0 {
		im.unclaim(old.c<<im.geo.clusterBits, old.n<<im.geo.clusterBits)
		im.frees = append(im.frees, old)
	}
	im.snapAt = at
	for c := at.c; c < at.c+at.n; c++ {
		im.meta[c] = "the snapshot table"
	}
	im.h.NbSnapshots, im.h.SnapshotsOffset = uint32(len(l)), uint64(at.c)<<im.geo.clusterBits
	im.snapshots = l
	return nil
}

// walk calls f for each cluster that is reached from an L1 table, once for each
// way to it, until f returns an error. mu is not held.
func (im *Image) walk(l1 []uint64, f func(c int64) error) error {
	g := &im.geo
	for i, e := range l1 {
		if e == 0 {
			continue
		}
		off := int64(e & maskOffset)
		what := fmt.Sprintf("L2 table %d", i)
		if off&(g.clusterSize-1) != 0 || off == 0 {
			return im.damage(what, off, "it is not aligned to clusters")
		}
		t, err := im.readTable(what, off, g.clusterSize/8)
		if err != nil {
			return err
		}
		if err := f(off >> g.clusterBits); err != nil {
			return err
		}
		for k := int64(0); k < int64(len(t)); k += g.width() {
			if t[k] == 0 {
				continue
			}
			bitmap := uint64(0)
			if g.extended {
				bitmap = t[k+1]
			}
			if what := g.problem(t[k], bitmap); what != "" {
				return im.damage(fmt.Sprintf("L2 table %d, entry %d", i, k/g.width()), off+k*8, "%s (%#x)", what, t[k])
			}
			used := g.usedBy(g.decode(t[k], bitmap))
			for c := used.c; c < used.c+used.n; c++ {
				if err := f(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// addUsers adds a user to each cluster reached from an L1 table that was
// written to clusters at. On failure it takes them away again, and at too.
func (im *Image) addUsers(l1 []uint64, at run) error {
	done := 0
	err := im.walk(l1, func(c int64) error {
		im.mu.Lock()
		defer im.mu.Unlock()
		if err := im.refs.increase(c); err != nil {
			return err
		}
		done++
		return nil
	})
	if err == nil {
		return nil
	}
	stop := errors.New("all undone")
	_ = im.walk(l1, func(c int64) error {
		if done == 0 {
			return stop
		}
		done--
		im.mu.Lock()
		defer im.mu.Unlock()
		_, err := im.refs.decrease(c)
		return err
	})
	im.mu.Lock()
	im.refs.release(at)
	im.mu.Unlock()
	return err
}

// dropUsers takes a user from each cluster reached from an L1 table that
// nothing points at any more, and gives up its own clusters at.
func (im *Image) dropUsers(l1 []uint64, at run) error {
	var l []run
	err := im.walk(l1, func(c int64) error {
		if n := len(l); n > 0 && l[n-1].c+l[n-1].n == c {
			l[n-1].n++
		} else {
			l = append(l, run{c, 1})
		}
		return nil
	})
	im.mu.Lock()
	im.frees = append(im.frees, l...)
	im.frees = append(im.frees, at)
	im.mu.Unlock()
	// The users are taken away once this is durable, which it is.
	return errors.Join(err, im.commit(false))
}

// setCopied makes the flags of all active entries agree with the refcounts;
// without exact, none claims to be the only user.
func (im *Image) setCopied(exact bool) error {
	g := &im.geo
	im.mu.Lock()
	defer im.mu.Unlock()
	for i, e := range im.l1 {
		if e == 0 {
			continue
		}
		t, err := im.table(i)
		if err != nil {
			return err
		}
		n := uint64(2)
		if exact {
			if n, err = im.refs.get(t.host >> g.clusterBits); err != nil {
				return err
			}
		}
		t.own = n == 1
		t.dirty.merge(t.stale.take())
		if is := uint64(t.host) | copiedIf(t.own); is != e {
			im.l1[i] = is
			im.l1Dirty.mark(int64(i) * 8)
		}
		for k := int64(0); k < int64(len(t.e)); k += g.width() {
			e := t.e[k]
			if e&flagCompressed != 0 || e&maskOffset == 0 {
				continue
			}
			if exact {
				if n, err = im.refs.get(int64(e&maskOffset) >> g.clusterBits); err != nil {
					return err
				}
			}
			if is := e&^flagCopied | copiedIf(n == 1 && t.own); is != e {
				t.e[k] = is
				t.dirty.mark(k * 8)
			}
		}
	}
	return nil
}

func copiedIf(single bool) uint64 {
	if single {
		return flagCopied
	}
	return 0
}
