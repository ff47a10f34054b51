package fwcfg

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Key selects an item.
type Key uint16

// Keys of the items that have fixed ones. Numbers are little-endian.
const (
	Signature   Key = 0x00 // "QEMU"
	ID          Key = 0x01 // u32: which interfaces there are
	UUID        Key = 0x02 // 16 bytes
	RAMSize     Key = 0x03 // u64: bytes
	NoGraphic   Key = 0x04 // u16
	NumCPUs     Key = 0x05 // u16: present at power-on
	MachineID   Key = 0x06
	KernelAddr  Key = 0x07 // u32, as the following
	KernelSize  Key = 0x08
	InitrdAddr  Key = 0x0a
	InitrdSize  Key = 0x0b
	NUMA        Key = 0x0d
	BootMenu    Key = 0x0e // u16
	MaxCPUs     Key = 0x0f // u16: with hot-plugged ones
	KernelEntry Key = 0x10
	KernelData  Key = 0x11
	InitrdData  Key = 0x12
	CmdlineAddr Key = 0x13
	CmdlineSize Key = 0x14
	CmdlineData Key = 0x15
	SetupAddr   Key = 0x16
	SetupSize   Key = 0x17
	SetupData   Key = 0x18
	FileDir     Key = 0x19

	fileFirst Key = 0x20

	// archLocal items are defined by the architecture.
	archLocal   Key = 0x8000
	ACPITables  Key = archLocal
	SMBIOS      Key = archLocal | 1
	IRQ0Quirk   Key = archLocal | 2 // u8: IRQ 0 is connected to GSI 2
	E820        Key = archLocal | 3
	keyBits         = archLocal | 0x3fff
	maxFiles        = 0x1000
	maxFileName     = 55 // and a terminating zero
)

// Bits of the ID item.
const (
	idTraditional = 1 << 0
	idDMA         = 1 << 1
)

// An item is some bytes that the guest can read, and write if changed is set.
type item struct {
	data    []byte
	changed func(off int, p []byte)
}

// Add sets the item that key selects to data, which must not change from then
// on. It replaces the item of that key.
func (d *Device) Add(key Key, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items[key&keyBits] = &item{data: data}
}

// AddU16 adds an item that is a 16-bit number.
func (d *Device) AddU16(key Key, v uint16) { d.Add(key, binary.LittleEndian.AppendUint16(nil, v)) }

// AddU32 adds an item that is a 32-bit number.
func (d *Device) AddU32(key Key, v uint32) { d.Add(key, binary.LittleEndian.AppendUint32(nil, v)) }

// AddU64 adds an item that is a 64-bit number.
func (d *Device) AddU64(key Key, v uint64) { d.Add(key, binary.LittleEndian.AppendUint64(nil, v)) }

// AddString adds an item that is a text with a terminating zero.
func (d *Device) AddString(key Key, s string) { d.Add(key, append([]byte(s), 0)) }

// AddFile adds a named item, as "etc/e820", or replaces the one of that name.
// data must not change from then on. Names have at most 55 bytes.
func (d *Device) AddFile(name string, data []byte) error { return d.addFile(name, &item{data: data}) }

// AddWritableFile adds a named item that the guest may write to by DMA. The
// device keeps a copy of data. changed, which may be nil, is called with the
// device's lock held after bytes at off were changed to p.
func (d *Device) AddWritableFile(name string, data []byte, changed func(off int, p []byte)) error {
	if changed == nil {
		changed = func(int, []byte) {}
	}
	return d.addFile(name, &item{data: slices.Clone(data), changed: changed})
}

func (d *Device) addFile(name string, it *item) error {
	if name == "" || len(name) > maxFileName || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s: file name %q: it must have 1 to %d bytes and no zero", d.name, name, maxFileName)
	}
	if uint64(len(it.data)) > 1<<32-1 {
		return fmt.Errorf("%s: file %s: %d bytes are more than its size field holds", d.name, name, len(it.data))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key, ok := d.files[name]
	if !ok {
		if len(d.files) >= maxFiles {
			return fmt.Errorf("%s: file %s: there are %d files already", d.name, name, maxFiles)
		}
		key = fileFirst + Key(len(d.files))
		d.files[name] = key
	}
	d.items[key] = it
	d.items[FileDir] = &item{data: d.directory()}
	return nil
}

// File returns the content of a named item as the guest left it.
func (d *Device) File(name string) (data []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key, ok := d.files[name]
	if !ok {
		return nil, false
	}
	return slices.Clone(d.items[key].data), true
}

// directory lists the files by name; its numbers are big-endian.
func (d *Device) directory() []byte {
	names := make([]string, 0, len(d.files))
	for n := range d.files {
		names = append(names, n)
	}
	slices.Sort(names)
	b := binary.BigEndian
	p := b.AppendUint32(nil, uint32(len(names)))
	for _, n := range names {
		key := d.files[n]
		p = b.AppendUint32(p, uint32(len(d.items[key].data)))
		p = b.AppendUint16(p, uint16(key))
		p = b.AppendUint16(p, 0)
		var name [maxFileName + 1]byte
		copy(name[:], n)
		p = append(p, name[:]...)
	}
	return p
}
