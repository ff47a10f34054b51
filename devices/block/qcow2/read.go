package qcow2

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// kind is where the content of a range of the disk is.
type kind uint8

const (
	kindHole       kind = iota // in the backing file
	kindZero                   // nowhere: it is all zeroes
	kindData                   // in the file, as it is
	kindCompressed             // in the file, compressed
)

// mapped is a range of the disk whose content is in one place.
type mapped struct {
	kind   kind
	n      int64  // bytes
	host   int64  // kindData: where in the file
	desc   uint64 // kindCompressed: the cluster's descriptor
	keeps  bool   // kindZero: there is a data cluster all the same
	direct bool   // kindData: may be written in place
}

// lookup finds where the content at off is, and how much of n bytes from there
// on is in the same place.
func (im *Image) lookup(off, n int64) (mapped, error) {
	i := int(off / im.geo.l2Span)
	n = min(n, int64(i+1)*im.geo.l2Span-off)
	im.mu.RLock()
	t := im.l2[i]
	if t == nil && im.l1[i] != 0 {
		im.mu.RUnlock()
		im.mu.Lock()
		t, err := im.table(i)
		var m mapped
		if err == nil {
			m = im.mapped(t, off, n)
		}
		im.mu.Unlock()
		return m, err
	}
	m := im.mapped(t, off, n)
	im.mu.RUnlock()
	return m, nil
}

// mapped is lookup inside of one table, nil for none. mu is held.
func (im *Image) mapped(t *l2Table, off, n int64) mapped {
	if t == nil {
		return mapped{kind: kindHole, n: n}
	}
	if !t.used.Load() {
		t.used.Store(true)
	}
	g := &im.geo
	var m mapped
	for done := int64(0); done < n; {
		at := off + done
		k, in := at%g.l2Span>>g.clusterBits, at&(g.clusterSize-1)
		p := im.part(im.get(t, k), in)
		p.direct = p.direct && t.own
		if done == 0 {
			m = p
		} else if p.kind != m.kind || p.keeps != m.keeps || p.direct != m.direct ||
			p.kind == kindCompressed || p.kind == kindData && p.host != m.host+done {
			break
		}
		done += p.n
		m.n = min(done, n)
	}
	return m
}

// part is what entry d says about the byte at in and those after it.
func (im *Image) part(d entry, in int64) mapped {
	g := &im.geo
	if d.desc != 0 {
		return mapped{kind: kindCompressed, n: g.clusterSize - in, desc: d.desc}
	}
	s := uint(in / g.subSize)
	n := (int64(s)+1)*g.subSize - in
	switch {
	case d.alloc>>s&1 != 0:
		for s++; s < uint(g.subs) && d.alloc>>s&1 != 0; s++ {
			n += g.subSize
		}
		return mapped{kind: kindData, n: n, host: d.host + in, direct: d.copied}
	case d.zero>>s&1 != 0:
		for s++; s < uint(g.subs) && d.zero>>s&1 != 0; s++ {
			n += g.subSize
		}
		return mapped{kind: kindZero, n: n, keeps: d.host != 0}
	}
	for s++; s < uint(g.subs) && (d.alloc|d.zero)>>s&1 == 0; s++ {
		n += g.subSize
	}
	return mapped{kind: kindHole, n: n}
}

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	if err := host.Check("read", im.name, off, int64(len(p)), im.size); err != nil {
		return 0, err
	}
	e, err := im.begin()
	if err != nil {
		return 0, err
	}
	defer im.end(e)
	return im.read(p, off)
}

// ReadVAt implements devices.VectorBlock.
func (im *Image) ReadVAt(bufs [][]byte, off int64) error {
	total := int64(0)
	for _, p := range bufs {
		total += int64(len(p))
	}
	if err := host.Check("read", im.name, off, total, im.size); err != nil {
		return err
	}
	e, err := im.begin()
	if err != nil {
		return err
	}
	defer im.end(e)
	if total == 0 {
		return nil
	}
	m, err := im.lookup(off, total)
	if err != nil {
		return err
	}
	if m.kind == kindData && m.n == total {
		err := im.f.ReadV(bufs, m.host)
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
	}
	for _, p := range bufs {
		n, err := im.read(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// read fills p with what the disk has at off, where all of it is.
func (im *Image) read(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		m, err := im.lookup(off, int64(len(p)-done))
		if err != nil {
			return done, err
		}
		q := p[done : done+int(m.n)]
		switch m.kind {
		case kindData:
			err = im.readData(q, m.host)
		case kindZero:
			clear(q)
		case kindHole:
			err = im.readBacking(q, off)
		case kindCompressed:
			err = im.readCompressed(q, m.desc, off)
		}
		if err != nil {
			return done, err
		}
		done += len(q)
		off += m.n
	}
	return done, nil
}

// readOld is read also of what is behind the disk's end, which is zero.
func (im *Image) readOld(p []byte, off int64) error {
	n := min(int64(len(p)), max(im.size-off, 0))
	clear(p[n:])
	_, err := im.read(p[:n], off)
	return err
}

// readData reads from the file. The file may end inside of its last cluster,
// and before clusters that were allocated since the last commit.
func (im *Image) readData(p []byte, off int64) error {
	n, err := im.f.ReadAt(p, off)
	if n < len(p) && errors.Is(err, io.EOF) {
		clear(p[n:])
		return nil
	}
	return err
}

// readBacking reads what the images below have; behind their end that is
// zeroes.
func (im *Image) readBacking(p []byte, off int64) error {
	n := 0
	if im.backing != nil {
		n = int(min(int64(len(p)), max(im.backing.Size()-off, 0)))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	_, err := im.backing.ReadAt(p[:n], off)
	return err
}

// zeroBelow tells that nothing below this image has content in the range.
func (im *Image) zeroBelow(off int64) bool {
	return im.backing == nil || off >= im.backing.Size()
}

// readCompressed reads a part of a compressed cluster.
func (im *Image) readCompressed(p []byte, desc uint64, off int64) error {
	g := &im.geo
	in := off & (g.clusterSize - 1)
	if im.unzip.copy(p, desc, in) {
		return nil
	}
	at, n := g.compressedRange(desc)
	src := make([]byte, n)
	// The last cluster's sectors need not be there in full.
	k, err := im.f.ReadAt(src, at)
	if k < len(src) && !errors.Is(err, io.EOF) {
		return err
	}
	all := make([]byte, g.clusterSize)
	if err := im.codec.decompress(all, src[:k]); err != nil {
		// Only this cluster is lost: the tables are as they should be.
		return im.damage(fmt.Sprintf("compressed cluster at disk offset %#x", off-in), at, "its %d bytes are not %s data for a cluster (%v)", k, im.h.CompressionType, err)
	}
	copy(p, all[in:])
	im.unzip.add(desc, all)
	return nil
}

// unzipped keeps the clusters decompressed last.
type unzipped struct {
	mu   sync.Mutex
	list []unzippedCluster // oldest first
}

type unzippedCluster struct {
	desc uint64
	p    []byte
}

// unzippedBytes is how much of them is kept.
const unzippedBytes = 4 << 20

func (u *unzipped) copy(p []byte, desc uint64, in int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.list {
		if u.list[i].desc == desc {
			copy(p, u.list[i].p[in:])
			return true
		}
	}
	return false
}

func (u *unzipped) add(desc uint64, p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := min(64, max(2, unzippedBytes/len(p))); len(u.list) >= n {
		u.list = append(u.list[:0], u.list[len(u.list)-n+1:]...)
	}
	u.list = append(u.list, unzippedCluster{desc, p})
}

// Extents implements devices.ExtentBlock.
func (im *Image) Extents(off, n int64, f func(devices.Extent) bool) error {
	if err := host.Check("list extents of", im.name, off, n, im.size); err != nil {
		return err
	}
	for n > 0 {
		// f may use the image, so nothing is held while it runs.
		e, err := im.begin()
		if err != nil {
			return err
		}
		m, err := im.lookup(off, n)
		im.end(e)
		if err != nil {
			return err
		}
		more := true
		switch m.kind {
		case kindData, kindCompressed:
			more = f(devices.Extent{Off: off, Len: m.n, Allocated: true})
		case kindZero:
			more = f(devices.Extent{Off: off, Len: m.n, Zero: true, Allocated: m.keeps})
		case kindHole:
			if more, err = im.extentsBelow(off, m.n, f); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		off, n = off+m.n, n-m.n
	}
	return nil
}

func (im *Image) extentsBelow(off, n int64, f func(devices.Extent) bool) (more bool, err error) {
	more = true
	k := int64(0) // that the images below have
	if im.backing != nil {
		k = min(n, max(im.backing.Size()-off, 0))
	}
	if b, ok := im.backing.(devices.ExtentBlock); ok && k > 0 {
		err = b.Extents(off, k, func(e devices.Extent) bool {
			e.Allocated = false
			more = f(e)
			return more
		})
	} else if k > 0 {
		more = f(devices.Extent{Off: off, Len: k})
	}
	if err == nil && more && k < n {
		more = f(devices.Extent{Off: off + k, Len: n - k, Zero: true})
	}
	return more, err
}
