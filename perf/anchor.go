package perf

import "bytes"

// bannerPrefix is how the banner of a Linux kernel begins (linux_banner of init/version.c).
const bannerPrefix = "Linux version "

// maxBanner bounds how much of the banner is compared.
const maxBanner = 120

// Places to which a Linux kernel may move itself (KASLR, arch/x86/boot/compressed/kaslr.c): up from where it is
// linked in steps of CONFIG_PHYSICAL_ALIGN, inside the gigabyte of KERNEL_IMAGE_SIZE.
const (
	slideStep = 2 << 20
	slideMax  = 1 << 30
)

// anchor is a text in a kernel's memory by which its place is known. A kernel without one is
// where it is linked.
type anchor struct {
	va   uint64 // as linked
	text []byte
}

// reader reads guest memory at a linear address and returns the number of bytes.
type reader func(va uint64, p []byte) int

// at reports whether a kernel that is moved by slide has the text in memory.
func (a *anchor) at(read reader, slide uint64) bool {
	var buf [maxBanner]byte
	p := buf[:min(len(a.text), maxBanner)]
	return read(a.va+slide, p) == len(p) && bytes.Equal(p, a.text[:len(p)])
}

// find looks for the text in all places to which a kernel may have moved it. last is tried first.
func (a *anchor) find(read reader, last uint64) (slide uint64, ok bool) {
	if a.text == nil {
		return 0, true
	}
	if a.at(read, last) {
		return last, true
	}
	// Addresses that a running kernel told may be above the place it is found in.
	low := a.va &^ (slideMax - 1)
	for s := low + a.va%slideStep; s-low < slideMax; s += slideStep {
		if a.at(read, s-a.va) {
			return s - a.va, true
		}
	}
	return 0, false
}

// findBanner looks for linux_banner in a kernel's image.
func (o *Object) findBanner() anchor {
	prefix := []byte(bannerPrefix)
	for i := range o.segments {
		s := &o.segments[i]
		for at := 0; ; at += len(prefix) {
			n := bytes.Index(s.data[at:], prefix)
			if n < 0 {
				break
			}
			at += n
			text := s.data[at:min(at+maxBanner, len(s.data))]
			end := bytes.IndexAny(text, "\n\x00")
			if end < 0 {
				end = len(text)
			}
			if c := text[:end]; len(c) > len(prefix) && c[len(prefix)] >= '0' && c[len(prefix)] <= '9' {
				return anchor{va: s.vaddr + uint64(at), text: bytes.Clone(c)}
			}
		}
	}
	return anchor{}
}
