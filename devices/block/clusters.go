package block

import "dfemu/devices/block/internal/host"

const perGroup = groupSize / clusterSize

// memoryClusters keeps clusters in memory, in one map for each lock of the
// overlay, so that the lock guards the map. A nil cluster is all zeroes.
type memoryClusters struct {
	part [stripes]map[int64]*[clusterSize]byte
}

func (s *memoryClusters) of(c int64) map[int64]*[clusterSize]byte {
	return s.part[c/perGroup%stripes]
}

func (s *memoryClusters) has(c int64) bool {
	_, ok := s.of(c)[c]
	return ok
}

func (s *memoryClusters) read(p []byte, c int64) error {
	for ; len(p) > 0; c++ {
		k := min(len(p), clusterSize)
		if b := s.of(c)[c]; b != nil {
			copy(p[:k], b[:])
		} else {
			clear(p[:k])
		}
		p = p[k:]
	}
	return nil
}

func (s *memoryClusters) write(p []byte, c int64) error {
	for ; len(p) > 0; c++ {
		m := s.of(c)
		b := m[c]
		if b == nil {
			b = new([clusterSize]byte)
			m[c] = b
		}
		p = p[copy(b[:], p):]
	}
	return nil
}

func (s *memoryClusters) zero(c, n int64) error {
	for i := range n {
		s.of(c + i)[c+i] = nil
	}
	return nil
}

func (s *memoryClusters) close() error {
	for i := range s.part {
		clear(s.part[i])
	}
	return nil
}

// fileClusters keeps each cluster at its own offset of a sparse file. present
// has 256 bits for each group, guarded by the group's lock.
type fileClusters struct {
	f       *host.File
	present [][perGroup / 64]uint64
}

func (s *fileClusters) has(c int64) bool {
	return s.present[c/perGroup][c%perGroup/64]>>(c%64)&1 != 0
}

func (s *fileClusters) mark(c, n int64) {
	for ; n > 0; c, n = c+1, n-1 {
		s.present[c/perGroup][c%perGroup/64] |= 1 << (c % 64)
	}
}

func (s *fileClusters) read(p []byte, c int64) error {
	n, err := s.f.ReadAt(p, c*clusterSize)
	if n == len(p) {
		err = nil
	}
	return err
}

func (s *fileClusters) write(p []byte, c int64) error {
	if _, err := s.f.WriteAt(p, c*clusterSize); err != nil {
		return err
	}
	s.mark(c, (int64(len(p))+clusterSize-1)/clusterSize)
	return nil
}

func (s *fileClusters) zero(c, n int64) error {
	if s.f.Punch(c*clusterSize, n*clusterSize) != nil {
		if _, err := s.f.WriteAt(make([]byte, n*clusterSize), c*clusterSize); err != nil {
			return err
		}
	}
	s.mark(c, n)
	return nil
}

func (s *fileClusters) close() error { return s.f.Close() }
