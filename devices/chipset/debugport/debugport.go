// Package debugport holds ports that exist to be looked at by people: the
// power-on self-test code (0x80), debug consoles (0xE9 as in Bochs, 0x402 as
// firmware uses it), the exit port by which a test ends its machine, and ports
// that are written to only to lose time.
//
// Specifications: Intel ICH9 datasheet (316972), section 5.3 (port 80h);
// QEMU's documentation of "isa-debugcon" and "isa-debug-exit".
package debugport

import (
	"io"
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs and their emulators have these ports.
const (
	PostPort     = 0x80
	PostSize     = 1
	BochsPort    = 0xe9 // debug console
	FirmwarePort = 0x402
	ConsoleSize  = 1
	ExitPort     = 0x501 // the machine may choose another
	ExitSize     = 4
	DelayPort    = 0xed // Linux's alternative to port 0x80
	DelaySize    = 1
)

// present is what a debug console reads as, by which software finds it.
const present = 0xe9

// A Post is the latch that shows how far the power-on self-test has come.
type Post struct {
	mu   sync.Mutex
	code uint8

	port regs.Block
}

var (
	_ devices.Device = (*Post)(nil)
	_ devices.Saver  = (*Post)(nil)
)

var postBank = devices.NewBank("POST", []devices.Register{{Offset: 0, Size: 1, Name: "POST"}})

// NewPost returns a latch that shows 0.
func NewPost() *Post {
	p := &Post{}
	p.port = regs.Block{Bank: postBank, Dev: regs.Funcs{
		ReadFunc:  func(devices.Reg, uint64) uint64 { return uint64(p.Code()) },
		WriteFunc: func(_ devices.Reg, v, _ uint64) { p.set(uint8(v)) },
	}}
	return p
}

// Name implements [devices.Device].
func (p *Post) Name() string { return "post" }

// Reset implements [devices.Device].
func (p *Post) Reset() { p.set(0) }

// Port is the latch, for [PostPort].
func (p *Post) Port() devices.Region { return &p.port }

// Code returns the code that was written last.
func (p *Post) Code() uint8 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

func (p *Post) set(v uint8) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code = v
}

const postVersion = 1

// SaveState implements [devices.Saver].
func (p *Post) SaveState() ([]byte, error) { return regs.Save(postVersion, p.Code()) }

// RestoreState implements [devices.Saver].
func (p *Post) RestoreState(b []byte) error {
	var code uint8
	if err := regs.Restore(p.Name(), b, postVersion, &code); err != nil {
		return err
	}
	p.set(code)
	return nil
}

// Console returns a debug console that passes each byte on to out, one writer
// at a time. Wider writes are bytes, the lowest first. It has no state.
func Console(out io.Writer) devices.Region {
	var mu sync.Mutex
	return devices.RegionFuncs{
		ReadFunc: func(_ uint64, size int) (uint64, error) {
			if size != 1 {
				return 0, devices.ErrSize
			}
			return present, nil
		},
		WriteFunc: func(_ uint64, size int, v uint64) error {
			p := make([]byte, 0, 8)
			for range size {
				p = append(p, uint8(v))
				v >>= 8
			}
			mu.Lock()
			defer mu.Unlock()
			_, _ = out.Write(p) // nobody to tell
			return nil
		},
	}
}

// Exit returns the port by which a guest ends the machine: writing v calls exit
// with the process exit code v<<1|1, which is never 0, as QEMU has it. It reads
// as 0.
func Exit(exit func(code int)) devices.Region {
	return devices.RegionFuncs{
		ReadFunc: func(uint64, int) (uint64, error) { return 0, nil },
		WriteFunc: func(_ uint64, size int, v uint64) error {
			exit(int(uint32(v&devices.Ones(size))<<1 | 1))
			return nil
		},
	}
}

// Delay returns ports that software accesses only because that takes time.
func Delay() devices.Region {
	return devices.RegionFuncs{
		ReadFunc:  func(_ uint64, size int) (uint64, error) { return devices.Ones(size), nil },
		WriteFunc: func(uint64, int, uint64) error { return nil },
	}
}
