package block

// ReadVAt fills all of bufs from byte off on, in as few system calls as
// possible.
func (b *File) ReadVAt(bufs [][]byte, off int64) error { return b.vectors("read", bufs, off, false) }

// WriteVAt stores all of bufs from byte off on, in as few system calls as
// possible.
func (b *File) WriteVAt(bufs [][]byte, off int64) error {
	if b.ro {
		return ErrReadOnly
	}
	return b.vectors("write", bufs, off, true)
}

func (b *File) vectors(what string, bufs [][]byte, off int64, write bool) error {
	total := int64(0)
	for _, p := range bufs {
		total += int64(len(p))
	}
	if err := check(what, b.name, off, total, b.Size()); err != nil {
		return err
	}
	if !b.direct || alignedAll(bufs, off) {
		return transferVectors(b.f, bufs, off, write)
	}
	for _, p := range bufs {
		var err error
		if write {
			_, err = b.WriteAt(p, off)
		} else {
			_, err = b.ReadAt(p, off)
		}
		if err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

func alignedAll(bufs [][]byte, off int64) bool {
	for _, p := range bufs {
		if !aligned(p, off) {
			return false
		}
		off += int64(len(p))
	}
	return true
}

// ReadVAt fills all of bufs from byte off on.
func (m *Memory) ReadVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		n, err := m.ReadAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// WriteVAt stores all of bufs from byte off on.
func (m *Memory) WriteVAt(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		n, err := m.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
