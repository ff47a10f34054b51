package ata

import "encoding/binary"

// maxBad is how many ranges of blocks can be marked uncorrectable.
const maxBad = 64

// inside tells whether n blocks from lba on are on the disk.
func (d *Disk) inside(lba, n uint64) bool { return lba <= d.blocks && n <= d.blocks-lba }

// locate checks a range before it is touched, and fails the request with the first
// block that is not there or cannot be read.
func (d *Disk) locate(r *Request, read bool) bool {
	c := &r.Command
	if !d.inside(c.LBA, c.Blocks) {
		d.failAt(r, ErrNotFound, max(c.LBA, d.blocks))
		return false
	}
	if read && d.nBad.Load() != 0 {
		if lba, bad := d.firstBad(c.LBA, c.Blocks); bad {
			d.failAt(r, ErrUncorrectable, lba)
			return false
		}
	}
	d.touch()
	return true
}

// failAt fails the request at a block.
func (d *Disk) failAt(r *Request, bits uint8, lba uint64) {
	r.Fail(bits)
	r.Result.LBA = lba & (1<<48 - 1)
	if row, _ := lookup(r.Task.Command); !row.ext {
		r.Result.LBA = lba & 0xffffff
		r.Result.Device = r.Task.Device&0xf0 | uint8(lba>>24&0xf)
	}
}

// fault is how the disk answers when its store failed: reads are uncorrectable,
// anything else is a fault of the device.
func (d *Disk) fault(r *Request, read bool) {
	if read {
		d.failAt(r, ErrUncorrectable, r.Command.LBA)
		return
	}
	d.failAt(r, ErrAborted, r.Command.LBA)
	r.Result.Status |= StatusFault
}

func (d *Disk) read(r *Request) {
	if !d.locate(r, true) {
		return
	}
	n := r.whole(d, false)
	d.wasRead(r, n, d.load(r, int64(r.Command.LBA)<<d.shift, n))
}

// whole is how many bytes a request moves: of a write, blocks are written whole or
// not at all.
func (r *Request) whole(d *Disk, write bool) int64 {
	n := min(r.Command.Bytes, r.Data.Size)
	if write {
		n = n >> d.shift << d.shift
	}
	return n
}

// wasRead ends a read of n bytes.
func (d *Disk) wasRead(r *Request, n int64, err error) {
	if err != nil {
		d.fault(r, true)
		return
	}
	r.Moved = n
	d.reads.Add(1)
	d.readBlocks.Add(r.Command.Blocks)
	r.Finish()
}

// load fills the first n bytes of the buffer from the store.
func (d *Disk) load(r *Request, off, n int64) error {
	p := r.pieces(n)
	if len(p) > 1 && d.vec != nil {
		return d.vec.ReadVAt(p, off)
	}
	for _, b := range p {
		if _, err := d.store.ReadAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// pieces returns the first n bytes of the buffer.
func (r *Request) pieces(n int64) [][]byte {
	if n == r.Data.Size {
		return r.Data.Pieces
	}
	r.scratch = r.Data.Slice(r.scratch[:0], 0, n)
	return r.scratch
}

func (d *Disk) write(r *Request, durable bool) {
	if !d.locate(r, false) {
		return
	}
	if d.store.ReadOnly() {
		r.Fail(ErrAborted)
		return
	}
	n := r.whole(d, true)
	d.wasWritten(r, n, d.stow(r, int64(r.Command.LBA)<<d.shift, n), durable)
}

// wasWritten ends a write of n bytes.
func (d *Disk) wasWritten(r *Request, n int64, err error, durable bool) {
	if err != nil {
		d.fault(r, false)
		return
	}
	if d.nBad.Load() != 0 {
		d.heal(r.Command.LBA, uint64(n)>>d.shift)
	}
	r.Moved = n
	d.writes.Add(1)
	d.writtenBlocks.Add(r.Command.Blocks)
	d.settle(r, durable)
}

func (d *Disk) stow(r *Request, off, n int64) error {
	p := r.pieces(n)
	if len(p) > 1 && d.vec != nil {
		return d.vec.WriteVAt(p, off)
	}
	for _, b := range p {
		if _, err := d.store.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// settle ends a change of the medium, durable if asked for or if there is no
// write cache.
func (d *Disk) settle(r *Request, durable bool) {
	if (durable || !d.cache.Load()) && d.store.Flush() != nil {
		d.fault(r, false)
		return
	}
	r.Finish()
}

func (d *Disk) flush(r *Request) {
	d.touch()
	d.flushes.Add(1)
	if d.store.Flush() != nil {
		d.fault(r, false)
		return
	}
	r.Finish()
}

// verify reads without giving the data to anyone.
func (d *Disk) verify(r *Request) {
	if !d.locate(r, true) {
		return
	}
	buf := make([]byte, min(int64(r.Command.Blocks)<<d.shift, 1<<18))
	off, left := int64(r.Command.LBA)<<d.shift, int64(r.Command.Blocks)<<d.shift
	for left > 0 {
		n := min(left, int64(len(buf)))
		if _, err := d.store.ReadAt(buf[:n], off); err != nil {
			d.failAt(r, ErrUncorrectable, uint64(off)>>d.shift)
			return
		}
		off, left = off+n, left-n
	}
	r.Finish()
}

// zero implements ZERO EXT; bit 0 of the feature allows to trim.
func (d *Disk) zero(r *Request) {
	if !d.locate(r, false) {
		return
	}
	if d.store.ReadOnly() {
		r.Fail(ErrAborted)
		return
	}
	c := &r.Command
	if d.store.WriteZeroes(int64(c.LBA)<<d.shift, int64(c.Blocks)<<d.shift, r.Task.Feature&1 != 0) != nil {
		d.fault(r, false)
		return
	}
	if d.nBad.Load() != 0 {
		d.heal(c.LBA, c.Blocks)
	}
	d.settle(r, false)
}

// manage implements DATA SET MANAGEMENT: all ranges are checked before the first
// is trimmed.
func (d *Disk) manage(r *Request, feature uint8) {
	if feature&1 == 0 || d.o.NoTrim || d.store.ReadOnly() || r.Command.Bytes == 0 || r.Command.Bytes > trimPages*pageSize {
		r.Fail(ErrAborted)
		return
	}
	var page [trimPages * pageSize]byte
	p := page[:r.Data.Gather(0, page[:r.Command.Bytes])]
	r.Moved = int64(len(p))
	d.touch()
	for q := p; len(q) >= trimEntry; q = q[trimEntry:] {
		if s := trimRange(q); !d.inside(s.First, s.N) {
			d.failAt(r, ErrNotFound, max(s.First, d.blocks))
			return
		}
	}
	for q := p; len(q) >= trimEntry; q = q[trimEntry:] {
		s := trimRange(q)
		if s.N == 0 {
			continue
		}
		off, n := int64(s.First)<<d.shift, int64(s.N)<<d.shift
		var err error
		if d.o.TrimZeroes {
			err = d.store.WriteZeroes(off, n, true)
		} else {
			err = d.store.Discard(off, n)
		}
		if err != nil {
			d.fault(r, false)
			return
		}
	}
	d.trims.Add(1)
	d.settle(r, false)
}

// trimRange reads an entry of the LBA range list (ACS-4, section 7.5.3).
func trimRange(p []byte) span {
	v := binary.LittleEndian.Uint64(p)
	return span{v & (1<<48 - 1), v >> 48}
}

// firstBad returns the first block of a range that is marked uncorrectable.
func (d *Disk) firstBad(lba, n uint64) (uint64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, found := uint64(0), false
	for _, b := range d.s.Bad {
		if lba < b.First+b.N && b.First < lba+n {
			if at := max(lba, b.First); !found || at < first {
				first, found = at, true
			}
		}
	}
	return first, found
}

// heal takes written blocks off the list of bad ones.
func (d *Disk) heal(lba, n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []span
	for _, b := range d.s.Bad {
		end, cut := b.First+b.N, lba+n
		if lba >= end || b.First >= cut {
			l = append(l, b)
			continue
		}
		if b.First < lba {
			l = append(l, span{b.First, lba - b.First})
		}
		if end > cut {
			l = append(l, span{cut, end - cut})
		}
	}
	d.s.Bad = l[:min(len(l), maxBad)]
	d.nBad.Store(int32(len(d.s.Bad)))
}

// writeUncorrectable marks blocks (ACS-4, section 7.66): feature 55h or 5Ah as
// pseudo-uncorrectable, AAh or A5h as flagged, which reads as the same.
func (d *Disk) writeUncorrectable(r *Request) {
	switch r.Task.Feature & 0xff {
	case 0x55, 0x5a, 0xa5, 0xaa:
	default:
		r.Fail(ErrAborted)
		return
	}
	if !d.locate(r, false) {
		return
	}
	d.mu.Lock()
	full := len(d.s.Bad) >= maxBad
	if !full {
		d.s.Bad = append(d.s.Bad, span{r.Command.LBA, r.Command.Blocks})
		d.nBad.Store(int32(len(d.s.Bad)))
	}
	d.mu.Unlock()
	if full {
		r.Fail(ErrAborted)
		return
	}
	r.Finish()
}

// queuedNonData implements the subcommands of NCQ NON-DATA that can be carried
// out without knowing the other commands in the queue.
func (d *Disk) queuedNonData(r *Request) {
	switch r.Task.Feature & 0xf {
	case 5:
		d.setFeatures(r, uint8(r.Task.Feature>>8), uint8(r.Task.Count>>8))
	default:
		r.Fail(ErrAborted)
	}
}
