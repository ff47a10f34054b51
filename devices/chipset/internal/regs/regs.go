// Package regs holds what every chipset device needs around its register
// table: a region made of a table and its handler, and the envelope in which
// register state is saved.
package regs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"dfemu/devices"
)

// A Block is a register table and the device that serves it, as a
// [devices.Region]. Accesses wider than a register reach its neighbours, as
// the ISA bus controller splits them.
type Block struct {
	Bank *devices.Bank
	Dev  devices.Registers
	// Name, if not nil, names the register that an access reaches where the
	// table alone cannot tell (an index register, a divisor latch bit). An
	// empty answer leaves the name to the table.
	Name func(r devices.Reg, write bool) string
}

// Read implements [devices.Region].
func (b *Block) Read(off uint64, size int) (uint64, error) { return b.Bank.Read(b.Dev, off, size) }

// Write implements [devices.Region].
func (b *Block) Write(off uint64, size int, v uint64) error {
	return b.Bank.Write(b.Dev, off, size, v)
}

// RegisterName returns the name of the register at off for traces, or "" if
// there is none.
func (b *Block) RegisterName(off uint64, write bool) string {
	r, _, ok := b.Bank.Find(off)
	if !ok {
		return ""
	}
	if b.Name != nil {
		if s := b.Name(r, write); s != "" {
			return s
		}
	}
	return r.String()
}

// Funcs makes [devices.Registers] of two functions.
type Funcs struct {
	ReadFunc  func(r devices.Reg, mask uint64) uint64
	WriteFunc func(r devices.Reg, v, mask uint64)
}

// ReadRegister implements [devices.Registers].
func (f Funcs) ReadRegister(r devices.Reg, mask uint64) uint64 { return f.ReadFunc(r, mask) }

// WriteRegister implements [devices.Registers].
func (f Funcs) WriteRegister(r devices.Reg, v, mask uint64) { f.WriteFunc(r, v, mask) }

// envelope is what saved state looks like from outside.
type envelope struct {
	Version int             `json:"version"`
	State   json.RawMessage `json:"state"`
}

// Save encodes a device's state under a version number of its own.
func Save(version int, state any) ([]byte, error) {
	p, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{version, p})
}

// Restore decodes what Save encoded. State of another version and fields that
// the device does not know are errors: half-understood state is worse than none.
func Restore(name string, p []byte, version int, state any) error {
	var e envelope
	if err := json.Unmarshal(p, &e); err != nil {
		return fmt.Errorf("%s: saved state: %w", name, err)
	}
	if e.Version != version {
		return fmt.Errorf("%s: saved state has version %d, this program reads version %d", name, e.Version, version)
	}
	d := json.NewDecoder(bytes.NewReader(e.State))
	d.DisallowUnknownFields()
	if err := d.Decode(state); err != nil {
		return fmt.Errorf("%s: saved state: %w", name, err)
	}
	return nil
}

// Invalid reports saved state whose field cannot hold that value.
func Invalid(name, field string, v any) error {
	return fmt.Errorf("%s: saved state: %s cannot be %v", name, field, v)
}
