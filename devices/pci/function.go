package pci

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
)

// Identity is what a function says of itself in its header.
type Identity struct {
	Vendor, Device  uint16
	Revision        uint8
	Class           uint32 // 24 bits: base class, sub-class, interface
	SubsystemVendor uint16
	Subsystem       uint16
	Pin             uint8 // INTx pin: 1 (INTA#) to 4 (INTD#), 0 for none
}

// A Function is one PCI function: a device model's configuration space and its
// connections to the bus. See the package comment for its concurrency.
type Function struct {
	name  string
	pin   uint8
	probe devices.Probe

	mu    sync.Mutex // guards what follows, except fields that say otherwise
	cfg   [ConfigSize]byte
	power [ConfigSize]byte // content after reset
	wmask [ConfigSize]byte // bits the guest can write
	w1c   [ConfigSize]byte // bits the guest clears by writing one
	level bool             // the device asserts INTx
	out   bool             // INTx is asserted on the bus

	at     atomic.Pointer[place] // written with mu held
	master atomic.Bool           // Bus Master Enable, follows cfg

	// Set by the builder methods, constant once on a bus.
	bars    []bar // six or two, then the ROM
	bridge  *RootPort
	hooks   []configHook
	onReset func()
	onBME   func(on bool)
	msi     *MSI
	msix    *MSIX
	express int // offset of the PCI Express capability, or 0
	caps    capList
	extCaps capList
	err     error // the first mistake made with the builder methods

	names    []devices.Register // of the device's own
	bank     *devices.Bank      // names of the registers; see registers
	bankOnce sync.Once
}

// place is where a function sits.
type place struct {
	bus   *Bus
	devfn uint8
}

type configHook struct {
	off, end int
	ConfigHook
}

// A ConfigHook is a device's own behaviour of a range of configuration space.
// Hooks are called with no lock held and may use the Function's methods.
type ConfigHook struct {
	// Read, if not nil, is called before a guest's read of size bytes at off
	// that touches the range; it may refresh the content with SetConfig.
	Read func(off, size int)
	// Written, if not nil, is called after such a write was stored.
	Written func(off, size int)
}

// NewFunction returns a function with a type 0 header. The name appears in
// traces and errors.
func NewFunction(name string, id Identity) *Function {
	f := newFunction(name, id, 6)
	f.preset16(RegSubsystemVendor, id.SubsystemVendor)
	f.preset16(RegSubsystem, id.Subsystem)
	return f
}

func newFunction(name string, id Identity, bars int) *Function {
	f := &Function{name: name, pin: id.Pin, bars: make([]bar, bars+1)}
	f.caps = capList{next: 0x40, end: 0x100, link: RegCapPtr}
	f.extCaps = capList{next: 0x100, end: ConfigSize}
	f.preset16(RegVendor, id.Vendor)
	f.preset16(RegDevice, id.Device)
	f.preset32(RegRevision, uint32(id.Revision)|id.Class<<8)
	f.writable16(RegCommand, CommandIO|CommandMemory|CommandMaster|CommandParity|CommandSERR|CommandINTxDisable)
	binary.LittleEndian.PutUint16(f.w1c[RegStatus:], statusErrors)
	f.wmask[RegCacheLine] = 0xff
	f.wmask[RegIntLine] = 0xff
	if id.Pin > 4 {
		f.fail("interrupt pin %d: only 0 to 4 exist", id.Pin)
	}
	f.preset8(RegIntPin, id.Pin)
	return f
}

// fail keeps the first mistake in describing the function.
func (f *Function) fail(format string, a ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("pci function %s: %s", f.name, fmt.Sprintf(format, a...))
	}
}

// Probe is the function's connection to traces, strict checks and faults. The
// function itself reports interrupts on it; the device reports the rest.
func (f *Function) Probe() *devices.Probe { return &f.probe }

// Name is the name given at construction.
func (f *Function) Name() string { return f.name }

// Address returns the function's bus number as the guest assigned it, and its
// device and function number. It reports false while the function is not on a
// bus.
func (f *Function) Address() (bus, dev, fn int, ok bool) {
	at := f.at.Load()
	if at == nil {
		return 0, 0, 0, false
	}
	return at.bus.Number(), int(at.devfn >> 3), int(at.devfn & 7), true
}

// preset sets what a register holds now and after each reset.
func (f *Function) preset8(off int, v uint8) { f.cfg[off], f.power[off] = v, v }

func (f *Function) preset16(off int, v uint16) {
	f.preset8(off, uint8(v))
	f.preset8(off+1, uint8(v>>8))
}

func (f *Function) preset32(off int, v uint32) {
	f.preset16(off, uint16(v))
	f.preset16(off+2, uint16(v>>16))
}

func (f *Function) writable16(off int, m uint16) { binary.LittleEndian.PutUint16(f.wmask[off:], m) }
func (f *Function) writable32(off int, m uint32) { binary.LittleEndian.PutUint32(f.wmask[off:], m) }

// Preset sets what the size bytes (1, 2 or 4) at off hold now and after each
// reset, and which bits the guest can write. It is a builder method.
func (f *Function) Preset(off, size int, v, writable uint32) {
	if off < 0 || size < 1 || size > 4 || off+size > ConfigSize {
		f.fail("preset of %d bytes at %#x is outside configuration space", size, off)
		return
	}
	for i := range size {
		f.preset8(off+i, uint8(v>>(8*i)))
		f.wmask[off+i] = uint8(writable >> (8 * i))
	}
}

// HookConfig has h called on accesses to the n bytes at off. It is a builder
// method.
func (f *Function) HookConfig(off, n int, h ConfigHook) {
	f.hooks = append(f.hooks, configHook{off, off + n, h})
}

// OnReset sets what a reset that comes over the bus does (function-level reset,
// secondary bus reset, power in a slot): usually the device's Reset, which
// includes the function's. It is a builder method.
func (f *Function) OnReset(reset func()) { f.onReset = reset }

// OnBusMaster has changed called after the guest turned bus mastering on or
// off. It is a builder method.
func (f *Function) OnBusMaster(changed func(on bool)) { f.onBME = changed }

// Config returns the size bytes (1, 2 or 4) at off as the device sees them,
// with no side effect.
func (f *Function) Config(off, size int) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(off, size)
}

// SetConfig stores the size bytes (1, 2 or 4) at off, whatever the guest may
// write there. It calls no hook, and is not for registers of the header.
func (f *Function) SetConfig(off, size int, v uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(off, size, v)
}

func (f *Function) get(off, size int) uint32 {
	if off < 0 || off+size > ConfigSize {
		return uint32(devices.Ones(size))
	}
	var v uint32
	for i := range size {
		v |= uint32(f.cfg[off+i]) << (8 * i)
	}
	return v
}

func (f *Function) put(off, size int, v uint32) {
	if off < 0 || off+size > ConfigSize {
		return
	}
	for i := range size {
		f.cfg[off+i] = uint8(v >> (8 * i))
	}
}

// ReadConfig serves a guest's read of size bytes (1, 2 or 4) at off.
func (f *Function) ReadConfig(off, size int) uint32 {
	for i := range f.hooks {
		if h := &f.hooks[i]; h.Read != nil && off < h.end && off+size > h.off {
			h.Read(off, size)
		}
	}
	v := f.Config(off, size)
	f.report(off, size, false, v)
	return v
}

// WriteConfig serves a guest's write of size bytes (1, 2 or 4) at off. When it
// returns, the change is in effect: regions are mapped, interrupts rerouted.
func (f *Function) WriteConfig(off, size int, v uint32) {
	if off < 0 || size < 1 || off+size > ConfigSize {
		return
	}
	f.report(off, size, true, v)
	f.mu.Lock()
	before := f.master.Load()
	for i := range size {
		b, m := uint8(v>>(8*i)), f.wmask[off+i]
		c := f.cfg[off+i]&^m | b&m
		f.cfg[off+i] = c &^ (b & f.w1c[off+i])
	}
	f.follow()
	after := f.master.Load()
	f.mu.Unlock()

	touches := func(reg, n int) bool { return off < reg+n && off+size > reg }
	if touches(RegCommand, 2) || touches(RegBAR0, 4*6) || touches(RegROM, 12) {
		f.remap()
	}
	for i := range f.hooks {
		if h := &f.hooks[i]; h.Written != nil && touches(h.off, h.end-h.off) {
			h.Written(off, size)
		}
	}
	if before != after && f.onBME != nil {
		f.onBME(after)
	}
}

// follow brings what is derived from configuration space up to date. The caller
// holds mu.
func (f *Function) follow() {
	f.master.Store(f.get(RegCommand, 2)&CommandMaster != 0)
	if f.msi != nil {
		f.msi.follow()
	}
	if f.msix != nil {
		f.msix.follow()
	}
	f.driveINTx()
}

// Reset puts configuration space, and with it BARs and interrupts, into the
// state after power-on. A device's Reset calls it.
func (f *Function) Reset() {
	f.mu.Lock()
	f.cfg = f.power
	f.level = false
	f.setStatusInterrupt()
	if f.msix != nil {
		f.msix.reset()
	}
	f.follow()
	f.mu.Unlock()
	f.remap()
}

// busReset is a reset that arrives over the bus.
func (f *Function) busReset() {
	if f.onReset != nil {
		f.onReset()
		return
	}
	f.Reset()
}

// remap has the bus map and unmap regions as configuration space says.
func (f *Function) remap() {
	if at := f.at.Load(); at != nil {
		at.bus.host.remap(f)
	}
}
