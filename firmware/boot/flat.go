package boot

import (
	"fmt"

	"dfemu/firmware/e820"
)

// flat loads an image as it is and enters it at its first byte.
func (l *loader) flat(image []byte, addr uint64, mode Mode) (Entry, error) {
	if len(image) == 0 {
		return Entry{}, fmt.Errorf("boot: flat image is empty")
	}
	if !l.opt.Map.Contains(e820.RAM, addr, uint64(len(image))) {
		return Entry{}, fmt.Errorf("boot: flat image of %d bytes at %#x is not in one range of RAM", len(image), addr)
	}
	switch mode {
	case Real:
		if addr > 0xfffff {
			return Entry{}, fmt.Errorf("boot: flat image at %#x cannot be entered in real mode: the limit is 0xfffff", addr)
		}
		return realEntry(addr), l.write("flat image", addr, image)
	case Protected, Long:
	default:
		return Entry{}, fmt.Errorf("boot: flat image: no such mode %d", mode)
	}
	if mode == Protected && addr > 0xffffffff {
		return Entry{}, fmt.Errorf("boot: flat image at %#x cannot be entered in 32-bit mode", addr)
	}
	if err := l.needLow(); err != nil {
		return Entry{}, err
	}
	if err := l.claim("flat image", addr, uint64(len(image))); err != nil {
		return Entry{}, err
	}
	if err := l.write("flat image", addr, image); err != nil {
		return Entry{}, err
	}
	return l.flatEntry(mode, addr)
}
