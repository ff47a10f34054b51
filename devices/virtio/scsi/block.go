package scsi

import "bytes"

// Commands that touch the medium (SBC-3, chapter 5).

// Limits of single commands, as the Block Limits page has them.
const (
	maxTransfer    = 1 << 16 // blocks
	maxUnmapBlocks = 1 << 22
	maxUnmapRanges = 256
	maxSameBlocks  = 1 << 22
)

// stopped is how a command ends that needs the medium of a unit that is stopped, or nil.
func (t *task) stopped() *result {
	t.unit.mu.Lock()
	defer t.unit.mu.Unlock()
	if t.unit.stopped {
		r := check(senseStopped)
		return &r
	}
	return nil
}

func testUnitReady(t *task) result {
	if r := t.stopped(); r != nil {
		return *r
	}
	return good(0)
}

// startStop starts and stops the unit; there is no medium that could be ejected, and power conditions mean nothing.
func startStop(t *task) result {
	c := t.cmd.cdb
	if c[4]>>4 != 0 {
		return good(0)
	}
	if c[4]&2 != 0 {
		return check(senseField)
	}
	if c[4]&1 == 0 && c[4]&4 == 0 {
		if err := t.unit.store.Flush(); err != nil {
			return check(senseWriteError)
		}
	}
	t.unit.mu.Lock()
	t.unit.stopped = c[4]&1 == 0
	t.unit.mu.Unlock()
	return good(0)
}

// transfer is what READ and WRITE have in common.
func transfer(t *task, write bool, failure sense) result {
	if r := t.stopped(); r != nil {
		return *r
	}
	c := &t.cmd
	size := uint64(t.unit.o.BlockSize)
	n := c.blocks * size
	room := t.inSize
	if write {
		room = t.outSize
	}
	switch {
	case c.blocks > maxTransfer:
		return check(senseField)
	case n > room:
		return failed(respOverrun)
	}
	k := uint64(t.req.Limit(int(n))) / size * size
	err := t.move(int64(c.lba*size), k, write)
	if err == nil && write {
		err = t.unit.settle(len(c.usage) > 6 && c.cdb[1]&bitFUA != 0)
	}
	if err != nil {
		failure.Info, failure.HasInfo = c.lba, true
		return check(failure)
	}
	return good(k)
}

func read(t *task) result {
	if c := &t.cmd; len(c.usage) > 6 && c.cdb[1]&bitFUA != 0 && !t.unit.store.ReadOnly() {
		// What is read has to be durable.
		if err := t.unit.store.Flush(); err != nil {
			return check(senseReadError)
		}
	}
	return transfer(t, false, senseReadError)
}

func write(t *task) result { return transfer(t, true, senseWriteError) }

func syncCache(t *task) result {
	if r := t.stopped(); r != nil {
		return *r
	}
	if err := t.unit.store.Flush(); err != nil {
		return check(senseWriteError)
	}
	return good(0)
}

// verify reads blocks, and with BYTCHK compares them with the guest's data.
func verify(t *task) result {
	if r := t.stopped(); r != nil {
		return *r
	}
	c := &t.cmd
	size := uint64(t.unit.o.BlockSize)
	compare := c.cdb[1] >> 1 & 3
	switch {
	case c.blocks > maxTransfer || compare > 1:
		return check(senseField)
	case compare == 1 && c.blocks*size > t.outSize:
		return failed(respOverrun)
	}
	buf := make([]byte, chunk)
	want := make([]byte, chunk)
	for at, n := uint64(0), c.blocks*size; at < n; {
		p := buf[:min(n-at, chunk)]
		if _, err := t.unit.store.ReadAt(p, int64(c.lba*size+at)); err != nil {
			s := senseReadError
			s.Info, s.HasInfo = c.lba+at/size, true
			return check(s)
		}
		if compare == 1 {
			w := want[:len(p)]
			if err := t.req.Chain.Read(t.out+at, w); err != nil {
				return failed(respFailure)
			}
			if !bytes.Equal(p, w) {
				return check(senseMiscompare)
			}
		}
		at += uint64(len(p))
	}
	if compare == 1 {
		return good(c.blocks * size)
	}
	return good(0)
}

// writeSame fills blocks with one block of the guest's, or with zeroes.
func writeSame(t *task) result {
	if r := t.stopped(); r != nil {
		return *r
	}
	c := &t.cmd
	size := uint64(t.unit.o.BlockSize)
	flags := c.cdb[1]
	noData := c.code == opWriteSame16 && flags&1 != 0
	if c.blocks == 0 || c.blocks > maxSameBlocks || flags&bitAnchor != 0 || noData && flags&bitUnmap == 0 {
		return check(senseField)
	}
	block := make([]byte, size)
	moved := uint64(0)
	if !noData {
		p, r := t.list(size)
		if r != nil {
			return *r
		}
		block, moved = p, size
	}
	off, n := int64(c.lba*size), int64(c.blocks*size)
	var err error
	if bytes.Equal(block, make([]byte, size)) {
		err = t.unit.store.WriteZeroes(off, n, flags&bitUnmap != 0)
	} else {
		p := bytes.Repeat(block, int(min(uint64(n), chunk)/size))
		for end := off + n; off < end && err == nil; off += int64(len(p)) {
			_, err = t.unit.store.WriteAt(p[:min(int64(len(p)), end-off)], off)
		}
	}
	if err == nil {
		err = t.unit.settle(false)
	}
	if err != nil {
		return check(senseWriteError)
	}
	return good(moved)
}

// unmap tells the store what is not needed: all ranges, or none if one is wrong.
func unmap(t *task) result {
	if r := t.stopped(); r != nil {
		return *r
	}
	c := &t.cmd
	if c.cdb[1]&1 != 0 { // anchor
		return check(senseField)
	}
	if c.length == 0 {
		return good(0)
	}
	if c.length < 8 {
		return check(senseListLength)
	}
	p, r := t.list(c.length)
	if r != nil {
		return *r
	}
	n := int(be.Uint16(p[2:]))
	if n > len(p)-8 || int(be.Uint16(p)) < n+6 {
		return check(senseParameter)
	}
	n -= n % 16 // a descriptor that is not complete does not count
	if n/16 > maxUnmapRanges {
		return check(senseParameter)
	}
	size, total := uint64(t.unit.o.BlockSize), uint64(0)
	l := p[8 : 8+n]
	for at := 0; at < n; at += 16 {
		lba, blocks := be.Uint64(l[at:]), uint64(be.Uint32(l[at+8:]))
		if total += blocks; total > maxUnmapBlocks {
			return check(senseParameter)
		}
		if !t.unit.inside(lba, blocks) {
			s := senseRange
			s.Info, s.HasInfo = lba, true
			return check(s)
		}
	}
	for at := 0; at < n; at += 16 {
		lba, blocks := be.Uint64(l[at:]), uint64(be.Uint32(l[at+8:]))
		if blocks == 0 {
			continue
		}
		if err := t.unit.store.Discard(int64(lba*size), int64(blocks*size)); err != nil {
			return check(senseWriteError)
		}
	}
	if err := t.unit.settle(false); err != nil {
		return check(senseWriteError)
	}
	return good(c.length)
}
