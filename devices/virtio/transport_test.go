package virtio_test

import (
	"bytes"
	"testing"

	"dfemu/devices/pci"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

func TestIdentity(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d := virtiotest.New(t, e.Function(), true)
	if got := d.Config(0, 4); got != 0x106a1af4 {
		t.Errorf("vendor and device: %#x", got)
	}
	if got := d.Config(8, 1); got != 1 {
		t.Errorf("revision %d: must be at least 1", got)
	}
	if d.Multiplier != 4 || d.Common == 0 || d.ISR == 0 || d.Device == 0 || d.Notify == 0 {
		t.Errorf("structures: %+v", d)
	}
	if d.Get(virtiotest.NumQueues, 2) != 2 || d.Get(virtiotest.QueueSize, 2) != 64 {
		t.Error("queues are not as described")
	}
	d.Put(virtiotest.QueueSelect, 2, 2)
	if d.Get(virtiotest.QueueSize, 2) != 0 {
		t.Error("queue 2 exists")
	}
}

func TestNegotiation(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d := virtiotest.New(t, e.Function(), true)
	want := uint64(1<<3 | 1<<28 | 1<<29 | 1<<32 | 1<<40)
	if got := d.Offered(); got != want {
		t.Errorf("offered %#x, want %#x", got, want)
	}
	for _, c := range []struct {
		name     string
		features uint64
		ok       bool
	}{
		{"all", want, true},
		{"least", 1 << 32, true},
		{"without VERSION_1", 1 << 3, false},
		{"not offered", 1<<32 | 1<<5, false},
		{"packed, not offered", 1<<32 | 1<<34, false},
	} {
		if got := d.Negotiate(c.features); got != c.ok {
			t.Errorf("%s: accepted %v", c.name, got)
		}
		if !c.ok {
			// DRIVER_OK without FEATURES_OK leads nowhere.
			d.Put(virtiotest.Status, 1, 7)
			if d.Get(virtiotest.Status, 1) != 3 || e.Active() {
				t.Errorf("%s: status %#x", c.name, d.Get(virtiotest.Status, 1))
			}
			continue
		}
		if e.Features() != c.features {
			t.Errorf("%s: Features %#x", c.name, e.Features())
		}
		// The choice is final.
		d.Put(virtiotest.DriverFeatureSelect, 4, 0)
		d.Put(virtiotest.DriverFeature, 4, 0xffffffff)
		if d.Get(virtiotest.DriverFeature, 4) != c.features&0xffffffff {
			t.Errorf("%s: features changed after FEATURES_OK", c.name)
		}
	}
}

func TestLifecycle(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d, q := start(t, e, 0, 8)
	if e.starts.Load() != 1 {
		t.Errorf("activated %d times", e.starts.Load())
	}
	if b := q.Do([][]byte{[]byte("hello")}, 10); b.Len != 5 || !bytes.Equal(b.In[0][:5], []byte("hello")) {
		t.Errorf("echo: %d %q", b.Len, b.In)
	}
	// Only zero resets, and a driver cannot ask itself for a reset.
	d.Put(virtiotest.Status, 1, 0x40)
	if got := d.Get(virtiotest.Status, 1); got != 15 {
		t.Errorf("status %#x", got)
	}
	// Locked while enabled.
	d.Put(virtiotest.QueueDesc, 8, 0x1000)
	d.Put(virtiotest.QueueSize, 2, 4)
	if d.Get(virtiotest.QueueDesc, 8) != q.Desc || d.Get(virtiotest.QueueSize, 2) != 8 || d.Get(virtiotest.QueueEnable, 2) != 1 {
		t.Error("an enabled queue's configuration changed")
	}
	d.Put(virtiotest.Status, 1, 0)
	if d.Get(virtiotest.Status, 1) != 0 || d.Get(virtiotest.QueueEnable, 2) != 0 || d.Get(virtiotest.QueueSize, 2) != 64 || d.Get(virtiotest.QueueVector, 2) != 0xffff {
		t.Error("reset did not reset")
	}
	if e.Features() != 0 || e.Active() {
		t.Error("features survive reset")
	}
	d.Start(virtiotest.EventIdx)
	q = d.Queue(0, 16)
	d.Go()
	if b := q.Do([][]byte{[]byte("again")}, 5); b.Len != 5 {
		t.Errorf("after reset: %d", b.Len)
	}
	// The machine's reset also takes the BARs away.
	e.Reset()
	if d.MMIO.Read(d.Common, 4) != 0xffffffff {
		t.Error("BAR survives reset")
	}
	d.Enable(true)
	d.Start(0)
	q = d.Queue(0, 16)
	d.Go()
	if b := q.Do([][]byte{[]byte("third")}, 5); b.Len != 5 {
		t.Errorf("after machine reset: %d", b.Len)
	}
}

func TestQueueReset(t *testing.T) {
	for _, packed := range []uint64{0, virtiotest.Packed} {
		e := newEcho(1, true)
		d, q := start(t, e, virtiotest.RingReset|packed, 8)
		q.Do([][]byte{[]byte("one")}, 3)
		d.Put(virtiotest.QueueSelect, 2, 0)
		d.Put(virtiotest.QueueReset, 2, 1)
		if d.Get(virtiotest.QueueReset, 2) != 0 || d.Get(virtiotest.QueueEnable, 2) != 0 {
			t.Error("queue still enabled")
		}
		q = d.Queue(0, 4)
		if b := q.Do([][]byte{[]byte("two")}, 3); b.Len != 3 {
			t.Errorf("after queue reset: %d", b.Len)
		}
		e.Close()
	}
}

func TestConfigChange(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d, _ := start(t, e, 0, 8)
	g := d.Get(virtiotest.Generation, 1)
	e.config[3] = 9
	e.ConfigChanged()
	d.WaitInterrupt(2)
	if d.Get(virtiotest.Generation, 1) == g || d.DeviceConfig(3, 1) != 9 {
		t.Error("change not visible")
	}
}

func TestPinInterrupt(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d := virtiotest.New(t, e.Function(), false)
	d.Start(0)
	q := d.Queue(0, 8)
	raised := make(chan struct{}, 8)
	d.IRQ.Change = func(on bool) {
		if on {
			raised <- struct{}{}
		}
	}
	d.Go()
	q.Add([][]byte{{1}}, 1)
	q.Kick()
	<-raised
	if d.Config(pci.RegStatus, 2)&pci.StatusInterrupt == 0 {
		t.Error("interrupt status not set")
	}
	if got := d.MMIO.Read(d.ISR, 1); got != 1 {
		t.Errorf("ISR status %d", got)
	}
	if d.IRQ.Level() || d.MMIO.Read(d.ISR, 1) != 0 {
		t.Error("reading the ISR status does not acknowledge")
	}
	e.ConfigChanged()
	<-raised
	if got := d.MMIO.Read(d.ISR, 1); got != 2 {
		t.Errorf("ISR status %d", got)
	}
}

// TestConfigWindow uses the structures without BARs, as firmware may.
func TestConfigWindow(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d := virtiotest.New(t, e.Function(), true)
	at := 0
	for off := int(d.Config(pci.RegCapPtr, 1)); off != 0; off = int(d.Config(off+1, 1)) {
		if d.Config(off, 1) == pci.CapVendor && d.Config(off+3, 1) == 5 {
			at = off
		}
	}
	if at == 0 {
		t.Fatal("no configuration access capability")
	}
	d.SetConfig(pci.RegCommand, 2, 0)
	d.SetConfig(at+4, 1, 4)
	d.SetConfig(at+8, 4, virtiotest.NumQueues)
	d.SetConfig(at+12, 4, 2)
	if got := d.Config(at+16, 4); got != 2 {
		t.Errorf("num_queues reads %d", got)
	}
	d.SetConfig(at+8, 4, virtiotest.QueueSelect)
	d.SetConfig(at+16, 2, 1)
	d.SetConfig(at+8, 4, virtiotest.QueueSize)
	if got := d.Config(at+16, 4); got != 16 {
		t.Errorf("size of queue 1 reads %d", got)
	}
	for _, bad := range [][3]uint32{{0, 0, 4}, {4, 0, 8}, {4, 2, 4}, {4, 0x7ffffff0, 4}, {4, 0xfffffffc, 4}, {4, 0, 0}} {
		d.SetConfig(at+4, 1, bad[0])
		d.SetConfig(at+8, 4, bad[1])
		d.SetConfig(at+12, 4, bad[2])
		d.SetConfig(at+16, 4, 0x12345678)
		if got := d.Config(at+16, 4); got != 0 && got != 0xffffffff {
			t.Errorf("window %v reads %#x", bad, got)
		}
	}
}

func TestBusMasterOff(t *testing.T) {
	e := newEcho(1, false)
	defer e.Close()
	d, q := start(t, e, 0, 8)
	d.SetConfig(pci.RegCommand, 2, pci.CommandMemory)
	q.Add([][]byte{[]byte("late")}, 4)
	q.Kick()
	if e.Queue(0).Pop() != nil {
		t.Error("chain taken with bus mastering off")
	}
	if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset != 0 {
		t.Error("device broke")
	}
	d.SetConfig(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	if b := q.Wait(1)[0]; b.Len != 4 {
		t.Errorf("%d bytes", b.Len)
	}
}

func TestPauseDrains(t *testing.T) {
	e := newEcho(4, false)
	defer e.Close()
	e.gate = make(chan struct{})
	_, q := start(t, e, 0, 64)
	for range 4 {
		q.Add([][]byte{{1}}, 1)
	}
	q.Kick()
	e.gate <- struct{}{} // one is certainly being handled by now
	paused := make(chan struct{})
	go func() { e.Pause(); close(paused) }()
	// Chains taken before the pause complete; they need their tokens.
	for done := false; !done; {
		select {
		case e.gate <- struct{}{}:
		case <-paused:
			done = true
		}
	}
	before := e.handled.Load()
	q.Add([][]byte{{2}}, 1)
	q.Notify()
	q.Publish()
	q.Notify()
	if e.Queue(0).Pop() != nil || e.handled.Load() != before {
		t.Error("work goes on while paused")
	}
	close(e.gate)
	e.Resume()
	q.Wait(5)
}

func TestResetDrains(t *testing.T) {
	e := newEcho(4, false)
	defer e.Close()
	e.gate = make(chan struct{})
	d, q := start(t, e, 0, 64)
	for range 8 {
		q.Add([][]byte{{1}}, 1)
	}
	q.Kick()
	e.gate <- struct{}{}
	reset := make(chan struct{})
	go func() { d.Put(virtiotest.Status, 1, 0); close(reset) }()
	for done := false; !done; {
		select {
		case e.gate <- struct{}{}:
		case <-reset:
			done = true
		}
	}
	if d.Get(virtiotest.Status, 1) != 0 || e.stops.Load() == 0 {
		t.Error("not reset")
	}
	close(e.gate)
}
