package block

import "dfemu/devices"

// forward wraps a store and does nothing. Stores built on it override what they
// change, and keep every optional interface of what they wrap.
type forward struct{ devices.Block }

// ReadVAt implements devices.VectorBlock.
func (f forward) ReadVAt(bufs [][]byte, off int64) error { return ReadV(f.Block, bufs, off) }

// WriteVAt implements devices.VectorBlock.
func (f forward) WriteVAt(bufs [][]byte, off int64) error { return WriteV(f.Block, bufs, off) }

// WriteFUA implements devices.FUABlock.
func (f forward) WriteFUA(p []byte, off int64) (int, error) { return WriteFUA(f.Block, p, off) }

// Extents implements devices.ExtentBlock.
func (f forward) Extents(off, n int64, g func(devices.Extent) bool) error {
	return Extents(f.Block, off, n, g)
}

// PowerLoss implements devices.PowerLoser. A store without a volatile cache
// loses nothing.
func (f forward) PowerLoss() error {
	if p, ok := f.Block.(devices.PowerLoser); ok {
		return p.PowerLoss()
	}
	return nil
}

// Pause implements devices.Pauser: requests in progress no longer wait for
// time to pass.
func (f forward) Pause() {
	if p, ok := f.Block.(devices.Pauser); ok {
		p.Pause()
	}
}

// Resume implements devices.Pauser.
func (f forward) Resume() {
	if p, ok := f.Block.(devices.Pauser); ok {
		p.Resume()
	}
}

// Unwrap returns the store below.
func (f forward) Unwrap() devices.Block { return f.Block }

// readOnly is a store that cannot be changed.
type readOnly struct{ forward }

// NewReadOnly returns b, which it owns from then on, without the means to
// change it.
func NewReadOnly(b devices.Block) devices.Block { return readOnly{forward{b}} }

func (readOnly) ReadOnly() bool                       { return true }
func (readOnly) WriteAt([]byte, int64) (int, error)   { return 0, ErrReadOnly }
func (readOnly) WriteVAt([][]byte, int64) error       { return ErrReadOnly }
func (readOnly) WriteFUA([]byte, int64) (int, error)  { return 0, ErrReadOnly }
func (readOnly) Discard(int64, int64) error           { return ErrReadOnly }
func (readOnly) WriteZeroes(int64, int64, bool) error { return ErrReadOnly }
func (readOnly) Flush() error                         { return nil }
