package nvme_test

import (
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// closing counts how often a store is closed.
type closing struct {
	devices.Block
	n *int
}

func (c closing) Close() error { *c.n++; return c.Block.Close() }

// TestBadOptions tries options that are refused; the store is closed all the same.
func TestBadOptions(t *testing.T) {
	for _, c := range []struct {
		want string
		o    func(o *nvme.Options, n *nvme.NamespaceOptions)
	}{
		{"no clock", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.Clock = nil }},
		{"129 I/O queue pairs", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.Queues = 129 }},
		{"queues of 1 entries", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.QueueEntries = 1 }},
		{"transfers of 4096", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.MaxTransfer = 4096 }},
		{"transfers of 5000", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.MaxTransfer = 5000 }},
		{"controller memory buffer", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.Buffer = 5000 }},
		{"host memory buffer", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.HostMemory = 5000 }},
		{"3 MSI vectors", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.MSIVectors = 3 }},
		{"serial number", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.Sub.Serial = "123456789012345678901" }},
		{"printable ASCII", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.Sub.Model = "a\x00" }},
		{"namespaces: must be", func(o *nvme.Options, _ *nvme.NamespaceOptions) { o.Sub.MaxNamespaces = 5000 }},
		{"identifier 300", func(_ *nvme.Options, n *nvme.NamespaceOptions) { n.NSID = 300 }},
		{"blocks of 1000 bytes", func(_ *nvme.Options, n *nvme.NamespaceOptions) { n.BlockSize = 1000 }},
		{"zones of 5000 bytes", func(_ *nvme.Options, n *nvme.NamespaceOptions) { n.Zoned, n.ZoneSize = true, 5000 }},
		{"zone capacity", func(_ *nvme.Options, n *nvme.NamespaceOptions) {
			n.Zoned, n.ZoneSize, n.ZoneCapacity = true, 1<<20, 2<<20
		}},
		{"limits", func(_ *nvme.Options, n *nvme.NamespaceOptions) {
			n.Zoned, n.ZoneSize, n.MaxOpen, n.MaxActive = true, 1<<20, 3, 2
		}},
		{"make 0 zones", func(_ *nvme.Options, n *nvme.NamespaceOptions) { n.Zoned, n.ZoneSize = true, 16<<20 }},
	} {
		closed := 0
		n := nvme.NamespaceOptions{Store: closing{store(t, diskSize), &closed}}
		o := nvme.Options{Clock: devtest.NewClock(time.Unix(0, 0))}
		c.o(&o, &n)
		o.Sub.Namespaces = []nvme.NamespaceOptions{n}
		d, err := nvme.New(o)
		if err == nil {
			t.Errorf("%s: accepted", c.want)
			d.Close()
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q", c.want, err)
		}
		if closed != 1 {
			t.Errorf("%s: the store was closed %d times", c.want, closed)
		}
	}
}

func TestResized(t *testing.T) {
	g := &growing{Block: store(t, diskSize), size: 1 << 20}
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: g}}}})
	p := d.boot()
	d.admin(sqe{op: 9, dw: [6]uint32{0xb, 0x100}})
	event := d.q[0].submit(sqe{op: 0xc})
	p.fails(d.transfer(2, 2048, 1, d.alloc(512), 512), 0x80)
	g.size = 2 << 20
	if err := d.dev.Subsystem().Resized(1); err != nil {
		t.Fatal(err)
	}
	d.q[0].wait(event)
	p.read(4095, 1, 512)
	if n := d.identify(0, 0, 1); le.Uint64(n) != 4096 {
		t.Errorf("%d blocks", le.Uint64(n))
	}
	if d.dev.Subsystem().Resized(5) == nil {
		t.Error("a namespace that is not there was resized")
	}
}

type growing struct {
	devices.Block
	size int64
}

func (g *growing) Size() int64 { return g.size }
