package disk

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/subr/part"
)

// Info describes a disk; the driver gives it.
type Info struct {
	Name     string // "da0"
	Model    string
	Firmware string
	Serial   string
	Where    string // connection path: "ahci0.port1"
	// SectorSize is in bytes, 512 to 4096; Sectors is how many there are.
	SectorSize int
	Sectors    uint64
	// MaxTransfer is what one request can move, in bytes; 0 is 128 KiB.
	MaxTransfer int
	ReadOnly    bool
	Removable   bool
	CanDelete   bool
	// Detail goes to the boot log: "SATA 3.0 Gb/s, NCQ 32".
	Detail string
	// Owner is what the driver is attached to, for Settle; it can be compared.
	Owner any
}

// Driver does requests. Strategy takes one over and returns at once; Bio.Done may be called before that. The
// request is within the disk and its memory.
type Driver interface {
	Strategy(b *Bio)
}

// Stats counts what a disk has done.
type Stats struct {
	Reads, Writes, Others, Errors, BytesRead, BytesWritten atomic.Uint64
}

// Disk is a disk that a driver has announced.
type Disk struct {
	info    Info
	layer   *Layer
	drv     atomic.Pointer[Driver]
	state   atomic.Int32
	kind    string // with unit its name, if the layer has chosen it; else ""
	unit    int
	pending atomic.Int64
	parked  []*Bio // wait until the driver has been restarted; under the layer's lock
	stats   Stats
	told    complaints

	// The rest belongs to the layer's thread, and to readers with its lock.
	table part.Table
	nodes []*Node
}

// Node is what can be opened of a disk: the whole, a slice, a partition.
type Node struct {
	Name string // "da0s1a"
	// Kind is "disk", "slice" or "part".
	Kind string
	// Type and UUID are the table's; Label is a slice's name.
	Type, UUID, Label string
	// Start and Size are in bytes.
	Start, Size int64
	// Aliases are other names: "serno/…".
	Aliases []string

	disk *Disk
	port *msgport.Port
}

// node completes a node of the disk: requests are sent to its port.
func (d *Disk) node(n *Node) *Node {
	n.disk = d
	n.port = msgport.NewPut(d.layer.k, n.Name, func(m *msgport.Msg) error { return n.put(m.Data.(*Bio)) })
	return n
}

// Info describes the disk.
func (d *Disk) Info() Info { return d.info }

// Stats returns the counters, which go on.
func (d *Disk) Stats() *Stats { return &d.stats }

// Gone tells whether the disk was removed.
func (d *Disk) Gone() bool { return d.state.Load() == gone }

// Pending is how many requests the driver has.
func (d *Disk) Pending() int { return int(d.pending.Load()) }

// Disk is what the node is on.
func (n *Node) Disk() *Disk { return n.disk }

// Send sends a request to the node; the completion comes to the request's reply port.
func (n *Node) Send(b *Bio) { n.disk.start(n, b, false) }

// Do sends a request and waits for the result.
func (n *Node) Do(b *Bio) error { return n.disk.start(n, b, true) }

// start sends a request to a node.
func (d *Disk) start(n *Node, b *Bio, wait bool) error {
	b.disk, b.node, b.offset, b.again = d, n, b.Offset, false
	if wait {
		return msgport.Do(n.port, b.Msg)
	}
	msgport.Send(n.port, b.Msg)
	return nil
}

// put checks a request and passes it to the driver; what does not pass is answered at once.
func (n *Node) put(b *Bio) error {
	d := n.disk
	if err := n.check(b); err != nil {
		return &Error{Device: n.Name, Cmd: b.Cmd, Offset: b.Offset, Length: b.Length, Err: err}
	}
	switch b.Cmd {
	case Read:
		d.stats.Reads.Add(1)
		d.stats.BytesRead.Add(uint64(b.Length))
	case Write:
		d.stats.Writes.Add(1)
		d.stats.BytesWritten.Add(uint64(b.Length))
	default:
		d.stats.Others.Add(1)
	}
	d.pending.Add(1)
	if d.state.Load() == suspended {
		d.park(b)
	} else {
		d.pass(b)
	}
	return msgport.ErrAsync
}

// pass passes a request to the driver.
func (d *Disk) pass(b *Bio) {
	b.Offset += b.node.Start
	b.drv = d.drv.Load()
	(*b.drv).Strategy(b)
}

func (n *Node) check(b *Bio) error {
	d := n.disk
	sector := int64(d.info.SectorSize)
	switch {
	case d.Gone():
		return ErrGone
	case b.Cmd == Flush:
		b.Offset, b.Length = 0, 0
		return nil
	case b.Offset%sector != 0 || b.Length%sector != 0:
		return ErrAlign
	case b.Length <= 0 || b.Offset < 0 || b.Offset >= n.Size || b.Length > n.Size-b.Offset:
		return ErrRange
	case b.Cmd != Read && d.info.ReadOnly:
		return ErrReadOnly
	case b.Cmd == Delete && !d.info.CanDelete:
		return ErrSupported
	case b.Cmd == Delete && b.Length > deleteMost:
		return errSize
	case b.Cmd != Delete && (b.Length > int64(d.info.MaxTransfer) || b.Length > int64(len(b.Mem.Bytes))):
		return errSize
	}
	return nil
}

// ReadAt reads bytes, which need not be whole sectors. It implements io.ReaderAt.
func (n *Node) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > n.Size || int64(len(p)) > n.Size-off {
		return 0, &Error{Device: n.Name, Cmd: Read, Offset: off, Length: int64(len(p)), Err: ErrRange}
	}
	l := n.disk.layer
	sector := int64(n.disk.info.SectorSize)
	done := 0
	for done < len(p) {
		at := off + int64(done)
		head := at % sector
		size := min(int64(n.disk.info.MaxTransfer), (head+int64(len(p)-done)+sector-1)/sector*sector, maxBuffer)
		mem, size, err := l.some(size)
		if err != nil {
			return done, err
		}
		b := NewBio(l.k, nil)
		b.Cmd, b.Offset, b.Length, b.Mem = Read, at-head, size, mem
		if err = n.Do(b); err == nil {
			done += copy(p[done:], mem.Bytes[head:size])
		}
		l.Release(mem)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// WriteAt writes whole sectors. It implements io.WriterAt.
func (n *Node) WriteAt(p []byte, off int64) (int, error) {
	sector := int64(n.disk.info.SectorSize)
	fail := func(err error) (int, error) {
		return 0, &Error{Device: n.Name, Cmd: Write, Offset: off, Length: int64(len(p)), Err: err}
	}
	switch {
	case off < 0 || off > n.Size || int64(len(p)) > n.Size-off:
		return fail(ErrRange)
	case off%sector != 0 || int64(len(p))%sector != 0:
		return fail(ErrAlign)
	}
	l := n.disk.layer
	done := 0
	for done < len(p) {
		size := min(int64(n.disk.info.MaxTransfer), int64(len(p)-done), maxBuffer)
		mem, size, err := l.some(size)
		if err != nil {
			return done, err
		}
		b := NewBio(l.k, nil)
		b.Cmd, b.Offset, b.Length, b.Mem = Write, off+int64(done), size, mem
		copy(mem.Bytes, p[done:done+int(size)])
		err = n.Do(b)
		l.Release(mem)
		if err != nil {
			return done, err
		}
		done += int(size)
	}
	return done, nil
}

// Flush makes what was written last.
func (n *Node) Flush() error {
	b := NewBio(n.disk.layer.k, nil)
	b.Cmd = Flush
	return n.Do(b)
}

// deleteMost is how much one request deletes, in bytes: commands have room for that in any case.
const deleteMost = 1 << 30

// Delete tells the disk that a range of whole sectors is not needed.
func (n *Node) Delete(off, length int64) error {
	if off < 0 || off > n.Size || length < 0 || length > n.Size-off {
		return &Error{Device: n.Name, Cmd: Delete, Offset: off, Length: length, Err: ErrRange}
	}
	for end := off + length; off < end; {
		b := NewBio(n.disk.layer.k, nil)
		b.Cmd, b.Offset, b.Length = Delete, off, min(end-off, deleteMost)
		if err := n.Do(b); err != nil {
			return err
		}
		off += min(end-off, deleteMost)
	}
	return nil
}

// Sanitize makes a serial number part of a name: all but letters, digits and - @ + . , becomes _.
func Sanitize(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-@+.,", r) {
			return r
		}
		return '_'
	}, strings.TrimSpace(s))
}

// nodesOf makes the nodes of a disk from its table.
func (d *Disk) nodesOf() []*Node {
	i := d.info
	size := int64(i.Sectors) * int64(i.SectorSize)
	serno := ""
	if s := Sanitize(i.Serial); s != "" {
		serno = "serno/" + s
	}
	alias := func(n *Node, prefix, suffix string) {
		if prefix != "" {
			n.Aliases = append(n.Aliases, prefix+suffix)
		}
	}
	whole := d.node(&Node{Name: i.Name, Kind: "disk", Size: size})
	alias(whole, serno, "")
	if i.Where != "" {
		alias(whole, "path/"+i.Where, "")
	}
	out := []*Node{whole}
	for _, s := range d.table.Slices {
		base := fmt.Sprintf("s%d", s.Number)
		start := int64(s.Start) * int64(i.SectorSize)
		if s.Whole {
			base = ""
		} else {
			n := d.node(&Node{Name: i.Name + base, Kind: "slice", Type: s.Type, UUID: s.UUID, Label: s.Label,
				Start: start, Size: int64(s.Count) * int64(i.SectorSize)})
			alias(n, serno, "."+base)
			if s.UUID != "" {
				alias(n, "slice-by-uuid/", s.UUID)
			}
			out = append(out, n)
		}
		for _, p := range s.Parts {
			n := d.node(&Node{Name: fmt.Sprintf("%s%s%c", i.Name, base, p.Letter), Kind: "part", Type: p.Type, UUID: p.UUID,
				Start: start + int64(p.Offset), Size: int64(p.Size)})
			if serno != "" {
				alias(n, serno, fmt.Sprintf(".%s%c", base, p.Letter))
			}
			if p.UUID != "" && strings.Trim(p.UUID, "0-") != "" {
				alias(n, "part-by-uuid/", p.UUID)
			}
			out = append(out, n)
		}
	}
	return out
}

// announce writes the disk's lines of the boot log.
func (d *Disk) announce(k *kern.Kernel) {
	i := d.info
	fw := ""
	if i.Firmware != "" {
		fw = " " + i.Firmware
	}
	where := ""
	if i.Where != "" {
		where = " at " + i.Where
	}
	k.Printf("%s: <%s%s>%s, serial number %s", i.Name, i.Model, fw, where, orNone(i.Serial))
	extra := ""
	if i.ReadOnly {
		extra += ", read-only"
	}
	if i.Detail != "" {
		extra += ", " + i.Detail
	}
	k.Printf("%s: %s (%d %d byte sectors)%s", i.Name, Megabytes(int64(i.Sectors)*int64(i.SectorSize)), i.Sectors, i.SectorSize, extra)
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// Megabytes writes a size as BSD does.
func Megabytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%dKB", n>>10)
	}
	return fmt.Sprintf("%dMB", n>>20)
}

// Errors that are written to the log: so many in a time, and how many more there were.
const (
	complainMost = 8
	complainTime = 5 * time.Second
)

// complaints limits what a disk's errors write to the log.
type complaints struct {
	mu    sync.Mutex
	since time.Duration
	n     int
}

// complain writes an error of a request to the log. That a disk is gone is said once, by who takes it away.
func (d *Disk) complain(err error) {
	if errors.Is(err, ErrGone) {
		return
	}
	c, k := &d.told, d.layer.k
	c.mu.Lock()
	more := 0
	if now := k.Now(); c.n == 0 || now-c.since > complainTime {
		more = max(c.n-complainMost, 0)
		c.n, c.since = 0, now
	}
	c.n++
	n := c.n
	c.mu.Unlock()
	if more > 0 {
		k.Printf("%s: %d more errors", d.info.Name, more)
	}
	if n <= complainMost {
		k.Printf("%v", err)
	}
}
