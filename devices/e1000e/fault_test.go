package e1000e

import (
	"bytes"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
)

func TestFaults(t *testing.T) {
	want := frame(100, ownMAC)
	for name, x := range map[string]struct {
		e          devices.Effect
		sent, done int
	}{
		"fail": {devices.Effect{Fail: true}, 1, 2}, "drop": {devices.Effect{Drop: true}, 2, 1}, "duplicate": {devices.Effect{Duplicate: true}, 3, 2},
		"hold": {devices.Effect{Hold: 1}, 2, 2}, "short": {devices.Effect{ShortOn: true, Short: 20}, 2, 2}, "flip": {devices.Effect{FlipData: 1}, 2, 2},
		"table": {devices.Effect{FlipTable: 1}, 1, 2}, "hang": {devices.Effect{Hang: true}, 0, 0}, "delay": {devices.Effect{Delay: 500}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCard(t)
			c.start(rctlBAM)
			n := 0
			c.observe(func(*devices.Command) devices.Effect {
				if n++; n == 1 {
					return x.e
				}
				return devices.Effect{}
			})
			var at []uint64
			for range 2 {
				at = append(at, c.desc(0, c.put8(want), 100|(cmdEOP|cmdRS)<<24, 0))
			}
			c.put(0x3818, c.tail[0])
			if name == "hang" {
				c.waitFor("hang", func() bool { return c.get(0x3810) == 1 })
				c.dev.Pause()
				c.dev.Resume()
				c.put(0, ctrlRST)
				c.start(0)
				c.desc(0, c.put8(want), 100|cmdEOP<<24, 0)
				c.kick(0)
				c.w.take(t, 1)
				return
			}
			c.kick(0)
			if name == "hold" {
				c.desc(0, c.put8(want), 100|(cmdEOP|cmdRS)<<24, 0)
				c.kick(0)
				x.sent++
			}
			c.clock.Advance(1000)
			l := c.w.take(t, x.sent)
			switch name {
			case "short":
				if l[0].Len() != 20 {
					t.Errorf("%d bytes", l[0].Len())
				}
			case "flip":
				if bytes.Equal(l[0].Pieces[0], want) || !bytes.Equal(l[1].Pieces[0], want) {
					t.Error("no bit, or the wrong one's")
				}
			}
			done := 0
			for _, a := range at {
				var b [1]byte
				c.ram.Read(a+12, b[:])
				done += int(b[0] & 1)
			}
			if done != x.done {
				t.Errorf("%d descriptors written back, want %d", done, x.done)
			}
		})
	}
	c := newCard(t)
	c.start(rctlBAM)
	c.buffers(0, 8)
	n := 0
	c.observe(func(*devices.Command) devices.Effect {
		n++
		return []devices.Effect{{Fail: true}, {Duplicate: true}, {Delay: 10}}[n-1]
	})
	c.receive(want, want, want)
	if h := c.get(0x2810); h != 2 {
		t.Errorf("RDH %d", h)
	}
	c.clock.Advance(20)
	if h := c.get(0x2810); h != 3 {
		t.Errorf("RDH %d after the delay", h)
	}
}

func TestStrict(t *testing.T) {
	c := newCard(t)
	c.observe(nil)
	for _, x := range []struct {
		name string
		do   func()
	}{
		{"half a register", func() { c.mmio.Read(bar0, 2) }}, {"no register", func() { c.put(0x44, 1) }}, {"read-only", func() { c.put(8, 1) }},
		{"ring not aligned", func() { c.put(0x3800, 8) }}, {"ring length", func() { c.put(0x2808, 100) }}, {"tail outside", func() { c.put(0x2818, 99) }},
		{"receiver without a ring", func() { c.put(0x100, rctlEN) }}, {"head while running", func() { c.put(0x2810, 1) }},
	} {
		c.watch.violations = nil
		x.do()
		if len(c.watch.violations) != 1 {
			t.Errorf("%s: %q", x.name, c.watch.violations)
		}
	}
}

func TestSave(t *testing.T) {
	c := newCard(t)
	c.start(rctlBAM)
	c.put(0x5600, 0x1234)
	p := frame(100, ownMAC)
	// Half a packet has been taken.
	c.desc(0, c.put8(p[:50]), 50, 0)
	c.kick(0)
	c.put(0xd0, causeLSC)
	c.dev.Pause()
	s, err := c.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	e := newCard(t)
	copy(e.ram.Data, c.ram.Data)
	e.dev.Pause()
	if err := e.dev.RestoreState(s); err != nil {
		t.Fatal(err)
	}
	e.dev.Resume()
	e.tail, e.buffer = c.tail, c.buffer
	if e.get(0x5600) != 0x1234 || e.get(0xd0) != causeLSC {
		t.Error("registers differ")
	}
	e.desc(0, e.put8(p[50:]), 50|cmdEOP<<24, 0)
	e.kick(0)
	if l := e.w.take(t, 1); !bytes.Equal(l[0].Pieces[0], p) {
		t.Error("the packet under way was lost")
	}
	for n := 0; n < len(s); n += 101 {
		if e.dev.RestoreState(s[:n]) == nil {
			t.Errorf("%d bytes of %d are a state", n, len(s))
		}
	}
}

func TestPause(t *testing.T) {
	c := newCard(t)
	c.start(rctlBAM)
	c.buffers(0, 4)
	c.dev.Pause()
	c.desc(0, c.put8(frame(60, ownMAC)), 60|cmdEOP<<24, 0)
	c.put(0x3818, 1)
	if c.receive(frame(60, ownMAC)) != 0 {
		t.Error("received while paused")
	}
	c.w.take(t, 0)
	c.dev.Resume()
	<-c.w.ready
	c.w.take(t, 1)
}

// FuzzDevice writes registers, descriptors and packets of any content.
func FuzzDevice(f *testing.F) {
	devtest.HostileMemory(f)
	step := func(op byte, off uint16, v uint32) []byte {
		return le.AppendUint32(le.AppendUint16([]byte{op}, off), v)
	}
	var s []byte
	for _, x := range []struct {
		off uint16
		v   uint32
	}{{0x3800, txRing}, {0x3808, 256}, {0x400, tctlEN | tctlPSP}, {0x3818, 5}, {0x2800, rxRing}, {0x2808, 256}, {0x2818, 9}, {0x100, rctlEN | rctlUPE | rctlLPE}, {0x5008, rfctlEXSTEN}, {0x5818, 1 | 0x1f<<16}} {
		s = append(s, step(0, x.off, x.v)...)
	}
	s = append(s, step(2, 300, 7)...)
	f.Add(s, []byte{14, 24, 33, 0, 34, 50, 0, 0, 100, 0, 0, 0x27, 0, 54, 100, 0, 0, 0, 4, 0, 0, 0, 0, 0, 200, 0, 0x10, 0x25, 0, 3})
	f.Add(append(s, step(1, 0, ctrlRST)...), bytes.Repeat([]byte{0, 0, 4, 0, 0, 0, 0, 0, 60, 0, 0, 9, 0, 0, 0, 0}, 3))
	f.Fuzz(func(t *testing.T, p, ring []byte) {
		c := newCard(t)
		c.observe(func(k *devices.Command) devices.Effect {
			if k.Bytes%3 == 0 {
				return devices.Effect{FlipData: 2, Hold: int(k.Bytes % 2), Duplicate: k.Bytes%5 == 0, ShortOn: k.Bytes%7 == 0, Short: 10, Delay: int64(k.Bytes % 2)}
			}
			return devices.Effect{}
		})
		c.ram.Write(txRing, ring[:min(len(ring), 256)])
		c.ram.Write(rxRing, ring[:min(len(ring), 256)])
		for ; len(p) >= 7; p = p[7:] {
			off, v := uint64(le.Uint16(p[1:])), le.Uint32(p[3:])
			switch p[0] % 5 {
			case 0:
				c.put(off&^3, v)
			case 1:
				c.mmio.Read(bar0+off, 1<<(v&3))
			case 2:
				c.receive(make([]byte, 5+off%20000), frame(int(14+v%2000), ownMAC))
			case 3:
				c.clock.Advance(int64(v))
			case 4:
				c.dev.Pause()
				s, err := c.dev.SaveState()
				if err == nil {
					err = c.dev.RestoreState(s)
				}
				if err != nil {
					t.Fatal(err)
				}
				c.dev.Resume()
			}
		}
		c.dev.Reset()
		c.enable()
		c.observe(nil)
		c.start(0)
		c.w.mu.Lock()
		c.w.sent = nil
		c.w.mu.Unlock()
		c.desc(0, c.put8(frame(60, ownMAC)), 60|cmdEOP<<24, 0)
		c.kick(0)
		c.w.take(t, 1)
	})
}

func BenchmarkTransmit(b *testing.B) {
	c := newCard(b)
	c.start(0)
	p := tcp(60000, 6)
	a := c.put8(p)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		c.desc(0, 14|24<<8|33<<16|34<<32|50<<40, 60000|(cmdDEXT|cmdTSE|tuIP|tuTCP)<<24, 54<<8|1460<<16)
		c.desc(0, a, uint32(len(p))|1<<20|(cmdDEXT|cmdTSE|cmdEOP|cmdRS)<<24, (poptsIXSM|poptsTXSM)<<8)
		c.kick(0)
		c.w.sent = c.w.sent[:0]
	}
}

func BenchmarkReceive(b *testing.B) {
	c := newCard(b)
	c.start(rctlBAM)
	c.put(0x5000, rxcsumIPOFL|rxcsumTUOFL|rxcsumPCSD)
	c.buffers(0, 15)
	p := tcp(1400, 6)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		c.receive(p)
		c.put(0x2818, (c.get(0x2810)+ringN-1)%ringN)
	}
}
