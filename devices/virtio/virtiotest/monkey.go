package virtiotest

import (
	"testing"

	"dfemu/devices/pci"
)

// Monkey has the bytes of in be a driver of a device, with queues of 8 descriptors: descriptors and rings of any content,
// notifications, registers, resets, pauses, bus mastering on and off, in any order. In the end the device must come to rest and begin again; what
// then works is for the caller to try, with the driver that it gets.
func Monkey(t testing.TB, dev interface {
	Pause()
	Resume()
}, fn *pci.Function, queues int, in []byte) *Driver {
	t.Helper()
	const size = 8
	d := New(t, fn, true)
	var l []*Queue
	begin := func(features uint64) {
		d.Start(features & (Indirect | EventIdx))
		d.rings, l = ringsBase, nil
		for i := range queues {
			l = append(l, d.Queue(i, size))
		}
		d.Go()
	}
	begin(0)
	next := func() uint64 {
		if len(in) == 0 {
			return 0
		}
		v := in[0]
		in = in[1:]
		return uint64(v)
	}
	// Addresses are near the rings, in memory, at its end, or nowhere.
	address := func() uint64 {
		return []uint64{ringsBase, dataBase, RAMSize - 64, 1 << 40}[next()%4] + 16*next()
	}
	for len(in) > 0 {
		q := l[next()%uint64(queues)]
		switch next() % 8 {
		case 0, 1:
			at := q.Desc + 16*(next()%size)
			a := address()
			put(q.ram[at:], a, uint32(next()*next()), uint32(next()%8)|uint32(next()%(size+1))<<16)
		case 2:
			index := load16(q.ram, q.Driver+2)
			store16(q.ram, q.Driver+4+2*uint64(index%size), uint16(next()%(size+1)))
			store16(q.ram, q.Driver+2, index+uint16(next()%4))
		case 3:
			q.Notify()
		case 4:
			d.Put(next()%0x40, 1<<(next()%4), next())
		case 5:
			dev.Pause()
			dev.Resume()
		case 6:
			d.SetConfig(pci.RegCommand, 2, pci.CommandMemory|uint32(next()&1)*pci.CommandMaster)
		case 7:
			if next()%4 == 0 {
				begin(next() << 28)
			} else {
				q.ram[(address()+next())%RAMSize] = byte(next())
			}
		}
	}
	d.SetConfig(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	d.Put(Status, 1, 0)
	d.rings = ringsBase
	return d
}
