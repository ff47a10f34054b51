package nvme

import (
	"errors"

	"dfemu/devices"
)

// chunk is the most bytes moved through a buffer at once.
const chunk = 256 << 10

var errShort = errors.New("the transfer ended early")

// buffer returns a buffer of chunk bytes; release gives it back.
func (d *Device) buffer() *[]byte {
	if p, ok := d.buffers.Get().(*[]byte); ok {
		return p
	}
	b := make([]byte, chunk)
	return &b
}

func (d *Device) release(p *[]byte) { d.buffers.Put(p) }

// toHost stores data where an admin or small I/O command wants it. Of data larger
// than what the command has room for, callers pass the part.
func (d *Device) toHost(r *request, data []byte) status {
	if st := r.shape.parse(&r.e, uint64(len(data)), false); st != success {
		return st
	}
	return d.scatter(r, data, 0)
}

// fromHost reads a command's data.
func (d *Device) fromHost(r *request, data []byte) status {
	if st := r.shape.parse(&r.e, uint64(len(data)), true); st != success {
		return st
	}
	return d.gather(r, data, 0)
}

// limit is how many of n bytes from byte off of the data on may be moved when a
// fault shortens the transfer.
func (r *request) limit(off, n uint64) (uint64, bool) {
	if !r.effect.ShortOn {
		return n, false
	}
	left := uint64(max(0, r.effect.Short))
	if left <= off {
		return 0, n > 0
	}
	return min(n, left-off), left-off < n
}

// scatter stores data at byte off of the command's memory.
func (d *Device) scatter(r *request, data []byte, off uint64) status {
	n, short := r.limit(off, uint64(len(data)))
	r.flipData(data, off)
	err := r.shape.walk(off, n, func(s segment, at uint64) error {
		if s.bucket {
			return nil
		}
		d.reportDMA(s, true)
		if err := d.mem.Write(s.addr, data[at:at+s.len]); err != nil {
			return err
		}
		return nil
	})
	if err != nil || short {
		return dataTransferError
	}
	return success
}

// gather reads data from byte off of the command's memory.
func (d *Device) gather(r *request, data []byte, off uint64) status {
	n, short := r.limit(off, uint64(len(data)))
	err := r.shape.walk(off, n, func(s segment, at uint64) error {
		if s.bucket {
			return nil
		}
		d.reportDMA(s, false)
		return d.mem.Read(s.addr, data[at:at+s.len])
	})
	if err != nil || short {
		return dataTransferError
	}
	r.flipData(data, off)
	return success
}

func (d *Device) reportDMA(s segment, write bool) {
	if d.probe.Wants(devices.ClassDMA) {
		d.probe.DMA(devices.Transfer{Addr: s.addr, Bytes: int(s.len), Write: write, What: "data"})
	}
}

// walk calls f for the pieces that the n bytes from off on consist of; at counts
// from off.
func (s *shape) walk(off, n uint64, f func(p segment, at uint64) error) error {
	at := uint64(0)
	for i := range s.segs {
		p := s.segs[i]
		if off >= p.len {
			off -= p.len
			continue
		}
		p.addr += off
		p.len = min(p.len-off, n-at)
		off = 0
		if p.len > 0 {
			if err := f(p, at); err != nil {
				return err
			}
		}
		if at += p.len; at == n {
			return nil
		}
	}
	if at < n {
		return errShort
	}
	return nil
}

// flipData inverts the bits of the data that a fault chose, those that are in
// data, which is what comes from byte off on.
func (r *request) flipData(data []byte, off uint64) {
	f := &r.effect
	if f.FlipData == 0 {
		return
	}
	total := uint64(0)
	for i := range r.shape.segs {
		total += r.shape.segs[i].len
	}
	devices.Flip(data, off, f.Flips(total))
}
