package qcow2

import (
	"bytes"

	"dfemu/devices/block/internal/host"
)

// maxNew is how many bytes of clusters are allocated at once.
const maxNew = 4 << 20

// maxFrees is how many runs of clusters wait for a flush before there is one
// without being asked for.
const maxFrees = 16384

// WriteAt implements io.WriterAt.
func (im *Image) WriteAt(p []byte, off int64) (int, error) {
	if err := im.WriteVAt([][]byte{p}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteVAt implements devices.VectorBlock.
func (im *Image) WriteVAt(bufs [][]byte, off int64) error {
	v := vector{bufs: bufs}
	for _, p := range bufs {
		v.n += int64(len(p))
	}
	if err := host.Check("write", im.name, off, v.n, im.size); err != nil {
		return err
	}
	e, err := im.begin()
	if err != nil {
		return err
	}
	defer im.end(e)
	if err := im.writable(); err != nil {
		return err
	}
	if err := im.write(&v, off); err != nil {
		return err
	}
	return im.relieve()
}

// WriteFUA implements devices.FUABlock.
func (im *Image) WriteFUA(p []byte, off int64) (int, error) {
	n, err := im.WriteAt(p, off)
	if err == nil {
		err = im.Flush()
	}
	return n, err
}

// Flush implements devices.Block.
func (im *Image) Flush() error {
	// It uses no clusters, and must not keep others from being reclaimed.
	im.ops.RLock()
	defer im.ops.RUnlock()
	if im.closed {
		return host.ErrClosed
	}
	if im.o.ReadOnly {
		return nil
	}
	if d := im.broken.Load(); d != nil {
		return d
	}
	return im.commit(false)
}

// relieve commits when too much waits for it.
func (im *Image) relieve() error {
	im.mu.RLock()
	much := len(im.frees) > maxFrees || len(im.resident) > im.cacheMax
	im.mu.RUnlock()
	if !much {
		return nil
	}
	return im.commit(false)
}

// vector is what is left to write of some buffers.
type vector struct {
	bufs [][]byte
	skip int // bytes of bufs[0] that were taken
	n    int64
}

// take appends the next n bytes to l.
func (v *vector) take(l [][]byte, n int64) [][]byte {
	v.n -= n
	for n > 0 {
		b := v.bufs[0][v.skip:]
		if int64(len(b)) > n {
			v.skip += int(n)
			return append(l, b[:n])
		}
		if len(b) > 0 {
			l = append(l, b)
		}
		n -= int64(len(b))
		v.bufs, v.skip = v.bufs[1:], 0
	}
	return l
}

// write stores all of v.
func (im *Image) write(v *vector, off int64) error {
	for v.n > 0 {
		m, err := im.lookup(off, v.n)
		if err != nil {
			return err
		}
		n := m.n
		if m.kind == kindData && m.direct {
			err = im.writeData(v.take(nil, n), m.host)
		} else {
			n, err = im.writeNew(v, off)
		}
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}

// writeData writes to the file.
func (im *Image) writeData(bufs [][]byte, off int64) error {
	var err error
	if len(bufs) == 1 {
		_, err = im.f.WriteAt(bufs[0], off)
	} else {
		err = im.f.WriteV(bufs, off)
	}
	im.unsynced.Store(true)
	return err
}

// fill is a change of entries in one L2 table: data is written to where nothing
// points at yet, then the entries are set.
type fill struct {
	guest int64   // the disk's offset of the first cluster
	host  int64   // the file's offset of where it goes
	a, b  int64   // what is written, relative to guest
	lo    int64   // a, less what must be copied before it
	hi    int64   // b, with what must be copied after it
	was   []entry // the entries before
	is    []entry // and after
	a0    run     // what was allocated, if anything
	zero  bool    // where it goes reads as zeroes
}

// writeNew stores the beginning of v where there is no data cluster to write
// it to in place. It returns how much it stored, which is nothing when what is
// in its way has just changed.
func (im *Image) writeNew(v *vector, off int64) (int64, error) {
	f, err := im.plan(off, v.n)
	if f == nil || err != nil {
		return 0, err
	}
	n := f.b - f.a
	err = im.copyAndWrite(f, v.take(make([][]byte, 1, len(v.bufs)+2), n))
	if err := im.install(f, err); err != nil {
		return 0, err
	}
	return n, nil
}

// plan decides how to store up to n bytes at off, and marks their clusters as
// busy. It returns nil after waiting for one that was.
func (im *Image) plan(off, n int64) (*fill, error) {
	g := &im.geo
	im.mu.Lock()
	defer im.mu.Unlock()
	c := off >> g.clusterBits
	if _, ok := im.busy[c]; ok {
		im.busyGone.Wait()
		return nil, nil
	}
	t, err := im.ownTable(int(off / g.l2Span))
	if err != nil {
		return nil, err
	}
	k := off % g.l2Span >> g.clusterBits
	f := &fill{guest: c << g.clusterBits, a: off & (g.clusterSize - 1)}
	d := im.get(t, k)
	if p := im.part(d, f.a); p.kind == kindData && p.direct {
		return nil, nil
	}
	f.b = min(g.clusterSize, f.a+n)
	if d.host != 0 && d.copied {
		im.planInPlace(f, d)
	} else if err := im.planNew(f, t, k, n); err != nil {
		return nil, err
	}
	for i := range f.is {
		im.busy[c+int64(i)] = struct{}{}
	}
	return f, nil
}

// touched has a bit for each subcluster of which [a, b) has a part.
func (g *geometry) touched(a, b int64) uint32 {
	from, to := uint(a/g.subSize), uint((b+g.subSize-1)/g.subSize)
	return uint32(uint64(1)<<to - uint64(1)<<from)
}

// planInPlace adds subclusters to a data cluster.
func (im *Image) planInPlace(f *fill, d entry) {
	g := &im.geo
	f.host = d.host
	// Up to what is there already: others may be writing to that in place.
	for s := f.a / g.subSize; s*g.subSize < f.b; s++ {
		if d.alloc>>s&1 != 0 {
			f.b = s * g.subSize
			break
		}
	}
	f.lo, f.hi = f.a&^(g.subSize-1), (f.b+g.subSize-1)&^(g.subSize-1)
	is := d
	is.alloc |= g.touched(f.a, f.b)
	is.zero &^= is.alloc
	f.was, f.is = []entry{d}, []entry{is}
}

// planNew allocates data clusters for entries from k on.
func (im *Image) planNew(f *fill, t *l2Table, k, n int64) error {
	g := &im.geo
	want := int64(1)
	end := f.a + n // relative to f.guest
	for ; want<<g.clusterBits < min(end, maxNew) && k+want < g.l2Entries; want++ {
		d := im.get(t, k+want)
		if _, ok := im.busy[f.guest>>g.clusterBits+want]; ok || d.host != 0 && d.copied {
			break
		}
	}
	var err error
	if f.a0, err = im.refs.alloc(want, true); err != nil {
		return err
	}
	f.host = f.a0.c << g.clusterBits
	f.zero = f.host >= im.eof
	im.eof = max(im.eof, f.host+f.a0.n<<g.clusterBits)
	f.b = min(end, f.a0.n<<g.clusterBits)
	f.lo, f.hi = f.a, f.b
	for i := range f.a0.n {
		base := i << g.clusterBits
		a, b := max(f.a-base, 0), min(f.b-base, g.clusterSize)
		d := im.get(t, k+i)
		is := entry{host: f.host + base, copied: true}
		if d.desc != 0 {
			is.alloc = g.all()
		} else {
			is.alloc = g.touched(a, b)
			if d.host != 0 {
				is.alloc |= d.alloc
			}
			is.zero = d.zero &^ is.alloc
		}
		first, last := spread(is.alloc)
		f.lo = min(f.lo, base+first*g.subSize)
		f.hi = max(f.hi, base+last*g.subSize)
		f.was, f.is = append(f.was, d), append(f.is, is)
	}
	return nil
}

// spread returns the index of the lowest set bit and that after the highest.
func spread(m uint32) (first, last int64) {
	for m>>first&1 == 0 {
		first++
	}
	for last = subclusters; m>>(last-1)&1 == 0; {
		last--
	}
	return first, last
}

// copyAndWrite writes bufs, whose first is free for use, with what must be
// copied around it.
func (im *Image) copyAndWrite(f *fill, bufs [][]byte) error {
	head := host.AlignedBuffer(int(f.a - f.lo))
	if err := im.readOld(head, f.guest+f.lo); err != nil {
		return err
	}
	tail := host.AlignedBuffer(int(f.hi - f.b))
	if err := im.readOld(tail, f.guest+f.b); err != nil {
		return err
	}
	at := f.host + f.lo
	if len(head) == 0 || f.zero && allZero(head) {
		at += int64(len(head))
		bufs = bufs[1:]
	} else {
		bufs[0] = head
	}
	if len(tail) > 0 && !(f.zero && allZero(tail)) {
		bufs = append(bufs, tail)
	}
	return im.writeData(bufs, at)
}

func allZero(p []byte) bool {
	var zero [4096]byte
	for len(p) > len(zero) {
		if !bytes.Equal(p[:len(zero)], zero[:]) {
			return false
		}
		p = p[len(zero):]
	}
	return bytes.Equal(p, zero[:len(p)])
}

// install sets the entries, or if the data could not be written, err, takes
// back what was planned.
func (im *Image) install(f *fill, err error) error {
	g := &im.geo
	im.mu.Lock()
	defer im.mu.Unlock()
	defer im.busyGone.Broadcast()
	for i := range f.is {
		delete(im.busy, f.guest>>g.clusterBits+int64(i))
	}
	var t *l2Table
	if err == nil {
		t, err = im.ownTable(int(f.guest / g.l2Span))
	}
	if err != nil {
		im.refs.release(f.a0)
		return err
	}
	k := f.guest % g.l2Span >> g.clusterBits
	for i, is := range f.is {
		im.set(t, k+int64(i), is)
		if f.a0.n > 0 {
			im.drop(f.was[i])
		}
	}
	return nil
}

// drop gives up the clusters that an entry pointed at.
func (im *Image) drop(d entry) {
	if r := im.geo.usedBy(d); r.n > 0 {
		im.frees = append(im.frees, r)
	}
}

// usedBy returns the clusters of the file that an entry points at.
func (g *geometry) usedBy(d entry) run {
	if d.desc != 0 {
		off, n := g.compressedRange(d.desc)
		c := off >> g.clusterBits
		return run{c, g.clusters(off+n) - c}
	}
	if d.host != 0 {
		return run{d.host >> g.clusterBits, 1}
	}
	return run{}
}
