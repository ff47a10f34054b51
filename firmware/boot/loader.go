package boot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"dfemu/firmware/e820"
)

// Memory is guest memory as far as loading needs it. Write copies p to a
// physical address and fails when that is not all in RAM.
type Memory interface {
	Write(addr uint64, p []byte) error
}

// Module is a file beside the kernel, for protocols that have more than one.
type Module struct {
	Data    []byte
	Cmdline string
}

// Options is what to boot with. Load does not keep it.
type Options struct {
	// Map is what the guest is told of memory. Only what it calls RAM is
	// written to, so tables that are already in memory must not be RAM in it.
	Map e820.Map
	// RSDP is the physical address of the ACPI root pointer, zero for none,
	// and RSDPTable a copy of it, for protocols that hand it over.
	RSDP      uint64
	RSDPTable []byte
	// Cmdline is the command line, without a zero byte.
	Cmdline string
	// Name is the name of the kernel, which Multiboot 1 puts before the
	// command line; empty means "kernel".
	Name string
	// Initrd is the initial RAM disk; nil for none. For PVH and Multiboot it
	// is the first module.
	Initrd []byte
	// Modules are the further modules of PVH and Multiboot.
	Modules []Module
	// RNGSeed seeds the guest's random numbers (Linux from 6.0 on); at most
	// 4096 bytes.
	RNGSeed []byte
	// VGAText says that a VGA is in text mode 3; without it no console but a
	// serial one is assumed.
	VGAText bool
	// Zeroed says that guest memory is all zero, which saves writing zeros.
	Zeroed bool

	// Kind forces a protocol; zero detects it.
	Kind Kind
	// Linux32 enters a Linux kernel in 32-bit mode even when it has a 64-bit
	// entry point.
	Linux32 bool
	// FlatAddr and FlatMode are where a flat image is loaded and entered. A
	// boot sector is always loaded at 0x7C00 and entered in real mode.
	FlatAddr uint64
	FlatMode Mode
}

// Kind is a boot protocol.
type Kind uint8

// Kinds of images.
const (
	// Unknown lets Load detect the kind.
	Unknown Kind = iota
	// Linux is a bzImage.
	Linux
	// PVH is an ELF file with a Xen PVH entry note.
	PVH
	// Multiboot1 and Multiboot2 are images with such a header.
	Multiboot1
	Multiboot2
	// ELF is an ELF file which is entered at e_entry.
	ELF
	// BootSector is 512 bytes or more that end, in the first 512, in 55 AA.
	BootSector
	// Flat is an image without a form. It is never detected.
	Flat
)

// String names the kind.
func (k Kind) String() string {
	names := [...]string{"unknown", "Linux bzImage", "ELF with PVH entry", "Multiboot", "Multiboot 2", "ELF", "boot sector", "flat image"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Addresses in the first 640 KiB: see the package comment.
const (
	gdtAddr        = 0x500
	bootParamsAddr = 0x7000
	stackTop       = 0x8ff0
	pageTableAddr  = 0x9000
	cmdlineAddr    = 0x50000
	infoAddr       = 0x60000
	lowStart       = 0x500
	lowEnd         = 0x90000

	bootSectorAddr = 0x7c00
)

// ErrUnknown is wrapped by the error of Detect for an image of no known kind.
var ErrUnknown = errors.New("not a bzImage, ELF, Multiboot image or boot sector")

// Detect tells what kind of image it is.
func Detect(image []byte) (Kind, error) {
	if isLinux(image) {
		return Linux, nil
	}
	f, elfErr := parseELF(image)
	if elfErr == nil {
		if _, ok := f.pvhEntry(); ok {
			return PVH, nil
		}
	}
	if h, ok, err := findMultiboot1(image); err == nil && ok && (h.kludge || elfErr == nil && !f.is64) {
		return Multiboot1, nil
	}
	if _, ok, err := findMultiboot2(image); err == nil && ok {
		return Multiboot2, nil
	}
	if elfErr == nil {
		return ELF, nil
	}
	if isELF(image) {
		return Unknown, elfErr
	}
	if len(image) >= 512 && image[510] == 0x55 && image[511] == 0xaa {
		return BootSector, nil
	}
	return Unknown, fmt.Errorf("boot: image of %d bytes: %w", len(image), ErrUnknown)
}

// Load writes the image to memory by the rules of its protocol and returns how
// to enter it.
func Load(image []byte, opt Options, mem Memory) (Entry, error) {
	l, err := newLoader(opt, mem)
	if err != nil {
		return Entry{}, err
	}
	kind := opt.Kind
	if kind == Unknown {
		if kind, err = Detect(image); err != nil {
			return Entry{}, err
		}
	}
	switch kind {
	case Flat, BootSector:
	default:
		if err := l.needLow(); err != nil {
			return Entry{}, err
		}
	}
	switch kind {
	case Linux:
		return l.linux(image)
	case PVH:
		return l.pvh(image)
	case Multiboot1:
		return l.multiboot1(image)
	case Multiboot2:
		return l.multiboot2(image)
	case ELF:
		return l.plainELF(image)
	case BootSector:
		return l.flat(image, bootSectorAddr, Real)
	case Flat:
		return l.flat(image, opt.FlatAddr, opt.FlatMode)
	}
	return Entry{}, fmt.Errorf("boot: no such kind of image %d", uint8(kind))
}

// loader is one call of Load.
type loader struct {
	opt Options
	mem Memory
	// taken are the ranges written so far, outside the first 640 KiB.
	taken []span
	// info is where the next part goes that describes the machine.
	info uint64
}

type span struct {
	what string
	addr uint64
	size uint64
}

func newLoader(opt Options, mem Memory) (*loader, error) {
	for i := 0; i < len(opt.Cmdline); i++ {
		if opt.Cmdline[i] == 0 {
			return nil, fmt.Errorf("boot: the command line has a zero byte at %d", i)
		}
	}
	if len(opt.RNGSeed) > 4096 {
		return nil, fmt.Errorf("boot: random seed of %d bytes, at most 4096", len(opt.RNGSeed))
	}
	if opt.Name == "" {
		opt.Name = "kernel"
	}
	return &loader{opt: opt, mem: mem, info: infoAddr}, nil
}

// needLow makes sure that the first 640 KiB can be used.
func (l *loader) needLow() error {
	if !l.opt.Map.Contains(e820.RAM, lowStart, lowEnd-lowStart) {
		return fmt.Errorf("boot: memory map has no RAM at %#x to %#x, where boot information goes", lowStart, lowEnd-1)
	}
	return nil
}

func (l *loader) write(what string, addr uint64, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := l.mem.Write(addr, p); err != nil {
		return fmt.Errorf("boot: writing %s, %d bytes at %#x: %w", what, len(p), addr, err)
	}
	return nil
}

// claim takes a range for what, which must be RAM and free.
func (l *loader) claim(what string, addr, size uint64) error {
	if size == 0 {
		return nil
	}
	if !l.opt.Map.Contains(e820.RAM, addr, size) {
		return fmt.Errorf("boot: %s: %d bytes at %#x are not in one range of RAM: give the guest more memory", what, size, addr)
	}
	if addr < lowEnd && addr+size > lowStart {
		return fmt.Errorf("boot: %s: %d bytes at %#x overlap the boot information at %#x to %#x", what, size, addr, lowStart, lowEnd-1)
	}
	for _, t := range l.taken {
		if addr < t.addr+t.size && t.addr < addr+size {
			return fmt.Errorf("boot: %s: %d bytes at %#x overlap %s at %#x", what, size, addr, t.what, t.addr)
		}
	}
	l.taken = append(l.taken, span{what, addr, size})
	return nil
}

// top is the end of all that was claimed.
func (l *loader) top() uint64 {
	top := uint64(e820.HighStart)
	for _, t := range l.taken {
		top = max(top, t.addr+t.size)
	}
	return top
}

// zero clears a range, which has been claimed.
func (l *loader) zero(what string, addr, size uint64) error {
	if l.opt.Zeroed {
		return nil
	}
	zeros := make([]byte, min(size, 1<<20))
	for size > 0 {
		n := min(size, uint64(len(zeros)))
		if err := l.write(what, addr, zeros[:n]); err != nil {
			return err
		}
		addr, size = addr+n, size-n
	}
	return nil
}

// putInfo writes p where boot information goes, on a multiple of 8, and
// returns its address.
func (l *loader) putInfo(what string, p []byte) (uint64, error) {
	addr := l.info
	if uint64(len(p)) > lowEnd-addr {
		return 0, fmt.Errorf("boot: %s of %d bytes does not fit below %#x", what, len(p), lowEnd)
	}
	l.info = (addr + uint64(len(p)) + 7) &^ 7
	return addr, l.write(what, addr, p)
}

// putCmdline writes the command line with its zero byte.
func (l *loader) putCmdline(s string) (uint64, error) {
	if len(s) >= infoAddr-cmdlineAddr {
		return 0, fmt.Errorf("boot: command line of %d bytes, at most %d", len(s), infoAddr-cmdlineAddr-1)
	}
	return cmdlineAddr, l.write("command line", cmdlineAddr, append([]byte(s), 0))
}

// place puts a file as high as possible at or above lo and below hi, on a page
// of its own.
func (l *loader) place(what string, p []byte, lo, hi uint64) (uint64, error) {
	addr, ok := l.opt.Map.FindHigh((uint64(len(p))+0xfff)&^0xfff, 0x1000, lo, hi)
	if !ok {
		return 0, fmt.Errorf("boot: no RAM for the %s of %d bytes between %#x and %#x: give the guest more memory", what, len(p), lo, hi)
	}
	if err := l.claim(what, addr, uint64(len(p))); err != nil {
		return 0, err
	}
	return addr, l.write(what, addr, p)
}

// buffer appends little-endian fields.
type buffer struct{ b []byte }

func (b *buffer) u8(v ...byte)   { b.b = append(b.b, v...) }
func (b *buffer) u32(v uint32)   { b.b = binary.LittleEndian.AppendUint32(b.b, v) }
func (b *buffer) u64(v uint64)   { b.b = binary.LittleEndian.AppendUint64(b.b, v) }
func (b *buffer) bytes(p []byte) { b.b = append(b.b, p...) }

// pad appends zeros up to an offset.
func (b *buffer) pad(to int) {
	if n := to - len(b.b); n > 0 {
		b.b = append(b.b, make([]byte, n)...)
	}
}

// align appends zeros up to a multiple of n.
func (b *buffer) align(n int) { b.pad((len(b.b) + n - 1) / n * n) }
