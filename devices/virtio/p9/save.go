package p9

import (
	"fmt"
	"sort"
)

const saveVersion = 1

// saved is the state of the session. Files are named by their way from the shared folder.
type saved struct {
	MSize uint32
	Fids  []savedFid
}

type savedFid struct {
	ID    uint32
	Names []string
	// Lost means that the fid's file could not be found again after an earlier restore.
	Lost  bool   `json:",omitempty"`
	Open  bool   `json:",omitempty"`
	Flags uint32 `json:",omitempty"`
}

// SaveState implements devices.Saver: a version, the length of the session's state, that state, and the transport's. The
// device is paused, so no request is under way. Locks are not in it: those that the guest holds end with this process.
func (d *Device) SaveState() ([]byte, error) {
	var s saved
	d.session.mu.Lock()
	s.MSize = d.session.msize
	d.session.mu.Unlock()
	for id, f := range d.session.all() {
		x := savedFid{ID: id}
		f.mu.Lock()
		if x.Lost = f.n == nil; !x.Lost {
			x.Names = f.n.names()
		}
		x.Open, x.Flags = f.file >= 0, f.flags
		f.mu.Unlock()
		d.session.put(f)
		s.Fids = append(s.Fids, x)
	}
	sort.Slice(s.Fids, func(i, j int) bool { return s.Fids[i].ID < s.Fids[j].ID })
	return d.SaveWith(saveVersion, &s)
}

// RestoreState implements devices.Saver. Files are looked up and opened anew; those that are no longer there leave fids
// that the guest gets EBADF for.
func (d *Device) RestoreState(p []byte) error {
	var s saved
	return d.RestoreWith(saveVersion, p, &s, func() error {
		if s.MSize > maxMessage || s.MSize != 0 && s.MSize < minMessage || len(s.Fids) > d.o.MaxFids {
			return fmt.Errorf("messages of %d bytes and %d fids are not possible here", s.MSize, len(s.Fids))
		}
		return nil
	}, func() error {
		// The transport's reset has ended the session that there was.
		d.session.mu.Lock()
		d.session.msize = s.MSize
		d.session.mu.Unlock()
		for _, x := range s.Fids {
			if e := d.session.add(x.ID, d.find(x)); e != 0 {
				return fmt.Errorf("fid %d: %w", x.ID, e)
			}
			d.reopen(x)
		}
		return nil
	})
}

// find walks to a file again; nil means that it is not there.
func (d *Device) find(x savedFid) *node {
	if x.Lost {
		return nil
	}
	n := d.root.hold()
	for _, name := range x.Names {
		var c *node
		err := legal(name)
		if err == nil {
			c, err = n.child(name)
		}
		n.drop()
		if err != nil {
			return nil
		}
		n = c
	}
	return n
}

func (d *Device) reopen(x savedFid) {
	f := d.session.get(x.ID)
	if f == nil {
		return
	}
	defer d.session.put(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !x.Open || f.n == nil {
		return
	}
	file, err := f.n.open(x.Flags &^ openTrunc)
	if err != nil || d.o.ReadOnly && writing(x.Flags) {
		if err == nil {
			closeFile(file)
		}
		f.n.drop()
		f.n = nil
		return
	}
	f.file, f.flags = file, x.Flags
}
