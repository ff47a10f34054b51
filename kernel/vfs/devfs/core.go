package devfs

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
)

// Core is all of devfs.
type Core struct {
	k    *kern.Kernel
	port *msgport.Port

	// mu is held for writing by the thread as it makes a change, for reading by lookups.
	mu      sync.RWMutex
	devs    []*Dev
	names   map[string]*Dev
	aliases []alias
	clones  map[string]func() (*Dev, error)
	mounts  []*Mount
	rules   []Rule
}

// alias is another name of a device. Of several of the same name the oldest is seen.
type alias struct {
	name string
	dev  *Dev
}

// New returns an empty file system and starts its thread.
func New(k *kern.Kernel) *Core {
	c := &Core{k: k, port: msgport.NewSpin(k, "devfs"), names: map[string]*Dev{}, clones: map[string]func() (*Dev, error){}}
	k.Start(kern.ThreadAttr{Name: "devfs core", Priority: kern.Daemon}, c.run)
	return c
}

// Port is where the core thread takes its messages from.
func (c *Core) Port() *msgport.Port { return c.port }

// run is the core thread. A message's content is the change itself.
func (c *Core) run() {
	for {
		m := c.port.Wait()
		msgport.Reply(m, c.change(m.Data.(func() error)))
	}
}

func (c *Core) change(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("devfs: panic: %v", r)
			c.k.Printf("%v", err)
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	return f()
}

// send asks for a change and does not wait; the message goes away by itself.
func (c *Core) send(f func() error) {
	m := msgport.New(c.k, msgport.NewReply(c.k, "devfs auto-free"), 0)
	m.Data = f
	msgport.Send(c.port, m)
}

// do asks for a change and waits for it.
func (c *Core) do(f func() error) error {
	m := msgport.New(c.k, nil, 0)
	m.Data = f
	return msgport.Do(c.port, m)
}

// Config returns when all changes asked for so far are made.
func (c *Core) Config() { _ = c.do(func() error { return nil }) }

// clean checks a name: relative, without empty, . and .. elements.
func clean(name string) (string, error) {
	name = strings.TrimPrefix(name, "/dev/")
	if name == "" || path.Clean(name) != name || name[0] == '/' || name == "." || name == ".." || strings.HasPrefix(name, "../") || len(name) > 255 {
		return "", fmt.Errorf("devfs: %q is no name for a device", name)
	}
	return name, nil
}

// Create makes a device known to all mounts. The name must be free.
func (c *Core) Create(d *Dev) error {
	name, err := clean(d.Name)
	if err != nil {
		return err
	}
	d.Name, d.core = name, c
	if d.Mode == 0 {
		d.Mode = 0o600
	}
	return c.do(func() error { return c.create(d) })
}

// CreateLater is Create without waiting; an error is logged.
func (c *Core) CreateLater(d *Dev) {
	name, err := clean(d.Name)
	if err != nil {
		c.k.Printf("%v", err)
		return
	}
	d.Name, d.core = name, c
	if d.Mode == 0 {
		d.Mode = 0o600
	}
	c.send(func() error {
		err := c.create(d)
		if err != nil {
			c.k.Printf("%v", err)
		}
		return err
	})
}

func (c *Core) create(d *Dev) error {
	if c.names[d.Name] != nil {
		return fmt.Errorf("devfs: there is a device %s already", d.Name)
	}
	c.names[d.Name] = d
	c.devs = append(c.devs, d)
	for _, m := range c.mounts {
		m.add(d)
	}
	return nil
}

// Destroy takes a device away, with its aliases. Descriptors that are open get errors. It does not wait.
func (c *Core) Destroy(d *Dev) {
	d.destroyed.Store(true)
	c.send(func() error { c.destroy(d); return nil })
}

// DestroyWait is Destroy that waits until no lookup finds the device any more.
func (c *Core) DestroyWait(d *Dev) {
	d.destroyed.Store(true)
	_ = c.do(func() error { c.destroy(d); return nil })
}

// DestroyBy takes all devices away whose operations are ops.
func (c *Core) DestroyBy(ops Ops) {
	_ = c.do(func() error {
		for _, d := range slices.Clone(c.devs) {
			if d.Ops == ops {
				d.destroyed.Store(true)
				c.destroy(d)
			}
		}
		return nil
	})
}

// DestroyRelated takes a device away and those whose names continue its name by a slice, a partition or both: da0 takes da0s1, da0a and da0s1a along, not
// da01.
func (c *Core) DestroyRelated(d *Dev) {
	_ = c.do(func() error {
		for _, o := range slices.Clone(c.devs) {
			rest, ok := strings.CutPrefix(o.Name, d.Name)
			if o == d || ok && o.Type == d.Type && rest[0] >= 'a' && rest[0] <= 's' {
				o.destroyed.Store(true)
				c.destroy(o)
			}
		}
		return nil
	})
}

func (c *Core) destroy(d *Dev) {
	i := slices.Index(c.devs, d)
	if i < 0 {
		return
	}
	c.devs = slices.Delete(c.devs, i, i+1)
	delete(c.names, d.Name)
	var freed []string
	c.aliases = slices.DeleteFunc(c.aliases, func(a alias) bool {
		if a.dev == d {
			freed = append(freed, a.name)
		}
		return a.dev == d
	})
	for _, m := range c.mounts {
		m.remove(d)
	}
	// Another device may have been waiting for the name.
	for _, name := range freed {
		c.showAlias(name)
	}
}

// Alias gives a device another name.
func (c *Core) Alias(d *Dev, name string) {
	name, err := clean(name)
	if err != nil {
		c.k.Printf("%v", err)
		return
	}
	c.send(func() error {
		if c.names[d.Name] != d || slices.Contains(c.aliases, alias{name, d}) {
			return nil
		}
		c.aliases = append(c.aliases, alias{name, d})
		c.showAlias(name)
		return nil
	})
}

// Unalias takes a name away.
func (c *Core) Unalias(d *Dev, name string) {
	c.send(func() error {
		i := slices.Index(c.aliases, alias{name, d})
		if i < 0 {
			return nil
		}
		c.aliases = slices.Delete(c.aliases, i, i+1)
		for _, m := range c.mounts {
			m.removeLink(name, d)
		}
		c.showAlias(name)
		return nil
	})
}

// showAlias makes the oldest alias of a name seen.
func (c *Core) showAlias(name string) {
	for _, a := range c.aliases {
		if a.name == name {
			for _, m := range c.mounts {
				m.link(name, a.dev)
			}
			return
		}
	}
}

// Clone makes a cloning device: opening name calls f, which makes a device, not yet known, and returns it;
// that is what is opened. It goes when its last descriptor is closed; then release is called with it.
func (c *Core) Clone(name string, f func() (*Dev, error), release func(*Dev)) error {
	cover := &Dev{Name: name, Type: "clone", Mode: 0o600}
	if err := c.Create(cover); err != nil {
		return err
	}
	return c.do(func() error {
		c.clones[cover.Name] = func() (*Dev, error) {
			d, err := f()
			if err != nil {
				return nil, err
			}
			d.onLast = func() {
				c.DestroyWait(d)
				release(d)
			}
			d.opens.Store(1) // that of who opens it
			if err := c.Create(d); err != nil {
				release(d)
				return nil, err
			}
			return d, nil
		}
		return nil
	})
}

// Unclone takes a cloning device away; clones that are open stay.
func (c *Core) Unclone(name string) {
	_ = c.do(func() error {
		delete(c.clones, name)
		if d := c.names[name]; d != nil {
			d.destroyed.Store(true)
			c.destroy(d)
		}
		return nil
	})
}

// Find returns a device by name or alias, or nil.
func (c *Core) Find(name string) *Dev {
	name = strings.TrimPrefix(name, "/dev/")
	c.mu.RLock()
	defer c.mu.RUnlock()
	if d := c.names[name]; d != nil {
		return d
	}
	for _, a := range c.aliases {
		if a.name == name {
			return a.dev
		}
	}
	return nil
}

// Scan calls f for each device.
func (c *Core) Scan(f func(*Dev)) {
	c.mu.RLock()
	devs := slices.Clone(c.devs)
	c.mu.RUnlock()
	for _, d := range devs {
		f(d)
	}
}

// Mount makes the devices visible in one more place. Rules may be for jails only.
func (c *Core) Mount(path string, jail bool) *Mount {
	m := &Mount{Path: path, Jail: jail, core: c}
	m.root = &node{kind: Dir, mount: m, next: 2}
	m.root.parent = m.root
	_ = c.do(func() error {
		c.mounts = append(c.mounts, m)
		for _, d := range c.devs {
			m.add(d)
		}
		for _, a := range c.aliases {
			m.link(a.name, a.dev)
		}
		return nil
	})
	return m
}

// Unmount takes a mount away; what is open stays open.
func (c *Core) Unmount(m *Mount) {
	_ = c.do(func() error {
		c.mounts = slices.DeleteFunc(c.mounts, func(o *Mount) bool { return o == m })
		return nil
	})
}

// Mounts lists the mounts.
func (c *Core) Mounts() []*Mount {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.mounts)
}
