package rng_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/rng"
	"dfemu/devices/virtio/virtiotest"
)

func start(t *testing.T, src io.Reader) (*virtiotest.Driver, *virtiotest.Queue) {
	dev := rng.New(rng.Options{Name: "virtio-rng0", Source: src})
	t.Cleanup(func() { dev.Close() })
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 8)
	d.Go()
	return d, q
}

func TestSource(t *testing.T) {
	d, q := start(t, strings.NewReader("entropy is what you make of it"))
	if got := d.Config(2, 2); got != 0x1044 {
		t.Errorf("device %#x", got)
	}
	b := q.Do(nil, 7)
	if b.Len != 7 || string(b.In[0]) != "entropy" {
		t.Errorf("%d %q", b.Len, b.In)
	}
	b = q.Do(nil, 1, 2, 3)
	if b.Len != 6 || string(bytes.Join(b.In, nil)) != " is wh" {
		t.Errorf("%d %q", b.Len, b.In)
	}
	// What is left is less than asked for.
	if b = q.Do(nil, 100); b.Len != 17 || string(b.In[0][:17]) != "at you make of it" {
		t.Errorf("%d %q", b.Len, b.In)
	}
}

func TestDefaultSource(t *testing.T) {
	_, q := start(t, nil)
	b := q.Do(nil, 64)
	if b.Len != 64 || bytes.Equal(b.In[0], make([]byte, 64)) {
		t.Errorf("%d bytes, %x", b.Len, b.In)
	}
}

func TestBroken(t *testing.T) {
	for name, run := range map[string]struct {
		src io.Reader
		out [][]byte
		in  []int
	}{
		"source fails": {iotest.ErrReader(errors.New("no entropy")), nil, []int{4}},
		"no room":      {strings.NewReader("x"), [][]byte{{1}}, nil},
	} {
		d, q := start(t, run.src)
		q.Add(run.out, run.in...)
		q.Kick()
		d.WaitInterrupt(1)
		if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
			t.Errorf("%s: NEEDS_RESET is not set", name)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	ended := devtest.Goroutines(t)
	dev := rng.New(rng.Options{Name: "virtio-rng0"})
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 8)
	d.Go()
	q.Do(nil, 8)
	dev.Close()
	ended()
}
