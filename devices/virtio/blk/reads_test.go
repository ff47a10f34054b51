package blk_test

import (
	"bytes"
	"testing"

	"dfemu/devices/devtest"
	"dfemu/devices/virtio/blk"
	"dfemu/devices/virtio/virtiotest"
)

// onFile is a disk whose queues are in a file past the page cache.
func onFile(t *testing.T, o blk.Options, features uint64) (*disk, *devtest.File, []byte) {
	t.Helper()
	content := make([]byte, diskSize)
	for i := range content {
		content[i] = byte(i>>9) ^ byte(i)*5
	}
	f := devtest.NewFile(t, content)
	o.Name = "virtio-blk0"
	dev, err := blk.New(o, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	d := &disk{Driver: virtiotest.New(t, dev.Function(), true), dev: dev}
	d.Start(features)
	for i := range max(o.Queues, 1) {
		d.q = append(d.q, d.Queue(i, 32))
	}
	d.Go()
	return d, f, content
}

// TestReads has reads and writes under way in all of two queues, with requests among them that are waited for.
func TestReads(t *testing.T) {
	for name, features := range map[string]uint64{
		"split": virtiotest.EventIdx | virtiotest.Indirect, "packed": virtiotest.Packed | virtiotest.Indirect,
	} {
		t.Run(name, func(t *testing.T) {
			d, f, content := onFile(t, blk.Options{Queues: 2, Packed: true}, features|featureMQ|featureFlush|featureWCE)
			const size = 8192
			for round := range 6 {
				for k, q := range d.q {
					for i := range 24 {
						at := (k*24 + i) * size
						if i%2 == round%2 {
							data := bytes.Repeat([]byte{byte(round*50 + k*24 + i)}, size)
							copy(content[at:], data)
							q.Add([][]byte{header(1, uint64(at/512)), data[:512], data[512:]}, 1)
						} else {
							q.Add([][]byte{header(0, uint64(at/512))}, 4096, 4096, 1)
						}
					}
					q.Add([][]byte{header(4, 0)}, 1)
					q.Kick()
				}
				for _, q := range d.q {
					for _, b := range q.Wait(25) {
						in := bytes.Join(b.In, nil)
						if st := in[len(in)-1]; st != 0 {
							t.Fatalf("status %d", st)
						}
						if len(in) == 1 {
							continue
						}
						if !bytes.Contains(content[:48*size], in[:size]) {
							t.Fatal("what was read is not on the disk")
						}
					}
				}
			}
			got, st, n := d.do(0, 0, nil, 48*size)
			if st != 0 || n != 48*size+1 || !bytes.Equal(got, content[:48*size]) {
				t.Errorf("status %d, %d bytes", st, n)
			}
			if f.Flushes.Load() != 12 {
				t.Errorf("%d flushes", f.Flushes.Load())
			}
		})
	}
}

// TestReadsBeside has a read that is waited for, and others beside it that land before.
func TestReadsBeside(t *testing.T) {
	d, f, _ := onFile(t, blk.Options{}, featureFlush)
	f.Gate = make(chan struct{})
	q := d.q[0]
	for range 5 {
		q.Add([][]byte{header(0, 8)}, 4096, 1)
	}
	q.Kick()
	q.Wait(4)
	if n := f.Offered.Load(); n != 4 {
		t.Errorf("%d reads were on the file, want 4", n)
	}
	close(f.Gate)
	q.Wait(1)
}

// TestReadsErrors sends requests that fail, and goes on.
func TestReadsErrors(t *testing.T) {
	d, f, content := onFile(t, blk.Options{}, featureFlush)
	if err := f.Truncate(diskSize / 2); err != nil {
		t.Fatal(err)
	}
	if _, st, n := d.do(0, diskSize/2/512-1, nil, 1024); st != 1 || n != 1 {
		t.Errorf("behind the file's end: status %d, %d bytes", st, n)
	}
	if _, st, _ := d.do(0, diskSize/512, nil, 512); st != 1 {
		t.Errorf("behind the disk's end: status %d", st)
	}
	if _, st, _ := d.do(99, 0, nil, 512); st != 2 {
		t.Errorf("no such request: status %d", st)
	}
	if got, st, _ := d.do(0, 8, nil, 4096); st != 0 || !bytes.Equal(got, content[4096:8192]) {
		t.Errorf("status %d", st)
	}
}

// TestReadsResets resets and pauses the device with requests under way.
func TestReadsResets(t *testing.T) {
	d, _, content := onFile(t, blk.Options{}, featureFlush)
	for range 20 {
		for range 8 {
			d.q[0].Add([][]byte{header(0, 0)}, 4096, 1)
		}
		d.q[0].Kick()
		d.dev.Pause()
		d.dev.Resume()
		d.Start(featureFlush)
		d.q[0] = d.Queue(0, 32)
		d.Go()
	}
	if got, st, _ := d.do(0, 8, nil, 4096); st != 0 || !bytes.Equal(got, content[4096:8192]) {
		t.Errorf("status %d", st)
	}
}
