package virtio_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"dfemu/devices/virtio/virtiotest"
)

// TestSave moves a device with its guest to another machine in mid-work.
func TestSave(t *testing.T) {
	formats(t, func(t *testing.T, features uint64) {
		e := newEcho(2, true)
		defer e.Close()
		d, q := start(t, e, features, 16)
		for range 21 {
			q.Do([][]byte{{1, 2, 3}}, 3)
		}
		e.Pause()
		q.Add([][]byte{[]byte("across")}, 6)
		q.Publish()
		state, err := e.SaveState()
		if err != nil {
			t.Fatal(err)
		}

		e2 := newEcho(2, true)
		defer e2.Close()
		d2 := virtiotest.New(t, e2.Function(), true)
		copy(d2.RAM.Data, d.RAM.Data)
		e2.Pause()
		if err := e2.RestoreState(state); err != nil {
			t.Fatal(err)
		}
		q.Move(d2)
		e2.Resume()
		if b := q.Wait(1)[0]; b.Len != 6 || !bytes.Equal(b.In[0], []byte("across")) {
			t.Errorf("%d %q", b.Len, b.In)
		}
		for i := range 40 {
			if b := q.Do([][]byte{{byte(i)}}, 1); b.Len != 1 || b.In[0][0] != byte(i) {
				t.Fatalf("%d: %d %x", i, b.Len, b.In)
			}
		}
		if e2.Features() != e.Features() || d2.Get(virtiotest.Status, 1) != 15 || e2.starts.Load() != 1 {
			t.Error("state differs after restoring")
		}
	})
}

// TestRestoreWith restores a state of the device's own, which is refused before and after the transport.
func TestRestoreWith(t *testing.T) {
	e := newEcho(1, true)
	defer e.Close()
	_, q := start(t, e, 0, 16)
	q.Do([][]byte{{1}}, 1)
	e.Pause()
	state, err := e.SaveWith(3, map[string]int{"n": 7})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	for _, c := range []struct {
		name       string
		p          []byte
		check, set error
		want       string
		active     bool // afterwards
	}{
		{"another version", append([]byte{4}, state[1:]...), nil, nil, "restore echo: not a state of version 3", true},
		{"cut off", state[:8], nil, nil, "restore echo: the state is cut off", true},
		{"checked", state, refused, nil, "restore echo: refused", true},
		{"without the transport's", state[:5+len(`{"n":7}`)], nil, nil, "restore echo: ", false},
		{"whole", state, nil, nil, "", true},
		{"not taken over", state, nil, refused, "restore echo: refused", false},
	} {
		var own struct{ N int }
		err := e.RestoreWith(3, c.p, &own, func() error { return c.check }, func() error {
			if own.N != 7 {
				t.Errorf("%s: own state is %d", c.name, own.N)
			}
			return c.set
		})
		if (err != nil) != (c.want != "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if got := e.Active(); got != c.active {
			t.Errorf("%s: active is %v", c.name, got)
		}
	}
}

// FuzzRestore restores states that are not what was saved.
func FuzzRestore(f *testing.F) {
	e := newEcho(1, true)
	d, q := start(f, e, 0, 16)
	q.Do([][]byte{{1}}, 1)
	e.Pause()
	state, err := e.SaveState()
	if err != nil {
		f.Fatal(err)
	}
	ram := bytes.Clone(d.RAM.Data)
	e.Close()
	f.Add(0, byte(0))
	f.Add(1, byte(7))
	f.Add(20, byte(0xff))
	f.Add(45, byte(0x80))
	f.Add(len(state)-1, byte(1))
	f.Fuzz(func(t *testing.T, at int, b byte) {
		p := bytes.Clone(state)
		if at < 0 {
			return
		}
		p[at%len(p)] ^= b
		if b == 0 {
			p = p[:at%len(p)]
		}
		e := newEcho(1, true)
		defer e.Close()
		d := virtiotest.New(t, e.Function(), true)
		copy(d.RAM.Data, ram)
		e.Pause()
		_ = e.RestoreState(p)
		e.Resume()
		e.Reset()
		d.Enable(true)
		d.Start(0)
		q := d.Queue(0, 8)
		d.Go()
		q.Do([][]byte{{1}}, 1)
	})
}
