package devfs

import (
	"fmt"
	"sync"

	"dfemu/kernel/subr/disk"
)

// Disks makes the nodes of the disk layer devices. It is a disk.Publisher.
type Disks struct {
	core *Core
	mu   sync.Mutex
	devs map[*disk.Node]*Dev
}

// NewDisks returns a publisher for a file system.
func NewDisks(c *Core) *Disks { return &Disks{core: c, devs: map[*disk.Node]*Dev{}} }

// diskOps are the operations of disks.
type diskOps struct{}

// diskFile is an open disk.
type diskFile struct{ *disk.Node }

// Close implements File.
func (diskFile) Close() error { return nil }

// Open implements Ops.
func (diskOps) Open(d *Dev) (File, error) {
	n, ok := d.Arg.(*disk.Node)
	if !ok {
		return nil, fmt.Errorf("%s is no disk", d.Name)
	}
	return diskFile{n}, nil
}

// Publish implements disk.Publisher.
func (p *Disks) Publish(n *disk.Node) {
	d := &Dev{Name: n.Name, Type: "disk", Ops: diskOps{}, Mode: 0o640, GID: 5, Size: n.Size, Arg: n}
	p.mu.Lock()
	p.devs[n] = d
	p.mu.Unlock()
	p.core.CreateLater(d)
	for _, a := range n.Aliases {
		p.core.Alias(d, a)
	}
}

// Withdraw implements disk.Publisher.
func (p *Disks) Withdraw(n *disk.Node) {
	p.mu.Lock()
	d := p.devs[n]
	delete(p.devs, n)
	p.mu.Unlock()
	if d != nil {
		p.core.Destroy(d)
	}
}
