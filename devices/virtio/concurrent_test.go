package virtio_test

import (
	"sync"
	"testing"

	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// TestConcurrent restarts the device again and again while other CPUs notify
// it, read its registers, and the machine pauses and resumes.
func TestConcurrent(t *testing.T) {
	e := newEcho(4, true)
	d := virtiotest.New(t, e.Function(), true)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	loop(func() { d.MMIO.Write(d.Notify, 2, 0) })
	loop(func() { d.MMIO.Read(d.ISR, 1); d.MMIO.Read(d.Common+virtiotest.QueueSize, 2) })
	loop(func() { e.Pause(); e.Resume() })
	for i := range 12 {
		features := uint64(0)
		if i&1 != 0 {
			features |= virtiotest.Packed
		}
		if i&2 != 0 {
			features |= virtiotest.EventIdx
		}
		d.Start(features)
		q := d.Queue(0, 16)
		d.Go()
		for n := range 20 {
			q.Add([][]byte{{byte(n), 2}}, 2)
			q.Kick()
			if n%5 == 4 {
				for _, b := range q.Wait(5) {
					if b.Len != 2 || b.In[0][1] != 2 {
						t.Fatalf("%d bytes %x", b.Len, b.In)
					}
				}
			}
		}
		q.Add([][]byte{{1}}, 1) // left in flight when the device is reset
		q.Kick()
	}
	close(stop)
	wg.Wait()
	if err := e.broken.Load(); err != nil {
		t.Error(*err)
	}
	if d.Get(virtiotest.Status, 1)&virtio.StatusDriverOK == 0 {
		t.Error("device does not run")
	}
	e.Close()
}
