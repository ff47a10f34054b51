package virtio_test

import (
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

const prompt = devices.ClassStrict | devices.ClassPrompt

// TestForesee breaks rules while nobody takes chains: who is to be halted at the notification hears of it before the
// notification's access ends, others do not.
func TestForesee(t *testing.T) {
	run := func(name string, features uint64, want string, do func(d *virtiotest.Driver, q *virtiotest.Queue)) {
		t.Helper()
		for _, classes := range []devices.Class{devices.ClassStrict, prompt} {
			dev, d, a := attend(t)
			q := ready(d, features)
			dev.Function().Probe().Watch(classes, a, nil)
			do(d, q)
			q.Notify()
			l := a.Violations()
			if found := classes == prompt && want != ""; (len(l) == 1) != found || len(l) > 1 || found && !strings.HasPrefix(l[0], "virtio 1.2, "+want) {
				t.Errorf("%s, classes %#x: %q, want %q", name, classes, l, want)
			}
			// Whoever takes chains comes to the same end.
			for dev.Queue(0).Pop() != nil {
				defer dev.Queue(0).Push(&virtio.Chain{}, 0)
			}
			if l := a.Violations(); (len(l) != 0) != (want != "") {
				t.Errorf("%s, classes %#x: %q when it is taken, want %q", name, classes, l, want)
			}
		}
	}
	for _, c := range badChains() {
		run(c.name, c.features, c.want, func(_ *virtiotest.Driver, q *virtiotest.Queue) { c.do(q) })
	}
	for _, c := range badPackedChains() {
		run("packed "+c.name, virtiotest.Packed|c.features, c.want, c.offer)
	}
}

// TestForeseeSecond breaks a rule in a chain behind good ones, of which the first are taken already.
func TestForeseeSecond(t *testing.T) {
	for _, features := range []uint64{0, virtiotest.EventIdx, virtiotest.Packed, virtiotest.Packed | virtiotest.EventIdx} {
		dev, d, _ := attend(t)
		q := ready(d, features)
		a := &devtest.Recorder{}
		dev.Function().Probe().Watch(prompt, a, nil)
		q.Add([][]byte{{1}})
		q.Kick()
		dq := dev.Queue(0)
		taken := dq.PopN(nil, 4)
		q.Add([][]byte{{2}}, 8)
		q.AddDescs([]virtiotest.Desc{{Addr: 0x100, Len: 1, Write: true}, {Addr: 0x200, Len: 1}})
		q.Kick()
		if l := a.Violations(); len(taken) != 1 || len(l) != 1 || !strings.Contains(l[0], "device-readable buffer after") {
			t.Errorf("features %#x: %d chains, then %q", features, len(taken), l)
		}
		if taken = dq.PopN(taken, 4); len(taken) != 2 || dev.Active() {
			t.Errorf("features %#x: %d chains, active %v", features, len(taken), dev.Active())
		}
		dq.PushAll(taken, true)
	}
}

// TestPromptHolds: while breaches are to be known at the notification, the driver is asked to notify of each chain, and none
// is taken before.
func TestPromptHolds(t *testing.T) {
	for _, features := range []uint64{0, virtiotest.EventIdx, virtiotest.Packed, virtiotest.Packed | virtiotest.EventIdx} {
		dev, d, a := attend(t)
		q := ready(d, features)
		dev.Function().Probe().Watch(prompt, a, nil)
		dq := dev.Queue(0)
		pop := func() int {
			l := dq.PopN(nil, 16)
			if len(l) == 0 && dq.SetNotify(true) {
				t.Errorf("features %#x: there is more to take, but it is not", features)
			}
			dq.SetNotify(false) // without effect
			dq.PushAll(l, true)
			for range l {
				q.Take()
			}
			return len(l)
		}
		for i := range 50 { // more than once around
			for j := range 3 {
				q.Add([][]byte{{1}}, 1)
				if wanted := q.Publish(); j == 0 && !wanted {
					t.Fatalf("features %#x, round %d: no notification is wanted", features, i)
				}
				if n := pop(); n != 0 {
					t.Fatalf("features %#x, round %d: %d chains are taken without a notification", features, i, n)
				}
			}
			q.Notify()
			if n := pop(); n != 3 {
				t.Fatalf("features %#x, round %d: %d chains are taken", features, i, n)
			}
		}
		if l := a.Violations(); len(l) != 0 {
			t.Errorf("features %#x: %q", features, l)
		}
	}
}

// TestBlame looks at what breaches are put down to: accesses to registers, or what told the device of a queue's content.
func TestBlame(t *testing.T) {
	dev, d, _ := attend(t)
	a := &devtest.Recorder{}
	dev.Function().Probe().Watch(prompt, a, nil)
	q := ready(d, 0)
	if l := a.Take("rang"); len(l) != 2 || l[0] != "queue=0" {
		t.Errorf("DRIVER_OK rings %q", l)
	}
	a.Origins()
	check := func(what string, by devices.Origin, rang int) {
		t.Helper()
		if l := a.Origins(); len(l) != 1 || l[0] != by {
			t.Errorf("%s: %v, want %v; %q", what, l, by, a.Violations())
		}
		a.Violations()
		if l := a.Take("rang"); len(l) != rang {
			t.Errorf("%s rings %q", what, l)
		}
	}
	d.Put(virtiotest.QueueSelect, 2, 0)
	d.Put(virtiotest.QueueSize, 2, 8)
	check("size of a queue in use", devices.ByAccess, 0)
	d.MMIO.Write(d.Notify, 4, 0)
	check("wide notification", devices.ByAccess, 0)
	d.Put(virtiotest.DriverFeature, 4, 0)
	check("features", devices.ByAccess, 0)
	dev.Pause()
	q.AddDescs([]virtiotest.Desc{{Addr: 1 << 40, Len: 1}})
	q.Kick()
	check("no memory", devices.ByQueue, 0)
	dev.Resume()
	if l := a.Take("rang"); len(l) != 0 {
		t.Errorf("the end of a pause rings %q", l)
	}
}

// TestPromptWorks drives a device that serves its queue, with a pause now and then.
func TestPromptWorks(t *testing.T) {
	for _, features := range []uint64{0, virtiotest.EventIdx | virtiotest.Indirect, virtiotest.Packed, virtiotest.Packed | virtiotest.EventIdx} {
		e := newEcho(4, true)
		a := &devtest.Recorder{}
		e.Function().Probe().Watch(prompt, a, nil)
		_, q := start(t, e, features, 16)
		a.Forget() // the driver does not look at all that it should
		for i := range 200 {
			for range 4 {
				q.Add([][]byte{{byte(i)}}, 1)
				q.Kick()
			}
			if i%50 == 7 {
				e.Pause()
				e.Resume()
			}
			for _, b := range q.Wait(4) {
				if b.In[0][0] != byte(i) {
					t.Fatalf("features %#x: %d came back, want %d", features, b.In[0][0], i)
				}
			}
		}
		if l := a.Violations(); len(l) != 0 {
			t.Errorf("features %#x: %q", features, l)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// banks notes which tables the registers are of that are accessed.
type banks struct {
	devtest.Recorder
	last *devices.Bank
}

func (b *banks) Access(x devices.RegisterAccess) { b.last = x.Bank }

// TestWidths: fields of the common and the device-specific configuration are to be accessed at their own width.
func TestWidths(t *testing.T) {
	dev := virtio.New(virtio.Config{
		Name: "x", Type: 42, Queues: []int{16}, Size: 4, Region: devices.RegionFuncs{ReadFunc: func(uint64, int) (uint64, error) { return 0, nil }},
		Registers: devices.NewBank("own", []devices.Register{{Size: 4, Name: "FIELD"}}).With(devices.Rules{Clause: "own clause"}),
	})
	d := virtiotest.New(t, dev.Function(), true)
	a := &banks{}
	dev.Function().Probe().Watch(devices.ClassStrict, a, nil)
	for _, x := range []struct {
		at                    uint64
		name, clause, natural string
	}{
		{d.Common, "virtio common", "virtio 1.2, 4.1.4.3", "virtio 1.2, 4.1.3.1"}, {d.Device, "own", "own clause", "virtio 1.2, 4.1.3.1"},
		{d.ISR, "virtio ISR", "virtio 1.2, 4.1.4.5", ""}, {d.Notify, "virtio notify", "virtio 1.2, 4.1.4.4", ""},
	} {
		d.MMIO.Read(x.at, 4)
		if a.last.Name != x.name || a.last.Rules != (devices.Rules{Clause: x.clause, Natural: x.natural}) {
			t.Errorf("%q with %+v, want %+v", a.last.Name, a.last.Rules, x)
		}
	}
}
