package devfs

import (
	"io/fs"
	"path"
)

// Rule changes how mounts show devices.
type Rule struct {
	// Pattern matches names as path.Match does; "" matches all.
	Pattern string
	// Type matches a device's type; "" matches all.
	Type string
	// Mount is the path of the only mount it is for; "" for all. Jail restricts it to jails.
	Mount string
	Jail  bool

	// What it does: nil and "" leave things as they are.
	Hide *bool // false shows
	Mode *fs.FileMode
	UID  *int
	GID  *int
	Link string // make a link of this name, which is there and is seen as long as the device is
}

// match tells whether the rule is for a node.
func (r *Rule) match(m *Mount, n *node) bool {
	if r.Mount != "" && r.Mount != m.Path || r.Jail && !m.Jail || n.dev == nil {
		return false
	}
	if r.Type != "" && r.Type != n.dev.Type {
		return false
	}
	if r.Pattern == "" {
		return true
	}
	ok, err := path.Match(r.Pattern, n.path())
	return ok && err == nil
}

// apply does what the rule says.
func (r *Rule) apply(m *Mount, n *node) {
	if !r.match(m, n) {
		return
	}
	if r.Hide != nil {
		n.hidden = *r.Hide
	}
	if r.Mode != nil {
		n.mode = *r.Mode
	}
	if r.UID != nil {
		n.uid = *r.UID
	}
	if r.GID != nil {
		n.gid = *r.GID
	}
	if r.Link != "" && n.kind == Device {
		m.insert(r.Link, &node{kind: Link, dev: n.dev, target: n, mode: 0o777, rule: true})
	}
}

// AddRule adds a rule; it is for the nodes there are and those to come, and later rules override earlier ones.
func (c *Core) AddRule(r Rule) error {
	if _, err := path.Match(r.Pattern, ""); err != nil {
		return err
	}
	if r.Link != "" {
		if _, err := clean(r.Link); err != nil {
			return err
		}
	}
	return c.do(func() error {
		c.rules = append(c.rules, r)
		for _, m := range c.mounts {
			m.root.walk(func(n *node) { r.apply(m, n) })
		}
		return nil
	})
}

// ClearRules removes all rules and shows the nodes as they are by themselves.
func (c *Core) ClearRules() {
	_ = c.do(func() error {
		c.rules = nil
		for _, m := range c.mounts {
			m.reset()
		}
		return nil
	})
}

// ResetRules applies all rules again to nodes as they are by themselves.
func (c *Core) ResetRules() {
	_ = c.do(func() error {
		for _, m := range c.mounts {
			m.reset()
			m.root.walk(func(n *node) {
				for _, r := range c.rules {
					r.apply(m, n)
				}
			})
		}
		return nil
	})
}

func (m *Mount) reset() {
	m.root.walk(func(n *node) {
		if n.rule {
			m.unlink(n)
			return
		}
		n.hidden = false
		switch n.kind {
		case Device:
			n.mode, n.uid, n.gid = n.dev.Mode, n.dev.UID, n.dev.GID
		case Link:
			n.mode, n.uid, n.gid = 0o777, 0, 0
		}
	})
}
