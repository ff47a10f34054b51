package objcache

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Invariant of the unsafe code: the address of a slice's first byte is only compared; memory of regions is never given back, so
// that an address in one stays in it.

const (
	zoneBytes   = 128 << 10
	regionZones = 32
	pageBytes   = 4096
	keepIdle    = 1 // zones without a chunk in use that a CPU keeps of each size
)

// Bytes hands out memory in chunks of the sizes that [Class] gives, from zones of 128 KiB that belong to one CPU and one
// size each. Getting a chunk, and freeing it on the CPU it came from, takes a section on that CPU and nothing else; freed
// on another CPU it is pushed on its zone's list, and its owner is told passively when the list was empty. Memory of
// MaxChunk bytes and more, or of whole pages, comes from the Go heap. What a CPU does not need any more is zones again,
// for all CPUs and sizes.
type Bytes struct {
	d    Domain
	cpus []bytesCPU

	mu      sync.Mutex
	spare   []*byteZone
	regions atomic.Pointer[[]region] // by address; replaced as a whole
}

type bytesCPU struct {
	classes [Classes]bytesClass
}

type bytesClass struct {
	partial []*byteZone // zones with free chunks
	all     []*byteZone
	idle    int // zones without a chunk in use
	remote  atomic.Uint32
}

// region is memory that zones are made of, which begin at a multiple of their size.
type region struct {
	base  uintptr
	zones []*byteZone
}

// byteZone is the chunks of one size. All but remote, next and used is the owner's.
type byteZone struct {
	mem    []byte
	owner  int
	class  int
	chunk  int
	listed bool
	avail  []uint32
	next   []atomic.Uint32 // in the list at remote, by index + 1
	remote atomic.Uint32
	used   []atomic.Uint32 // one for each chunk
}

// NewBytes returns a Bytes that has no memory yet.
func NewBytes(d Domain) *Bytes {
	b := &Bytes{d: d, cpus: make([]bytesCPU, d.CPUs())}
	b.regions.Store(&[]region{})
	return b
}

// Get returns size bytes that are zero. Memory whose size is a power of two is aligned to it, up to MaxChunk.
func (b *Bytes) Get(size int) []byte {
	if size <= 0 {
		return nil
	}
	if size >= MaxChunk || size%pageBytes == 0 {
		return make([]byte, size)
	}
	class, chunk := Class(size)
	for {
		cpu := b.d.Enter()
		z, i := b.cpus[cpu].classes[class].get()
		b.d.Exit(cpu)
		if z != nil {
			z.used[i].Store(1)
			p := z.mem[int(i)*chunk:][:size:size]
			clear(p)
			return p
		}
		z = b.zone()
		z.form(class, chunk)
		cpu = b.d.Enter()
		c := &b.cpus[cpu].classes[class]
		fits := len(c.partial) == 0 // this may be another CPU by now
		if fits {
			z.owner, z.listed = cpu, true
			c.all = append(c.all, z)
			c.partial = append(c.partial, z)
			c.idle++
		}
		b.d.Exit(cpu)
		if !fits {
			b.giveBack(z)
		}
	}
}

// zone returns a zone that is not in use.
func (b *Bytes) zone() *byteZone {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.spare) == 0 {
		mem := make([]byte, (regionZones+1)*zoneBytes)
		base := uintptr(unsafe.Pointer(&mem[0]))
		skip := -base & (zoneBytes - 1)
		r := region{base: base + skip}
		for i := range regionZones {
			z := &byteZone{mem: mem[int(skip)+i*zoneBytes:][:zoneBytes:zoneBytes]}
			r.zones = append(r.zones, z)
			b.spare = append(b.spare, z)
		}
		list := append(slices.Clone(*b.regions.Load()), r)
		slices.SortFunc(list, func(x, y region) int {
			if x.base < y.base {
				return -1
			}
			return 1
		})
		b.regions.Store(&list)
	}
	z := b.spare[len(b.spare)-1]
	b.spare = b.spare[:len(b.spare)-1]
	return z
}

// giveBack makes a zone one that is not in use.
func (b *Bytes) giveBack(z *byteZone) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spare = append(b.spare, z)
}

// form divides an unused zone into chunks.
func (z *byteZone) form(class, chunk int) {
	n := zoneBytes / chunk
	z.class, z.chunk = class, chunk
	z.avail = make([]uint32, n)
	z.next, z.used = make([]atomic.Uint32, n), make([]atomic.Uint32, n)
	for i := range z.avail {
		z.avail[i] = uint32(n - 1 - i)
	}
}

// get takes a chunk of a zone of this CPU.
func (c *bytesClass) get() (*byteZone, uint32) {
	if c.remote.Load() != 0 && c.remote.Swap(0) != 0 || len(c.partial) == 0 {
		for _, z := range c.all {
			for i := z.remote.Swap(0); i != 0; {
				n := i - 1
				i = z.next[n].Load()
				c.put(z, n)
			}
		}
	}
	if len(c.partial) == 0 {
		return nil, 0
	}
	z := c.partial[len(c.partial)-1]
	if len(z.avail) == len(z.used) {
		c.idle--
	}
	i := z.avail[len(z.avail)-1]
	if z.avail = z.avail[:len(z.avail)-1]; len(z.avail) == 0 {
		c.partial = c.partial[:len(c.partial)-1]
		z.listed = false
	}
	return z, i
}

// put takes back a chunk of this CPU.
func (c *bytesClass) put(z *byteZone, i uint32) {
	if z.avail = append(z.avail, i); len(z.avail) == len(z.used) {
		c.idle++
	}
	if !z.listed {
		z.listed = true
		c.partial = append(c.partial, z)
	}
}

// release takes out a zone without a chunk in use, if there are more than are kept.
func (c *bytesClass) release() *byteZone {
	if c.idle <= keepIdle {
		return nil
	}
	for i, z := range c.partial {
		if len(z.avail) != len(z.used) {
			continue
		}
		c.idle--
		c.partial = slices.Delete(c.partial, i, i+1)
		c.all = slices.DeleteFunc(c.all, func(o *byteZone) bool { return o == z })
		z.listed = false
		return z
	}
	return nil
}

// find returns the zone an address is in, or nil for memory of the Go heap.
func (b *Bytes) find(a uintptr) (z *byteZone, off uintptr) {
	list := *b.regions.Load()
	lo, hi := 0, len(list)
	for lo < hi {
		if m := (lo + hi) / 2; list[m].base <= a {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return nil, 0
	}
	r := &list[lo-1]
	if n := (a - r.base) / zoneBytes; n < regionZones {
		return r.zones[n], (a - r.base) % zoneBytes
	}
	return nil, 0
}

// Put frees memory that Get has returned; p begins where it did. Freeing it twice panics, as does what Get did not
// return, if it is in a zone.
func (b *Bytes) Put(p []byte) {
	if cap(p) == 0 {
		return
	}
	z, off := b.find(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	if z == nil {
		return // the collector's
	}
	if z.chunk == 0 || off%uintptr(z.chunk) != 0 || off/uintptr(z.chunk) >= uintptr(len(z.used)) {
		panic("objcache: memory is freed that is not what was allocated")
	}
	i := uint32(off / uintptr(z.chunk))
	if !z.used[i].CompareAndSwap(1, 0) {
		panic("objcache: memory is freed that is not in use")
	}
	cpu := b.d.Enter()
	if z.owner == cpu {
		c := &b.cpus[cpu].classes[z.class]
		c.put(z, i)
		gone := c.release()
		b.d.Exit(cpu)
		if gone != nil {
			b.giveBack(gone)
		}
		return
	}
	// The chunk counts as in use by its zone until the owner takes it back: the zone stays the owner's.
	b.d.Exit(cpu)
	for {
		head := z.remote.Load()
		z.next[i].Store(head)
		if z.remote.CompareAndSwap(head, i+1) {
			if head == 0 {
				b.d.Passive(z.owner, &b.cpus[z.owner].classes[z.class].remote)
			}
			return
		}
	}
}
