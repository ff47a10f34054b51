package block

import (
	"errors"
	"sync"

	"dfemu/devices"
)

// ErrLooksLikeImage reports a write that would make a raw image, whose format
// was not given, begin like an image of another format.
var ErrLooksLikeImage = errors.New("the write would make the raw image begin like one of another format, and it would be taken for that later: if it is meant, open it with format=raw")

// guard is a raw image that must not begin like one of another format.
type guard struct {
	*File
	mu sync.Mutex // held while the beginning is written
}

var (
	_ devices.FUABlock    = (*guard)(nil)
	_ devices.VectorBlock = (*guard)(nil)
)

// allow calls write unless it must not be done.
func (g *guard) allow(bufs [][]byte, off int64, write func() error) error {
	if off < 0 || off >= probeBytes {
		return write()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := make([]byte, probeBytes)
	if _, err := g.File.ReadAt(p, 0); err != nil {
		return err
	}
	for at := off; len(bufs) > 0 && at < probeBytes; bufs = bufs[1:] {
		at += int64(copy(p[at:], bufs[0]))
	}
	if ProbeFormat(p) != "raw" {
		return ErrLooksLikeImage
	}
	return write()
}

// WriteAt implements io.WriterAt.
func (g *guard) WriteAt(p []byte, off int64) (n int, err error) {
	if off < probeBytes {
		// Guest memory may change: what is checked must be what is written.
		p = append([]byte(nil), p...)
	}
	err = g.allow([][]byte{p}, off, func() error {
		n, err = g.File.WriteAt(p, off)
		return err
	})
	return n, err
}

// WriteFUA implements devices.FUABlock.
func (g *guard) WriteFUA(p []byte, off int64) (n int, err error) {
	if off < probeBytes {
		p = append([]byte(nil), p...)
	}
	err = g.allow([][]byte{p}, off, func() error {
		n, err = g.File.WriteFUA(p, off)
		return err
	})
	return n, err
}

// WriteVAt implements devices.VectorBlock.
func (g *guard) WriteVAt(bufs [][]byte, off int64) error {
	if off >= 0 && off < probeBytes {
		p := make([]byte, 0, length(bufs))
		for _, b := range bufs {
			p = append(p, b...)
		}
		bufs = [][]byte{p}
	}
	return g.allow(bufs, off, func() error { return g.File.WriteVAt(bufs, off) })
}
