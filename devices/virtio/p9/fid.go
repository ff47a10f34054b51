package p9

import (
	"sync"
)

// A fid is the guest's handle of a file.
type fid struct {
	refs int // guarded by session.mu: of the table, and of requests under way

	mu    sync.Mutex // guards what follows, and the position of a folder that is read
	n     *node      // nil when the file was not found again after a restore
	file  int        // opened for input and output, or -1
	flags uint32     // how it was opened
}

// session is what is between Tversion and the next one.
type session struct {
	mu    sync.Mutex
	msize uint32 // 0 before Tversion
	fids  map[uint32]*fid
	max   int
}

// add enters a fid, which takes a hold of n over.
func (s *session) add(id uint32, n *node) errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e errno
	switch {
	case id == noFid:
		e = eINVAL
	case s.fids[id] != nil:
		e = eBADF
	case len(s.fids) >= s.max:
		e = eMFILE
	default:
		s.fids[id] = &fid{refs: 1, n: n, file: -1}
		return 0
	}
	if n != nil {
		n.drop()
	}
	return e
}

// get returns a fid, to be given back with put, or nil.
func (s *session) get(id uint32) *fid {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fids[id]
	if f != nil {
		f.refs++
	}
	return f
}

func (s *session) put(f *fid) {
	s.mu.Lock()
	f.refs--
	last := f.refs == 0
	s.mu.Unlock()
	if last {
		f.close()
	}
}

// remove takes a fid out of the table.
func (s *session) remove(id uint32) bool {
	s.mu.Lock()
	f := s.fids[id]
	delete(s.fids, id)
	s.mu.Unlock()
	if f == nil {
		return false
	}
	s.put(f)
	return true
}

// clear takes all fids out of the table.
func (s *session) clear() {
	s.mu.Lock()
	l := s.fids
	s.fids = map[uint32]*fid{}
	s.mu.Unlock()
	for _, f := range l {
		s.put(f)
	}
}

// all returns the fids, each to be given back with put.
func (s *session) all() map[uint32]*fid {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := map[uint32]*fid{}
	for id, f := range s.fids {
		f.refs++
		l[id] = f
	}
	return l
}

// close lets go of the host's file. Nobody else has the fid.
func (f *fid) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file >= 0 {
		closeFile(f.file)
		f.file = -1
	}
	if f.n != nil {
		f.n.drop()
		f.n = nil
	}
}

// node returns the file of a fid, to be dropped, or nil.
func (f *fid) node() *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		return nil
	}
	return f.n.hold()
}
