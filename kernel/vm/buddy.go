package vm

// MaxOrder is the largest order of a block: 4 MiB.
const MaxOrder = 10

// Page is what a Buddy keeps of a page.
type Page struct {
	next, prev int32 // free list, as page number + 1
	order      int8
	free       bool
}

// Buddy is a binary buddy allocator of pages. Page numbers count from 0.
type Buddy struct {
	pages []Page
	heads [MaxOrder + 1]int32 // page number + 1
	free  int
	total int
}

// Init makes an allocator without free pages; pages has an element for each page there may be,
// all zero.
func (b *Buddy) Init(pages []Page) { *b = Buddy{pages: pages} }

// Free is the number of free pages, Total that of all pages ever added.
func (b *Buddy) Free() int { return b.free }

// Total is the number of pages that were added.
func (b *Buddy) Total() int { return b.total }

// Add gives the allocator the pages from first up to, not including, end.
func (b *Buddy) Add(first, end int) {
	b.total += end - first
	for first < end {
		order := 0
		for order < MaxOrder && first&(1<<(order+1)-1) == 0 && first+1<<(order+1) <= end {
			order++
		}
		b.Put(first, order)
		first += 1 << order
	}
}

// Get returns the first page of a free block of 1<<order pages that ends at or below page number
// limit, aligned to its size, or -1.
func (b *Buddy) Get(order, limit int) int {
	for o := order; o <= MaxOrder; o++ {
		for at := b.heads[o]; at != 0; at = b.pages[at-1].next {
			p := int(at) - 1
			if p+1<<order > limit {
				continue
			}
			b.unlink(p)
			for o > order {
				o--
				b.link(p+1<<o, o)
			}
			b.free -= 1 << order
			b.pages[p].order = int8(order)
			return p
		}
	}
	return -1
}

// Put frees the block of 1<<order pages at page.
func (b *Buddy) Put(page, order int) {
	b.free += 1 << order
	for order < MaxOrder {
		buddy := page ^ 1<<order
		if buddy >= len(b.pages) || !b.pages[buddy].free || int(b.pages[buddy].order) != order {
			break
		}
		b.unlink(buddy)
		page &^= 1 << order
		order++
	}
	b.link(page, order)
}

func (b *Buddy) link(page, order int) {
	p := &b.pages[page]
	p.free, p.order = true, int8(order)
	p.prev, p.next = 0, b.heads[order]
	if p.next != 0 {
		b.pages[p.next-1].prev = int32(page) + 1
	}
	b.heads[order] = int32(page) + 1
}

func (b *Buddy) unlink(page int) {
	p := &b.pages[page]
	if p.prev == 0 {
		b.heads[p.order] = p.next
	} else {
		b.pages[p.prev-1].next = p.next
	}
	if p.next != 0 {
		b.pages[p.next-1].prev = p.prev
	}
	p.free = false
}
