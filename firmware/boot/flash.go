package boot

import "fmt"

// Sizes of firmware.
const (
	flashUnit   = 64 << 10
	maxFlash    = 16 << 20
	maxShadow   = 128 << 10
	flashTop    = 1 << 32
	shadowTop   = 1 << 20
	resetVector = 0xfff0
)

// Flash says where a firmware image is in the address space.
type Flash struct {
	// Addr is where the image begins; it ends at 4 GiB.
	Addr uint64
	// Image is the image.
	Image []byte
	// ShadowAddr is where Shadow, the last 128 KiB of the image or all of it,
	// appears a second time; it ends at 1 MiB.
	ShadowAddr uint64
	Shadow     []byte
}

// LoadFlash checks a firmware image and says where it goes: a multiple of 64
// KiB, at most 16 MiB. The slices of the result are parts of image.
func LoadFlash(image []byte) (Flash, error) {
	n := len(image)
	if n == 0 || n%flashUnit != 0 || n > maxFlash {
		return Flash{}, fmt.Errorf("boot: firmware of %d bytes: must be a multiple of 64 KiB, at most 16 MiB", n)
	}
	s := min(n, maxShadow)
	return Flash{
		Addr: flashTop - uint64(n), Image: image,
		ShadowAddr: shadowTop - uint64(s), Shadow: image[n-s:],
	}, nil
}

// ResetEntry is the state after reset: real mode at 0xFFFFFFF0 (Intel SDM
// volume 3, table 10-1).
func ResetEntry() Entry {
	e := realEntry(0)
	e.CS = Segment{0xf000, 0xffff0000, 0xffff, accessCode16}
	e.RIP, e.RSP, e.RDX = resetVector, 0, 0
	e.GDT = Table{0, 0xffff}
	e.IDT = Table{0, 0xffff}
	const cr0CD, cr0NW = 1 << 30, 1 << 29
	e.CR0 = cr0ET | cr0CD | cr0NW
	return e
}
