package vm

import (
	"testing"

	"pgregory.net/rapid"
)

// TestBuddyModel gets and puts blocks: none overlap, all are aligned, and in the end the memory is whole again.
func TestBuddyModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 5000
		var b Buddy
		b.Init(make([]Page, n))
		first := rapid.IntRange(0, 100).Draw(t, "first")
		b.Add(first, n)
		owner := make([]int, n)
		type block struct{ page, order int }
		var blocks []block
		free := n - first
		t.Repeat(map[string]func(*rapid.T){
			"get": func(t *rapid.T) {
				order := rapid.IntRange(0, MaxOrder).Draw(t, "order")
				limit := rapid.IntRange(0, n).Draw(t, "limit")
				p := b.Get(order, limit)
				if p < 0 {
					return
				}
				if p < first || p&(1<<order-1) != 0 || p+1<<order > limit {
					t.Fatalf("a block of order %d at %d, limit %d", order, p, limit)
				}
				for i := p; i < p+1<<order; i++ {
					if owner[i] != 0 {
						t.Fatalf("page %d is handed out twice", i)
					}
					owner[i] = 1
				}
				blocks = append(blocks, block{p, order})
				free -= 1 << order
			},
			"put": func(t *rapid.T) {
				if len(blocks) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(blocks)-1).Draw(t, "block")
				k := blocks[i]
				blocks = append(blocks[:i], blocks[i+1:]...)
				for j := k.page; j < k.page+1<<k.order; j++ {
					owner[j] = 0
				}
				b.Put(k.page, k.order)
				free += 1 << k.order
			},
			"": func(t *rapid.T) {
				if b.Free() != free || b.Total() != n-first {
					t.Fatalf("%d pages free of %d, want %d of %d", b.Free(), b.Total(), free, n-first)
				}
			},
		})
		for _, k := range blocks {
			b.Put(k.page, k.order)
		}
		// All pages are there again, and as large blocks as can be.
		if got := b.Get(MaxOrder, n); got != 1024 && first > 0 && got < 0 {
			t.Fatalf("no large block is left")
		}
	})
}

// TestSpaceModel compares a space with an array of protections.
func TestSpaceModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 64
		var s Space
		s.Init(make([]Region, n+1), 0, n)
		var model [n]int // protection + 1
		draw := func(t *rapid.T) (start, end uint64) {
			start = rapid.Uint64Range(0, n-1).Draw(t, "start")
			return start, rapid.Uint64Range(start+1, n).Draw(t, "end")
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				start, end := draw(t)
				p := Prot(rapid.IntRange(0, 2).Draw(t, "prot"))
				if !s.Set(start, end, p) {
					t.Fatal("no room")
				}
				for i := start; i < end; i++ {
					model[i] = int(p) + 1
				}
			},
			"clear": func(t *rapid.T) {
				start, end := draw(t)
				if !s.Clear(start, end) {
					t.Fatal("no room")
				}
				for i := start; i < end; i++ {
					model[i] = 0
				}
			},
			"find": func(t *rapid.T) {
				start := rapid.Uint64Range(1, n-1).Draw(t, "from")
				size := rapid.Uint64Range(1, n).Draw(t, "size")
				align := uint64(1) << rapid.IntRange(0, 4).Draw(t, "align")
				want := uint64(0)
			search:
				for a := (start + align - 1) &^ (align - 1); a+size <= n; a += align {
					for i := a; i < a+size; i++ {
						if model[i] != 0 {
							continue search
						}
					}
					want = a
					break
				}
				if got := s.Find(start, size, align); got != want {
					t.Fatalf("Find(%d, %d, %d) = %d, want %d", start, size, align, got, want)
				}
			},
			"": func(t *rapid.T) {
				for i := range uint64(n) {
					p, ok := s.Lookup(i)
					if got := int(p) + 1; ok != (model[i] != 0) || ok && got != model[i] {
						t.Fatalf("Lookup(%d) = %d, %v, want %d", i, p, ok, model[i]-1)
					}
					if s.Empty(i, i+1) != (model[i] == 0) {
						t.Fatalf("Empty(%d) is wrong", i)
					}
				}
				for i := 1; i < s.Len(); i++ {
					a, b := s.At(i-1), s.At(i)
					if a.End > b.Start || a.End == b.Start && a.Prot == b.Prot {
						t.Fatalf("regions %v and %v", a, b)
					}
				}
			},
		})
	})
}

func TestSpaceFull(t *testing.T) {
	var s Space
	s.Init(make([]Region, 2), 0, 100)
	if !s.Set(0, 10, Read) || !s.Set(20, 30, Read) {
		t.Fatal("no room for two regions")
	}
	if s.Set(40, 50, Read) || s.Clear(22, 24) {
		t.Error("there is room for a third region")
	}
	if !s.Set(10, 20, Read) || s.Len() != 1 {
		t.Errorf("%d regions after the gap is filled, want 1", s.Len())
	}
}
