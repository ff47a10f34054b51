package boot

import (
	"bytes"
	"fmt"
)

// maxPayload bounds what a payload may unpack to when the kernel does not say
// how much memory it needs.
const maxPayload = 1 << 30

// Payload returns the kernel proper inside a bzImage, an ELF file, unpacked on
// the host. It is at most init_size bytes long.
func Payload(image []byte) ([]byte, error) {
	h, err := parseHeader(image)
	if err != nil {
		return nil, err
	}
	return h.unpack(image, maxPayload)
}

func (h *header) unpack(image []byte, limit uint64) ([]byte, error) {
	if h.payloadLen == 0 {
		return nil, fmt.Errorf("boot: Linux image does not say where its payload is: boot protocol %d.%02d, 2.08 is needed", h.version>>8, h.version&0xff)
	}
	if h.initSize != 0 {
		limit = min(limit, h.initSize)
	}
	p := image[h.setupLen:][h.payload:][:h.payloadLen]
	out, err := unpackSized(p, limit)
	if err != nil {
		return nil, fmt.Errorf("boot: Linux payload: %w", err)
	}
	if !isELF(out) {
		return nil, fmt.Errorf("boot: Linux payload unpacks to %d bytes that are no ELF file", len(out))
	}
	return out, nil
}

// unpackSized unpacks what the kernel's build makes: all formats but gzip are
// followed by the size of the contents, 4 bytes little-endian.
func unpackSized(p []byte, limit uint64) ([]byte, error) {
	if bytes.HasPrefix(p, []byte{0x1f, 0x8b}) || isELF(p) {
		return Decompress(p, limit)
	}
	if len(p) < 4 {
		return nil, fmt.Errorf("%d bytes are no archive", len(p))
	}
	p, tail := p[:len(p)-4], p[len(p)-4:]
	size := uint64(tail[0]) | uint64(tail[1])<<8 | uint64(tail[2])<<16 | uint64(tail[3])<<24
	if size > limit {
		return nil, fmt.Errorf("contents of %d bytes (the last 4 bytes) are over the limit of %d", size, limit)
	}
	out, err := Decompress(p, size)
	if err != nil {
		return nil, err
	}
	if uint64(len(out)) != size {
		return nil, fmt.Errorf("unpacks to %d bytes, the last 4 bytes say %d", len(out), size)
	}
	return out, nil
}

// LoadPayload boots a bzImage without running its decompressor: the payload is
// unpacked here, its segments are loaded at their physical addresses, and the
// kernel is entered at its own entry point with boot_params as Load would make
// them. The kernel stays where it was linked for, so KASLR has no effect on its
// physical place.
func LoadPayload(image []byte, opt Options, mem Memory) (Entry, error) {
	l, err := newLoader(opt, mem)
	if err != nil {
		return Entry{}, err
	}
	if err := l.needLow(); err != nil {
		return Entry{}, err
	}
	h, err := parseHeader(image)
	if err != nil {
		return Entry{}, err
	}
	vmlinux, err := h.unpack(image, min(maxPayload, opt.Map.Total()))
	if err != nil {
		return Entry{}, err
	}
	return l.vmlinux(h, vmlinux)
}

func (l *loader) vmlinux(h *header, vmlinux []byte) (Entry, error) {
	f, err := parseELF(vmlinux)
	if err != nil {
		return Entry{}, fmt.Errorf("boot: Linux payload: %w", err)
	}
	entry, err := f.physical(f.entry)
	if err != nil {
		return Entry{}, err
	}
	mode, err := f.mode(entry)
	if err != nil {
		return Entry{}, err
	}
	if err := l.loadELF(f); err != nil {
		return Entry{}, err
	}
	// The kernel takes memory behind its last segment before it looks at the
	// map, as much as init_size tells from its start.
	start := f.loads()[0].paddr
	if end := start + h.initSize; end > l.top() {
		if err := l.claim("Linux kernel (init_size)", l.top(), end-l.top()); err != nil {
			return Entry{}, err
		}
	}
	if err := l.bootParams(h, mode, start); err != nil {
		return Entry{}, err
	}
	e, err := l.flatEntry(mode, entry)
	e.RSI = bootParamsAddr
	return e, err
}
