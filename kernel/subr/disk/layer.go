package disk

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/subr/part"
)

// Publisher is told what can be opened, in order: a file system of devices.
type Publisher interface {
	// Publish says that a node is there.
	Publish(n *Node)
	// Withdraw says that it is not any more; who has it open gets errors.
	Withdraw(n *Node)
}

// Layer is the disk layer. Its thread makes all changes, one after another.
type Layer struct {
	k    *kern.Kernel
	port *msgport.Port

	mu      sync.Mutex
	pub     Publisher
	disks   []*Disk
	units   map[string][]bool
	lost    []*Disk // those that are suspended
	probing int
	idle    []*kern.Event
	events  []string

	pool pool
}

// request is the content of a message to the layer's thread.
type request struct {
	what string
	disk *Disk
	tab  part.Table
	err  error
	done *kern.Event
}

// New returns a layer and starts its thread. pub may be nil.
func New(k *kern.Kernel, pub Publisher) *Layer {
	l := &Layer{k: k, pub: pub, units: map[string][]bool{}, port: msgport.NewSpin(k, "disk")}
	l.pool.k = k
	k.OnLowMemory(l.pool.drain)
	k.Start(kern.ThreadAttr{Name: "disk", Priority: kern.Daemon}, l.run)
	return l
}

// Port is where the layer's thread takes its messages from.
func (l *Layer) Port() *msgport.Port { return l.port }

// Create announces a disk. It returns at once: the table is read later, see Sync. A disk that was suspended, and is just as this one, gets the driver.
func (l *Layer) Create(i Info, drv Driver) (*Disk, error) { return l.create(i, drv, "", 0) }

func (l *Layer) create(i Info, drv Driver, kind string, unit int) (*Disk, error) {
	if i.SectorSize < 512 || i.SectorSize > 4096 || i.SectorSize&(i.SectorSize-1) != 0 {
		return nil, fmt.Errorf("%s: sectors of %d bytes are not supported", i.Name, i.SectorSize)
	}
	if i.Sectors == 0 || i.Sectors > 1<<63/uint64(i.SectorSize)-1 {
		return nil, fmt.Errorf("%s: a disk of %d sectors is not supported", i.Name, i.Sectors)
	}
	i = i.complete()
	if d := l.revive(i, drv); d != nil {
		return d, nil
	}
	d := &Disk{info: i, layer: l, kind: kind, unit: unit}
	d.drv.Store(&drv)
	l.mu.Lock()
	l.probing++
	l.mu.Unlock()
	l.send(&request{what: "create", disk: d})
	return d, nil
}

// complete fills in what was left out, and makes text that a device has given fit for the console.
func (i Info) complete() Info {
	if i.MaxTransfer == 0 {
		i.MaxTransfer = 128 << 10
	}
	i.MaxTransfer -= i.MaxTransfer % max(i.SectorSize, 1)
	i.MaxTransfer = max(i.MaxTransfer, i.SectorSize)
	i.Model, i.Firmware, i.Serial = printable(i.Model), printable(i.Firmware), printable(i.Serial)
	return i
}

// printable replaces what is no printable ASCII character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// Destroy takes a disk away: requests fail from now on, and its nodes vanish. The driver completes those it still has.
func (l *Layer) Destroy(d *Disk) {
	if d.state.Swap(gone) == gone {
		return
	}
	l.mu.Lock()
	l.lost = slices.DeleteFunc(l.lost, func(o *Disk) bool { return o == d })
	parked := d.parked
	d.parked = nil
	l.mu.Unlock()
	d.send(parked)
	if d.kind != "" {
		l.freeUnit(d.kind, d.unit)
	}
	l.send(&request{what: "destroy", disk: d})
}

// Rescan reads a disk's table again.
func (l *Layer) Rescan(d *Disk) {
	l.mu.Lock()
	l.probing++
	l.mu.Unlock()
	l.send(&request{what: "rescan", disk: d})
}

// Sync returns when the tables of all disks announced so far have been read.
func (l *Layer) Sync() {
	e := l.k.NewEvent()
	l.send(&request{what: "sync", done: e})
	e.Wait(-1)
}

func (l *Layer) send(r *request) {
	m := msgport.New(l.k, msgport.NewReply(l.k, "disk reply"), 0)
	m.Data = r
	msgport.Send(l.port, m)
}

// run is the layer's thread.
func (l *Layer) run() {
	for {
		m := l.port.Wait()
		r := m.Data.(*request)
		l.handle(r)
		msgport.Reply(m, nil)
	}
}

func (l *Layer) handle(r *request) {
	defer l.k.Recover("disk")
	d := r.disk
	switch r.what {
	case "create":
		if d.Gone() {
			l.probed()
			return
		}
		d.announce(l.k)
		l.mu.Lock()
		l.disks = append(l.disks, d)
		l.mu.Unlock()
		l.setNodes(d, d.nodesOf())
		l.event("attach " + d.info.Name)
		l.probe(d)
	case "rescan":
		l.probe(d)
	case "table":
		l.table(r)
		l.probed()
	case "destroy":
		l.mu.Lock()
		i := slices.Index(l.disks, d)
		if i >= 0 {
			l.disks = slices.Delete(l.disks, i, i+1)
		}
		l.mu.Unlock()
		if i >= 0 {
			l.setNodes(d, nil)
			l.k.Printf("%s: removed", d.info.Name)
			l.event("detach " + d.info.Name)
		}
	case "sync":
		l.mu.Lock()
		if l.probing == 0 {
			l.mu.Unlock()
			r.done.Set()
			return
		}
		l.idle = append(l.idle, r.done)
		l.mu.Unlock()
	}
}

// probe reads the table in a thread of the disk's own, so that a disk that does not answer holds up
// no other.
func (l *Layer) probe(d *Disk) {
	whole := d.node(&Node{Name: d.info.Name, Kind: "disk", Size: int64(d.info.Sectors) * int64(d.info.SectorSize)})
	l.k.Start(kern.ThreadAttr{Name: d.info.Name + " probe", Priority: kern.Daemon}, func() {
		r := &request{what: "table", disk: d}
		defer func() { l.send(r) }()
		r.tab, r.err = part.Probe(whole, d.info.SectorSize, d.info.Sectors)
	})
}

func (l *Layer) table(r *request) {
	d := r.disk
	if d.Gone() {
		return
	}
	if r.err != nil {
		l.k.Printf("%s: %v", d.info.Name, r.err)
		return
	}
	for _, p := range r.tab.Problems {
		l.k.Printf("%s: %s", d.info.Name, p)
	}
	l.mu.Lock()
	d.table = r.tab
	l.mu.Unlock()
	nodes := d.nodesOf()
	l.setNodes(d, nodes)
	if r.tab.Kind != "" {
		var names []string
		for _, n := range nodes[1:] {
			names = append(names, n.Name)
		}
		l.k.Printf("%s: %s: %s", d.info.Name, r.tab.Kind, strings.Join(names, " "))
	}
}

// probed counts a probe that has ended.
func (l *Layer) probed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.probing--; l.probing == 0 {
		for _, e := range l.idle {
			e.Set()
		}
		l.idle = nil
	}
}

// setNodes publishes what has come and withdraws what has gone or changed.
func (l *Layer) setNodes(d *Disk, nodes []*Node) {
	same := func(a, b *Node) bool {
		return a.Name == b.Name && a.Start == b.Start && a.Size == b.Size && slices.Equal(a.Aliases, b.Aliases)
	}
	l.mu.Lock()
	old, pub := d.nodes, l.pub
	for i, n := range nodes {
		if j := slices.IndexFunc(old, func(o *Node) bool { return same(o, n) }); j >= 0 {
			nodes[i] = old[j]
		}
	}
	d.nodes = nodes
	l.mu.Unlock()
	if pub == nil {
		return
	}
	for _, n := range slices.Backward(old) {
		if !slices.Contains(nodes, n) {
			pub.Withdraw(n)
		}
	}
	for _, n := range nodes {
		if !slices.Contains(old, n) {
			pub.Publish(n)
		}
	}
}

// event keeps what happened, for who asks.
func (l *Layer) event(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) >= 100 {
		l.events = slices.Delete(l.events, 0, 50)
	}
	at := l.k.Now()
	l.events = append(l.events, fmt.Sprintf("%9.3fs %s", at.Seconds(), text))
}

// Events returns the latest attachments and removals.
func (l *Layer) Events() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// Disks returns the disks there are, in the order of their names.
func (l *Layer) Disks() []*Disk {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.disks)
	slices.SortFunc(out, func(a, b *Disk) int {
		if n := len(a.info.Name) - len(b.info.Name); n != 0 && strings.TrimRight(a.info.Name, "0123456789") == strings.TrimRight(b.info.Name, "0123456789") {
			return n
		}
		return strings.Compare(a.info.Name, b.info.Name)
	})
	return out
}

// Nodes returns what can be opened of a disk, the whole first.
func (l *Layer) Nodes(d *Disk) []*Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(d.nodes)
}

// Table returns a disk's table.
func (l *Layer) Table(d *Disk) part.Table {
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.table
}

// Find returns a node by name or alias, or nil.
func (l *Layer) Find(name string) *Node {
	name = strings.TrimPrefix(name, "/dev/")
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.disks {
		for _, n := range d.nodes {
			if n.Name == name || slices.Contains(n.Aliases, name) {
				return n
			}
		}
	}
	return nil
}
