// Package drive is the harness through which any chipset device is fuzzed and
// tested: a program of bytes becomes register accesses and clock advances.
package drive

import (
	"sync"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
)

// A Window is one region of the device under test.
type Window struct {
	Region devices.Region
	Size   uint64
}

// Device is what the harness needs of a device.
type Device interface {
	devices.Device
	devices.Saver
}

// Bounds of one program, so that a fuzzer looks for bugs, not for length.
const (
	maxAccesses = 512
	maxAdvance  = 3e9 // nanoseconds
)

// Fuzz runs program against the device. Each access takes a byte that selects
// window, width and direction, then an offset and up to four bytes of value.
// Now and then, and at the end, that is followed by saving, resetting and restoring the device,
// which must give the same state again. extra, if not nil, is called with the
// program's spare bytes to drive what is not a register.
func Fuzz(t *testing.T, program []byte, clock *devtest.Clock, d Device, extra func(op byte), windows ...Window) {
	next := func() byte {
		if len(program) == 0 {
			return 0
		}
		b := program[0]
		program = program[1:]
		return b
	}
	budget := int64(maxAdvance)
	for n := 0; n < maxAccesses && len(program) > 0; n++ {
		op := next()
		w := windows[int(op>>4)%len(windows)]
		size := 1 << (op >> 1 & 3)
		switch {
		case op&0x0f == 0x0f:
			// Steps that meet short and long periods.
			step := int64(next()) << (next() % 24)
			if budget -= step; budget > 0 {
				clock.Advance(step)
			}
			continue
		case op&0x0e == 0x0c:
			if extra != nil {
				extra(next())
			}
			continue
		}
		off := (uint64(next()) | uint64(next())<<8) % w.Size
		size = min(size, 8)
		for uint64(size) > w.Size-off {
			size >>= 1
		}
		if op&1 == 0 {
			v, err := w.Region.Read(off, size)
			if err == nil && v&^devices.Ones(size) != 0 {
				t.Errorf("read of %d bytes at %#x returned %#x", size, off, v)
			}
		} else {
			v := uint64(next()) | uint64(next())<<8 | uint64(next())<<16 | uint64(next())<<24
			_ = w.Region.Write(off, size, v&devices.Ones(size))
		}
		if n%16 == 15 {
			RoundTrip(t, d)
		}
	}
	RoundTrip(t, d)
	d.Reset()
}

// RoundTrip saves, resets and restores the device and checks that nothing of
// its state was lost.
func RoundTrip(t *testing.T, d Device) {
	t.Helper()
	before, err := d.SaveState()
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	d.Reset()
	if err := d.RestoreState(before); err != nil {
		t.Fatalf("restore of %s: %v", before, err)
	}
	after, err := d.SaveState()
	if err != nil {
		t.Fatalf("save again: %v", err)
	}
	if string(before) != string(after) {
		t.Errorf("state changed in a save and restore:\n%s\n%s", before, after)
	}
}

// FuzzRestore feeds p to RestoreState, and uses the device afterwards: input
// that is accepted must leave a device that works.
func FuzzRestore(p []byte, clock *devtest.Clock, d Device, windows ...Window) {
	_ = d.RestoreState(p)
	clock.Advance(1e9)
	for _, w := range windows {
		for off := uint64(0); off < min(w.Size, 256); off++ {
			_, _ = w.Region.Read(off, 1)
			_ = w.Region.Write(off, 1, 0x5a)
		}
	}
	clock.Advance(1e9)
	d.Reset()
}

// Hammer accesses the windows from several goroutines at once, as CPUs do, while
// the clock moves and the device is looked at and reset. The race detector and
// the test's own deadline judge.
func Hammer(clock *devtest.Clock, d Device, windows ...Window) {
	var wg sync.WaitGroup
	for cpu := range uint64(3) {
		wg.Go(func() {
			x := cpu*0x9e37_79b9 + 1
			for range 300 {
				x = x*6364136223846793005 + 1442695040888963407
				r := x >> 16
				w := windows[r%uint64(len(windows))]
				off := (r >> 8) % min(w.Size, 0x200)
				if r>>40&1 != 0 {
					_, _ = w.Region.Read(off, 1)
				} else {
					_ = w.Region.Write(off, 1, r>>48&0xff)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range int64(100) {
			clock.Advance(i * 1000)
			_, _ = d.SaveState()
		}
		d.Reset()
	})
	wg.Wait()
}

// In reads size bytes at off, and fails the test if the device refuses.
func In(t *testing.T, r devices.Region, off uint64, size int) uint64 {
	t.Helper()
	v, err := r.Read(off, size)
	if err != nil {
		t.Fatalf("read of %d bytes at %#x: %v", size, off, err)
	}
	return v
}

// Out writes the low size bytes of v at off, and fails the test if the device
// refuses.
func Out(t *testing.T, r devices.Region, off uint64, size int, v uint64) {
	t.Helper()
	if err := r.Write(off, size, v); err != nil {
		t.Fatalf("write of %#x (%d bytes) at %#x: %v", v, size, off, err)
	}
}
