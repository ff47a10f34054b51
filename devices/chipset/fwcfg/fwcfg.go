// Package fwcfg is the interface by which a machine hands its configuration,
// tables and files to firmware and kernel.
//
// Specification: QEMU's docs/specs/fw_cfg.
package fwcfg

import (
	"fmt"
	"math"
	"math/bits"
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where x86 machines have the interface, in the port space: the selector (two
// bytes), the data port, which is the selector's second byte, and the DMA
// address (eight bytes).
const (
	Port = 0x510
	Size = 12
)

// Offsets of the registers.
const (
	offSelector = 0
	offData     = 1
	offDMA      = 4
)

// dmaSignature is what the DMA address register reads as, big-endian.
const dmaSignature = 0x51454d5520434647 // "QEMU CFG"

// Config says what the interface is connected to.
type Config struct {
	Name   string         // unit name; "fwcfg" if empty
	Memory devices.Memory // nil: there is no DMA interface
}

// A Device is the interface. Its methods may be called concurrently.
type Device struct {
	name string
	mem  devices.Memory

	mu    sync.Mutex
	items map[Key]*item
	files map[string]Key
	state state
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
	_ devices.Region = (*Device)(nil)
)

type state struct {
	Key    Key
	Offset uint64 // into the item; may be beyond its end
	High   uint32 // upper half of the DMA address
	// Written has the content of writable files.
	Written map[string][]byte `json:",omitempty"`
}

// New returns an interface with the signature and ID items only.
func New(c Config) *Device {
	d := &Device{name: c.Name, mem: c.Memory, items: map[Key]*item{}, files: map[string]Key{}}
	if d.name == "" {
		d.name = "fwcfg"
	}
	d.Add(Signature, []byte("QEMU"))
	id := uint32(idTraditional)
	if d.mem != nil {
		id |= idDMA
	}
	d.AddU32(ID, id)
	d.items[FileDir] = &item{data: d.directory()}
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. The items stay.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state{}
}

// Ports is the register file, for [Port].
func (d *Device) Ports() devices.Region { return d }

func (d *Device) selectKey(v uint16) { d.state.Key, d.state.Offset = Key(v)&keyBits, 0 }

// rest is what of the selected item was not read yet.
func (d *Device) rest() []byte {
	it := d.items[d.state.Key]
	if it == nil || d.state.Offset >= uint64(len(it.data)) {
		return nil
	}
	return it.data[d.state.Offset:]
}

// skip moves on by n bytes.
func (d *Device) skip(n uint64) {
	if d.state.Offset > math.MaxUint64-n {
		n = math.MaxUint64 - d.state.Offset
	}
	d.state.Offset += n
}

// Read implements [devices.Region].
func (d *Device) Read(off uint64, size int) (uint64, error) {
	switch {
	case off == offData && size == 1:
		d.mu.Lock()
		defer d.mu.Unlock()
		var v uint64
		if p := d.rest(); len(p) > 0 {
			v = uint64(p[0])
		}
		d.skip(1)
		return v, nil
	case off == offSelector && size <= 2:
		return 0, devices.ErrWriteOnly
	case off >= offDMA && d.mem != nil:
		// The register is big-endian: its first byte is the highest.
		return bits.ReverseBytes64(dmaSignature) >> (8 * (off - offDMA)) & devices.Ones(size), nil
	}
	return 0, devices.ErrNoRegister
}

// Write implements [devices.Region].
func (d *Device) Write(off uint64, size int, v uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case off == offSelector && size == 2:
		d.selectKey(uint16(v))
		return nil
	case off == offSelector || off == offData:
		return devices.ErrReadOnly // items are written by DMA only
	case d.mem == nil:
		return devices.ErrNoRegister
	}
	low := bits.ReverseBytes32(uint32(v))
	switch {
	case off == offDMA && size == 8:
		d.dma(uint64(low)<<32 | uint64(bits.ReverseBytes32(uint32(v>>32))))
	case size != 4:
		return devices.ErrSize
	case off == offDMA:
		d.state.High = low
	case off == offDMA+4:
		addr := uint64(d.state.High)<<32 | uint64(low)
		d.state.High = 0
		d.dma(addr)
	default:
		return devices.ErrAlign
	}
	return nil
}

// RegisterName returns the name of the register at off for traces.
func (d *Device) RegisterName(off uint64, write bool) string {
	switch {
	case off == offSelector && write:
		return "SELECTOR"
	case off == offData:
		return "DATA"
	case off >= offDMA:
		return "DMA_ADDRESS"
	}
	return ""
}

const stateVersion = 1

// SaveState implements [devices.Saver]. Items that only the machine sets are
// its own to set again.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	s.Written = map[string][]byte{}
	for name, key := range d.files {
		if it := d.items[key]; it.changed != nil {
			s.Written[name] = it.data
		}
	}
	return regs.Save(stateVersion, s)
}

// RestoreState implements [devices.Saver]. The writable files must have been
// added, with the same sizes.
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	s.Key &= keyBits
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, data := range s.Written {
		it := d.items[d.files[name]]
		if _, ok := d.files[name]; !ok || it.changed == nil || len(it.data) != len(data) {
			return regs.Invalid(d.name, "writable file "+name, fmt.Sprintf("%d bytes: this machine has no such file", len(data)))
		}
	}
	for name, data := range s.Written {
		copy(d.items[d.files[name]].data, data)
	}
	s.Written = nil
	d.state = s
	return nil
}
