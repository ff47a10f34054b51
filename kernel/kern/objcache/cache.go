package objcache

import (
	"sync"
	"sync/atomic"

	"dfemu/kernel/kern"
)

// magazineSize is the number of objects in a magazine.
const magazineSize = 16

// DefaultSpare is how many unused objects a cache without a limit keeps.
const DefaultSpare = 128

// Cache keeps constructed objects. Without a limit each CPU has two magazines it alone uses; full and empty ones are exchanged with a
// depot.
type Cache[T any] struct {
	k     *kern.Kernel
	d     Domain
	make  func() (*T, error)
	drop  func(*T)
	limit int32
	spare int

	cpus []cacheCPU[T]

	mu          sync.Mutex
	full, empty []*magazine[T]
	// shared are the unused objects of a cache with a limit: what lies in a magazine
	// of one CPU could not be had by another that waits.
	shared []*T

	total    atomic.Int32  // objects constructed
	returned atomic.Uint32 // changes as an object comes back, for those who wait at the limit
}

type cacheCPU[T any] struct {
	loaded, previous *magazine[T]
	_                [48]byte
}

type magazine[T any] struct {
	n       int
	objects [magazineSize]*T
}

// NewCache returns a cache of objects that construct makes and destroy, which may be nil, disposes
// of. With a limit over 0 there are never more objects; the cache then keeps up to half of
// them while they are unused.
func NewCache[T any](k *kern.Kernel, d Domain, limit int, construct func() (*T, error), destroy func(*T)) *Cache[T] {
	c := &Cache[T]{k: k, d: d, make: construct, drop: destroy, limit: int32(limit), spare: DefaultSpare}
	if limit > 0 {
		c.spare = limit / 2
	}
	c.cpus = make([]cacheCPU[T], d.CPUs())
	for i := range c.cpus {
		c.cpus[i] = cacheCPU[T]{loaded: &magazine[T]{}, previous: &magazine[T]{}}
	}
	return c
}

// pop takes an object from a CPU's magazines.
func (c *cacheCPU[T]) pop() *T {
	if c.loaded.n == 0 {
		if c.previous.n == 0 {
			return nil
		}
		c.loaded, c.previous = c.previous, c.loaded
	}
	m := c.loaded
	m.n--
	o := m.objects[m.n]
	m.objects[m.n] = nil
	return o
}

// push puts an object into a CPU's magazines, if there is room.
func (c *cacheCPU[T]) push(o *T) bool {
	if c.loaded.n == magazineSize {
		if c.previous.n == magazineSize {
			return false
		}
		c.loaded, c.previous = c.previous, c.loaded
	}
	m := c.loaded
	m.objects[m.n] = o
	m.n++
	return true
}

// TryGet returns an object, or nil if the limit is reached, or the constructor's error.
func (c *Cache[T]) TryGet() (*T, error) {
	if c.limit > 0 {
		if o := c.takeShared(); o != nil {
			return o, nil
		}
		if c.total.Add(1) > c.limit {
			c.total.Add(-1)
			return nil, nil
		}
		return c.construct()
	}
	cpu := c.d.Enter()
	o := c.cpus[cpu].pop()
	c.d.Exit(cpu)
	if o == nil {
		o = c.fromDepot()
	}
	if o != nil {
		return o, nil
	}
	c.total.Add(1)
	return c.construct()
}

// construct makes an object that is counted already.
func (c *Cache[T]) construct() (*T, error) {
	o, err := c.make()
	if err != nil {
		c.total.Add(-1)
		c.wake()
	}
	return o, err
}

func (c *Cache[T]) takeShared() *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.shared)
	if n == 0 {
		return nil
	}
	o := c.shared[n-1]
	c.shared[n-1] = nil
	c.shared = c.shared[:n-1]
	return o
}

// Get returns an object; at the limit it waits until one comes back.
func (c *Cache[T]) Get() (*T, error) {
	for {
		v := c.returned.Load()
		if o, err := c.TryGet(); o != nil || err != nil {
			return o, err
		}
		c.k.Wait(&c.returned, v, -1)
	}
}

// fromDepot gives the CPU a full magazine in exchange for an empty one, and takes an object.
func (c *Cache[T]) fromDepot() *T {
	c.mu.Lock()
	if len(c.full) == 0 {
		c.mu.Unlock()
		return nil
	}
	m := c.full[len(c.full)-1]
	c.full = c.full[:len(c.full)-1]
	c.mu.Unlock()
	m.n--
	o := m.objects[m.n]
	m.objects[m.n] = nil
	cpu := c.d.Enter()
	p := &c.cpus[cpu]
	// The CPU may be another by now, or have been filled: then the magazine goes back.
	if p.previous.n == 0 {
		m, p.previous = p.previous, m
	}
	c.d.Exit(cpu)
	c.store(m)
	return o
}

// store puts a magazine into the depot.
func (c *Cache[T]) store(m *magazine[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.n == 0 {
		if len(c.empty) < 2*len(c.cpus) {
			c.empty = append(c.empty, m)
		}
		return
	}
	c.full = append(c.full, m)
}

// Put gives an object back, as constructed as it was.
func (c *Cache[T]) Put(o *T) {
	if c.limit > 0 {
		c.mu.Lock()
		keep := len(c.shared) < c.spare
		if keep {
			c.shared = append(c.shared, o)
		}
		c.mu.Unlock()
		if !keep {
			c.discard(o)
		}
		c.wake()
		return
	}
	cpu := c.d.Enter()
	ok := c.cpus[cpu].push(o)
	c.d.Exit(cpu)
	if ok {
		return
	}
	c.mu.Lock()
	full := len(c.full) * magazineSize
	c.mu.Unlock()
	if full+magazineSize > c.spare {
		c.discard(o)
		return
	}
	// An empty magazine with the object takes the place of a full one.
	m := c.emptyMagazine()
	m.objects[0], m.n = o, 1
	cpu = c.d.Enter()
	p := &c.cpus[cpu]
	m, p.previous = p.previous, m
	c.d.Exit(cpu)
	c.store(m)
}

func (c *Cache[T]) discard(o *T) {
	c.total.Add(-1)
	if c.drop != nil {
		c.drop(o)
	}
}

func (c *Cache[T]) emptyMagazine() *magazine[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.empty); n > 0 {
		m := c.empty[n-1]
		c.empty = c.empty[:n-1]
		return m
	}
	return &magazine[T]{}
}

// wake lets one who waits at the limit look again.
func (c *Cache[T]) wake() {
	c.returned.Add(1)
	c.k.Wake(&c.returned, 1)
}

// Total is the number of objects there are, in use or not.
func (c *Cache[T]) Total() int { return int(c.total.Load()) }
