package host

import "sync"

const (
	// hugeSize is the size in bytes of a huge page.
	hugeSize = 2 << 20
	// largeRead is the length in bytes from which on a direct read goes through a huge page.
	largeRead = 128 << 10
	// hugeSpare is how many buffers are kept for later.
	hugeSpare = 4
)

// hugeBuffers are buffers for large direct reads. A guest's buffer mostly consists of small pages here and there in its memory, so
// that a read of 1 MiB straight into it is 256 pieces for the disk, where a huge page is one. Disks of virtual machines take several times as long for the
// pieces, which is more than copying takes.
type hugeBuffers struct {
	mu     sync.Mutex
	free   []hugeBuffer
	closed bool
}

// A hugeBuffer is data in a mapping that is a little larger.
type hugeBuffer struct{ mapping, data []byte }

func (s *hugeBuffers) get() (hugeBuffer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		h := s.free[n-1]
		s.free = s.free[:n-1]
		return h, nil
	}
	return newHuge()
}

func (s *hugeBuffers) put(h hugeBuffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == hugeSpare || s.closed {
		h.unmap()
		return
	}
	s.free = append(s.free, h)
}

func (s *hugeBuffers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.free {
		h.unmap()
	}
	s.free, s.closed = nil, true
}

// readHuge fills bufs through a huge page, if that is of use. It reports false when it did not; then a read without it says
// what is wrong, if anything.
func (h *File) readHuge(bufs [][]byte, off int64) bool {
	n := 0
	for _, b := range bufs {
		if n += len(b); n > hugeSize {
			return false
		}
	}
	if !h.o.Direct || n < largeRead || n%directAlign != 0 || off%directAlign != 0 {
		return false
	}
	huge, err := h.huge.get()
	if err != nil {
		return false
	}
	defer h.huge.put(huge)
	data := huge.data[:n]
	if _, err := h.f.ReadAt(data, off); err != nil {
		return false
	}
	for _, b := range bufs {
		data = data[copy(b, data):]
	}
	return true
}
