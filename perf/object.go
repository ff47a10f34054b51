package perf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"dfemu/firmware/boot"
)

// Object is a file whose code guests execute: a kernel or a program. It does
// not change while it is used, from any goroutine.
type Object struct {
	// File is its name, as given.
	File string
	// Kernel tells that it is what runs in kernel mode; otherwise it is a program.
	Kernel bool
	// Base, if HasBase, is what is added to the file's addresses in memory. Without it
	// the place is found by what guest memory contains.
	Base    uint64
	HasBase bool

	table    Table
	segments []segment
	pie      bool
	buildID  string
	orc      *orc
	lines    func(pc uint64) (file string, line int)
	anchor   anchor
	// physical tells that a kernel's segments are loaded at their physical addresses,
	// so that code found there is the kernel's before it turns on paging.
	physical bool
	packed   bool
}

// segment is a part of a file that is in memory.
type segment struct {
	vaddr, paddr uint64
	memsz        uint64
	off          uint64
	data         []byte
	exec         bool
}

// maxFile bounds what is read as a symbol file.
const maxFile = 4 << 30

// Open reads a file with symbols: an ELF file, a Linux bzImage, System.map, or a
// copy of /proc/kallsyms.
func Open(name string) (*Object, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return Parse(name, data)
}

// Parse is Open for a file that is in memory. It keeps data, which must not
// change afterwards.
func Parse(name string, data []byte) (*Object, error) {
	o := &Object{File: name}
	var err error
	switch kind, _ := boot.Detect(data); {
	case bytes.HasPrefix(data, []byte("\x7fELF")):
		err = o.parseELF(data)
	case kind == boot.Linux:
		var vmlinux []byte
		if vmlinux, err = boot.Payload(data); err == nil {
			o.Kernel, o.packed = true, true
			err = o.parseELF(vmlinux)
		}
	case bytes.IndexByte(data[:min(len(data), 1024)], 0) >= 0:
		err = errors.New("neither an ELF file nor a bzImage, nor text as System.map is")
	default:
		var syms []Symbol
		if syms, err = parseSystemMap(data); err == nil {
			o.Kernel = true
			o.table = NewTable(syms)
			if s, ok := o.table.Find("linux_banner"); ok {
				o.anchor = anchor{va: s.Addr, text: []byte(bannerPrefix)}
			}
		} else {
			err = fmt.Errorf("neither an ELF file nor a bzImage, and as System.map: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("symbols %s: %w", name, err)
	}
	return o, nil
}

// Functions returns the number of functions that have names.
func (o *Object) Functions() int { return o.table.Len() }

// Lookup returns the function at an address of the file.
func (o *Object) Lookup(addr uint64) (Symbol, bool) { return o.table.Lookup(addr) }

// Packed reports whether the file is a kernel that can unpack itself, and then moves itself (KASLR).
func (o *Object) Packed() bool { return o.packed }

// SetPhysical tells that the kernel is put into memory at its physical addresses and
// entered there, not by a loader of its own that may move it.
func (o *Object) SetPhysical() { o.physical = true }

// With returns kernel o with the names of other, which may be its System.map, a copy
// of its /proc/kallsyms, or another form of the same kernel.
func (o *Object) With(other *Object) (*Object, error) {
	if !o.Kernel || !other.Kernel {
		return nil, errors.New("only the symbols of kernels can be combined")
	}
	n := *o
	n.File = other.File
	n.lines = other.lines
	d, err := o.distance(other)
	if err != nil {
		return nil, err
	}
	if n.lines != nil && d != 0 {
		n.lines = nil
	}
	n.table = other.table.shifted(d)
	if n.anchor.text == nil {
		n.anchor = other.anchor
		n.anchor.va += d
	}
	if n.orc == nil && d == 0 {
		n.orc = other.orc
	}
	if len(n.segments) == 0 {
		n.segments = other.segments
	}
	return &n, nil
}

// distance returns what to add to other's addresses to make them o's: another than 0 where
// they are those of a kernel that has moved itself.
func (o *Object) distance(other *Object) (uint64, error) {
	a, b := o.anchor.text, other.anchor.text
	if n := min(len(a), len(b)); !bytes.Equal(a[:n], b[:n]) {
		return 0, fmt.Errorf("symbols %s are of another kernel than %s: %q, %q", other.File, o.File, b, a)
	}
	for _, name := range []string{"linux_banner", "_text", "_stext", "startup_64"} {
		a, ok := o.table.Find(name)
		b, found := other.table.Find(name)
		if ok && found {
			return a.Addr - b.Addr, nil
		}
	}
	return 0, nil
}

// span returns the range of addresses that the file takes in memory, as linked.
func (o *Object) span() (from, to uint64) {
	for i := range o.segments {
		s := &o.segments[i]
		if i == 0 || s.vaddr < from {
			from = s.vaddr
		}
		to = max(to, s.vaddr+s.memsz)
	}
	if len(o.segments) == 0 && len(o.table.fns) > 0 {
		last := o.table.fns[len(o.table.fns)-1]
		return o.table.fns[0].Addr, last.Addr + last.Size
	}
	return from, to
}

// code returns the file's bytes at an address in a segment that is executed, up to its end.
func (o *Object) code(addr uint64) []byte {
	for i := range o.segments {
		s := &o.segments[i]
		if s.exec && addr-s.vaddr < uint64(len(s.data)) {
			return s.data[addr-s.vaddr:]
		}
	}
	return nil
}

// Name names an address of the file, as "function+0x12"; "" if it is in no function. It is for traces.
func (o *Object) Name(addr uint64) string {
	fn, ok := o.Lookup(addr)
	if !ok {
		return ""
	}
	p := resolved{location: location{addr: addr}, fn: fn, obj: o}
	return p.offset()
}
