package block

import (
	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// length is how many bytes bufs have together.
func length(bufs [][]byte) int64 {
	n := int64(0)
	for _, p := range bufs {
		n += int64(len(p))
	}
	return n
}

// ReadV fills all of bufs from b at off on, in one request if b takes several
// buffers, else in one for each.
func ReadV(b devices.Block, bufs [][]byte, off int64) error {
	if v, ok := b.(devices.VectorBlock); ok {
		return v.ReadVAt(bufs, off)
	}
	for _, p := range bufs {
		if _, err := b.ReadAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// WriteV stores all of bufs in b at off on, in one request if b takes several
// buffers, else in one for each.
func WriteV(b devices.Block, bufs [][]byte, off int64) error {
	if v, ok := b.(devices.VectorBlock); ok {
		return v.WriteVAt(bufs, off)
	}
	for _, p := range bufs {
		if _, err := b.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// WriteFUA writes p durably: by itself if b can do that, else with a flush of
// everything.
func WriteFUA(b devices.Block, p []byte, off int64) (int, error) {
	if f, ok := b.(devices.FUABlock); ok {
		return f.WriteFUA(p, off)
	}
	n, err := b.WriteAt(p, off)
	if err == nil {
		err = b.Flush()
	}
	return n, err
}

// Extents calls f for consecutive extents that cover [off, off+n), until it
// returns false. A store that knows nothing about its extents is one.
func Extents(b devices.Block, off, n int64, f func(devices.Extent) bool) error {
	if e, ok := b.(devices.ExtentBlock); ok {
		return e.Extents(off, n, f)
	}
	if err := check("list extents of", "disk", off, n, b.Size()); err != nil {
		return err
	}
	if n > 0 {
		f(devices.Extent{Off: off, Len: n, Allocated: true})
	}
	return nil
}

// writeZeroes writes zeroes over the range.
func writeZeroes(b devices.Block, off, n int64) error {
	zero := host.AlignedBuffer(int(min(n, 1<<20)))
	for n > 0 {
		k := min(n, int64(len(zero)))
		if _, err := b.WriteAt(zero[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// ReadVAt implements devices.VectorBlock.
func (m *Memory) ReadVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		n, err := m.ReadAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// WriteVAt implements devices.VectorBlock.
func (m *Memory) WriteVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		n, err := m.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
