package devices

import (
	"fmt"
	"sort"
)

// Rights says how a register may be accessed.
type Rights uint8

// The rights of a register.
const (
	RW Rights = iota // read and write
	RO               // writes are ignored by the device and reported to strict checks
	WO               // reads as zero
)

// A Register is one row of a device's register table. The table is the single
// place where names, offsets and widths are written down; partial-width
// accesses and the names in traces come from it.
type Register struct {
	Offset uint64 // bytes from the start of the region
	Size   int    // width in bytes: 1, 2, 4 or 8
	Name   string // the specification's name, as "PxCI"
	Rights Rights
	// Count and Stride describe an array of registers: Count copies, Stride
	// bytes apart. Count 0 means a single register.
	Count  int
	Stride uint64
	// Fields names the bits, for traces and strict checks.
	Fields []Field
	// Reserved are the bits that a driver must write as 0, for strict checks.
	Reserved uint64
	// Clause is where the register is specified, for strict checks; "" means that of the bank.
	Clause string
	// Doorbell tells that a write tells the device of commands: in the queue with the register's index.
	Doorbell bool
	// Whole registers are served only at their full width and alignment;
	// others also in aligned parts, and several neighbours at once.
	Whole bool
}

// A Field names the bits Lo to Hi (inclusive) of a register.
type Field struct {
	Name   string
	Lo, Hi uint8
}

// A Reg names one register of a [Bank]: the row, and for arrays the index.
type Reg struct {
	*Register
	ID    int // index of the row in the table given to NewBank
	Index int // which of the array's copies
}

// String is the register's name with its index, as "PxCI[2]".
func (r Reg) String() string {
	if r.Register == nil {
		return "?"
	}
	if r.Count > 0 {
		return fmt.Sprintf("%s[%d]", r.Name, r.Index)
	}
	return r.Name
}

// A Bank is a device's table of registers, ready for look-ups. It is
// immutable and may be shared by all instances of a device.
type Bank struct {
	Name  string
	Rules Rules
	regs  []Register
	// rows orders the rows by offset; arrays whose copies interleave with
	// other arrays (one block of registers per port) are found through stride.
	rows []int
}

// Rules are what a specification demands of accesses to a bank, beyond what the device needs, for strict checks.
type Rules struct {
	// Clause is where the registers are specified, as "NVMe base 2.0, 3.1.3".
	Clause string
	// Natural, if not "", is the clause by which a driver accesses a register at its own width and alignment, one of 8 bytes by halves.
	Natural string
}

// With returns a bank of the same registers under rules.
func (b *Bank) With(r Rules) *Bank {
	c := *b
	c.Rules = r
	return &c
}

// Registers is what a device does when a register is read or written. Values
// are always shifted to their place in the register's full width, whatever part
// of it the guest accessed.
type Registers interface {
	// ReadRegister returns the register's full value. It has the side effects
	// of a guest's read (use the mask: bytes the guest reads are set in it).
	ReadRegister(r Reg, mask uint64) uint64
	// WriteRegister stores the bits of v selected by mask (whole bytes; all
	// ones for a full-width write). Bits outside mask keep their value.
	WriteRegister(r Reg, v, mask uint64)
}

// NewBank returns a bank for a table. Rows may be in any order but must not
// overlap; that is checked by [Bank.Check], which the device's tests call.
func NewBank(name string, regs []Register) *Bank {
	b := &Bank{Name: name, regs: regs, rows: make([]int, len(regs))}
	for i := range b.rows {
		b.rows[i] = i
	}
	sort.SliceStable(b.rows, func(i, j int) bool { return regs[b.rows[i]].Offset < regs[b.rows[j]].Offset })
	return b
}

// Find returns the register that holds the byte at off, and its offset.
func (b *Bank) Find(off uint64) (r Reg, base uint64, ok bool) {
	n := sort.Search(len(b.rows), func(i int) bool { return b.regs[b.rows[i]].Offset > off })
	for i := n - 1; i >= 0; i-- {
		g := &b.regs[b.rows[i]]
		d := off - g.Offset
		if g.Count == 0 {
			if d < uint64(g.Size) {
				return Reg{g, b.rows[i], 0}, g.Offset, true
			}
			continue
		}
		if k := d / g.Stride; k < uint64(g.Count) && d%g.Stride < uint64(g.Size) {
			return Reg{g, b.rows[i], int(k)}, g.Offset + k*g.Stride, true
		}
	}
	return Reg{}, 0, false
}

// Read serves a guest's read. Accesses may cover part of a register or
// several neighbouring registers; each register touched is read once.
func (b *Bank) Read(d Registers, off uint64, size int) (uint64, error) {
	var v uint64
	for n := 0; n < size; {
		r, base, ok := b.Find(off + uint64(n))
		if !ok {
			if n == 0 {
				return 0, ErrNoRegister
			}
			v |= 0xff << (8 * n)
			n++
			continue
		}
		at, cnt, err := part(r, base, off, n, size)
		if err != nil {
			return 0, err
		}
		if r.Rights != WO {
			mask := Ones(cnt) << (8 * at)
			v |= (d.ReadRegister(r, mask) & mask) >> (8 * at) << (8 * n)
		}
		n += cnt
	}
	return v, nil
}

// Write serves a guest's write in the same way. Read-only registers are
// passed over with [ErrReadOnly] once the others have been written.
func (b *Bank) Write(d Registers, off uint64, size int, v uint64) error {
	var result error
	for n := 0; n < size; {
		r, base, ok := b.Find(off + uint64(n))
		if !ok {
			if n == 0 {
				return ErrNoRegister
			}
			n++
			continue
		}
		at, cnt, err := part(r, base, off, n, size)
		if err != nil {
			return err
		}
		if r.Rights == RO {
			result = ErrReadOnly
		} else {
			mask := Ones(cnt) << (8 * at)
			d.WriteRegister(r, v>>(8*n)<<(8*at)&mask, mask)
		}
		n += cnt
	}
	return result
}

// Region returns the registers as a region of which d is the device.
func (b *Bank) Region(d Registers) Region { return bankRegion{b, d} }

type bankRegion struct {
	b *Bank
	d Registers
}

// Read implements Region.
func (r bankRegion) Read(off uint64, size int) (uint64, error) { return r.b.Read(r.d, off, size) }

// Write implements Region.
func (r bankRegion) Write(off uint64, size int, v uint64) error { return r.b.Write(r.d, off, size, v) }

// part works out which bytes of the register at base the n-th byte and its
// successors of an access at off touch: from byte at of the register, cnt of them.
func part(r Reg, base, off uint64, n, size int) (at, cnt int, err error) {
	at = int(off + uint64(n) - base)
	cnt = min(r.Size-at, size-n)
	if r.Whole && (at != 0 || cnt != r.Size) {
		if off != base {
			return 0, 0, ErrAlign
		}
		return 0, 0, ErrSize
	}
	return at, cnt, nil
}

// Check reports rows that overlap, have an impossible width or lack a name.
func (b *Bank) Check() error {
	owner := map[uint64]string{}
	for i := range b.regs {
		g := &b.regs[i]
		if g.Name == "" || (g.Size != 1 && g.Size != 2 && g.Size != 4 && g.Size != 8) {
			return fmt.Errorf("%s: row %d (%q at %#x): no name or bad size %d", b.Name, i, g.Name, g.Offset, g.Size)
		}
		if g.Count > 0 && g.Stride < uint64(g.Size) {
			return fmt.Errorf("%s: %s: stride %d is less than its size", b.Name, g.Name, g.Stride)
		}
		for k := range max(g.Count, 1) {
			for j := range g.Size {
				o := g.Offset + uint64(k)*g.Stride + uint64(j)
				if p, dup := owner[o]; dup {
					return fmt.Errorf("%s: %s and %s overlap at %#x", b.Name, p, g.Name, o)
				}
				owner[o] = g.Name
			}
		}
	}
	return nil
}
