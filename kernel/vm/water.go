package vm

// Water is how many pages an allocator keeps back.
type Water struct {
	// Reserve pages are for those who cannot do without: the kernel's own tables, and what the Go runtime touches.
	Reserve int
	// Low is where memory that is not needed is to be given back.
	Low int
}

// Bounds of the reserve, in pages: 1 MiB, 16 MiB.
const (
	leastReserve = 256
	mostReserve  = 4096
)

// WaterFor returns the levels for an allocator of total pages.
func WaterFor(total int) Water {
	r := min(max(total/32, leastReserve), mostReserve)
	return Water{Reserve: r, Low: 2 * r}
}

// Spare is how many of the free pages may be had by those who can do without.
func (w Water) Spare(free int) int { return max(free-w.Reserve, 0) }
