package objcache

import "sync/atomic"

// keepFree is how many zones without an object in use a CPU keeps.
const keepFree = 2

// Slab hands out objects of type T from zones that belong to one CPU each. Getting one, and freeing it on
// the CPU it came from, takes a section on that CPU and nothing else; freed on another CPU
// it is pushed on its zone's list, and its owner is told passively when the list was empty.
type Slab[T any] struct {
	d    Domain
	zone int
	cpus []slabCPU[T]
}

type slabCPU[T any] struct {
	partial *zone[T] // zones with free objects
	free    int      // zones among them without an object in use
	zones   []*zone[T]
	remote  atomic.Uint32 // objects were freed elsewhere
	_       [64]byte
}

// zone is objects that belong to a CPU. All but remote is that CPU's.
type zone[T any] struct {
	owner      int
	objects    []object[T]
	avail      []uint32
	next, prev *zone[T]
	listed     bool
	place      int
	remote     atomic.Uint32 // list of objects freed elsewhere, by index + 1
}

// object is a T and where it belongs. The T comes first: see objectOf.
type object[T any] struct {
	v    T
	z    *zone[T]
	i    uint32
	next uint32 // in z.remote
	used atomic.Uint32
}

// NewSlab returns a slab with zones of n objects.
func NewSlab[T any](d Domain, n int) *Slab[T] {
	return &Slab[T]{d: d, zone: max(n, 1), cpus: make([]slabCPU[T], d.CPUs())}
}

// Get returns an object that is the zero T.
func (s *Slab[T]) Get() *T {
	for {
		cpu := s.d.Enter()
		c := &s.cpus[cpu]
		if o := c.get(); o != nil {
			s.d.Exit(cpu)
			o.used.Store(1)
			return &o.v
		}
		s.d.Exit(cpu)
		z := s.newZone()
		cpu = s.d.Enter()
		s.cpus[cpu].adopt(z, cpu)
		s.d.Exit(cpu)
	}
}

func (s *Slab[T]) newZone() *zone[T] {
	z := &zone[T]{objects: make([]object[T], s.zone), avail: make([]uint32, s.zone)}
	for i := range z.objects {
		z.objects[i].z, z.objects[i].i = z, uint32(i)
		z.avail[i] = uint32(s.zone - 1 - i)
	}
	return z
}

func (c *slabCPU[T]) adopt(z *zone[T], cpu int) {
	z.owner, z.place = cpu, len(c.zones)
	c.zones = append(c.zones, z)
	c.free++
	c.link(z)
}

func (c *slabCPU[T]) get() *object[T] {
	if c.remote.Load() != 0 && c.remote.Swap(0) != 0 || c.partial == nil {
		c.collect()
	}
	z := c.partial
	if z == nil {
		return nil
	}
	if len(z.avail) == len(z.objects) {
		c.free--
	}
	i := z.avail[len(z.avail)-1]
	if z.avail = z.avail[:len(z.avail)-1]; len(z.avail) == 0 {
		c.unlink(z)
	}
	return &z.objects[i]
}

// collect takes back what other CPUs have freed.
func (c *slabCPU[T]) collect() {
	for n := len(c.zones) - 1; n >= 0; n-- {
		z := c.zones[n]
		for i := z.remote.Swap(0); i != 0; {
			o := &z.objects[i-1]
			i = o.next
			c.put(o)
		}
	}
}

// put takes back an object of this CPU. A zone that is not needed any more is left to the
// collector.
func (c *slabCPU[T]) put(o *object[T]) {
	z := o.z
	z.avail = append(z.avail, o.i)
	if !z.listed {
		c.link(z)
	}
	if len(z.avail) < len(z.objects) {
		return
	}
	if c.free++; c.free > keepFree {
		c.free--
		c.unlink(z)
		last := len(c.zones) - 1
		c.zones[z.place] = c.zones[last]
		c.zones[z.place].place = z.place
		c.zones[last] = nil
		c.zones = c.zones[:last]
	}
}

func (c *slabCPU[T]) link(z *zone[T]) {
	z.next, z.prev, z.listed = c.partial, nil, true
	if c.partial != nil {
		c.partial.prev = z
	}
	c.partial = z
}

func (c *slabCPU[T]) unlink(z *zone[T]) {
	if z.prev == nil {
		c.partial = z.next
	} else {
		z.prev.next = z.next
	}
	if z.next != nil {
		z.next.prev = z.prev
	}
	z.next, z.prev, z.listed = nil, nil, false
}

// Put frees an object that Get has returned. Freeing it twice panics.
func (s *Slab[T]) Put(p *T) {
	o := objectOf(p)
	if !o.used.CompareAndSwap(1, 0) {
		panic("objcache: an object is freed that is not in use")
	}
	var none T
	o.v = none
	cpu := s.d.Enter()
	if o.z.owner == cpu {
		s.cpus[cpu].put(o)
		s.d.Exit(cpu)
		return
	}
	s.d.Exit(cpu)
	z := o.z
	for {
		head := z.remote.Load()
		o.next = head
		if z.remote.CompareAndSwap(head, o.i+1) {
			if head == 0 {
				s.d.Passive(z.owner, &s.cpus[z.owner].remote)
			}
			return
		}
	}
}
