package boot

import (
	"bytes"
	"errors"
	"testing"
)

func TestFlat(t *testing.T) {
	m := layout(t, 64<<20)
	image := []byte("flat image")
	for _, tc := range []struct {
		addr    uint64
		mode    Mode
		cs      uint16
		rip     uint64
		wantErr string
	}{
		{0x7c00, Real, 0, 0x7c00, ""},
		{0x12340, Real, 0x1234, 0, ""},
		{0x100000, Protected, selCode, 0x100000, ""},
		{0x200000, Long, selCode, 0x200000, ""},
		{0x100000, Real, 0, 0, "real mode"},
		{0xa0000, Real, 0, 0, "RAM"},
		{0x1000, Long, 0, 0, "boot information"},
		{0x4000000 - 4, Long, 0, 0, "RAM"},
		{0x100000, 7, 0, 0, "no such mode"},
	} {
		f := newFake(m)
		e, err := Load(image, Options{Map: m, Kind: Flat, FlatAddr: tc.addr, FlatMode: tc.mode}, f)
		if tc.wantErr != "" {
			wantError(t, tc.wantErr, err, tc.wantErr)
			continue
		}
		if err != nil || e.CS.Selector != tc.cs || e.RIP != tc.rip || e.Mode != tc.mode {
			t.Errorf("%#x in %v: %#x:%#x in %v, %v", tc.addr, tc.mode, e.CS.Selector, e.RIP, e.Mode, err)
		}
		if !bytes.Equal(f.read(tc.addr, len(image)), image) {
			t.Errorf("the image is not at %#x", tc.addr)
		}
		if tc.mode != Real {
			checkFlat(t, f, e, tc.mode)
		} else if e.CS.Base+e.RIP != tc.addr || e.CR0&cr0PE != 0 || e.IDT.Limit != 0x3ff {
			t.Errorf("real mode entry %+v", e)
		}
	}
	_, err := Load(nil, Options{Map: m, Kind: Flat}, newFake(m))
	wantError(t, "empty", err, "empty")
}

func TestBootSector(t *testing.T) {
	m := layout(t, 64<<20)
	image := make([]byte, 512)
	if _, err := Detect(image); !errors.Is(err, ErrUnknown) {
		t.Errorf("512 zeros: %v", err)
	}
	image[510], image[511] = 0x55, 0xaa
	f := newFake(m)
	e, err := Load(image, Options{Map: m}, f)
	if err != nil || e.Mode != Real || e.RIP != 0x7c00 || e.RDX != 0x80 || f.u16(0x7dfe) != 0xaa55 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestLoadFlash(t *testing.T) {
	for _, tc := range []struct {
		size         int
		addr, shadow uint64
	}{
		{64 << 10, 0xffff0000, 0xf0000},
		{128 << 10, 0xfffe0000, 0xe0000},
		{256 << 10, 0xfffc0000, 0xe0000},
		{16 << 20, 0xff000000, 0xe0000},
	} {
		image := make([]byte, tc.size)
		image[tc.size-16] = 0xea
		f, err := LoadFlash(image)
		if err != nil || f.Addr != tc.addr || f.ShadowAddr != tc.shadow || f.ShadowAddr+uint64(len(f.Shadow)) != 1<<20 ||
			f.Shadow[len(f.Shadow)-16] != 0xea {
			t.Errorf("%d bytes: %#x, %#x, %v", tc.size, f.Addr, f.ShadowAddr, err)
		}
	}
	for _, n := range []int{0, 1000, 64<<10 + 1, 16<<20 + 64<<10} {
		if _, err := LoadFlash(make([]byte, n)); err == nil {
			t.Errorf("%d bytes were taken", n)
		}
	}
	if e := ResetEntry(); e.CS.Base+e.RIP != 0xfffffff0 || e.Mode != Real || e.CR0 != 0x60000010 {
		t.Errorf("reset %+v", e)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	f.Add(bzImage(64, nil))
	f.Add(elf64(xenNote(1)))
	f.Add(kludged(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := Detect(b); (k == Unknown) != (err != nil) {
			t.Errorf("%v, %v", k, err)
		}
	})
}
