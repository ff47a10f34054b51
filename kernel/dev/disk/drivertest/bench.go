package drivertest

import (
	"testing"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/subr/disk/exercise"
)

// Bench is a driver of disks on a function of a test.
type Bench struct {
	H     *Host
	Layer *disk.Layer
	Unit  pci.Attached
	// Err is why the driver has not attached.
	Err error
}

// Attach has a driver, made for the layer, attach to a function. It returns when the tables of its disks have been read.
func Attach(h *Host, d *pci.Device, driver func(*disk.Layer) pci.Driver) *Bench {
	b := &Bench{H: h, Layer: disk.New(h.K, nil)}
	b.Unit, b.Err = driver(b.Layer).Attach(d, 0)
	b.Layer.Sync()
	return b
}

// Detach ends the driver, whose disks must go with it.
func (b *Bench) Detach(t *testing.T) {
	t.Helper()
	if b.Unit != nil {
		b.Unit.Detach()
		b.Layer.Sync()
	}
	if n := len(b.Layer.Disks()); n != 0 {
		t.Errorf("%d disks are left", n)
	}
}

// Node returns a disk that must be there.
func (b *Bench) Node(t *testing.T, name string) *disk.Node {
	t.Helper()
	n := b.Layer.Find(name)
	if n == nil {
		t.Fatalf("there is no %s:\n%s", name, b.H.Log())
	}
	return n
}

// target is a node that can be loaded.
type target struct{ *disk.Node }

// Sync implements exercise.Target.
func (t target) Sync() error { return t.Flush() }

// Target makes a node one that can be loaded.
func Target(n *disk.Node) exercise.Target { return target{n} }
