package p9

import (
	"math"
	"strings"
)

// ops carries requests out: one function for each type of message, which appends the answer to w or returns an error.
var ops = map[uint8]func(d *Device, m *message, w *writer, limit int) error{
	tAttach: (*Device).attach, tAuth: (*Device).auth, tWalk: (*Device).walk, tClunk: (*Device).clunk,
	tLopen: (*Device).lopen, tLcreate: (*Device).lcreate, tRead: (*Device).read, tWrite: (*Device).write,
	tReaddir: (*Device).readdir, tFsync: (*Device).fsync, tGetattr: (*Device).getattr, tSetattr: (*Device).setattr,
	tStatfs: (*Device).statfs, tSymlink: (*Device).symlink, tMknod: (*Device).mknod, tMkdir: (*Device).mkdir,
	tReadlink: (*Device).readlink, tLink: (*Device).link, tRename: (*Device).rename, tRenameat: (*Device).renameat,
	tUnlinkat: (*Device).unlinkat, tRemove: (*Device).remove, tXattrwalk: (*Device).xattrwalk, tXattrcreate: (*Device).xattrcreate,
	tLock: (*Device).lock, tGetlock: (*Device).getlock,
}

// legal reports whether a name can be that of a file in a folder.
func legal(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return eINVAL
	case len(name) > maxName:
		return eNAMETOOLONG
	}
	return nil
}

// with calls f with the file of a fid.
func (d *Device) with(m *message, id uint32, f func(f *fid, n *node) error) error {
	x := d.session.get(id)
	if x == nil {
		d.violate(m, "intro(5)", "fid %d is not in use", id)
		return eBADF
	}
	defer d.session.put(x)
	n := x.node()
	if n == nil {
		return eBADF
	}
	defer n.drop()
	return f(x, n)
}

// within is with for a folder, and a name in it.
func (d *Device) within(m *message, id uint32, name string, f func(dir *node) error) error {
	if err := legal(name); err != nil {
		return err
	}
	return d.with(m, id, func(_ *fid, n *node) error {
		if !n.isDir() {
			return eNOTDIR
		}
		return f(n)
	})
}

// opened is with for a fid that must be open.
func (d *Device) opened(m *message, f func(f *fid, file int, n *node) error) error {
	return d.with(m, m.fid, func(x *fid, n *node) error {
		x.mu.Lock()
		file := x.file
		if file >= 0 {
			d.judgeOpen(m, x)
		}
		x.mu.Unlock()
		if file < 0 {
			d.violate(m, "open(5)", "fid %d is not open", m.fid)
			return eBADF
		}
		return f(x, file, n)
	})
}

func (d *Device) attach(m *message, w *writer, _ int) error {
	if m.newFid != noFid {
		return eOPNOTSUPP // there is no authentication
	}
	n := d.root.hold()
	for _, name := range strings.Split(m.name2, "/") {
		if name == "" {
			continue
		}
		if err := legal(name); err != nil {
			n.drop()
			return err
		}
		c, err := n.child(name)
		n.drop()
		if err != nil {
			return err
		}
		n = c
	}
	q := n.qid()
	if e := d.session.add(m.fid, n); e != 0 {
		if e == eBADF {
			d.violate(m, "attach(5)", "fid %d is in use", m.fid)
		}
		return e
	}
	w.qid(q)
	return nil
}

func (d *Device) auth(*message, *writer, int) error { return eOPNOTSUPP }

func (d *Device) walk(m *message, w *writer, _ int) error {
	return d.with(m, m.fid, func(f *fid, n *node) error {
		if m.newFid == m.fid {
			f.mu.Lock()
			open := f.file >= 0
			f.mu.Unlock()
			if open {
				d.violate(m, "walk(5)", "fid %d is open: it cannot be moved", m.fid)
				return eINVAL
			}
		}
		at := n.hold()
		var qids []qid
		var failed error
		for _, name := range m.names {
			next, err := step(at, name)
			if err != nil {
				failed = err
				break
			}
			at.drop()
			at = next
			qids = append(qids, at.qid())
		}
		switch {
		case failed != nil && len(qids) == 0:
			at.drop()
			return failed
		case failed != nil: // the fid stays where it is
			at.drop()
		case m.newFid == m.fid:
			f.mu.Lock()
			old := f.n
			f.n = at
			f.mu.Unlock()
			if old != nil {
				old.drop()
			}
		default:
			if e := d.session.add(m.newFid, at); e != 0 {
				if e == eBADF {
					d.violate(m, "walk(5)", "newfid %d is in use", m.newFid)
				}
				return e
			}
		}
		w.u16(uint16(len(qids)))
		for _, q := range qids {
			w.qid(q)
		}
		return nil
	})
}

// step is one name of a walk.
func step(n *node, name string) (*node, error) {
	switch {
	case !n.isDir():
		return nil, eNOTDIR
	case name == "..":
		return n.up(), nil
	}
	if err := legal(name); err != nil {
		return nil, err
	}
	return n.child(name)
}

func (d *Device) clunk(m *message, _ *writer, _ int) error {
	if !d.session.remove(m.fid) {
		d.violate(m, "intro(5)", "fid %d is not in use", m.fid)
		return eBADF
	}
	return nil
}

// writing tells whether a file opened so can change.
func writing(flags uint32) bool { return flags&openAccess != 0 || flags&openTrunc != 0 }

func (d *Device) lopen(m *message, w *writer, _ int) error {
	if d.o.ReadOnly && writing(m.flags) {
		return eROFS
	}
	return d.with(m, m.fid, func(f *fid, n *node) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.file >= 0 {
			d.violate(m, "open(5)", "fid %d is open already", m.fid)
			return eINVAL
		}
		file, err := n.open(m.flags)
		if err != nil {
			return err
		}
		f.file, f.flags = file, m.flags&^openTrunc
		w.qid(n.qid())
		w.u32(0) // iounit: as much as a message holds
		return nil
	})
}

func (d *Device) lcreate(m *message, w *writer, _ int) error {
	return d.within(m, m.fid, m.name, func(dir *node) error {
		f := d.session.get(m.fid)
		if f == nil {
			return eBADF
		}
		defer d.session.put(f)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.file >= 0 {
			d.violate(m, "open(5)", "fid %d is open already", m.fid)
			return eINVAL
		}
		c, file, err := dir.create(m.name, m.flags, m.mode)
		if err != nil {
			return err
		}
		old := f.n
		f.n, f.file, f.flags = c, file, m.flags&^(openTrunc|openExcl)
		if old != nil {
			old.drop()
		}
		w.qid(c.qid())
		w.u32(0)
		return nil
	})
}

func (d *Device) read(m *message, w *writer, limit int) error {
	return d.opened(m, func(_ *fid, file int, n *node) error {
		switch {
		case n.isDir():
			return eISDIR
		case m.offset > math.MaxInt64-maxMessage:
			return eINVAL
		}
		want := int(min(uint64(m.count), uint64(max(limit-readHeader, 0))))
		w.u32(0)
		got, err := readFile(file, w.grow(want), int64(m.offset))
		if err != nil {
			return err
		}
		w.p = w.p[:readHeader+got]
		le.PutUint32(w.p[headerSize:], uint32(got))
		return nil
	})
}

func (d *Device) write(m *message, w *writer, _ int) error {
	return d.opened(m, func(_ *fid, file int, _ *node) error {
		if m.offset > math.MaxInt64-maxMessage {
			return eINVAL
		}
		n, err := writeFile(file, m.data, int64(m.offset))
		if err != nil {
			return err
		}
		w.u32(uint32(n))
		return nil
	})
}

func (d *Device) readdir(m *message, w *writer, limit int) error {
	return d.opened(m, func(f *fid, file int, n *node) error {
		if !n.isDir() {
			return eNOTDIR
		}
		room := int(min(uint64(m.count), uint64(max(limit-readHeader, 0))))
		w.u32(0)
		f.mu.Lock() // for the position
		err := readDir(file, n.tree, m.offset, func(e dirent) bool {
			size := qidSize + 8 + 1 + 2 + len(e.name)
			if size > room {
				return false
			}
			room -= size
			w.qid(e.qid)
			w.u64(e.next)
			w.u8(e.kind)
			w.str(e.name)
			return true
		})
		f.mu.Unlock()
		if err != nil {
			return err
		}
		le.PutUint32(w.p[headerSize:], uint32(len(w.p)-readHeader))
		return nil
	})
}

func (d *Device) fsync(m *message, _ *writer, _ int) error {
	return d.opened(m, func(_ *fid, file int, _ *node) error { return syncFile(file, m.flags != 0) })
}

func (d *Device) getattr(m *message, w *writer, _ int) error {
	return d.with(m, m.fid, func(_ *fid, n *node) error { return n.stat(w) })
}

func (d *Device) setattr(m *message, _ *writer, _ int) error {
	if m.set.valid&^setAll != 0 {
		return eINVAL
	}
	return d.with(m, m.fid, func(f *fid, n *node) error {
		f.mu.Lock()
		file := f.file
		f.mu.Unlock()
		return n.set(&m.set, file)
	})
}

func (d *Device) statfs(m *message, w *writer, _ int) error {
	return d.with(m, m.fid, func(_ *fid, n *node) error { return n.statfs(w) })
}

// makes is common to Tmkdir, Tsymlink and Tmknod.
func (d *Device) makes(m *message, w *writer, mode uint32, target string) error {
	return d.within(m, m.fid, m.name, func(dir *node) error {
		q, err := dir.make(m.name, mode, target)
		if err != nil {
			return err
		}
		w.qid(q)
		return nil
	})
}

func (d *Device) mkdir(m *message, w *writer, _ int) error {
	return d.makes(m, w, m.mode&^modeType|modeDir, "")
}

func (d *Device) symlink(m *message, w *writer, _ int) error {
	if m.name2 == "" || len(m.name2) > maxTarget || strings.Contains(m.name2, "\x00") {
		return eINVAL
	}
	return d.makes(m, w, modeSymlink, m.name2)
}

func (d *Device) mknod(m *message, w *writer, _ int) error {
	mode := m.mode
	switch mode & modeType {
	case 0:
		mode |= modeRegular
	case modeRegular, modeFIFO, modeSocket:
	default:
		return ePERM
	}
	return d.makes(m, w, mode, "")
}

func (d *Device) readlink(m *message, w *writer, _ int) error {
	return d.with(m, m.fid, func(_ *fid, n *node) error {
		if n.kind != modeSymlink {
			return eINVAL
		}
		s, err := n.readlink()
		if err != nil {
			return err
		}
		w.str(s)
		return nil
	})
}

func (d *Device) link(m *message, _ *writer, _ int) error {
	return d.within(m, m.newFid, m.name, func(dir *node) error {
		return d.with(m, m.fid, func(_ *fid, n *node) error { return n.link(dir, m.name) })
	})
}

func (d *Device) rename(m *message, _ *writer, _ int) error {
	return d.within(m, m.newFid, m.name, func(to *node) error {
		return d.with(m, m.fid, func(_ *fid, n *node) error {
			from, old, err := n.place()
			if err != nil {
				return err
			}
			defer from.drop()
			return d.move(from, old, to, m.name)
		})
	})
}

func (d *Device) renameat(m *message, _ *writer, _ int) error {
	return d.within(m, m.fid, m.name, func(from *node) error {
		return d.within(m, m.newFid, m.name2, func(to *node) error { return d.move(from, m.name, to, m.name2) })
	})
}

// move renames, and tells the fids of the file.
func (d *Device) move(from *node, old string, to *node, name string) error {
	if err := from.rename(old, to, name); err != nil {
		return err
	}
	for _, f := range d.session.all() {
		// All nodes on the way to a fid's file may be the one that moved.
		for n := f.node(); n != nil; {
			n.moved(from, old, to, name)
			up := n.up()
			if up == n {
				up.drop()
				up = nil
			}
			n.drop()
			n = up
		}
		d.session.put(f)
	}
	return nil
}

func (d *Device) unlinkat(m *message, _ *writer, _ int) error {
	if m.flags&^unlinkDir != 0 {
		return eINVAL
	}
	return d.within(m, m.fid, m.name, func(dir *node) error { return dir.unlink(m.name, m.flags&unlinkDir != 0) })
}

// remove removes the file and, also when that fails, the fid.
func (d *Device) remove(m *message, _ *writer, _ int) error {
	err := d.with(m, m.fid, func(_ *fid, n *node) error {
		dir, name, err := n.place()
		if err != nil {
			return err
		}
		defer dir.drop()
		return dir.unlink(name, n.isDir())
	})
	d.session.remove(m.fid)
	return err
}

// Extended attributes are not shared: they have meanings on the host (capabilities, labels) that a guest must not set, and
// a file system without them is what guests know how to deal with.

func (d *Device) xattrwalk(m *message, _ *writer, _ int) error {
	return d.with(m, m.fid, func(*fid, *node) error { return eOPNOTSUPP })
}

func (d *Device) xattrcreate(m *message, _ *writer, _ int) error {
	return d.with(m, m.fid, func(*fid, *node) error { return eOPNOTSUPP })
}

func (d *Device) lock(m *message, w *writer, _ int) error {
	return d.opened(m, func(_ *fid, file int, _ *node) error {
		blocked, err := lockFile(file, m.lock, m.offset, m.length)
		if err != nil {
			return err
		}
		if blocked {
			w.u8(lockBlocked)
		} else {
			w.u8(lockSuccess)
		}
		return nil
	})
}

func (d *Device) getlock(m *message, w *writer, _ int) error {
	return d.opened(m, func(_ *fid, file int, _ *node) error {
		kind, start, length, err := testLock(file, m.lock, m.offset, m.length)
		if err != nil {
			return err
		}
		w.u8(kind)
		w.u64(start)
		w.u64(length)
		w.u32(m.proc)
		w.str(m.name)
		return nil
	})
}
