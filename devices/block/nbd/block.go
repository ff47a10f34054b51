package nbd

import (
	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// ReadAt implements io.ReaderAt.
func (c *Client) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ReadVAt([][]byte{p}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadVAt implements devices.VectorBlock.
func (c *Client) ReadVAt(bufs [][]byte, off int64) error {
	n := length(bufs)
	if err := host.Check("read", c.a.String(), off, n, c.size); err != nil {
		return err
	}
	if (off|n)&(c.align-1) != 0 {
		p, start := c.around(off, n)
		if err := c.transfer(cmdRead, 0, [][]byte{p}, start); err != nil {
			return err
		}
		p = p[off-start:]
		for _, b := range bufs {
			p = p[copy(b, p):]
		}
		return nil
	}
	return c.transfer(cmdRead, 0, bufs, off)
}

// WriteAt implements io.WriterAt.
func (c *Client) WriteAt(p []byte, off int64) (int, error) {
	if err := c.WriteVAt([][]byte{p}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteVAt implements devices.VectorBlock.
func (c *Client) WriteVAt(bufs [][]byte, off int64) error {
	if err := c.write(bufs, off, 0); err != nil {
		return err
	}
	c.mu.Lock()
	c.acked++
	c.mu.Unlock()
	return nil
}

// WriteFUA implements devices.FUABlock.
func (c *Client) WriteFUA(p []byte, off int64) (int, error) {
	var err error
	if c.e.flags&flagSendFUA != 0 {
		err = c.write([][]byte{p}, off, cmdFlagFUA)
	} else if _, err = c.WriteAt(p, off); err == nil {
		err = c.Flush()
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *Client) checkWrite(what string, off, n int64) error {
	if c.ReadOnly() {
		return host.ErrReadOnly
	}
	return host.Check(what, c.a.String(), off, n, c.size)
}

func (c *Client) write(bufs [][]byte, off int64, flags uint16) error {
	n := length(bufs)
	if err := c.checkWrite("write", off, n); err != nil {
		return err
	}
	if (off|n)&(c.align-1) == 0 {
		c.edge.RLock()
		defer c.edge.RUnlock()
		return c.transfer(cmdWrite, flags, bufs, off)
	}
	// Others may be changing the rest of the first and last block.
	c.edge.Lock()
	defer c.edge.Unlock()
	p, start := c.around(off, n)
	if err := c.transfer(cmdRead, 0, [][]byte{p}, start); err != nil {
		return err
	}
	at := off - start
	for _, b := range bufs {
		at += int64(copy(p[at:], b))
	}
	return c.transfer(cmdWrite, flags, [][]byte{p}, start)
}

// around makes a buffer for the whole blocks that a range touches.
func (c *Client) around(off, n int64) (p []byte, start int64) {
	start = off &^ (c.align - 1)
	end := (off + n + c.align - 1) &^ (c.align - 1)
	return make([]byte, min(end, int64(c.e.size))-start), start
}

// transfer moves data in requests of a size that the server takes.
func (c *Client) transfer(typ, flags uint16, bufs [][]byte, off int64) error {
	n := length(bufs)
	if n <= c.most {
		if n == 0 {
			return nil
		}
		return c.do(&request{typ: typ, flags: flags, off: off, n: uint32(n), bufs: bufs})
	}
	for n > 0 {
		k := min(n, c.most)
		var head [][]byte
		head, bufs = split(bufs, k)
		if err := c.do(&request{typ: typ, flags: flags, off: off, n: uint32(k), bufs: head}); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// split divides buffers after n bytes.
func split(bufs [][]byte, n int64) (head, tail [][]byte) {
	for i, b := range bufs {
		if int64(len(b)) > n {
			if n > 0 {
				head = append(head, b[:n])
			}
			return head, append([][]byte{b[n:]}, bufs[i+1:]...)
		}
		head = append(head, b)
		n -= int64(len(b))
	}
	return head, nil
}

func length(bufs [][]byte) int64 {
	n := int64(0)
	for _, p := range bufs {
		n += int64(len(p))
	}
	return n
}

// Flush implements devices.Block. A server that does not know flushes has
// nothing to flush. See [ErrUnflushed].
func (c *Client) Flush() error {
	if c.ReadOnly() {
		return nil
	}
	c.mu.Lock()
	acked := c.acked
	c.mu.Unlock()
	if c.e.flags&flagSendFlush != 0 {
		if err := c.do(&request{typ: cmdFlush}); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushed = max(c.flushed, acked)
	if c.lost {
		c.lost = false
		return ErrUnflushed
	}
	return nil
}

// Discard implements devices.Block. Where the server does not know it, nothing
// happens.
func (c *Client) Discard(off, n int64) error {
	if err := c.checkWrite("discard", off, n); err != nil {
		return err
	}
	if c.e.flags&flagSendTrim == 0 {
		return nil
	}
	end := (off + n) &^ (c.align - 1)
	off = (off + c.align - 1) &^ (c.align - 1)
	return c.ranges(cmdTrim, 0, off, end-off)
}

// WriteZeroes implements devices.Block.
func (c *Client) WriteZeroes(off, n int64, unmap bool) error {
	if err := c.checkWrite("write zeroes", off, n); err != nil {
		return err
	}
	if c.e.flags&flagSendWriteZeroes == 0 || (off|n)&(c.align-1) != 0 {
		zero := make([]byte, min(n, 1<<20))
		for n > 0 {
			k := min(n, int64(len(zero)))
			if _, err := c.WriteAt(zero[:k], off); err != nil {
				return err
			}
			off, n = off+k, n-k
		}
		return nil
	}
	flags := uint16(cmdFlagNoHole)
	if unmap {
		flags = 0
	}
	return c.ranges(cmdWriteZeroes, flags, off, n)
}

// ranges sends requests that have no data.
func (c *Client) ranges(typ, flags uint16, off, n int64) error {
	for n > 0 {
		k := min(n, maxRange)
		if err := c.do(&request{typ: typ, flags: flags, off: off, n: uint32(k)}); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	c.mu.Lock()
	c.acked++
	c.mu.Unlock()
	return nil
}

// Extents implements devices.ExtentBlock.
func (c *Client) Extents(off, n int64, f func(devices.Extent) bool) error {
	if err := host.Check("list extents of", c.a.String(), off, n, c.size); err != nil {
		return err
	}
	if !c.e.status || (off|n)&(c.align-1) != 0 {
		if n > 0 {
			f(devices.Extent{Off: off, Len: n, Allocated: true})
		}
		return nil
	}
	for n > 0 {
		l, err := c.blockStatus(off, min(n, maxRange))
		if err != nil {
			return err
		}
		for _, e := range l {
			if !f(e) {
				return nil
			}
			off, n = off+e.Len, n-e.Len
		}
	}
	return nil
}

// blockStatus asks for the extents of a range, and gets at least one.
func (c *Client) blockStatus(off, n int64) ([]devices.Extent, error) {
	var l []devices.Extent
	at := off
	err := c.do(&request{typ: cmdBlockStatus, off: off, n: uint32(n), status: func(p []byte) error {
		l, at = l[:0], off
		for ; len(p) > 0; p = p[8:] {
			k, flags := int64(be.Uint32(p)), be.Uint32(p[4:])
			if k == 0 || k&(c.align-1) != 0 || at >= off+n {
				return protocol("a block status of %d bytes at %d for a range of %d at %d", k, at, n, off)
			}
			// The last may be longer than was asked for.
			k = min(k, off+n-at)
			l = append(l, devices.Extent{Off: at, Len: k, Zero: flags&stateZero != 0, Allocated: flags&stateHole == 0})
			at += k
		}
		return nil
	}})
	if err == nil && len(l) == 0 {
		err = protocol("no block status")
	}
	return l, err
}
