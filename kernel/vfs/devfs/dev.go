package devfs

import (
	"errors"
	"io"
	"io/fs"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Errors; opening and lookup also return those of io/fs.
var (
	ErrGone  = errors.New("the device is gone") // ENXIO
	ErrUnits = errors.New("all units are in use")
)

// File is an open device.
type File interface {
	io.ReaderAt
	io.WriterAt
	Close() error
}

// Ops is what a kind of device does.
type Ops interface {
	// Open is called for each open.
	Open(d *Dev) (File, error)
}

// Dev is a device. It is made by Core.Create.
type Dev struct {
	Name string // "da0s1a", or with directories
	// Type is what rules match: "disk", "tty", "mem".
	Type string
	Ops  Ops
	Mode fs.FileMode
	UID  int
	GID  int
	Size int64 // in bytes, if it has one
	// Arg is the driver's.
	Arg any

	core      *Core
	opens     atomic.Int64
	destroyed atomic.Bool
	onLast    func() // when the last descriptor is closed
}

// Opens is how many descriptors there are.
func (d *Dev) Opens() int { return int(d.opens.Load()) }

// Handle is an open file of a mount.
type Handle struct {
	dev  *Dev
	file File
	once sync.Once
}

// Dev is the device that is open: for a cloning device the one that was made.
func (h *Handle) Dev() *Dev { return h.dev }

// ReadAt implements io.ReaderAt. It fails with ErrGone when the device was destroyed, also meanwhile.
func (h *Handle) ReadAt(p []byte, off int64) (int, error) {
	if h.dev.destroyed.Load() {
		return 0, ErrGone
	}
	n, err := h.file.ReadAt(p, off)
	if h.dev.destroyed.Load() && err != nil {
		err = errors.Join(ErrGone, err)
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (h *Handle) WriteAt(p []byte, off int64) (int, error) {
	if h.dev.destroyed.Load() {
		return 0, ErrGone
	}
	n, err := h.file.WriteAt(p, off)
	if h.dev.destroyed.Load() && err != nil {
		err = errors.Join(ErrGone, err)
	}
	return n, err
}

// Sync makes what was written last, on devices that keep it back.
func (h *Handle) Sync() error {
	if h.dev.destroyed.Load() {
		return ErrGone
	}
	f, ok := h.file.(interface{ Flush() error })
	if !ok {
		return nil
	}
	err := f.Flush()
	if h.dev.destroyed.Load() && err != nil {
		err = errors.Join(ErrGone, err)
	}
	return err
}

// Close ends the use of the device. Only the first call does something.
func (h *Handle) Close() (err error) {
	h.once.Do(func() {
		err = h.file.Close()
		if h.dev.opens.Add(-1) == 0 && h.dev.onLast != nil {
			h.dev.onLast()
		}
	})
	return err
}

// Bitmap gives out units, the lowest free one first. The zero value is empty and has no limit but
// maxUnits.
type Bitmap struct {
	mu   sync.Mutex
	bits []uint64
}

const maxUnits = 1 << 16

// Get takes the lowest free unit.
func (b *Bitmap) Get() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.bits {
		if w != ^uint64(0) {
			n := bits.TrailingZeros64(^w)
			b.bits[i] |= 1 << n
			return 64*i + n, nil
		}
	}
	if 64*len(b.bits) >= maxUnits {
		return 0, ErrUnits
	}
	b.bits = append(b.bits, 1)
	return 64 * (len(b.bits) - 1), nil
}

// Take takes a certain unit, and returns false if it is not free.
func (b *Bitmap) Take(unit int) bool {
	if unit < 0 || unit >= maxUnits {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.bits) <= unit/64 {
		b.bits = append(b.bits, 0)
	}
	was := b.bits[unit/64]
	b.bits[unit/64] |= 1 << (unit % 64)
	return was != b.bits[unit/64]
}

// Put gives a unit back.
func (b *Bitmap) Put(unit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if unit >= 0 && unit/64 < len(b.bits) {
		b.bits[unit/64] &^= 1 << (unit % 64)
	}
}
