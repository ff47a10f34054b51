package nvme_test

import (
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// FuzzController lets the input be a driver: register writes, commands built of
// the input's bytes, doorbells, resets, pauses and saved states, on a controller
// with everything turned on. Nothing may panic, hang or reach outside of memory,
// and no goroutine may stay behind.
func FuzzController(f *testing.F) {
	devtest.HostileMemory(f)
	f.Add([]byte{0, 0, 0})
	boot := []byte{0x00}
	for _, c := range [][]byte{
		{1, 6, 1}, {1, 5, 1}, {1, 1, 1}, {2, 1, 0}, {2, 2, 0}, {2, 0x79, 0}, {2, 0x7d, 3}, {2, 0x19, 1}, {2, 9, 1}, {2, 0xd, 1}, {1, 0x80, 0},
		{1, 0x7c, 0}, {1, 9, 0xd}, {1, 0xd, 0}, {1, 0x15, 0}, {3, 0x20, 0x50}, {4, 1, 0}, {5, 0, 0}, {6, 0, 0}, {7, 1, 2}, {8, 0, 0}, {9, 4, 4},
	} {
		boot = append(boot, c...)
	}
	f.Add(boot)
	f.Add([]byte("\x00\x02\x02\x00\x02\x05\x80\x02\x01\x80\x04\x01\x00\x08\x00\x00\x00\x06\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 400 {
			return
		}
		memory := func(n int) devices.Block {
			b, err := block.NewMemory(make([]byte, n), false)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		first := memory(64 << 10)
		if len(in)%4 == 3 {
			first = devtest.NewFile(t, make([]byte, 64<<10)) // whose reads land later
		}
		d := newDriver(t, nvme.Options{
			Queues: 4, QueueEntries: 16, MaxTransfer: 64 << 10, Buffer: 8192, HostMemory: 4096, Clock: devtest.NewClock(time.Unix(0, 0)),
			Sub: nvme.SubsystemOptions{MaxNamespaces: 4, PoolZoneSize: 64 << 10, Pool: memory(320 << 10), Namespaces: []nvme.NamespaceOptions{
				{Store: first},
				{Store: memory(80 << 10), BlockSize: 4096, Zoned: true, ZoneSize: 16 << 10, MaxOpen: 2, MaxActive: 3},
			}},
		})
		w := d.watch()
		w.DisturbBy(func(c *devices.Command) devices.Effect {
			return devices.Effect{
				Fail: c.Tag%31 == 1, Delay: int64(c.Tag % 7 / 6 * 1000), Hang: c.Tag%29 == 2, Drop: c.Tag%23 == 3, Duplicate: c.Tag%19 == 4,
				Hold: c.Tag % 17 / 16, ShortOn: c.Tag%13 == 5, Short: 100, FlipData: uint64(c.Tag % 11 / 10), FlipTable: uint64(c.Tag%5/4) << (c.Tag % 40), Seed: uint64(c.Tag),
			}
		})
		m := &monkey{d: d, in: in}
		m.enable()
		for len(m.in) > 0 {
			m.step()
			w.Forget()
		}
	})
}

// monkey is a driver that does what its input says.
type monkey struct {
	d     *driver
	in    []byte
	tails [6]uint32
	heads [6]uint32
	cid   uint16
}

func (m *monkey) byte() byte {
	if len(m.in) == 0 {
		return 0
	}
	b := m.in[0]
	m.in = m.in[1:]
	return b
}

func (m *monkey) ring(q int) uint64 { return ringBase + uint64(q)*0x4000 }

func (m *monkey) enable() {
	d := m.d
	d.put(rAQA, 4, 0x000f000f)
	d.put(rASQ, 8, m.ring(0))
	d.put(rACQ, 8, m.ring(0)+0x2000)
	d.put(rCC, 4, ccEnable|6<<4)
	m.tails, m.heads = [6]uint32{}, [6]uint32{}
	for q := 1; q < 4; q++ {
		m.command(0, sqe{op: 5, prp1: m.ring(q) + 0x2000, dw: [6]uint32{uint32(q) | 15<<16, 3 | uint32(q)<<16}})
		m.command(0, sqe{op: 1, prp1: m.ring(q), dw: [6]uint32{uint32(q) | 15<<16, 1 | uint32(q)<<16}})
	}
}

func (m *monkey) command(q int, c sqe) {
	m.cid++
	p := &pair{d: m.d, id: q, size: 16, sq: m.ring(q), tail: m.tails[q], next: m.cid}
	p.add(c)
	m.tails[q] = p.tail
	m.d.put(rDoorbells+8*uint64(q), 4, uint64(p.tail))
}

// number is a value that may be small, or hit an edge.
func (m *monkey) number() uint64 {
	b := m.byte()
	switch b >> 6 {
	case 0:
		return uint64(b)
	case 1:
		return dataBase + uint64(b&0x3f)*512
	case 2:
		return uint64(b&0x3f) << 10
	}
	return ^uint64(0) - uint64(b&0x3f)
}

func (m *monkey) step() {
	d := m.d
	kind, a := m.byte(), m.byte()
	switch kind % 12 {
	case 0, 1, 2, 3:
		q := int(kind%4+kind>>4) % 4
		if kind%12 == 1 {
			q = 0
		}
		c := sqe{op: a, nsid: uint32(m.byte() % 6), prp1: m.number(), prp2: m.number(), fuse: kind >> 6, psdt: m.byte() % 3}
		for i := range c.dw {
			c.dw[i] = uint32(m.number())
		}
		m.command(q, c)
	case 4:
		d.put(uint64(a)*4, 4, m.number())
	case 5:
		d.put(rDoorbells+uint64(a%16)*4, 4, uint64(m.byte()%20))
	case 6:
		d.put(rCC, 4, uint64(ccEnable)&^1)
		d.waitStatus(1, 0)
		m.enable()
	case 7:
		le.PutUint64(d.bytes(dataBase+uint64(a)*8, 8), m.number())
		le.PutUint64(d.bytes(dataBase+uint64(a)*8+8, 8), m.number()<<56|m.number()&0xffff)
	case 8:
		d.dev.Pause()
		if s, err := d.dev.SaveState(); err == nil {
			if err := d.dev.RestoreState(s); err != nil {
				d.t.Errorf("restore: %v", err)
			}
		}
		d.dev.Resume()
	case 9:
		d.clock.Advance(int64(a) * 100_000)
	case 10:
		q := uint64(a % 5)
		m.heads[q] = (m.heads[q] + uint32(a>>4)) % 16
		d.put(rDoorbells+8*q+4, 4, uint64(m.heads[q]))
	case 11:
		if a%8 == 0 {
			d.dev.Reset()
			d.program([]string{"msix", "msi", "intx"}[a>>4%3])
		} else if a%8 == 1 {
			d.put(rNSSR, 4, 0x4e564d65)
		} else if a%8 == 2 {
			d.setConfig(4, 2, 2)
			d.setConfig(4, 2, 6)
		}
		m.enable()
	}
}
