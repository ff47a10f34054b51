package block

import (
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

const (
	clusterSize = 4096           // bytes copied at once
	groupSize   = 1 << 20        // bytes under one lock
	stripes     = 64             // locks
	unit        = "overlay disk" // for errors
)

// Overlay is a writable store over another one that is never changed: what was
// written is kept apart, and lost when closed.
type Overlay struct {
	base  devices.Block
	size  int64
	locks [stripes]sync.RWMutex // by group of clusters
	store clusters
}

var (
	_ devices.Block       = (*Overlay)(nil)
	_ devices.VectorBlock = (*Overlay)(nil)
)

// clusters holds the changed clusters. Calls for one group are serialised by
// its lock: mark and write exclusively, the others shared.
type clusters interface {
	// has tells whether cluster c was changed.
	has(c int64) bool
	// read fills p, whole clusters except at the disk's end, from c on, all of
	// which were changed.
	read(p []byte, c int64) error
	// write stores whole clusters (or the shorter last one) from c on.
	write(p []byte, c int64) error
	// zero makes n clusters from c on changed and all zeroes.
	zero(c, n int64) error
	close() error
}

// NewOverlay returns an overlay over base, which it owns from then on, with
// changes kept in memory.
func NewOverlay(base devices.Block) *Overlay {
	o := &Overlay{base: base, size: base.Size()}
	s := &memoryClusters{}
	for i := range s.part {
		s.part[i] = map[int64]*[clusterSize]byte{}
	}
	o.store = s
	return o
}

// NewFileOverlay returns an overlay over base, which it owns from then on, with
// changes kept in a file without a name in the folder dir ("" for the usual
// one), which goes away with the process.
func NewFileOverlay(base devices.Block, dir string) (*Overlay, error) {
	f, err := host.Temporary(dir)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	o := &Overlay{base: base, size: base.Size()}
	if err := f.Truncate(o.size); err != nil {
		f.Close()
		return nil, fmt.Errorf("overlay: %w", err)
	}
	groups := (o.size + groupSize - 1) / groupSize
	o.store = &fileClusters{f: f, present: make([][perGroup / 64]uint64, groups)}
	return o, nil
}

// Size implements devices.Block.
func (o *Overlay) Size() int64 { return o.size }

// ReadOnly implements devices.Block.
func (o *Overlay) ReadOnly() bool { return false }

// Flush implements devices.Block. Changes do not survive anyway, so there is
// nothing to do.
func (o *Overlay) Flush() error { return nil }

// Close drops the changes and closes the base.
func (o *Overlay) Close() error {
	err := o.store.close()
	if e := o.base.Close(); e != nil {
		err = e
	}
	return err
}

// groups calls f, with its lock held, for the part of [off, off+n) in each
// group.
func (o *Overlay) groups(off, n int64, write bool, f func(off, n int64) error) error {
	for n > 0 {
		g := off / groupSize
		k := min(n, (g+1)*groupSize-off)
		l := &o.locks[g%stripes]
		if write {
			l.Lock()
		} else {
			l.RLock()
		}
		err := f(off, k)
		if write {
			l.Unlock()
		} else {
			l.RUnlock()
		}
		if err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	if err := check("read", unit, off, int64(len(p)), o.size); err != nil {
		return 0, err
	}
	done := 0
	err := o.groups(off, int64(len(p)), false, func(off, n int64) error {
		if err := o.read(p[done:done+int(n)], off); err != nil {
			return err
		}
		done += int(n)
		return nil
	})
	return done, err
}

// read reads runs of clusters from where they are.
func (o *Overlay) read(p []byte, off int64) error {
	for len(p) > 0 {
		c := off / clusterSize
		here := o.store.has(c)
		end := (c + 1) * clusterSize
		for end < off+int64(len(p)) && o.store.has(end/clusterSize) == here {
			end += clusterSize
		}
		k := min(int64(len(p)), end-off)
		var err error
		if here {
			err = o.readChanged(p[:k], off)
		} else {
			_, err = o.base.ReadAt(p[:k], off)
		}
		if err != nil {
			return err
		}
		p, off = p[k:], off+k
	}
	return nil
}

// readChanged reads changed clusters, also in parts.
func (o *Overlay) readChanged(p []byte, off int64) error {
	for len(p) > 0 {
		c, skip := off/clusterSize, off%clusterSize
		k := int64(len(p))
		if skip == 0 && k >= clusterSize {
			k &^= clusterSize - 1
			if err := o.store.read(p[:k], c); err != nil {
				return err
			}
		} else {
			var buf [clusterSize]byte
			k = min(k, clusterSize-skip)
			if err := o.store.read(buf[:min(clusterSize, o.size-c*clusterSize)], c); err != nil {
				return err
			}
			copy(p[:k], buf[skip:])
		}
		p, off = p[k:], off+k
	}
	return nil
}

// WriteAt implements io.WriterAt.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	if err := check("write", unit, off, int64(len(p)), o.size); err != nil {
		return 0, err
	}
	done := 0
	err := o.groups(off, int64(len(p)), true, func(off, n int64) error {
		if err := o.write(p[done:done+int(n)], off); err != nil {
			return err
		}
		done += int(n)
		return nil
	})
	return done, err
}

func (o *Overlay) write(p []byte, off int64) error {
	for len(p) > 0 {
		c, skip := off/clusterSize, off%clusterSize
		k := int64(len(p))
		if skip == 0 && k >= clusterSize {
			k &^= clusterSize - 1
			if err := o.store.write(p[:k], c); err != nil {
				return err
			}
		} else {
			var buf [clusterSize]byte
			k = min(k, clusterSize-skip)
			whole := buf[:min(clusterSize, o.size-c*clusterSize)]
			if err := o.read(whole, c*clusterSize); err != nil {
				return err
			}
			copy(whole[skip:], p[:k])
			if err := o.store.write(whole, c); err != nil {
				return err
			}
		}
		p, off = p[k:], off+k
	}
	return nil
}

// ReadVAt implements devices.VectorBlock.
func (o *Overlay) ReadVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		n, err := o.ReadAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// WriteVAt implements devices.VectorBlock.
func (o *Overlay) WriteVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		n, err := o.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Discard implements devices.Block; the range reads as zeroes afterwards.
func (o *Overlay) Discard(off, n int64) error { return o.WriteZeroes(off, n, true) }

// WriteZeroes implements devices.Block.
func (o *Overlay) WriteZeroes(off, n int64, _ bool) error {
	if err := check("write zeroes", unit, off, n, o.size); err != nil {
		return err
	}
	return o.groups(off, n, true, func(off, n int64) error {
		end := off + n
		if head := min(-off&(clusterSize-1), n); head != 0 {
			if err := o.write(make([]byte, head), off); err != nil {
				return err
			}
			off += head
		}
		if k := (end - off) / clusterSize; k > 0 {
			if err := o.store.zero(off/clusterSize, k); err != nil {
				return err
			}
			off += k * clusterSize
		}
		return o.write(make([]byte, end-off), off)
	})
}
