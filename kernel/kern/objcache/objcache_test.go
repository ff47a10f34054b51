package objcache

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/kernel/kern"

	"pgregory.net/rapid"
)

// TestClass compares the classes with the table they are defined by.
func TestClass(t *testing.T) {
	class, size := 0, 0
	for _, r := range []struct{ end, step int }{
		{128, 8}, {256, 16}, {512, 32}, {1024, 64}, {2048, 128}, {4096, 256}, {8192, 512}, {16384, 1024},
	} {
		// The first class of a range is its lowest multiple of the step above what was there.
		for size+r.step <= r.end {
			low := size + 1
			size += r.step
			for n := low; n <= size && n < MaxChunk; n++ {
				if c, s := Class(n); c != class || s != size {
					t.Fatalf("Class(%d) = %d, %d, want %d, %d", n, c, s, class, size)
				}
			}
			class++
		}
	}
	if class != Classes {
		t.Errorf("%d classes, want %d", class, Classes)
	}
}

// fixed is a Domain that is on the CPU the test says.
type fixed struct {
	n, cpu int
	sent   []int
	flags  []*atomic.Uint32
}

func (f *fixed) CPUs() int  { return f.n }
func (f *fixed) Enter() int { return f.cpu }
func (f *fixed) Exit(int)   {}
func (f *fixed) Passive(cpu int, flag *atomic.Uint32) {
	f.sent = append(f.sent, cpu)
	f.flags = append(f.flags, flag)
}

func TestRemoteFree(t *testing.T) {
	d := &fixed{n: 2}
	s := NewSlab[[8]int](d, 4)
	var list []*[8]int
	for range 4 {
		list = append(list, s.Get())
	}
	d.cpu = 1
	for _, p := range list {
		p[0] = 7
		s.Put(p)
	}
	if len(d.sent) != 1 || d.sent[0] != 0 {
		t.Fatalf("messages to %v for four objects of one zone, want one to CPU 0", d.sent)
	}
	if len(s.cpus[1].zones) != 0 || s.cpus[0].partial != nil {
		t.Fatal("the objects are on a list before their CPU has looked")
	}
	d.cpu = 0
	d.flags[0].Store(1) // the message arrives
	for range 4 {
		if p := s.Get(); *p != [8]int{} {
			t.Errorf("an object is %v", *p)
		}
	}
	if n := len(s.cpus[0].zones); n != 1 {
		t.Errorf("%d zones, want 1: the objects were not used again", n)
	}
}

// TestSlabModel gets and frees on random CPUs: no object is handed out twice, none is lost, and zones go
// away.
func TestSlabModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &fixed{n: 3}
		s := NewSlab[int](d, 4)
		used := map[*int]int{}
		var order []*int
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"cpu": func(t *rapid.T) { d.cpu = rapid.IntRange(0, 2).Draw(t, "cpu") },
			"message": func(*rapid.T) {
				for _, f := range d.flags {
					f.Store(1)
				}
				d.flags = nil
			},
			"get": func(t *rapid.T) {
				p := s.Get()
				if _, ok := used[p]; ok {
					t.Fatal("an object is handed out twice")
				}
				if *p != 0 {
					t.Fatalf("an object is %d, want 0", *p)
				}
				next++
				*p, used[p] = next, next
				order = append(order, p)
			},
			"put": func(t *rapid.T) {
				if len(order) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(order)-1).Draw(t, "object")
				p := order[i]
				if *p != used[p] {
					t.Fatalf("an object is %d, want %d", *p, used[p])
				}
				order = append(order[:i], order[i+1:]...)
				delete(used, p)
				s.Put(p)
			},
			"": func(t *rapid.T) {
				for i := range s.cpus {
					c := &s.cpus[i]
					free := 0
					for n, z := range c.zones {
						if z.owner != i || z.place != n || z.listed != (len(z.avail) > 0) {
							t.Fatalf("zone %d of CPU %d: owner %d, place %d, listed %v with %d objects", n, i, z.owner, z.place, z.listed, len(z.avail))
						}
						if len(z.avail) == len(z.objects) {
							free++
						}
					}
					if free != c.free || free > keepFree {
						t.Fatalf("CPU %d has %d unused zones and counts %d", i, free, c.free)
					}
				}
			},
		})
	})
}

func TestSlabConcurrent(t *testing.T) {
	d := NewLocked(3)
	s := NewSlab[[2]int](d, 8)
	pass := make(chan *[2]int, 64)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(2)
		go func() {
			defer wg.Done()
			for i := range 1000 {
				p := s.Get()
				*p = [2]int{w, i}
				pass <- p
			}
		}()
		go func() {
			defer wg.Done()
			for range 1000 {
				p := <-pass
				if p[0] < 0 || p[0] > 3 {
					t.Errorf("an object is %v", *p)
				}
				s.Put(p)
			}
		}()
	}
	wg.Wait()
}

func TestFreeTwice(t *testing.T) {
	s := NewSlab[int](&fixed{n: 1}, 4)
	p := s.Get()
	s.Put(p)
	defer func() {
		if recover() == nil {
			t.Error("an object can be freed twice")
		}
	}()
	s.Put(p)
}

type thing struct{ n int }

func TestCache(t *testing.T) {
	k := kern.New(&kern.Host{})
	made, dropped := 0, 0
	d := &fixed{n: 2}
	c := NewCache(k, d, 0, func() (*thing, error) { made++; return &thing{made}, nil }, func(*thing) { dropped++ })
	const n = 300
	var list []*thing
	seen := map[*thing]bool{}
	for range n {
		o, err := c.Get()
		if err != nil || seen[o] {
			t.Fatalf("object %v twice, or %v", o, err)
		}
		seen[o] = true
		list = append(list, o)
	}
	for _, o := range list {
		c.Put(o)
	}
	kept := made - dropped
	if made != n || c.Total() != kept || kept < DefaultSpare || kept > DefaultSpare+3*magazineSize {
		t.Errorf("%d made, %d kept of %d", made, kept, c.Total())
	}
	// They stay constructed, and are all found again.
	for range kept {
		if o, _ := c.Get(); o.n == 0 || !seen[o] {
			t.Fatal("an object is not as it was constructed")
		}
	}
	if made != n {
		t.Errorf("%d constructed while %d were kept", made-n, kept)
	}
}

// TestMagazines follows objects through the magazines of a CPU and the depot: the loaded one first, then the previous one, a full one of the depot, and only
// then one that is constructed.
func TestMagazines(t *testing.T) {
	made := 0
	d := &fixed{n: 2}
	c := NewCache(kern.New(&kern.Host{}), d, 0, func() (*thing, error) { made++; return &thing{made}, nil }, nil)
	var list []*thing
	for range 3*magazineSize + 2 {
		o, err := c.Get()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	p := &c.cpus[0]
	for i, o := range list {
		c.Put(o)
		if p.loaded.n+p.previous.n+len(c.full)*magazineSize != i+1 || p.loaded.n == 0 {
			t.Fatalf("after %d objects there are %d and %d, and %d full magazines", i+1, p.loaded.n, p.previous.n, len(c.full))
		}
	}
	if len(c.full) != 2 {
		t.Errorf("%d full magazines are in the depot, want 2", len(c.full))
	}
	// The last that came is the first to go.
	last := list[len(list)-1]
	if o, _ := c.Get(); o != last {
		t.Errorf("got %v, want the last, %v", o, last)
	} else {
		c.Put(o)
	}
	// Another CPU has nothing of its own: it takes a full magazine from the depot, and needs no other for the rest of it.
	d.cpu = 1
	for range magazineSize {
		if _, err := c.Get(); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.full) != 1 || made != len(list) {
		t.Errorf("%d full magazines are left, %d objects were constructed", len(c.full), made)
	}
	for range magazineSize {
		_, _ = c.Get() // the constructor does not fail
	}
	if _, err := c.Get(); err != nil || len(c.full) != 0 || made != len(list)+1 {
		t.Errorf("with an empty depot: %d full magazines, %d objects constructed of %d", len(c.full), made, len(list))
	}
}

func TestCacheLimit(t *testing.T) {
	k := kern.New(&kern.Host{})
	c := NewCache(k, NewLocked(2), 2, func() (*thing, error) { return &thing{1}, nil }, nil)
	a, _ := c.Get()
	b, _ := c.Get()
	if o, err := c.TryGet(); o != nil || err != nil {
		t.Fatalf("a third object of two: %v, %v", o, err)
	}
	got := make(chan *thing)
	go func() {
		o, _ := c.Get()
		got <- o
	}()
	select {
	case <-got:
		t.Fatal("Get does not wait at the limit")
	case <-time.After(5 * time.Millisecond):
	}
	c.Put(a)
	if o := <-got; o == b || o == nil {
		t.Errorf("got %p", o)
	}
	if c.Total() != 2 {
		t.Errorf("%d objects, want 2", c.Total())
	}
	fails := NewCache(k, NewLocked(1), 1, func() (*thing, error) { return nil, errors.New("no") }, nil)
	for range 3 {
		if _, err := fails.Get(); err == nil {
			t.Error("the constructor's error is lost")
		}
	}
}
