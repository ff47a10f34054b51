package block

import "io"

// directAlign is the alignment in bytes of memory, offset and length that suits
// direct I/O on all usual file systems and disks.
const directAlign = 4096

// readBuffered reads through an aligned buffer.
func (b *File) readBuffered(p []byte, off int64) (int, error) {
	done := 0
	buf := alignedBuffer(1 << 18)
	for done < len(p) {
		start := (off + int64(done)) &^ (directAlign - 1)
		skip := int(off + int64(done) - start)
		want := min(len(buf), (skip+len(p)-done+directAlign-1)&^(directAlign-1))
		n, err := b.f.ReadAt(buf[:want], start)
		if n <= skip {
			if err == nil || err == io.EOF {
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
func (b *File) writeBuffered(p []byte, off int64) (int, error) {
	b.edge.Lock()
	defer b.edge.Unlock()
	done := 0
	buf := alignedBuffer(1 << 18)
	for done < len(p) {
		start := (off + int64(done)) &^ (directAlign - 1)
		skip := int(off + int64(done) - start)
		want := min(len(buf), (skip+len(p)-done+directAlign-1)&^(directAlign-1))
		if skip != 0 || skip+len(p)-done < want {
			if _, err := b.f.ReadAt(buf[:want], start); err != nil && err != io.EOF {
				return done, err
			}
		}
		k := copy(buf[skip:want], p[done:])
		end := want
		if start+int64(want) > b.Size() {
			// The image's last block is short: write no more of it than there
			// is.
			end = (skip + k + SectorSize - 1) &^ (SectorSize - 1)
		}
		if _, err := b.f.WriteAt(buf[:end], start); err != nil {
			return done, err
		}
		done += k
	}
	return done, nil
}
