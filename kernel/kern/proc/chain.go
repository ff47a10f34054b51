package proc

// link is what has an id, and stands in a chain.
type link[T any] struct {
	id   int32
	next *T
}

// linked is a pointer to what has a link.
type linked[T any] interface {
	*T
	hook() *link[T]
}

// chains are the things of one kind in a bucket, by id. Nothing here allocates: who does may block, and is without its tokens meanwhile.
type chains[T any, P linked[T]] struct {
	heads []*T // a power of two, or none yet
	n     int
}

func (c *chains[T, P]) head(id int32) **T { return &c.heads[int(id)/buckets&(len(c.heads)-1)] }

// find returns what has an id, or nil.
func (c *chains[T, P]) find(id int32) *T {
	if len(c.heads) == 0 {
		return nil
	}
	for x := *c.head(id); x != nil; x = P(x).hook().next {
		if P(x).hook().id == id {
			return x
		}
	}
	return nil
}

// add takes in x under its id; there are heads.
func (c *chains[T, P]) add(x *T) {
	h := c.head(P(x).hook().id)
	P(x).hook().next, *h = *h, x
	c.n++
}

// remove takes x out, which is there.
func (c *chains[T, P]) remove(x *T) {
	at := c.head(P(x).hook().id)
	for *at != x {
		at = &P(*at).hook().next
	}
	*at, P(x).hook().next = P(x).hook().next, nil
	c.n--
}

// wants is how many heads there should be, or 0 if there are enough.
func (c *chains[T, P]) wants() int {
	if c.n < len(c.heads) {
		return 0
	}
	return max(4, 2*len(c.heads))
}

// grow uses more heads, if they are more.
func (c *chains[T, P]) grow(heads []*T) {
	if len(heads) <= len(c.heads) {
		return
	}
	old := c.heads
	c.heads, c.n = heads, 0
	for _, x := range old {
		for x != nil {
			next := P(x).hook().next
			c.add(x)
			x = next
		}
	}
}
