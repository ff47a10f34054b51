package acpi

import (
	"encoding/binary"
	"fmt"
)

// Tables is a finished set of tables whose addresses are not yet known. It is
// immutable.
type Tables struct {
	// list is in the order in which the tables are laid out, the DSDT first
	// and the RSDT and XSDT last. The RSDP is apart.
	list []table
	rsdp table
}

// Build makes the tables of a machine.
func Build(c Config) (*Tables, error) {
	c, err := c.normalize()
	if err != nil {
		return nil, err
	}
	dsdt, err := c.dsdt()
	if err != nil {
		return nil, fmt.Errorf("acpi: DSDT: %w", err)
	}
	t := &Tables{list: []table{facs(), dsdt}}
	const facsIndex, dsdtIndex = 0, 1
	t.list = append(t.list, c.fadt(facsIndex, dsdtIndex), c.madt())
	if c.PCI != nil && c.PCI.ECAM != 0 {
		t.list = append(t.list, c.mcfg())
	}
	if c.HPET != 0 {
		t.list = append(t.list, c.hpet())
	}
	t.addRoots(&c)
	return t, nil
}

// addRoots appends the RSDT and the XSDT, and makes the RSDP that points to
// both (sections 5.2.5, 5.2.7 and 5.2.8).
func (t *Tables) addRoots(c *Config) {
	n := len(t.list)
	rsdt, xsdt := c.header("RSDT", 1), c.header("XSDT", 1)
	for i, tb := range t.list {
		if tb.sig == "FACS" || tb.sig == "DSDT" {
			continue // reached through the FADT
		}
		rsdt.ptr(4, i)
		xsdt.ptr(8, i)
	}
	t.list = append(t.list, rsdt.finish(), xsdt.finish())

	w := &writer{}
	w.str("RSD PTR ", 8)
	w.u8(0)
	w.str(c.OEMID, 6)
	w.u8(2)
	w.ptr(4, n)
	w.u32(36)
	w.ptr(8, n+1)
	w.u8(0)
	w.zero(3)
	t.rsdp = table{
		sig: "RSD PTR ", data: w.b, align: 16, pointers: w.pointers,
		sums: []checksum{{8, 0, 20}, {32, 0, 36}},
	}
}

// Extend returns a copy of t with one more complete table in it, header and
// all, which may be anything but one that Build makes. Length and checksum are
// set here.
func (t *Tables) Extend(p []byte) (*Tables, error) {
	if len(p) < headerLen {
		return nil, fmt.Errorf("acpi: table of %d bytes is shorter than a header", len(p))
	}
	sig := string(p[:4])
	if !ascii(sig, 4) {
		return nil, fmt.Errorf("acpi: table signature %q is not ASCII", sig)
	}
	var c Config
	var old []table
	for _, tb := range t.list {
		if tb.sig == sig && sig != "SSDT" {
			return nil, fmt.Errorf("acpi: there is already a table %q", sig)
		}
		if tb.sig == "RSDT" {
			// The roots are made again; their OEM fields stay.
			c.OEMID, c.OEMTableID = string(tb.data[10:16]), string(tb.data[16:24])
		} else if tb.sig != "XSDT" {
			old = append(old, tb)
		}
	}
	w := &writer{sig: sig, b: append([]byte(nil), p...)}
	w.b[9] = 0
	out := &Tables{list: append(old, w.finish())}
	out.addRoots(&c)
	return out, nil
}

// layout returns the offset of each table from an address that is a multiple
// of 64, and the size of all.
func (t *Tables) layout() (offs []int, size int) {
	for _, tb := range t.list {
		a := int(tb.align)
		size = (size + a - 1) &^ (a - 1)
		offs = append(offs, size)
		size += len(tb.data)
	}
	return offs, size
}

// Size returns how many bytes the tables take without the RSDP.
func (t *Tables) Size() int {
	_, n := t.layout()
	return n
}

// RSDPSize is how many bytes the RSDP takes.
const RSDPSize = 36

// Chunk is bytes that must be written to guest memory at a physical address.
type Chunk struct {
	Addr uint64
	Data []byte
}

// Place fixes the tables at a physical address, a multiple of 64 whose end is
// below 4 GiB, and the RSDP at another, a multiple of 16, which must be in
// 0xE0000 to 0xFFFFF for a guest that searches for it. It returns what to
// write where.
func (t *Tables) Place(rsdp, addr uint64) ([]Chunk, error) {
	offs, size := t.layout()
	if addr&63 != 0 || addr == 0 || addr >= 1<<32 || uint64(size) > 1<<32-addr {
		return nil, fmt.Errorf("acpi: tables of %d bytes at %#x: must start on a multiple of 64 and end below 4 GiB", size, addr)
	}
	if rsdp&15 != 0 || rsdp < 0xe0000 || rsdp+RSDPSize > 0x100000 {
		return nil, fmt.Errorf("acpi: RSDP at %#x: must be a multiple of 16 in 0xe0000 to 0xfffff", rsdp)
	}
	if rsdp < addr+uint64(size) && addr < rsdp+RSDPSize {
		return nil, fmt.Errorf("acpi: RSDP at %#x overlaps the tables at %#x", rsdp, addr)
	}
	blob := make([]byte, size)
	for i, tb := range t.list {
		place(blob[offs[i]:], tb, offs, addr)
	}
	root := make([]byte, len(t.rsdp.data))
	place(root, t.rsdp, offs, addr)
	return []Chunk{{rsdp, root}, {addr, blob}}, nil
}

// place copies tb to dst, with its pointers and its checksums.
func place(dst []byte, tb table, offs []int, base uint64) {
	copy(dst, tb.data)
	for _, p := range tb.pointers {
		putPointer(dst[p.off:], p.size, base+uint64(offs[p.target]))
	}
	for _, s := range tb.sums {
		dst[s.off] = sum(dst[s.start : s.start+s.length])
	}
}

func putPointer(dst []byte, size int, v uint64) {
	if size == 8 {
		binary.LittleEndian.PutUint64(dst, v)
		return
	}
	binary.LittleEndian.PutUint32(dst, uint32(v))
}

// PlaceLow places the RSDP at 0xE0000 and the tables right behind it, all
// below 1 MiB. It fails when they do not fit.
func (t *Tables) PlaceLow() ([]Chunk, error) {
	const rsdp, addr = 0xe0000, 0xe0040
	if n := t.Size(); n > 0x100000-addr {
		return nil, fmt.Errorf("acpi: tables of %d bytes do not fit 0x%x to 0xfffff: place them above 1 MiB", n, addr)
	}
	return t.Place(rsdp, addr)
}
