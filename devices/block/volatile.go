package block

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"dfemu/devices"
)

// VolatileOptions says what a volatile cache is like.
type VolatileOptions struct {
	// Seed decides what is lost when the power fails.
	Seed uint64
	// Sector is what the drive writes as a whole or not at all, in bytes, a
	// power of two; 0 means 512.
	Sector int64
	// Size is how many bytes of writes the cache keeps before it writes the
	// oldest; 0 means 64 MiB.
	Size int64
}

// Volatile is a store with a volatile write cache, as drives have. What was
// written since the last flush is kept apart from the store below, and when the
// power fails any of those writes may be there, in full or in part by sectors,
// or not: regardless of the order they were made in, as far as they are not to
// the same sectors. What was flushed, or written by WriteFUA, is there.
//
// The cache itself is lost when the store is closed without a flush only if
// the power fails first: Close flushes.
type Volatile struct {
	forward
	o    VolatileOptions
	size int64

	mu       sync.RWMutex
	sectors  map[int64][]version // oldest first
	queue    []cachedWrite       // oldest first
	bytes    int64               // in all versions
	next     uint64              // write's number
	failures uint64              // of the power
	last     Loss
}

// version is what a write has left in a sector.
type version struct {
	write uint64
	at    int64  // sectors from the write's first
	data  []byte // nil for zeroes
	unmap bool
}

type cachedWrite struct {
	number   uint64
	first, n int64 // sectors
}

// Loss is what one failure of the power did to the writes since the last flush.
type Loss struct {
	// Writes is how many there were: Kept are there in full, Torn in part,
	// and Lost not at all. A sector of a kept write may have been overwritten
	// by a later one.
	Writes, Kept, Torn, Lost int
}

var (
	_ devices.PowerLoser = (*Volatile)(nil)
	_ devices.FUABlock   = (*Volatile)(nil)
)

// largeZero is from how many bytes on zeroes and discards are not kept apart,
// as if the cache had written them at once.
const largeZero = 4 << 20

// maxQueue bounds the number of writes in the cache.
const maxQueue = 1 << 16

// NewVolatile returns a store over b, which it owns from then on, with a
// volatile write cache.
func NewVolatile(b devices.Block, o VolatileOptions) (*Volatile, error) {
	if o.Sector == 0 {
		o.Sector = SectorSize
	}
	if o.Size == 0 {
		o.Size = 64 << 20
	}
	if o.Sector < SectorSize || o.Sector > 1<<20 || o.Sector&(o.Sector-1) != 0 || o.Size < 0 {
		return nil, fmt.Errorf("a volatile cache of %d bytes with sectors of %d: sectors must be a power of two from 512 to 1 MiB", o.Size, o.Sector)
	}
	return &Volatile{forward: forward{b}, o: o, size: b.Size(), sectors: map[int64][]version{}}, nil
}

// newest returns what a sector has in the cache, if anything.
func (v *Volatile) newest(s int64) (version, bool) {
	l := v.sectors[s]
	if len(l) == 0 {
		return version{}, false
	}
	return l[len(l)-1], true
}

// ReadAt implements io.ReaderAt.
func (v *Volatile) ReadAt(p []byte, off int64) (int, error) {
	if err := check("read", "disk", off, int64(len(p)), v.size); err != nil {
		return 0, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(p), v.read(p, off)
}

// read fills p; mu is held.
func (v *Volatile) read(p []byte, off int64) error {
	for len(p) > 0 {
		s, in := off/v.o.Sector, off%v.o.Sector
		k := min(int64(len(p)), v.o.Sector-in)
		if w, ok := v.newest(s); ok {
			if w.data == nil {
				clear(p[:k])
			} else {
				copy(p[:k], w.data[in:])
			}
		} else {
			for k < int64(len(p)) && len(v.sectors[(off+k)/v.o.Sector]) == 0 {
				k = min(k+v.o.Sector, int64(len(p)))
			}
			if _, err := v.Block.ReadAt(p[:k], off); err != nil {
				return err
			}
		}
		p, off = p[k:], off+k
	}
	return nil
}

// ReadVAt implements devices.VectorBlock.
func (v *Volatile) ReadVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		if _, err := v.ReadAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// WriteAt implements io.WriterAt.
func (v *Volatile) WriteAt(p []byte, off int64) (int, error) {
	return len(p), v.WriteVAt([][]byte{p}, off)
}

// WriteVAt implements devices.VectorBlock; all of bufs are one write.
func (v *Volatile) WriteVAt(bufs [][]byte, off int64) error {
	n := length(bufs)
	if err := v.checkWrite("write", off, n); err != nil || n == 0 {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	p, start, err := v.whole(off, n)
	if err != nil {
		return err
	}
	at := off - start
	for _, b := range bufs {
		at += int64(copy(p[at:], b))
	}
	v.put(start, int64(len(p)), p, false)
	return v.destage()
}

func (v *Volatile) checkWrite(what string, off, n int64) error {
	if v.ReadOnly() {
		return ErrReadOnly
	}
	return check(what, "disk", off, n, v.size)
}

// whole makes a buffer for the sectors that the range touches, which has what
// of them is outside of the range.
func (v *Volatile) whole(off, n int64) (p []byte, start int64, err error) {
	start = off &^ (v.o.Sector - 1)
	end := min((off+n+v.o.Sector-1)&^(v.o.Sector-1), v.size)
	p = make([]byte, end-start)
	if start < off {
		err = v.read(p[:off-start], start)
	}
	if err == nil && off+n < end {
		err = v.read(p[off+n-start:], off+n)
	}
	return p, start, err
}

// put adds a write of whole sectors; p, or nil for zeroes, is kept.
func (v *Volatile) put(off, n int64, p []byte, unmap bool) {
	w := cachedWrite{v.next, off / v.o.Sector, (n + v.o.Sector - 1) / v.o.Sector}
	v.next++
	v.queue = append(v.queue, w)
	for i := range w.n {
		var data []byte
		if p != nil {
			data = p[i*v.o.Sector : min((i+1)*v.o.Sector, n)]
		}
		v.sectors[w.first+i] = append(v.sectors[w.first+i], version{w.number, i, data, unmap})
	}
	v.bytes += w.n * v.o.Sector
}

// destage writes the oldest writes if there are too many.
func (v *Volatile) destage() error {
	if v.bytes <= v.o.Size && len(v.queue) <= maxQueue {
		return nil
	}
	for len(v.queue) > 0 && (v.bytes > v.o.Size*3/4 || len(v.queue) > maxQueue*3/4) {
		w := v.queue[0]
		r := v.newWriter()
		for s := w.first; s < w.first+w.n; s++ {
			if l := v.sectors[s]; len(l) > 0 && l[0].write == w.number {
				r.add(s, l[0])
			}
		}
		if err := r.done(); err != nil {
			return err
		}
		for s := w.first; s < w.first+w.n; s++ {
			if l := v.sectors[s]; len(l) > 0 && l[0].write == w.number {
				v.drop(s, 1)
			}
		}
		v.queue = v.queue[1:]
	}
	return nil
}

// drop forgets the n oldest versions of a sector.
func (v *Volatile) drop(s int64, n int) {
	v.bytes -= int64(n) * v.o.Sector
	if l := v.sectors[s]; len(l) > n {
		v.sectors[s] = l[n:]
	} else {
		delete(v.sectors, s)
	}
}

// forget empties the cache.
func (v *Volatile) forget() {
	clear(v.sectors)
	v.queue, v.bytes = nil, 0
}

// WriteFUA implements devices.FUABlock.
func (v *Volatile) WriteFUA(p []byte, off int64) (int, error) {
	if err := v.checkWrite("write", off, int64(len(p))); err != nil || len(p) == 0 {
		return 0, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	q, start, err := v.whole(off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	copy(q[off-start:], p)
	if _, err := WriteFUA(v.Block, q, start); err != nil {
		return 0, err
	}
	for s := start / v.o.Sector; s*v.o.Sector < start+int64(len(q)); s++ {
		v.drop(s, len(v.sectors[s]))
	}
	return len(p), nil
}

// Discard implements devices.Block; the range reads as zeroes afterwards.
func (v *Volatile) Discard(off, n int64) error { return v.WriteZeroes(off, n, true) }

// WriteZeroes implements devices.Block.
func (v *Volatile) WriteZeroes(off, n int64, unmap bool) error {
	if err := v.checkWrite("write zeroes", off, n); err != nil || n == 0 {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	end := off + n
	head := min(-off&(v.o.Sector-1), n)
	if err := v.zeroPart(off, head); err != nil {
		return err
	}
	off += head
	whole := max(end&^(v.o.Sector-1), off)
	if end == v.size {
		whole = end
	}
	switch k := whole - off; {
	case k >= largeZero:
		if err := v.Block.WriteZeroes(off, k, unmap); err != nil {
			return err
		}
		for s, l := range v.sectors {
			if at := s * v.o.Sector; at >= off && at < whole {
				v.drop(s, len(l))
			}
		}
	case k > 0:
		v.put(off, k, nil, unmap)
	}
	if err := v.zeroPart(whole, end-whole); err != nil {
		return err
	}
	return v.destage()
}

// zeroPart adds a write of zeroes to a part of a sector.
func (v *Volatile) zeroPart(off, n int64) error {
	if n == 0 {
		return nil
	}
	p, start, err := v.whole(off, n)
	if err == nil {
		v.put(start, int64(len(p)), p, false)
	}
	return err
}

// Flush implements devices.Block.
func (v *Volatile) Flush() error {
	if v.ReadOnly() {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.flush()
}

func (v *Volatile) flush() error {
	r := v.newWriter()
	for _, s := range slices.Sorted(maps.Keys(v.sectors)) {
		w, _ := v.newest(s)
		r.add(s, w)
	}
	if err := r.done(); err != nil {
		return err
	}
	if err := v.Block.Flush(); err != nil {
		return err
	}
	v.forget()
	return nil
}

// Extents implements devices.ExtentBlock. While there is something in the cache
// nothing is known about any range.
func (v *Volatile) Extents(off, n int64, f func(devices.Extent) bool) error {
	if err := check("list extents of", "disk", off, n, v.size); err != nil {
		return err
	}
	if v.Unflushed() == 0 {
		return v.forward.Extents(off, n, f)
	}
	if n > 0 {
		f(devices.Extent{Off: off, Len: n, Allocated: true})
	}
	return nil
}

// Close flushes and closes the store below.
func (v *Volatile) Close() error {
	err := v.Flush()
	if e := v.Block.Close(); err == nil {
		err = e
	}
	return err
}

// Unflushed is how many bytes of writes are in the cache.
func (v *Volatile) Unflushed() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.bytes
}

// LastLoss tells what the last failure of the power did.
func (v *Volatile) LastLoss() Loss {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.last
}

// PowerLoss implements devices.PowerLoser: the store below gets what a drive
// might have written by itself, and the rest is lost. The same seed, writes and
// number of failures so far give the same outcome. Requests in progress happen
// before or after it.
func (v *Volatile) PowerLoss() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	loss := Loss{}
	r := v.newWriter()
	here, gone := map[uint64]bool{}, map[uint64]bool{} // writes, with some of their sectors
	lengths := map[uint64]int64{}
	for _, w := range v.queue {
		lengths[w.number] = w.n
	}
	for _, s := range slices.Sorted(maps.Keys(v.sectors)) {
		l := v.sectors[s]
		var last *version
		for i := range l {
			if v.survives(l[i], lengths[l[i].write]) {
				here[l[i].write] = true
				last = &l[i]
			} else {
				gone[l[i].write] = true
			}
		}
		if last != nil {
			r.add(s, *last)
		}
	}
	for n := range lengths {
		switch {
		case here[n] && gone[n]:
			loss.Torn++
		case here[n]:
			loss.Kept++
		case gone[n]:
			loss.Lost++
		default:
			continue // written over durably
		}
		loss.Writes++
	}
	v.failures++
	v.last = loss
	v.forget()
	if err := r.done(); err != nil {
		return err
	}
	if err := v.Block.Flush(); err != nil {
		return err
	}
	return v.forward.PowerLoss()
}

// survives decides about one sector of a write of n sectors. A third of the
// writes is there, a third is not; of the others there is the beginning, the
// end, or any of the sectors.
func (v *Volatile) survives(w version, n int64) bool {
	h := mix(mix(v.o.Seed, v.failures), w.write)
	cut := int64(mix(h, 1) % uint64(max(n, 1)))
	switch h % 6 {
	case 0, 1:
		return true
	case 2, 3:
		return false
	}
	switch h / 6 % 3 {
	case 0:
		return w.at < cut
	case 1:
		return w.at >= cut
	}
	return mix(h, uint64(w.at)+2)&1 == 0
}

// mix combines two numbers to one whose bits all depend on all of theirs.
func mix(a, b uint64) uint64 {
	a ^= b*0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15
	a = (a ^ a>>30) * 0xbf58476d1ce4e5b9
	a = (a ^ a>>27) * 0x94d049bb133111eb
	return a ^ a>>31
}

// sectorWriter writes sectors, given in order, to the store below, those next
// to each other at once.
type sectorWriter struct {
	v     *Volatile
	start int64
	n     int64    // bytes
	bufs  [][]byte // nil for zeroes
	unmap bool
	err   error
}

func (v *Volatile) newWriter() *sectorWriter { return &sectorWriter{v: v} }

// writeAtOnce bounds how much goes into one write, in bytes.
const writeAtOnce = 1 << 20

func (r *sectorWriter) add(s int64, w version) {
	off := s * r.v.o.Sector
	zero := w.data == nil
	if r.n > 0 && (off != r.start+r.n || zero != (r.bufs == nil) || zero && w.unmap != r.unmap || !zero && r.n >= writeAtOnce) {
		r.write()
	}
	if r.n == 0 {
		r.start, r.bufs, r.unmap = off, nil, w.unmap
	}
	if zero {
		r.n += min(r.v.o.Sector, r.v.size-off)
		return
	}
	r.bufs = append(r.bufs, w.data)
	r.n += int64(len(w.data))
}

func (r *sectorWriter) write() {
	switch {
	case r.err != nil:
	case r.bufs == nil:
		r.err = r.v.Block.WriteZeroes(r.start, r.n, r.unmap)
	default:
		r.err = WriteV(r.v.Block, r.bufs, r.start)
	}
	r.n = 0
}

// done writes what is left and returns the first error.
func (r *sectorWriter) done() error {
	if r.n > 0 {
		r.write()
	}
	return r.err
}
