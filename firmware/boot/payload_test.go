package boot

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
)

// withPayload is a bzImage whose kernel is 16 bytes, the payload and 16 bytes.
func withPayload(payload []byte, change func(b []byte)) []byte {
	le := binary.LittleEndian
	b := bzImage(32+len(payload), nil)
	copy(b[512*3+16:], payload)
	le.PutUint32(b[offPayload:], 16)
	le.PutUint32(b[offPayloadLen:], uint32(len(payload)))
	if change != nil {
		change(b)
	}
	return b
}

// sized puts the size of the contents behind an archive.
func sized(p []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(p), uint32(n))
}

func TestLoadPayload(t *testing.T) {
	m := layout(t, 64<<20)
	want := sample()
	xz, err := os.ReadFile("testdata/sample.x86.xz")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string][]byte{
		"gzip": gzipped(want), "zstd": sized(zstded(want), len(want)), "xz": sized(xz, len(want)), "none": want,
	} {
		image := withPayload(p, nil)
		f := newFake(m)
		e, err := LoadPayload(image, Options{Map: m, Cmdline: "quiet", Initrd: []byte("initrd"), RSDP: 0xe0000}, f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkFlat(t, f, e, Long)
		if e.RIP != 0x200004 || e.RSI != bootParamsAddr || string(f.read(0x200000, 16)) != "0123456789abcdef" {
			t.Errorf("%s: entry %#x with %q", name, e.RIP, f.read(0x200000, 16))
		}
		if f.str(uint64(f.u32(e.RSI+offCmdline))) != "quiet" || f.u64(e.RSI+offACPIRSDP) != 0xe0000 || f.u32(e.RSI+offCode32Start) != 0x200000 {
			t.Errorf("%s: boot_params are wrong", name)
		}
		if at := uint64(f.u32(e.RSI + offRamdisk)); string(f.read(at, 6)) != "initrd" {
			t.Errorf("%s: initrd at %#x", name, at)
		}
		vmlinux, err := Payload(image)
		if err != nil || !bytes.Equal(vmlinux, want) {
			t.Errorf("%s: Payload: %d bytes, %v", name, len(vmlinux), err)
		}
	}
}

func TestLoadPayloadErrors(t *testing.T) {
	le := binary.LittleEndian
	m := layout(t, 64<<20)
	elf := sample()
	z := zstded(elf)
	for _, tc := range []struct {
		want  string
		image []byte
	}{
		{"2.08 is needed", bzImage(64, nil)},
		{"no archive", withPayload([]byte{1, 2}, nil)},
		{"unknown compression", withPayload(make([]byte, 64), nil)},
		{"over the limit", withPayload(sized(z, 1<<30), nil)},
		{"over the limit", withPayload(sized(z, len(elf)-1), nil)},
		{"the last 4 bytes say", withPayload(sized(z, len(elf)+1), nil)},
		{"over the limit", withPayload(gzipped(elf), func(b []byte) { le.PutUint32(b[offInitSize:], 1000) })},
		{"no ELF file", withPayload(gzipped([]byte("hello")), nil)},
		{"gzip", withPayload(gzipped(elf)[:100], nil)},
		{"init_size", withPayload(gzipped(elf), func(b []byte) { le.PutUint32(b[offInitSize:], 1<<30) })},
	} {
		_, err := LoadPayload(tc.image, Options{Map: m}, newFake(m))
		wantError(t, tc.want, err, tc.want)
	}
}
