package objcache

import (
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"
)

// TestBytes has several goroutines get and free memory of all sizes, of others too, and checks that
// nobody's bytes are anybody else's.
func TestBytes(t *testing.T) {
	b := NewBytes(NewLocked(3))
	var wg sync.WaitGroup
	pass := make(chan []byte, 64)
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(1, uint64(g)))
			var mine [][]byte
			for range 4000 {
				size := 1 + r.IntN(1<<r.IntN(16))
				p := b.Get(size)
				if len(p) != size {
					t.Errorf("%d bytes, want %d", len(p), size)
					return
				}
				if a := uintptr(unsafe.Pointer(&p[0])); size&(size-1) == 0 && size < MaxChunk && a%uintptr(size) != 0 {
					t.Errorf("%d bytes at %#x", size, a)
				}
				for i, v := range p {
					if v != 0 {
						t.Errorf("byte %d of %d is %d", i, size, v)
						return
					}
					p[i] = byte(g + 1)
				}
				mine = append(mine, p)
				if len(mine) > 100 {
					n := r.IntN(len(mine))
					p := mine[n]
					for i, v := range p {
						if v != byte(g+1) {
							t.Errorf("byte %d of %d is %d, want %d", i, len(p), v, g+1)
							return
						}
					}
					mine[n] = mine[len(mine)-1]
					mine = mine[:len(mine)-1]
					if r.IntN(3) == 0 { // somebody else frees it
						select {
						case pass <- p:
						case o := <-pass:
							b.Put(o)
							b.Put(p)
						}
					} else {
						b.Put(p)
					}
				}
			}
			for _, p := range mine {
				b.Put(p)
			}
		}()
	}
	wg.Wait()
	close(pass)
	for p := range pass {
		b.Put(p)
	}
	if n := len(*b.regions.Load()); n > 24 {
		t.Errorf("%d regions of %d bytes for little memory", n, regionZones*zoneBytes)
	}
}

// TestBytesReuse frees everything: zones go from one size to another.
func TestBytesReuse(t *testing.T) {
	b := NewBytes(NewLocked(1))
	for size := 8; size < MaxChunk; size += 1000 {
		var all [][]byte
		for n := 0; n < 3<<20; n += size {
			all = append(all, b.Get(size))
		}
		for _, p := range all {
			b.Put(p)
		}
	}
	// Each size keeps a zone.
	if n := len(*b.regions.Load()); n > 4 {
		t.Errorf("%d regions", n)
	}
}

// TestBytesRemote frees chunks on another CPU than theirs: it is told once, passively, and they stay its own.
func TestBytesRemote(t *testing.T) {
	d := &fixed{n: 2}
	b := NewBytes(d)
	const size = 4000
	class, _ := Class(size)
	var list [][]byte
	for range 10 {
		list = append(list, b.Get(size))
	}
	d.cpu = 1
	for _, p := range list {
		b.Put(p)
	}
	if len(d.sent) != 1 || d.sent[0] != 0 {
		t.Fatalf("messages to %v for ten chunks of a zone, want one to CPU 0", d.sent)
	}
	mine := b.Get(size)
	if len(b.cpus[1].classes[class].all) != 1 || len(b.cpus[0].classes[class].all) != 1 {
		t.Fatal("a chunk was freed into another CPU's zone, or got from there")
	}
	b.Put(mine)
	d.cpu = 0
	d.flags[0].Store(1) // the message arrives
	seen := map[*byte]bool{}
	for _, p := range list {
		seen[&p[0]] = true
	}
	for range list {
		if p := b.Get(size); !seen[&p[0]] {
			t.Fatal("a chunk that was freed elsewhere is not used again")
		}
	}
	if d.cpu = 1; len(d.sent) != 1 {
		t.Errorf("messages to %v", d.sent)
	}
	b.Put(list[0])
	if len(d.sent) != 2 {
		t.Errorf("messages to %v after the list was empty again, want two", d.sent)
	}
}

func TestBytesMisuse(t *testing.T) {
	b := NewBytes(NewLocked(1))
	b.Put(nil)
	b.Put(b.Get(1 << 20))
	if b.Get(0) != nil || b.Get(-1) != nil {
		t.Error("there is memory of no bytes")
	}
	p := b.Get(100)
	fails := func(what string, p []byte) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s was freed", what)
			}
		}()
		b.Put(p)
	}
	fails("the middle of a chunk", p[8:])
	b.Put(p)
	fails("free memory", p)
}
