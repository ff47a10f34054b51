package network

import (
	"slices"
	"sync"

	"dfemu/devices"
)

// inbox stands before a device that receives: it completes frames for it, and keeps
// them while it has no room.
type inbox struct {
	to devices.FrameReceiver

	mu      sync.Mutex // guards what follows; held while the device receives
	accept  devices.Offloads
	soft    completer
	backlog []devices.Frame // copies that the device had no room for
	bytes   int             // in backlog
	started bool
	done    bool

	wake chan struct{}
	quit chan struct{}
	wg   sync.WaitGroup
}

// Bounds of what is kept for a device without room; more is lost. The window of a TCP
// connection fits in.
const (
	backlogFrames = 8192
	backlogBytes  = 8 << 20
	drainBatch    = 64
)

func (b *inbox) init() {
	b.wake = make(chan struct{}, 1)
	b.quit = make(chan struct{})
}

// start begins to deliver.
func (b *inbox) start(to devices.FrameReceiver) {
	b.mu.Lock()
	b.to, b.started = to, true
	b.mu.Unlock()
	b.wg.Add(1)
	go b.drain()
}

// stop ends that, and reports whether it is the first time.
func (b *inbox) stop() bool {
	b.mu.Lock()
	first := !b.done
	b.done = true
	b.mu.Unlock()
	if first {
		close(b.quit)
		b.wg.Wait()
	}
	return first
}

// Configure implements devices.Network.
func (b *inbox) Configure(accept devices.Offloads, _ int) {
	b.mu.Lock()
	b.accept = accept
	b.mu.Unlock()
}

// Ready implements devices.Network.
func (b *inbox) Ready(int) {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// deliver gives frames to the device. It never waits; they belong to the caller on
// return. It implements member.
func (b *inbox) deliver(frames []devices.Frame) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done || !b.started {
		return
	}
	n := 0
	for n < len(frames) && len(b.backlog) == 0 {
		// A run that the device takes as it is, or one frame in pieces.
		k := n
		for k < len(frames) && frames[k].Needs()&^b.accept == 0 {
			k++
		}
		if k > n {
			took := b.to.Receive(0, frames[n:k])
			if n += took; n < k {
				break
			}
			continue
		}
		l := b.soft.complete(&frames[n], b.accept)
		took := b.to.Receive(0, l)
		b.keep(l[took:])
		n++
	}
	b.keep(frames[n:])
}

// keep copies frames for later. The caller holds mu.
func (b *inbox) keep(frames []devices.Frame) {
	for i := range frames {
		f := &frames[i]
		size := f.Len()
		if len(b.backlog) >= backlogFrames || b.bytes+size > backlogBytes {
			return
		}
		p := make([]byte, size)
		b.backlog = append(b.backlog, devices.Frame{Offload: f.Offload, Pieces: [][]byte{p[:f.CopyTo(p, 0)]}})
		b.bytes += size
	}
}

// replace puts copies of frames in the place of the n-th one kept, of which they are what is left. The caller holds mu.
func (b *inbox) replace(n int, rest []devices.Frame) {
	b.bytes -= b.backlog[n].Len()
	copies := make([]devices.Frame, len(rest))
	for i := range rest {
		p := make([]byte, rest[i].Len())
		copies[i] = devices.Frame{Offload: rest[i].Offload, Pieces: [][]byte{p[:rest[i].CopyTo(p, 0)]}}
		b.bytes += copies[i].Len()
	}
	b.backlog = slices.Replace(b.backlog, n, n+1, copies...)
}

// drain offers the backlog each time the device has room again.
func (b *inbox) drain() {
	defer b.wg.Done()
	for {
		select {
		case <-b.wake:
		case <-b.quit:
			return
		}
		b.mu.Lock()
		n := 0
		for n < len(b.backlog) && !b.done {
			k := n
			for k < len(b.backlog) && k < n+drainBatch && b.backlog[k].Needs()&^b.accept == 0 {
				k++
			}
			if k > n {
				took := b.to.Receive(0, b.backlog[n:k])
				for range took {
					b.bytes -= b.backlog[n].Len()
					n++
				}
				if n < k {
					break
				}
				continue
			}
			l := b.soft.complete(&b.backlog[n], b.accept)
			took := 0
			if len(l) > 0 {
				took = b.to.Receive(0, l)
			}
			if took < len(l) {
				if took > 0 {
					b.replace(n, l[took:])
				}
				break
			}
			b.bytes -= b.backlog[n].Len()
			n++
		}
		b.backlog = slices.Delete(b.backlog, 0, n)
		b.mu.Unlock()
	}
}
