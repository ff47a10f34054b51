package host

import "io"

// directAlign is the alignment in bytes of memory, offset and length that suits
// direct I/O on all usual file systems and disks.
const directAlign = 4096

// sectorSize is the least that direct I/O can write at the end of a file.
const sectorSize = 512

// readBuffered reads through an aligned buffer.
func (h *File) readBuffered(p []byte, off int64) (int, error) {
	done := 0
	buf := alignedBuffer(min(1<<18, len(p)+2*directAlign))
	for done < len(p) {
		start := (off + int64(done)) &^ (directAlign - 1)
		skip := int(off + int64(done) - start)
		want := min(len(buf), (skip+len(p)-done+directAlign-1)&^(directAlign-1))
		n, err := h.f.ReadAt(buf[:want], start)
		if n <= skip {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		done += copy(p[done:], buf[skip:n])
	}
	return done, nil
}

// writeBuffered writes through an aligned buffer, keeping what surrounds an
// unaligned piece. Two such writes in one block exclude each other.
func (h *File) writeBuffered(p []byte, off int64) (int, error) {
	h.edge.Lock()
	defer h.edge.Unlock()
	done := 0
	buf := alignedBuffer(min(1<<18, len(p)+2*directAlign))
	for done < len(p) {
		start := (off + int64(done)) &^ (directAlign - 1)
		skip := int(off + int64(done) - start)
		want := min(len(buf), (skip+len(p)-done+directAlign-1)&^(directAlign-1))
		if skip != 0 || skip+len(p)-done < want {
			n, err := h.f.ReadAt(buf[:want], start)
			if err != nil && err != io.EOF {
				return done, err
			}
			clear(buf[n:want])
		}
		k := copy(buf[skip:want], p[done:])
		end := want
		if h.o.Fixed {
			size, err := h.Size()
			if err != nil {
				return done, err
			}
			if start+int64(want) > size {
				// The last block is short: write no more of it than there is.
				end = (skip + k + sectorSize - 1) &^ (sectorSize - 1)
			}
		}
		if _, err := h.f.WriteAt(buf[:end], start); err != nil {
			return done, err
		}
		done += k
	}
	return done, nil
}
