package devfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dfemu/kernel/kern"
)

// ops are operations of a device that has only zeroes.
type ops struct{ closed int }

func (o *ops) Open(*Dev) (File, error)                { return o, nil }
func (o *ops) ReadAt(p []byte, _ int64) (int, error)  { clear(p); return len(p), nil }
func (o *ops) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (o *ops) Close() error                           { o.closed++; return nil }

func newCore(t *testing.T) (*Core, *Mount) {
	t.Helper()
	c := New(kern.New(&kern.Host{}))
	return c, c.Mount("/dev", false)
}

func dev(t *testing.T, c *Core, name, typ string, aliases ...string) *Dev {
	t.Helper()
	d := &Dev{Name: name, Type: typ, Ops: &ops{}}
	if err := c.Create(d); err != nil {
		t.Fatal(err)
	}
	for _, a := range aliases {
		c.Alias(d, a)
	}
	c.Config()
	return d
}

// list is all a mount shows, links with their targets.
func list(t *testing.T, m *Mount, dir string) string {
	t.Helper()
	es, err := m.ReadDir(dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		s := e.Name
		switch e.Kind {
		case Dir:
			s += "/[" + list(t, m, dir+"/"+e.Name) + "]"
		case Link, Symlink:
			s += "->" + e.Target
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestAliases(t *testing.T) {
	c, m := newCore(t)
	d := dev(t, c, "da0", "disk", "serno/X", "path/ahci0.port0")
	if got, want := list(t, m, ""), "da0 serno/[X->da0] path/[ahci0.port0->da0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	e, err := m.Lookup("/dev/serno/X")
	if err != nil || e.Dev != d {
		t.Errorf("the alias leads to %+v, %v", e, err)
	}
	h, err := m.Open("serno/X")
	if err != nil || h.Dev() != d {
		t.Fatal(err)
	}
	// The same serial on another port waits for the name, and gets it when the first goes.
	two := dev(t, c, "da1", "disk", "serno/X")
	if e, _ := m.Lookup("serno/X"); e.Dev != d {
		t.Error("the younger alias is seen")
	}
	c.Destroy(d)
	c.Config()
	if got, want := list(t, m, ""), "serno/[X->da1] da1"; got != want && got != "da1 serno/[X->da1]" {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := h.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrGone) {
		t.Errorf("reading a device that is gone: %v", err)
	}
	if d.Opens() != 1 || h.Close() != nil || h.Close() != nil || d.Opens() != 0 {
		t.Errorf("%d descriptors after close", d.Opens())
	}
	c.Destroy(two)
	c.Config()
	if got := list(t, m, ""); got != "" {
		t.Errorf("%s is left", got)
	}
}

// TestListWhileChanging lists, looks up and opens devices while they come and go: each answer is one that was true at some time.
func TestListWhileChanging(t *testing.T) {
	c, m := newCore(t)
	jail := c.Mount("/jail/dev", true)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name := fmt.Sprintf("da%d", w)
			for range 100 {
				d := &Dev{Name: name, Type: "disk", Ops: &ops{}}
				if err := c.Create(d); err != nil {
					t.Error(err)
					return
				}
				c.Alias(d, "serno/X") // of both: the older is seen
				c.Alias(d, "path/"+name)
				c.DestroyWait(d)
			}
			stop.Store(true)
		}()
	}
	for _, m := range []*Mount{m, jail} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
				es, err := m.ReadDir("", 0)
				if err != nil || len(es) < 2 || len(es) > 6 {
					t.Errorf("%d entries: %v", len(es), err)
				}
				es, err = m.ReadDir("path", 2)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				for _, e := range es {
					if e.Kind != Link || e.Target != e.Name || e.Dev.Name != e.Name {
						t.Errorf("path/%s leads to %s", e.Name, e.Target)
					}
				}
				h, err := m.Open("serno/X")
				if err != nil {
					if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrGone) {
						t.Error(err)
					}
					continue
				}
				if _, err := h.WriteAt([]byte{1}, 0); err != nil && !errors.Is(err, ErrGone) {
					t.Error(err)
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	if got := list(t, m, ""); got != "" {
		t.Errorf("%s is left", got)
	}
}

func TestCookies(t *testing.T) {
	c, m := newCore(t)
	for i := range 3 {
		dev(t, c, fmt.Sprintf("d%d", i), "mem")
	}
	c.DestroyWait(c.Find("d1"))
	dev(t, c, "d3", "mem")
	es, err := m.ReadDir("", 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range es {
		got = append(got, fmt.Sprintf("%s:%d", e.Name, e.Cookie))
	}
	if want := []string{".:0", "..:1", "d0:2", "d2:4", "d3:5"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if es, _ := m.ReadDir("", 5); len(es) != 1 || es[0].Name != "d3" {
		t.Errorf("from cookie 5: %v", es)
	}
}

func TestClone(t *testing.T) {
	c, m := newCore(t)
	var units Bitmap
	err := c.Clone("tap", func() (*Dev, error) {
		n, err := units.Get()
		return &Dev{Name: fmt.Sprintf("tap%d", n), Type: "net", Ops: &ops{}, Arg: n}, err
	}, func(d *Dev) { units.Put(d.Arg.(int)) })
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	var wg sync.WaitGroup
	handles := make([]*Handle, n)
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			h, err := m.Open("/dev/tap")
			if err != nil {
				t.Error(err)
				return
			}
			handles[i] = h
		}()
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, h := range handles {
		if h == nil || seen[h.Dev().Name] {
			t.Fatal("a unit is given out twice")
		}
		seen[h.Dev().Name] = true
		if _, err := m.Lookup(h.Dev().Name); err != nil {
			t.Error(err)
		}
	}
	for i := range n {
		if !seen[fmt.Sprintf("tap%d", i)] {
			t.Errorf("tap%d is left out", i)
		}
	}
	// Units come back in order.
	for _, h := range handles {
		if h.Dev().Name == "tap7" || h.Dev().Name == "tap3" {
			h.Close()
		}
	}
	for _, want := range []string{"tap3", "tap7", "tap50"} {
		h, err := m.Open("tap")
		if err != nil || h.Dev().Name != want {
			t.Errorf("%v, %v, want %s", h.Dev().Name, err, want)
		}
	}
	c.Unclone("tap")
	if _, err := m.Open("tap"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cloning device is still there: %v", err)
	}
}

func TestRules(t *testing.T) {
	c, m := newCore(t)
	jail := c.Mount("/jail/dev", true)
	dev(t, c, "null", "mem")
	dev(t, c, "da0", "disk", "serno/X")
	hide, show := true, false
	mode := fs.FileMode(0o666)
	for _, r := range []Rule{
		{Jail: true, Hide: &hide}, {Pattern: "null", Hide: &show}, {Pattern: "null", Mode: &mode, Link: "nothing"},
	} {
		if err := c.AddRule(r); err != nil {
			t.Fatal(err)
		}
	}
	dev(t, c, "da1", "disk") // rules hold for what comes later
	if got := list(t, jail, ""); got != "null serno/[] nothing->null" {
		t.Errorf("the jail shows %s", got)
	}
	if _, err := jail.Open("serno/X"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an alias of a hidden device: %v", err)
	}
	if got := list(t, m, ""); got != "null da0 serno/[X->da0] nothing->null da1" {
		t.Errorf("the mount shows %s", got)
	}
	if e, err := m.Lookup("nothing"); err != nil || e.Mode != mode || e.Name != "null" {
		t.Errorf("%+v, %v", e, err)
	}
	c.ClearRules()
	if got := list(t, jail, ""); got != "null da0 serno/[X->da0] da1" {
		t.Errorf("without rules the jail shows %s", got)
	}
	if err := c.AddRule(Rule{Pattern: "["}); err == nil {
		t.Error("a bad pattern is accepted")
	}
}

// TestRuleLinks makes links by rules: they go and come with their devices, and are not seen where these are hidden.
func TestRuleLinks(t *testing.T) {
	c, m := newCore(t)
	jail := c.Mount("/jail/dev", true)
	hide, mode := true, fs.FileMode(0o400)
	for _, r := range []Rule{{Pattern: "da*", Link: "disk/first"}, {Jail: true, Type: "disk", Hide: &hide}, {Pattern: "serno/*", Mode: &mode}} {
		if err := c.AddRule(r); err != nil {
			t.Fatal(err)
		}
	}
	d := dev(t, c, "da0", "disk", "serno/X")
	if got := list(t, m, ""); got != "da0 disk/[first->da0] serno/[X->da0]" {
		t.Errorf("the mount shows %s", got)
	}
	if got := list(t, jail, "disk"); got != "" {
		t.Errorf("the jail shows %s", got)
	}
	if _, err := jail.Open("disk/first"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a rule's link to a hidden device: %v", err)
	}
	h, err := m.Open("disk/first")
	if err != nil || h.Dev() != d {
		t.Fatal(err)
	}
	c.DestroyWait(d)
	if got := list(t, m, ""); got != "" {
		t.Errorf("%s is left", got)
	}
	if _, err := h.WriteAt(make([]byte, 1), 0); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	dev(t, c, "da1", "disk", "serno/X")
	if got := list(t, m, "disk"); got != "first->da1" {
		t.Errorf("the link is %s", got)
	}
	link := func() fs.FileMode {
		es, err := m.ReadDir("serno", 2)
		if err != nil || len(es) != 1 {
			t.Fatal(es, err)
		}
		return es[0].Mode
	}
	if link() != mode {
		t.Errorf("the alias has mode %v", link())
	}
	if c.ClearRules(); link() != 0o777 || list(t, m, "") != "da1 serno/[X->da1]" {
		t.Errorf("without rules: %s, the alias has mode %v", list(t, m, ""), link())
	}
}

// TestCloneDestroyed destroys a clone before it is opened: its unit comes back.
func TestCloneDestroyed(t *testing.T) {
	c, m := newCore(t)
	var units Bitmap
	err := c.Clone("tap", func() (*Dev, error) {
		n, err := units.Get()
		return &Dev{Name: fmt.Sprintf("tap%d", n), Arg: n}, err // which cannot be opened
	}, func(d *Dev) { units.Put(d.Arg.(int)) })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := m.Open("tap"); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
		if n, _ := units.Get(); n != 0 {
			t.Fatalf("the next unit is %d", n)
		}
		units.Put(0)
		if got := list(t, m, ""); got != "tap" {
			t.Errorf("%s is left", got)
		}
	}
}

func TestSymlinks(t *testing.T) {
	c, m := newCore(t)
	dev(t, c, "da0", "disk")
	for name, text := range map[string]string{"a": "b", "b": "a", "dir/x": "../da0", "ok": "dir/x"} {
		if err := m.Symlink(name, text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Lookup("a"); err == nil {
		t.Error("links in a circle lead somewhere")
	}
	if e, err := m.Lookup("ok"); err != nil || e.Name != "da0" {
		t.Errorf("%+v, %v", e, err)
	}
	if err := m.Remove("dir/x"); err != nil {
		t.Error(err)
	}
	if err := m.Remove("da0"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("removing a device: %v", err)
	}
	if got := list(t, m, ""); strings.Contains(got, "dir/[") {
		t.Errorf("the empty directory is left: %s", got)
	}
}

func TestNames(t *testing.T) {
	c, _ := newCore(t)
	for _, name := range []string{"", ".", "..", "a//b", "/a", "a/../b", "../x", strings.Repeat("x", 300)} {
		if err := c.Create(&Dev{Name: name, Ops: &ops{}}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	d := dev(t, c, "x", "mem")
	if err := c.Create(&Dev{Name: "x"}); err == nil {
		t.Error("a name is given twice")
	}
	for _, name := range []string{"xs1", "xs1a", "xa", "x1", "xy"} {
		dev(t, c, name, "mem")
	}
	c.DestroyRelated(d)
	if c.Find("x") != nil || c.Find("xs1") != nil || c.Find("xs1a") != nil || c.Find("xa") != nil {
		t.Error("related devices are left")
	}
	for _, name := range []string{"x1", "xy"} {
		if d := c.Find(name); d == nil {
			t.Errorf("%s has gone", name)
		} else {
			c.DestroyWait(d)
		}
	}
	o := &ops{}
	for i := range 3 {
		if err := c.Create(&Dev{Name: fmt.Sprintf("o%d", i), Ops: o}); err != nil {
			t.Fatal(err)
		}
	}
	c.DestroyBy(o)
	c.Scan(func(d *Dev) { t.Errorf("%s is left", d.Name) })
}

func FuzzLookup(f *testing.F) {
	f.Add("serno/X")
	f.Add("../../x//.")
	f.Add("l/l/l")
	f.Fuzz(func(t *testing.T, name string) {
		c, m := newCore(t)
		dev(t, c, "da0", "disk", "serno/X")
		_ = m.Symlink("l", "serno")
		_ = m.Symlink(name, name) // any error is fine
		if _, err := m.Lookup(name); err == nil {
			if h, err := m.Open(name); err == nil {
				h.Close()
			}
		}
	})
}
