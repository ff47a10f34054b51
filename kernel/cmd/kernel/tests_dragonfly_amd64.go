package main

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"sync"

	"dfemu/kernel/kern"
	"dfemu/kernel/selftest"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/vfs/devfs"
)

// diskTests are the self-tests of disks and devices. They only read.
func diskTests(k *kern.Kernel, l *disk.Layer, c *devfs.Core, m *devfs.Mount) []selftest.Test {
	return []selftest.Test{
		{Name: "disks", Run: func() error { return testDisks(k, l, m) }},
		{Name: "devfs", Run: func() error { return testDevices(k, c, m) }},
	}
}

// testDisks reads all disks at once, each in two threads with requests of different sizes, and compares.
func testDisks(k *kern.Kernel, l *disk.Layer, m *devfs.Mount) error {
	var mu sync.Mutex
	var all error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		all = errors.Join(all, err)
	}
	var threads []*kern.Thread
	for _, d := range l.Disks() {
		n := l.Nodes(d)[0]
		if _, err := n.ReadAt(make([]byte, 1), n.Size); !errors.Is(err, disk.ErrRange) {
			fail(fmt.Errorf("%s: reading behind the end: %v", n.Name, err))
		}
		for _, a := range n.Aliases {
			e, err := m.Lookup(a)
			if err != nil || e.Dev == nil || e.Dev.Name != n.Name {
				fail(fmt.Errorf("%s: the alias %s does not lead to it: %v", n.Name, a, err))
			}
		}
		var sums [2][md5.Size]byte
		var both sync.WaitGroup
		both.Add(2)
		for i, chunk := range []int{64 << 10, 300_000} {
			threads = append(threads, k.Start(kern.ThreadAttr{Name: "disk test", Priority: kern.Daemon}, func() {
				defer both.Done()
				h := md5.New()
				f, err := m.Open(n.Name)
				if err != nil {
					fail(err)
					return
				}
				buf, err := k.Bytes(chunk)
				if err != nil {
					fail(err)
					return
				}
				// The first 64 MiB have to do.
				size := min(n.Size, 64<<20)
				for at := int64(0); at < size; at += int64(chunk) {
					b := buf[:min(int64(chunk), size-at)]
					if _, err := f.ReadAt(b, at); err != nil {
						fail(err)
						break
					}
					_, _ = h.Write(b) // never fails
				}
				h.Sum(sums[i][:0])
				if err := f.Close(); err != nil {
					fail(err)
				}
			}))
		}
		threads = append(threads, k.Start(kern.ThreadAttr{Name: "disk test", Priority: kern.Daemon}, func() {
			both.Wait()
			if sums[0] != sums[1] {
				fail(fmt.Errorf("%s: two readers saw different contents", n.Name))
			}
		}))
	}
	for _, t := range threads {
		t.Join()
	}
	return all
}

// clone is a device whose opens each get their own.
type clone struct{}

// Open implements devfs.Ops.
func (clone) Open(*devfs.Dev) (devfs.File, error) { return memory{}, nil }

// testDevices opens a cloning device from many threads, and reads the devices that are always there.
func testDevices(k *kern.Kernel, c *devfs.Core, m *devfs.Mount) error {
	var units devfs.Bitmap
	err := c.Clone("clonetest", func() (*devfs.Dev, error) {
		n, err := units.Get()
		return &devfs.Dev{Name: fmt.Sprintf("clonetest%d", n), Type: "test", Ops: clone{}, Arg: n}, err
	}, func(d *devfs.Dev) { units.Put(d.Arg.(int)) })
	if err != nil {
		return err
	}
	defer c.Unclone("clonetest")
	const n = 32
	var mu sync.Mutex
	seen := map[string]*devfs.Handle{}
	var threads []*kern.Thread
	for range n {
		threads = append(threads, k.Start(kern.ThreadAttr{Name: "clone test", Priority: kern.Daemon}, func() {
			h, e := m.Open("clonetest")
			mu.Lock()
			defer mu.Unlock()
			if e != nil {
				err = e
				return
			}
			seen[h.Dev().Name] = h
		}))
	}
	for _, t := range threads {
		t.Join()
	}
	if err != nil || len(seen) != n {
		return fmt.Errorf("%d opens gave %d units: %v", n, len(seen), err)
	}
	for i := range n {
		h := seen[fmt.Sprintf("clonetest%d", i)]
		if h == nil {
			return fmt.Errorf("unit %d was left out", i)
		}
		if err := h.Close(); err != nil {
			return err
		}
	}
	if _, err := m.Lookup("clonetest0"); err == nil {
		return errors.New("a clone is left after it was closed")
	}
	again, err := m.Open("clonetest")
	if err != nil || again.Dev().Name != "clonetest0" {
		return fmt.Errorf("the next open after all were closed: %v, %w", again, err)
	}
	if err := errors.Join(again.Close(), testMounts(c, m)); err != nil {
		return err
	}
	f, err := m.Open("zero")
	if err != nil {
		return err
	}
	b := bytes.Repeat([]byte{1}, 100)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil || !bytes.Equal(b, make([]byte, 100)) {
		return fmt.Errorf("/dev/zero: %d, %v", n, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if f, err = m.Open("null"); err != nil {
		return err
	}
	if n, err := f.ReadAt(b, 0); n != 0 || err != io.EOF {
		return fmt.Errorf("/dev/null: %d, %v", n, err)
	}
	return f.Close()
}

// testMounts has another mount beside the usual one: a rule hides a device in it, what comes later is in both, and goes from both, with an open descriptor.
func testMounts(c *devfs.Core, m *devfs.Mount) error {
	const path = "/selftest/dev"
	other := c.Mount(path, false)
	defer c.Unmount(other)
	hide := true
	if err := c.AddRule(devfs.Rule{Mount: path, Pattern: "zero", Hide: &hide}); err != nil {
		return err
	}
	d := &devfs.Dev{Name: "mounttest", Type: "test", Ops: clone{}}
	if err := c.Create(d); err != nil {
		return err
	}
	shows := func(name string, usual, there bool) error {
		_, a := m.Lookup(name)
		_, b := other.Lookup(name)
		if (a == nil) != usual || (b == nil) != there {
			return fmt.Errorf("%s: in /dev: %v; in the other mount: %v", name, a, b)
		}
		return nil
	}
	err := errors.Join(shows("zero", true, false), shows("null", true, true), shows("mounttest", true, true))
	h, e := other.Open("mounttest")
	if err = errors.Join(err, e); err != nil {
		return err
	}
	c.DestroyWait(d)
	if _, e := h.WriteAt([]byte{1}, 0); !errors.Is(e, devfs.ErrGone) {
		err = fmt.Errorf("writing to a device that is gone: %w", e)
	}
	return errors.Join(err, shows("mounttest", false, false), h.Close())
}
