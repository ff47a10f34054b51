package p9

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// This file is the only one that touches the host's files. Every file that the guest knows is held by a descriptor with
// O_PATH, which names the file itself, whatever happens to its name. A new one comes about only by looking a single name up
// in a directory that is held already, without following a symbolic link: so nothing outside the shared folder can be
// reached, whoever renames what meanwhile. Symbolic links are the guest's to follow.

// A node is a file that the guest knows.
type node struct {
	fd       int
	kind     uint32 // the type bits of its mode, which never change
	dev, ino uint64
	refs     atomic.Int32

	tree   *tree
	parent *node  // guarded by tree.mu; nil for the root
	name   string // guarded by tree.mu: in parent, unless the host has renamed it
}

// tree is what the nodes of a share have in common.
type tree struct {
	mu     sync.Mutex // guards where nodes are
	device uint64     // of the shared folder
	nodes  atomic.Int64
	max    int64 // nodes
}

// Fids is how many fids a device may have when there are so many shares, for Options.MaxFids: all of them together take at
// most three quarters of the files that this process may have open.
func Fids(shares int) int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		l.Cur = 1024
	}
	return int(min(max(l.Cur/4/uint64(max(shares, 1)), 16), 65536))
}

// openRoot holds the shared folder. There can be so many nodes in it.
func openRoot(dir string, nodes int) (*node, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	n, err := newNode(fd, &tree{max: int64(nodes)}, nil, "")
	if err != nil {
		return nil, err
	}
	n.tree.device = n.dev
	// Files are opened through /proc, which must be there.
	f, err := n.open(unix.O_RDONLY)
	if err != nil {
		n.drop()
		return nil, fmt.Errorf("open the folder through /proc/self/fd: %w", err)
	}
	closeFile(f)
	return n, nil
}

// newNode takes a descriptor over.
func newNode(fd int, t *tree, parent *node, name string) (*node, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if t.nodes.Add(1) > t.max && err == nil {
		err = unix.EMFILE
	}
	if err != nil {
		t.nodes.Add(-1)
		_ = unix.Close(fd)
		return nil, err
	}
	if parent != nil {
		parent.hold()
	}
	n := &node{fd: fd, kind: st.Mode & modeType, dev: st.Dev, ino: st.Ino, tree: t, parent: parent, name: name}
	n.refs.Store(1)
	return n, nil
}

func (n *node) hold() *node {
	n.refs.Add(1)
	return n
}

func (n *node) drop() {
	for n != nil && n.refs.Add(-1) == 0 {
		_ = unix.Close(n.fd) // a descriptor with O_PATH has nothing to lose
		n.tree.nodes.Add(-1)
		n.tree.mu.Lock()
		p := n.parent
		n.tree.mu.Unlock()
		n = p
	}
}

func (n *node) isDir() bool { return n.kind == modeDir }

// path is a name under which the kernel finds the file itself.
func (n *node) path() string { return "/proc/self/fd/" + strconv.Itoa(n.fd) }

// child looks a name up, which is neither "." nor ".." and has no slash. The result is the caller's to drop.
func (n *node) child(name string) (*node, error) {
	fd, err := unix.Openat(n.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return newNode(fd, n.tree, n, name)
}

// up is the folder the node is in; the root is in itself. The result is the caller's to drop.
func (n *node) up() *node {
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	if n.parent == nil {
		return n.hold()
	}
	return n.parent.hold()
}

// place returns the folder and the name under which the node is still found. The folder is the caller's to drop.
func (n *node) place() (*node, string, error) {
	n.tree.mu.Lock()
	p, name := n.parent, n.name
	if p != nil {
		p.hold()
	}
	n.tree.mu.Unlock()
	if p == nil {
		return nil, "", unix.EBUSY // the root has no place that could change
	}
	var st unix.Stat_t
	err := unix.Fstatat(p.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && (st.Ino != n.ino || st.Dev != n.dev) {
		err = unix.ENOENT
	}
	if err != nil {
		p.drop()
		return nil, "", err
	}
	return p, name, nil
}

// moved notes the node's new place, if it was at the old one. It returns the folder to be dropped.
func (n *node) moved(from *node, old string, to *node, name string) {
	n.tree.mu.Lock()
	p := n.parent
	hit := p != nil && n.name == old && p.ino == from.ino && p.dev == from.dev
	if hit {
		n.parent, n.name = to.hold(), name
	}
	n.tree.mu.Unlock()
	if hit {
		p.drop()
	}
}

// names are the steps from the root to the node.
func (n *node) names() []string {
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	var l []string
	for ; n.parent != nil; n = n.parent {
		l = append([]string{n.name}, l...)
	}
	return l
}

func kindQid(mode uint32) uint8 {
	switch mode & modeType {
	case modeDir:
		return qidDir
	case modeSymlink:
		return qidSymlink
	}
	return 0
}

// identity makes a number of inode and device, so that mounts inside the folder do not collide.
func (t *tree) identity(dev, ino uint64) uint64 {
	if dev == t.device {
		return ino
	}
	return ino ^ dev*0x9e3779b97f4a7c15
}

func (n *node) qid() qid { return qid{kind: kindQid(n.kind), path: n.tree.identity(n.dev, n.ino)} }

// stat appends what Rgetattr has.
func (n *node) stat(w *writer) error {
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return err
	}
	w.u64(getattrBasic)
	w.qid(n.qid())
	w.u32(st.Mode)
	w.u32(st.Uid)
	w.u32(st.Gid)
	for _, v := range []uint64{
		uint64(st.Nlink), st.Rdev, uint64(st.Size), uint64(st.Blksize), uint64(st.Blocks),
		uint64(st.Atim.Sec), uint64(st.Atim.Nsec), uint64(st.Mtim.Sec), uint64(st.Mtim.Nsec),
		uint64(st.Ctim.Sec), uint64(st.Ctim.Nsec), 0, 0, 0, 0, // creation time, generation, data version
	} {
		w.u64(v)
	}
	return nil
}

// statfs appends what Rstatfs has.
func (n *node) statfs(w *writer) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(n.fd, &st); err != nil {
		return err
	}
	w.u32(statfsMagic)
	w.u32(uint32(st.Bsize))
	w.u64(st.Blocks)
	w.u64(st.Bfree)
	w.u64(st.Bavail)
	w.u64(st.Files)
	w.u64(st.Ffree)
	w.u64(n.tree.device)
	w.u32(uint32(st.Namelen))
	return nil
}

// open opens the file for input and output. Only folders and regular files can be: opening a device, a pipe or a socket
// of the host has effects, and the guest opens its own instead.
func (n *node) open(flags uint32) (int, error) {
	switch n.kind {
	case modeDir:
		if flags&openAccess != 0 {
			return -1, unix.EISDIR
		}
		return unix.Openat(n.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	case modeRegular:
		if flags&openDirectory != 0 {
			return -1, unix.ENOTDIR
		}
		keep := flags & (openAccess | openTrunc | openAppend | openDsync | openSync)
		return unix.Open(n.path(), int(keep)|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	case modeSymlink:
		return -1, unix.ELOOP
	}
	return -1, unix.ENXIO
}

// create makes a regular file and opens it. The node is the caller's to drop.
func (n *node) create(name string, flags, mode uint32) (*node, int, error) {
	keep := flags & (openAccess | openAppend | openDsync | openSync)
	fd, err := unix.Openat(n.fd, name, int(keep)|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode&modePerm)
	if err == unix.EEXIST && flags&openExcl == 0 {
		c, err := n.child(name)
		if err != nil {
			return nil, -1, err
		}
		if fd, err = c.open(flags); err != nil {
			c.drop()
		}
		return c, fd, err
	}
	if err != nil {
		return nil, -1, err
	}
	// The guest has applied its own umask.
	if err := unix.Fchmod(fd, mode&modePerm); err != nil {
		_ = unix.Close(fd)
		return nil, -1, err
	}
	c, err := n.child(name)
	if err == nil {
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && (st.Ino != c.ino || st.Dev != c.dev) {
			err = unix.ENOENT // somebody was faster
		}
		if err != nil {
			c.drop()
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, -1, err
	}
	return c, fd, nil
}

// make makes a file that is not opened: a folder, a symbolic link, an empty file, a pipe or a socket.
func (n *node) make(name string, mode uint32, target string) (qid, error) {
	var err error
	switch mode & modeType {
	case modeDir:
		err = unix.Mkdirat(n.fd, name, mode&0o777)
	case modeSymlink:
		err = unix.Symlinkat(target, n.fd, name)
	case modeRegular, modeFIFO, modeSocket:
		err = unix.Mknodat(n.fd, name, mode&(modeType|modePerm), 0)
	default:
		err = unix.EPERM // devices of the host are not the guest's to make
	}
	if err != nil {
		return qid{}, err
	}
	c, err := n.child(name)
	if err != nil {
		return qid{}, err
	}
	defer c.drop()
	if c.kind != modeSymlink && c.kind == mode&modeType {
		keep := uint32(modePerm)
		if c.kind == modeDir {
			keep |= 0o2000 // files in it are of its group
		}
		err = unix.Chmod(c.path(), mode&keep)
	}
	return c.qid(), err
}

func (n *node) readlink() (string, error) {
	b := make([]byte, maxTarget+1)
	k, err := unix.Readlinkat(n.fd, "", b)
	if err != nil {
		return "", err
	}
	return string(b[:k]), nil
}

// link gives the node another name.
func (n *node) link(dir *node, name string) error {
	if n.kind == modeDir {
		return unix.EPERM
	}
	return unix.Linkat(unix.AT_FDCWD, n.path(), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
}

func (n *node) unlink(name string, dir bool) error {
	flags := 0
	if dir {
		flags = unix.AT_REMOVEDIR
	}
	return unix.Unlinkat(n.fd, name, flags)
}

func (n *node) rename(name string, to *node, newName string) error {
	return unix.Renameat(n.fd, name, to.fd, newName)
}

// set changes attributes. f is the file opened, or -1.
func (n *node) set(s *setattr, f int) error {
	if s.valid&setMode != 0 && n.kind != modeDir && s.mode&modeSetID != 0 {
		return unix.EPERM // programs that run as another user are not the guest's to make on the host
	}
	if s.valid&setSize != 0 {
		if s.size > math.MaxInt64 {
			return unix.EFBIG
		}
		if err := n.truncate(int64(s.size), f); err != nil {
			return err
		}
	}
	if s.valid&(setUID|setGID) != 0 {
		uid, gid := -1, -1
		if s.valid&setUID != 0 {
			uid = int(s.uid)
		}
		if s.valid&setGID != 0 {
			gid = int(s.gid)
		}
		if err := unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if s.valid&setMode != 0 {
		if n.kind == modeSymlink {
			return unix.EOPNOTSUPP
		}
		if err := unix.Chmod(n.path(), s.mode&(modePerm|modeSetID)); err != nil {
			return err
		}
	}
	if s.valid&(setAtime|setMtime) == 0 {
		return nil
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	stamp := func(i int, any, exact uint32, sec, nsec uint64) error {
		switch {
		case s.valid&any == 0:
		case s.valid&exact == 0:
			ts[i].Nsec = unix.UTIME_NOW
		case nsec > 999_999_999:
			return unix.EINVAL
		default:
			ts[i] = unix.Timespec{Sec: int64(sec), Nsec: int64(nsec)}
		}
		return nil
	}
	if err := stamp(0, setAtime, setAtimeSet, s.atimeSec, s.atimeNS); err != nil {
		return err
	}
	if err := stamp(1, setMtime, setMtimeSet, s.mtimeSec, s.mtimeNS); err != nil {
		return err
	}
	if n.kind == modeSymlink {
		p, name, err := n.place()
		if err != nil {
			return err
		}
		defer p.drop()
		return unix.UtimesNanoAt(p.fd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, n.path(), ts, 0)
}

func (n *node) truncate(size int64, f int) error {
	if n.kind != modeRegular {
		return unix.EINVAL
	}
	if f >= 0 {
		if err := unix.Ftruncate(f, size); err == nil {
			return nil
		}
		// It may be open for reading only.
	}
	fd, err := n.open(openWriteOnly)
	if err != nil {
		return err
	}
	err = unix.Ftruncate(fd, size)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

func closeFile(f int) {
	// What could not be written is reported by fsync; the guest has let go of the file.
	_ = unix.Close(f)
}

// readFile fills p from byte off on, as far as there is content.
func readFile(f int, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		k, err := unix.Pread(f, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil && n == 0 {
			return 0, err
		}
		if k <= 0 {
			break
		}
		n += k
	}
	return n, nil
}

func writeFile(f int, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		k, err := unix.Pwrite(f, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			if n == 0 {
				return 0, err
			}
			break
		}
		n += k
	}
	return n, nil
}

func syncFile(f int, dataOnly bool) error {
	if dataOnly {
		return unix.Fdatasync(f)
	}
	return unix.Fsync(f)
}

// dirent is an entry of a folder.
type dirent struct {
	name string
	qid  qid
	kind uint8  // DT_…
	next uint64 // where to go on after it
}

// readDir calls each for the entries from the place off on, until it returns false. Nobody else uses f meanwhile.
func readDir(f int, t *tree, off uint64, each func(dirent) bool) error {
	if off > math.MaxInt64 {
		return unix.EINVAL
	}
	if _, err := unix.Seek(f, int64(off), unix.SEEK_SET); err != nil {
		return err
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Getdents(f, buf)
		if err != nil || n <= 0 {
			return err
		}
		for p := buf[:n]; len(p) >= 19; {
			// d_ino[8] d_off[8] d_reclen[2] d_type[1] d_name
			size := int(le.Uint16(p[16:]))
			if size < 20 || size > len(p) {
				return unix.EIO
			}
			e := dirent{kind: p[18], next: le.Uint64(p[8:])}
			name := p[19:size]
			for i, c := range name {
				if c == 0 {
					name = name[:i]
					break
				}
			}
			e.name = string(name)
			e.qid = qid{path: t.identity(t.device, le.Uint64(p))}
			switch e.kind {
			case unix.DT_DIR:
				e.qid.kind = qidDir
			case unix.DT_LNK:
				e.qid.kind = qidSymlink
			}
			if !each(e) {
				return nil
			}
			p = p[size:]
		}
	}
}

// lockFile tries to lock or unlock a range. blocked means that somebody else has it.
func lockFile(f int, kind uint8, start, length uint64) (blocked bool, err error) {
	l, err := flock(kind, start, length)
	if err != nil {
		return false, err
	}
	err = unix.FcntlFlock(uintptr(f), unix.F_OFD_SETLK, &l)
	if err == unix.EAGAIN || err == unix.EACCES {
		return true, nil
	}
	return false, err
}

// testLock finds who is in the way of a lock.
func testLock(f int, kind uint8, start, length uint64) (uint8, uint64, uint64, error) {
	l, err := flock(kind, start, length)
	if err != nil {
		return 0, 0, 0, err
	}
	if err := unix.FcntlFlock(uintptr(f), unix.F_OFD_GETLK, &l); err != nil {
		return 0, 0, 0, err
	}
	switch l.Type {
	case unix.F_RDLCK:
		return lockRead, uint64(l.Start), uint64(l.Len), nil
	case unix.F_WRLCK:
		return lockWrite, uint64(l.Start), uint64(l.Len), nil
	}
	return lockUnlock, start, length, nil
}

func flock(kind uint8, start, length uint64) (unix.Flock_t, error) {
	if start > math.MaxInt64 {
		return unix.Flock_t{}, unix.EINVAL
	}
	if length > math.MaxInt64-start {
		length = 0 // to the end, however far
	}
	l := unix.Flock_t{Start: int64(start), Len: int64(length)}
	switch kind {
	case lockRead:
		l.Type = unix.F_RDLCK
	case lockWrite:
		l.Type = unix.F_WRLCK
	case lockUnlock:
		l.Type = unix.F_UNLCK
	default:
		return l, unix.EINVAL
	}
	return l, nil
}
