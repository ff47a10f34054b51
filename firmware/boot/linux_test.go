package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"dfemu/firmware/e820"
)

// bzImage makes an image of protocol 2.15 with a kernel of n bytes; change may
// edit the first sector and the header.
func bzImage(n int, change func(b []byte)) []byte {
	le := binary.LittleEndian
	b := make([]byte, 512*3+n)
	b[offSetupSects] = 2
	le.PutUint32(b[offSysSize:], uint32(n/16))
	b[offBootFlag], b[offBootFlag+1] = 0x55, 0xaa
	b[offJump], b[offJump+1] = 0xeb, 0x6a
	copy(b[offMagic:], "HdrS")
	le.PutUint16(b[offVersion:], 0x020f)
	b[offLoadFlags] = loadedHigh
	le.PutUint32(b[offInitrdMax:], 0x7fffffff)
	le.PutUint32(b[offAlignment:], 0x200000)
	b[offRelocatable] = 1
	le.PutUint16(b[offXLoadFlags:], xlfKernel64|xlfAbove4G)
	le.PutUint32(b[offCmdlineSize:], 2047)
	le.PutUint64(b[offPrefAddress:], 0x1000000)
	le.PutUint32(b[offInitSize:], 0x800000)
	for i := 512 * 3; i < len(b); i++ {
		b[i] = byte(i)
	}
	if change != nil {
		change(b)
	}
	return b
}

func TestLinux(t *testing.T) {
	m := layout(t, 64<<20)
	f := newFake(m)
	image := bzImage(8192, nil)
	initrd := bytes.Repeat([]byte("initrd"), 1000)
	e, err := Load(image, Options{
		Map: m, RSDP: 0xe0000, Cmdline: "console=ttyS0", Initrd: initrd, RNGSeed: []byte("0123456789abcdef"),
	}, f)
	if err != nil {
		t.Fatal(err)
	}
	checkFlat(t, f, e, Long)
	if e.RIP != 0x1000200 || e.RSI != bootParamsAddr || e.CS.Selector != 0x10 || e.DS.Selector != 0x18 {
		t.Errorf("entry %+v", e)
	}
	if !bytes.Equal(f.read(0x1000000, 8192), image[512*3:]) {
		t.Error("the kernel is not at its preferred address")
	}
	p := uint64(bootParamsAddr)
	if got := f.str(uint64(f.u32(p + offCmdline))); got != "console=ttyS0" {
		t.Errorf("command line %q", got)
	}
	at := uint64(f.u32(p + offRamdisk))
	if at != 0x4000000-0x2000 || f.u32(p+offRamdiskLen) != uint32(len(initrd)) || !bytes.Equal(f.read(at, len(initrd)), initrd) {
		t.Errorf("initrd at %#x, %d bytes", at, f.u32(p+offRamdiskLen))
	}
	if f.u64(p+offACPIRSDP) != 0xe0000 {
		t.Errorf("acpi_rsdp_addr %#x", f.u64(p+offACPIRSDP))
	}
	if b := f.read(p+offLoaderType, 2); b[0] != 0xff || b[1] != loadedHigh|canUseHeap {
		t.Errorf("type_of_loader %#x, loadflags %#x", b[0], b[1])
	}
	if f.u32(p+offCode32Start) != 0x1000000 || f.u16(p+offVersion) != 0x20f || f.read(p+0x1ef, 1)[0] != 0 {
		t.Error("the setup header is wrong")
	}
	n := int(f.read(p+offE820Entries, 1)[0])
	if n != len(m) {
		t.Fatalf("%d e820 entries, want %d", n, len(m))
	}
	for i, want := range m {
		a := p + offE820Table + uint64(i*20)
		got := e820.Entry{Addr: f.u64(a), Size: f.u64(a + 8), Type: e820.Type(f.u32(a + 16))}
		if got != want {
			t.Errorf("e820 entry %d: %v, want %v", i, got, want)
		}
	}
	seed := f.u64(p + offSetupData)
	if f.u64(seed) != 0 || f.u32(seed+8) != setupRNGSeed || string(f.read(seed+16, int(f.u32(seed+12)))) != "0123456789abcdef" {
		t.Errorf("setup_data at %#x", seed)
	}
	if b := f.read(p, 0x40); !bytes.Equal(b[6:], make([]byte, 0x3a)) {
		t.Errorf("screen_info % x", b)
	}
}

func TestLinuxPlaces(t *testing.T) {
	le := binary.LittleEndian
	for _, tc := range []struct {
		name   string
		ram    uint64
		opt    Options
		change func([]byte)
		mode   Mode
		rip    uint64
		initrd uint64
	}{
		{"32-bit by choice", 64 << 20, Options{Linux32: true}, nil, Protected, 0x1000000, 0x3fff000},
		{"32-bit kernel", 64 << 20, Options{}, func(b []byte) { le.PutUint16(b[offXLoadFlags:], 0) }, Protected, 0x1000000, 0x3fff000},
		{"not relocatable", 64 << 20, Options{}, func(b []byte) { b[offRelocatable] = 0 }, Long, 0x1000200, 0x3fff000},
		{"preferred is taken", 16 << 20, Options{}, nil, Long, 0x200200, 0xfff000},
		{"2.02", 64 << 20, Options{}, func(b []byte) { le.PutUint16(b[offVersion:], 0x202) }, Protected, 0x100000, 0x3fff000},
		{"2.02 initrd limit", 2 << 30, Options{}, func(b []byte) { le.PutUint16(b[offVersion:], 0x202) }, Protected, 0x100000, 0x37fff000},
		{"initrd limit", 4 << 30, Options{}, func(b []byte) { le.PutUint32(b[offInitrdMax:], 0x1fffffff) }, Long, 0x1000200, 0x1ffff000},
		{"initrd over 4 GiB", 8 << 30, Options{}, func(b []byte) { le.PutUint32(b[offInitrdMax:], 0x1ffffff) }, Long, 0x1000200, 0x1fff000},
		{"initrd only over 4 GiB", 8 << 30, Options{}, func(b []byte) { le.PutUint32(b[offInitrdMax:], 0x17fffff) }, Long, 0x1000200, 0x27ffff000},
	} {
		m := layout(t, tc.ram)
		f := newFake(m)
		tc.opt.Map, tc.opt.Initrd = m, []byte("x")
		e, err := Load(bzImage(8192, tc.change), tc.opt, f)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		checkFlat(t, f, e, tc.mode)
		at := uint64(f.u32(bootParamsAddr+offRamdisk)) | uint64(f.u32(bootParamsAddr+offExtRamdisk))<<32
		if e.RIP != tc.rip || at != tc.initrd {
			t.Errorf("%s: entry %#x, initrd %#x, want %#x, %#x", tc.name, e.RIP, at, tc.rip, tc.initrd)
		}
	}
}

// TestLinuxManyEntries has a memory map that does not fit boot_params.
func TestLinuxManyEntries(t *testing.T) {
	m := layout(t, 64<<20)
	for i := uint64(0); i < 140; i++ {
		m = append(m, e820.Entry{Addr: 1<<40 + i<<20, Size: 4096, Type: e820.Reserved})
	}
	f := newFake(m)
	if _, err := Load(bzImage(8192, nil), Options{Map: m, RNGSeed: []byte{1}}, f); err != nil {
		t.Fatal(err)
	}
	if n := f.read(bootParamsAddr+offE820Entries, 1)[0]; n != 128 {
		t.Errorf("%d entries", n)
	}
	node := f.u64(bootParamsAddr + offSetupData)
	if f.u32(node+8) != setupRNGSeed {
		t.Errorf("type %d", f.u32(node+8))
	}
	node = f.u64(node)
	if f.u32(node+8) != setupE820Ext || int(f.u32(node+12)) != 20*(len(m)-128) || f.u64(node+16) != m[128].Addr {
		t.Errorf("type %d, %d bytes, first %#x", f.u32(node+8), f.u32(node+12), f.u64(node+16))
	}
}

func TestLinuxErrors(t *testing.T) {
	le := binary.LittleEndian
	m := layout(t, 64<<20)
	for _, tc := range []struct {
		want   string
		opt    Options
		change func([]byte)
	}{
		{"too old", Options{}, func(b []byte) { le.PutUint16(b[offVersion:], 0x0201) }},
		{"older than 2.00", Options{Kind: Linux}, func(b []byte) { copy(b[offMagic:], "XXXX") }},
		{"boot_flag", Options{Kind: Linux}, func(b []byte) { b[offBootFlag] = 0 }},
		{"zImage", Options{}, func(b []byte) { b[offLoadFlags] = 0 }},
		{"before cmd_line_ptr", Options{}, func(b []byte) { b[offJump+1] = 0 }},
		{"setup_sects", Options{}, func(b []byte) { b[offSetupSects] = 64 }},
		{"syssize", Options{}, func(b []byte) { le.PutUint32(b[offSysSize:], 0x1000) }},
		{"kernel_alignment", Options{}, func(b []byte) { le.PutUint32(b[offAlignment:], 0x300000) }},
		{"payload_offset", Options{}, func(b []byte) { le.PutUint32(b[offPayloadLen:], 1<<31) }},
		{"init_size", Options{}, func(b []byte) { le.PutUint32(b[offInitSize:], 1<<30) }},
		{"init_size", Options{}, func(b []byte) { le.PutUint32(b[offInitSize:], 1<<30); b[offRelocatable] = 0 }},
		{"init_size", Options{}, func(b []byte) { le.PutUint64(b[offPrefAddress:], ^uint64(0)-4096); b[offRelocatable] = 0 }},
		{"cmdline_size", Options{Cmdline: strings.Repeat("x", 2048)}, nil},
		{"zero byte", Options{Cmdline: "a\x00"}, nil},
		{"random seed", Options{RNGSeed: make([]byte, 5000)}, nil},
		{"initial RAM disk", Options{Initrd: make([]byte, 60<<20)}, nil},
		{"64-bit entry point", Options{}, func(b []byte) {
			b[offSetupSects] = byte((len(b) - 1) / 512)
			le.PutUint32(b[offSysSize:], 0)
			b[offSetupSects]--
		}},
	} {
		opt := tc.opt
		opt.Map = m
		_, err := Load(bzImage(8192, tc.change), opt, newFake(m))
		wantError(t, tc.want, err, tc.want)
	}
	_, err := Load(bzImage(8192, nil), Options{}, newFake(m))
	wantError(t, "no map", err, "memory map has no RAM")
	for _, n := range []int{0, 100, 0x206, 0x240, 512 * 3} {
		if _, err := Load(bzImage(8192, nil)[:n], Options{Map: m, Kind: Linux}, newFake(m)); err == nil {
			t.Errorf("an image cut to %d bytes was taken", n)
		}
	}
}

func TestGokrazyKernel(t *testing.T) {
	image := gokrazyKernel(t)
	if k, err := Detect(image); k != Linux || err != nil {
		t.Fatalf("Detect: %v, %v", k, err)
	}
	m := layout(t, 512<<20)
	f := newFake(m)
	e, err := Load(image, Options{Map: m, Cmdline: "x"}, f)
	if err != nil {
		t.Fatal(err)
	}
	checkFlat(t, f, e, Long)

	f = newFake(m)
	if e, err = LoadPayload(image, Options{Map: m, Cmdline: "x", Zeroed: true}, f); err != nil {
		t.Fatal(err)
	}
	checkFlat(t, f, e, Long)
	if bytes.Equal(f.read(e.RIP, 16), make([]byte, 16)) || e.RSI != bootParamsAddr {
		t.Errorf("entry %#x has no code, or RSI %#x is wrong", e.RIP, e.RSI)
	}
}

func FuzzLinux(f *testing.F) {
	m := layout(f, 64<<20)
	f.Add(bzImage(1024, nil)[:0x400+1024])
	f.Add(bzImage(1024, func(b []byte) { b[offSetupSects] = 1 })[:1500])
	f.Add(bzImage(64, func(b []byte) { binary.LittleEndian.PutUint16(b[offVersion:], 0x203) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := newFake(m)
		opt := Options{Map: m, Kind: Linux, Initrd: []byte("i"), Zeroed: true}
		if e, err := Load(b, opt, mem); err == nil && e.RIP == 0 {
			t.Error("entry at 0")
		}
		if _, err := LoadPayload(b, opt, mem); err == nil && fmt.Sprint(err) == "" {
			t.Error("no reason")
		}
	})
}
