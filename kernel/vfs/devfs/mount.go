package devfs

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Kind is what a node is.
type Kind uint8

// Kinds of nodes.
const (
	Dir Kind = iota
	Device
	Link    // alias of a device
	Symlink // made by a user or a rule
)

// Mount is one view of the devices.
type Mount struct {
	Path string
	Jail bool

	core *Core
	root *node
}

// node is a node of a mount. The core's lock guards it.
type node struct {
	kind   Kind
	name   string
	mount  *Mount
	parent *node
	cookie int64
	next   int64 // a directory's counter of cookies
	kids   []*node

	dev    *Dev
	target *node  // of a link
	text   string // of a symlink
	hidden bool
	mode   fs.FileMode
	uid    int
	gid    int
	rule   bool // made by a rule
}

// Entry is a node as it is listed.
type Entry struct {
	Name   string
	Cookie int64
	Kind   Kind
	Mode   fs.FileMode
	UID    int
	GID    int
	Target string // of links
	Dev    *Dev   // of devices and links
}

func (n *node) child(name string) *node {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

// visible tells whether lookups see the node.
func (n *node) visible() bool {
	return !n.hidden && (n.target == nil || !n.target.hidden)
}

func (n *node) path() string {
	if n.parent == n {
		return ""
	}
	if p := n.parent.path(); p != "" {
		return p + "/" + n.name
	}
	return n.name
}

// insert adds a node under a path, with directories as needed; nil if something else is in the way.
func (m *Mount) insert(name string, n *node) *node {
	dir := m.root
	parts := strings.Split(name, "/")
	for _, p := range parts[:len(parts)-1] {
		k := dir.child(p)
		if k == nil {
			k = &node{kind: Dir, name: p, mount: m, parent: dir, cookie: dir.next, next: 2, mode: 0o755}
			dir.next++
			dir.kids = append(dir.kids, k)
		}
		if k.kind != Dir {
			m.prune(dir)
			return nil
		}
		dir = k
	}
	last := parts[len(parts)-1]
	if dir.child(last) != nil {
		m.prune(dir)
		return nil
	}
	n.name, n.mount, n.parent, n.cookie = last, m, dir, dir.next
	dir.next++
	dir.kids = append(dir.kids, n)
	return n
}

// unlink takes a node away, and directories that are empty then.
func (m *Mount) unlink(n *node) {
	n.parent.kids = slices.DeleteFunc(n.parent.kids, func(k *node) bool { return k == n })
	m.prune(n.parent)
}

func (m *Mount) prune(dir *node) {
	for dir != m.root && len(dir.kids) == 0 {
		up := dir.parent
		up.kids = slices.DeleteFunc(up.kids, func(k *node) bool { return k == dir })
		dir = up
	}
}

// walk calls f for all nodes below a directory.
func (n *node) walk(f func(*node)) {
	for _, k := range slices.Clone(n.kids) {
		f(k)
		k.walk(f)
	}
}

// find returns the node at a path, hidden or not, without following links.
func (m *Mount) find(name string) *node {
	n := m.root
	for p := range strings.SplitSeq(name, "/") {
		if p == "" || p == "." {
			continue
		}
		if p == ".." {
			n = n.parent
			continue
		}
		if n = n.child(p); n == nil {
			return nil
		}
	}
	return n
}

// add shows a device.
func (m *Mount) add(d *Dev) {
	n := m.insert(d.Name, &node{kind: Device, dev: d, mode: d.Mode, uid: d.UID, gid: d.GID})
	if n == nil {
		m.core.k.Printf("devfs: %s: %s is in the way", m.Path, d.Name)
		return
	}
	for _, r := range m.core.rules {
		r.apply(m, n)
	}
}

// remove takes a device's node away, and the links to it.
func (m *Mount) remove(d *Dev) {
	var gone []*node
	m.root.walk(func(n *node) {
		if n.dev == d {
			gone = append(gone, n)
		}
	})
	for _, n := range gone {
		m.unlink(n)
	}
}

// link shows an alias, unless one of its name is seen.
func (m *Mount) link(name string, d *Dev) {
	target := m.find(d.Name)
	if target == nil || target.dev != d || m.find(name) != nil {
		return
	}
	if n := m.insert(name, &node{kind: Link, dev: d, target: target, mode: 0o777}); n != nil {
		for _, r := range m.core.rules {
			r.apply(m, n)
		}
	}
}

func (m *Mount) removeLink(name string, d *Dev) {
	if n := m.find(name); n != nil && n.kind == Link && n.dev == d && !n.rule {
		m.unlink(n)
	}
}

// Symlink makes a symbolic link.
func (m *Mount) Symlink(name, text string) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	return m.core.do(func() error {
		if m.insert(name, &node{kind: Symlink, text: text, mode: 0o777}) == nil {
			return fmt.Errorf("devfs: %s: %w", name, fs.ErrExist)
		}
		return nil
	})
}

// Remove removes a symbolic link.
func (m *Mount) Remove(name string) error {
	return m.core.do(func() error {
		n := m.find(name)
		if n == nil || !n.visible() {
			return fmt.Errorf("devfs: %s: %w", name, fs.ErrNotExist)
		}
		if n.kind != Symlink {
			return fmt.Errorf("devfs: %s: %w", name, fs.ErrPermission)
		}
		m.unlink(n)
		return nil
	})
}

const maxLinks = 16

// lookup follows a path to a node; the lock is held.
func (m *Mount) lookup(name string, links int) (*node, error) {
	n := m.root
	parts := strings.Split(name, "/")
	for i, p := range parts {
		switch p {
		case "", ".":
			continue
		case "..":
			n = n.parent
			continue
		}
		k := (*node)(nil)
		if n.kind == Dir {
			k = n.child(p)
		}
		if k == nil || !k.visible() {
			return nil, fmt.Errorf("devfs: %s: %w", name, fs.ErrNotExist)
		}
		switch k.kind {
		case Link:
			k = k.target
		case Symlink:
			if links >= maxLinks {
				return nil, fmt.Errorf("devfs: %s: too many symbolic links", name)
			}
			text := k.text
			if rest, ok := strings.CutPrefix(text, "/dev/"); ok {
				text = rest
			} else if dir := n.path(); dir != "" {
				text = dir + "/" + text
			}
			if rest := strings.Join(parts[i+1:], "/"); rest != "" {
				text += "/" + rest
			}
			return m.lookup(text, links+1)
		}
		n = k
	}
	return n, nil
}

func (n *node) entry() Entry {
	e := Entry{Name: n.name, Cookie: n.cookie, Kind: n.kind, Mode: n.mode, UID: n.uid, GID: n.gid, Dev: n.dev, Target: n.text}
	if n.target != nil {
		e.Target = n.target.path()
	}
	return e
}

// Lookup returns what a path leads to; links are followed.
func (m *Mount) Lookup(name string) (Entry, error) {
	m.core.mu.RLock()
	defer m.core.mu.RUnlock()
	n, err := m.lookup(strings.TrimPrefix(name, "/dev/"), 0)
	if err != nil {
		return Entry{}, err
	}
	return n.entry(), nil
}

// ReadDir returns the entries of a directory whose cookies are at least from. . and .. have 0 and 1.
func (m *Mount) ReadDir(name string, from int64) ([]Entry, error) {
	m.core.mu.RLock()
	defer m.core.mu.RUnlock()
	dir, err := m.lookup(name, 0)
	if err != nil {
		return nil, err
	}
	if dir.kind != Dir {
		return nil, fmt.Errorf("devfs: %s: not a directory", name)
	}
	var out []Entry
	for i, special := range []string{".", ".."} {
		if from <= int64(i) {
			out = append(out, Entry{Name: special, Cookie: int64(i), Kind: Dir, Mode: 0o755})
		}
	}
	for _, k := range dir.kids {
		if k.cookie >= from && k.visible() {
			out = append(out, k.entry())
		}
	}
	return out, nil
}

// Open opens a device by path. A cloning device gives one of its own.
func (m *Mount) Open(name string) (*Handle, error) {
	c := m.core
	c.mu.RLock()
	n, err := m.lookup(strings.TrimPrefix(name, "/dev/"), 0)
	if err != nil {
		c.mu.RUnlock()
		return nil, err
	}
	d := n.dev
	var clone func() (*Dev, error)
	if d != nil {
		clone = c.clones[d.Name]
		if clone == nil {
			d.opens.Add(1)
		}
	}
	c.mu.RUnlock()
	if d == nil {
		return nil, fmt.Errorf("devfs: %s: is a directory", name)
	}
	if clone != nil {
		if d, err = clone(); err != nil {
			return nil, fmt.Errorf("devfs: %s: %w", name, err)
		}
	}
	f, err := File(nil), ErrGone
	if !d.destroyed.Load() && d.Ops != nil {
		f, err = d.Ops.Open(d)
	}
	if err != nil {
		if d.opens.Add(-1) == 0 && d.onLast != nil {
			d.onLast()
		}
		return nil, fmt.Errorf("devfs: %s: %w", name, err)
	}
	return &Handle{dev: d, file: f}, nil
}
