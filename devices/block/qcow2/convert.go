package qcow2

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// ConvertOptions says what a copy is like.
type ConvertOptions struct {
	// Raw makes a raw image, of which then only Progress counts.
	Raw bool
	// Create says what the new image is like. Its Size is the source's; it has
	// no backing file.
	Create CreateOptions
	// Compress compresses each cluster for which that saves room.
	Compress bool
	// Progress, if set, is called from time to time with how many bytes of the
	// disk are done.
	Progress func(done, total int64)
}

// Convert copies the disk src, which must not be written to meanwhile, to a new
// image in the file called name. What reads as zeroes takes no room in it. If
// the file is there already the error wraps fs.ErrExist; if anything fails the
// file is removed.
func Convert(name string, src devices.Block, o ConvertOptions) error {
	err := convert(name, src, o)
	if err != nil {
		return fmt.Errorf("convert to image %s: %w", name, err)
	}
	return nil
}

func convert(name string, src devices.Block, o ConvertOptions) error {
	if o.Create.BackingFile != "" {
		return errors.New("the copy cannot have a backing file: create an image with one instead")
	}
	if o.Raw {
		f, err := host.Create(name)
		if err != nil {
			return err
		}
		err = f.Truncate(src.Size())
		if err == nil {
			err = copyData(src, 1<<20, o.Progress, func(p []byte, off int64) error {
				_, err := f.WriteAt(p, off)
				return err
			})
		}
		if err == nil {
			err = f.Sync()
		}
		return finishFile(name, errors.Join(err, f.Close()))
	}
	o.Create.Size = src.Size()
	if err := Create(name, o.Create); err != nil {
		return err
	}
	im, err := Open(name, Options{})
	if err != nil {
		return finishFile(name, err)
	}
	if o.Compress {
		err = im.fillCompressed(src, o.Progress)
	} else {
		err = copyData(src, max(1<<20, im.geo.clusterSize), o.Progress, func(p []byte, off int64) error {
			_, err := im.WriteAt(p, off)
			return err
		})
	}
	return finishFile(name, errors.Join(err, im.Close()))
}

// finishFile removes a file that is not what it was to be.
func finishFile(name string, err error) error {
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// copyData calls write with the content of src in pieces of up to size bytes,
// a power of two that they do not cross a multiple of, leaving out blocks of
// zeroes at their ends.
func copyData(src devices.Block, size int64, progress func(done, total int64), write func(p []byte, off int64) error) error {
	buf := host.AlignedBuffer(int(size))
	return dataExtents(src, func(off, n int64) error {
		for n > 0 {
			p := buf[:min(n, size-off&(size-1))]
			if _, err := src.ReadAt(p, off); err != nil {
				return err
			}
			if q, skip := trimZero(p); len(q) > 0 {
				if err := write(q, off+skip); err != nil {
					return err
				}
			}
			off, n = off+int64(len(p)), n-int64(len(p))
			if progress != nil {
				progress(off, src.Size())
			}
		}
		return nil
	})
}

// trimZero takes blocks of zeroes off the ends of p.
func trimZero(p []byte) (q []byte, skip int64) {
	const block = 4096
	for len(p) > 0 && allZero(p[:min(block, len(p))]) {
		k := min(block, len(p))
		p, skip = p[k:], skip+int64(k)
	}
	for len(p) > 0 {
		k := (len(p) - 1) &^ (block - 1)
		if !allZero(p[k:]) {
			break
		}
		p = p[:k]
	}
	return p, skip
}

// dataExtents calls f for the ranges of src that are not known to be zero.
func dataExtents(src devices.Block, f func(off, n int64) error) error {
	e, ok := src.(devices.ExtentBlock)
	if !ok {
		return f(0, src.Size())
	}
	var failed error
	off, n := int64(0), int64(0) // the range so far
	err := e.Extents(0, src.Size(), func(x devices.Extent) bool {
		if x.Zero {
			return true
		}
		if off+n == x.Off {
			n += x.Len
			return true
		}
		if n > 0 {
			failed = f(off, n)
		}
		off, n = x.Off, x.Len
		return failed == nil
	})
	if failed == nil && err == nil && n > 0 {
		failed = f(off, n)
	}
	return errors.Join(err, failed)
}

// fillCompressed copies src to the image, which is empty, compressed.
func (im *Image) fillCompressed(src devices.Block, progress func(done, total int64)) error {
	g := &im.geo
	if err := im.writable(); err != nil {
		return err
	}
	n := int64(runtime.GOMAXPROCS(0)) * 4
	bufs := make([][]byte, n)
	packed := make([][]byte, n)
	errs := make([]error, n)
	for i := range bufs {
		bufs[i] = make([]byte, g.clusterSize)
	}
	var list []int64 // clusters to do
	var pack packer
	flush := func() error {
		var wg sync.WaitGroup
		for i, c := range list {
			wg.Go(func() {
				off := c << g.clusterBits
				k := min(g.clusterSize, src.Size()-off)
				clear(bufs[i][k:])
				packed[i] = nil
				if _, errs[i] = src.ReadAt(bufs[i][:k], off); errs[i] == nil && !allZero(bufs[i]) {
					packed[i], errs[i] = im.codec.compress(bufs[i])
				}
			})
		}
		wg.Wait()
		for i, c := range list {
			err := errs[i]
			off := c << g.clusterBits
			switch {
			case err != nil:
			case packed[i] != nil:
				err = im.writeCompressed(&pack, off, packed[i])
			case !allZero(bufs[i]):
				_, err = im.WriteAt(bufs[i][:min(g.clusterSize, src.Size()-off)], off)
			}
			if err != nil {
				return err
			}
			if progress != nil {
				progress(min(off+g.clusterSize, src.Size()), src.Size())
			}
		}
		list = list[:0]
		return nil
	}
	last := int64(-1)
	err := dataExtents(src, func(off, n int64) error {
		for c := max(last+1, off>>g.clusterBits); c < g.clusters(off+n); c++ {
			last = c
			if list = append(list, c); len(list) == len(bufs) {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// packer puts compressed clusters one behind the other.
type packer struct {
	at, left int64 // where the next may begin, and how much room there is
}

// writeCompressed stores a compressed cluster for the disk's offset off, which
// has no content yet.
func (im *Image) writeCompressed(k *packer, off int64, p []byte) error {
	g := &im.geo
	im.mu.Lock()
	n := int64(len(p))
	share := k.left > 0 && im.refs.increase(k.at>>g.clusterBits) == nil
	if !share || k.left < n {
		a, err := im.refs.alloc(1, true)
		if err != nil {
			im.mu.Unlock()
			return err
		}
		start := a.c << g.clusterBits
		im.eof = max(im.eof, start+g.clusterSize)
		if !share || k.at+k.left != start {
			if share {
				_, _ = im.refs.decrease(k.at >> g.clusterBits)
			}
			k.at, k.left = start, 0
		}
		k.left += g.clusterSize
	}
	at := k.at
	k.at, k.left = k.at+n, k.left-n
	im.mu.Unlock()
	if _, err := im.f.WriteAt(p, at); err != nil {
		return err
	}
	im.unsynced.Store(true)
	im.mu.Lock()
	t, err := im.ownTable(int(off / g.l2Span))
	if err == nil {
		im.set(t, off%g.l2Span>>g.clusterBits, entry{desc: g.compressedEntry(at, n)})
	}
	im.mu.Unlock()
	if err != nil {
		return err
	}
	return im.relieve()
}
