package fwcfg

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

type rig struct {
	*Device
	ram *devtest.RAM
	t   *testing.T
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, ram: devtest.NewRAM(1 << 16)}
	r.Device = New(Config{Memory: r.ram})
	return r
}

// item reads n bytes of the item that key selects through the data port.
func (r *rig) item(key Key, n int) []byte {
	r.t.Helper()
	drive.Out(r.t, r.Ports(), 0, 2, uint64(key))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(drive.In(r.t, r.Ports(), 1, 1))
	}
	return p
}

const (
	descAt = 0x100
	dataAt = 0x1000
)

// dma runs a command and returns its control field afterwards.
func (r *rig) dma(control, length uint32, addr uint64) uint32 {
	r.t.Helper()
	p := binary.BigEndian.AppendUint32(nil, control)
	p = binary.BigEndian.AppendUint32(p, length)
	p = binary.BigEndian.AppendUint64(p, addr)
	copy(r.ram.Data[descAt:], p)
	drive.Out(r.t, r.Ports(), 4, 4, 0)
	drive.Out(r.t, r.Ports(), 8, 4, 0x00010000) // 0x100, big-endian
	return binary.BigEndian.Uint32(r.ram.Data[descAt:])
}

func TestTraditional(t *testing.T) {
	r := newRig(t)
	r.AddU16(NumCPUs, 4)
	r.AddU64(RAMSize, 0x1_2345_6789)
	r.AddString(CmdlineData, "console=ttyS0")
	for _, c := range []struct {
		key  Key
		want []byte
	}{
		{Signature, []byte("QEMU\x00\x00")},
		{ID, []byte{3, 0, 0, 0}},
		{NumCPUs, []byte{4, 0, 0}},
		{RAMSize, []byte{0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0}},
		{CmdlineData, []byte("console=ttyS0\x00")},
		{E820, []byte{0, 0}},
		{0x4000 | Signature, []byte("QEMU")}, // the write channel bit does not select
		{0x7fff, []byte{0}},
	} {
		if got := r.item(c.key, len(c.want)); !bytes.Equal(got, c.want) {
			t.Errorf("item %#x: %q, want %q", c.key, got, c.want)
		}
	}
	if New(Config{}).items[ID].data[0] != idTraditional {
		t.Error("DMA is offered without memory")
	}
}

func TestDirectory(t *testing.T) {
	r := newRig(t)
	for _, n := range []string{"etc/smbios", "bootorder", "etc/e820", "bootorder"} {
		if err := r.AddFile(n, []byte(n)); err != nil {
			t.Fatal(err)
		}
	}
	d := r.item(FileDir, 4+3*64)
	if n := binary.BigEndian.Uint32(d); n != 3 {
		t.Fatalf("%d files", n)
	}
	for i, want := range []string{"bootorder", "etc/e820", "etc/smbios"} {
		e := d[4+64*i:][:64]
		name := string(bytes.TrimRight(e[8:], "\x00"))
		size, key := binary.BigEndian.Uint32(e), Key(binary.BigEndian.Uint16(e[4:]))
		if name != want || int(size) != len(want) {
			t.Errorf("entry %d is %q of %d bytes, want %q", i, name, size, want)
		}
		if got := r.item(key, int(size)); string(got) != want {
			t.Errorf("key %#x has %q", key, got)
		}
	}
	for _, n := range []string{"", strings.Repeat("x", 56), "a\x00b"} {
		if r.AddFile(n, nil) == nil {
			t.Errorf("name %q was taken", n)
		}
	}
}

func TestDMARegister(t *testing.T) {
	r := newRig(t)
	var sig []byte
	for i := range uint64(8) {
		sig = append(sig, byte(drive.In(t, r.Ports(), 4+i, 1)))
	}
	if string(sig) != "QEMU CFG" {
		t.Errorf("signature %q", sig)
	}
	if v := drive.In(t, r.Ports(), 8, 4); v != 0x47464320 {
		t.Errorf("lower half %#x", v)
	}
}

func TestDMARead(t *testing.T) {
	r := newRig(t)
	r.Add(0x20, []byte("0123456789"))
	for _, c := range []struct {
		name    string
		control uint32
		length  uint32
		addr    uint64
		result  uint32
		want    string
	}{
		{"select and read", 0x20<<16 | dmaSelect | dmaRead, 4, dataAt, 0, "0123...."},
		{"read on", dmaRead, 2, dataAt, 0, "45......"},
		{"skip", dmaSkip, 2, 0, 0, "........"},
		{"read past the end", dmaRead, 4, dataAt, 0, "89\x00\x00...."},
		{"select only", 0x20<<16 | dmaSelect, 0, 0, 0, "........"},
		{"read again", dmaRead, 1, dataAt, 0, "0......."},
		{"outside of memory", dmaRead, 4, 1 << 40, dmaError, "........"},
		{"around the end", dmaRead, 4, math.MaxUint64 - 1, dmaError, "........"},
		{"write to a read-only item", 0x20<<16 | dmaSelect | dmaWrite, 4, dataAt, dmaError, "........"},
		{"no such item", 0x99<<16 | dmaSelect | dmaRead, 3, dataAt, 0, "\x00\x00\x00....."},
		{"nothing", 0, 0, 0, 0, "........"},
	} {
		copy(r.ram.Data[dataAt:], "........")
		if got := r.dma(c.control, c.length, c.addr); got != c.result {
			t.Errorf("%s: control %#x, want %#x", c.name, got, c.result)
		}
		if got := string(r.ram.Data[dataAt:][:8]); got != c.want {
			t.Errorf("%s: memory %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDMALong(t *testing.T) {
	r := newRig(t)
	r.Add(0x20, []byte("x"))
	for i := range 0x3000 {
		r.ram.Data[dataAt+i] = 0xee
	}
	r.dma(0x20<<16|dmaSelect|dmaRead, 0x2800, dataAt)
	want := append([]byte("x"), make([]byte, 0x27ff)...)
	want = append(want, 0xee)
	if !bytes.Equal(r.ram.Data[dataAt:][:0x2801], want) {
		t.Error("a long read does not end in zeroes")
	}
	if r.dma(0x20<<16|dmaSelect|dmaRead, math.MaxUint32, dataAt) != dmaError {
		t.Error("a read of 4 GiB succeeds")
	}
}

func TestWritable(t *testing.T) {
	r := newRig(t)
	var calls []string
	if err := r.AddWritableFile("etc/vmgenid_addr", make([]byte, 8), func(off int, p []byte) {
		calls = append(calls, string(rune('0'+off))+string(p))
	}); err != nil {
		t.Fatal(err)
	}
	copy(r.ram.Data[dataAt:], "abcdefghij")
	r.dma(0x20<<16|dmaSelect|dmaSkip, 2, 0)
	if r.dma(dmaWrite, 3, dataAt) != 0 {
		t.Error("write fails")
	}
	if r.dma(dmaWrite, 4, dataAt) != dmaError {
		t.Error("write past the end succeeds")
	}
	if f, _ := r.File("etc/vmgenid_addr"); string(f) != "\x00\x00abc\x00\x00\x00" || len(calls) != 1 || calls[0] != "2abc" {
		t.Errorf("file %q, calls %q", f, calls)
	}
	p, err := r.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	n := New(Config{Memory: r.ram})
	if n.RestoreState(p) == nil {
		t.Error("restored a file that is not there")
	}
	_ = n.AddWritableFile("etc/vmgenid_addr", make([]byte, 8), nil)
	if err := n.RestoreState(p); err != nil {
		t.Error(err)
	}
	if f, _ := n.File("etc/vmgenid_addr"); string(f) != "\x00\x00abc\x00\x00\x00" {
		t.Errorf("restored %q", f)
	}
}

func TestRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		off  uint64
		size int
		want error
	}{{0, 1, devices.ErrReadOnly}, {1, 1, devices.ErrReadOnly}, {6, 4, devices.ErrAlign}, {4, 2, devices.ErrSize}} {
		if err := r.Ports().Write(c.off, c.size, 1); err != c.want {
			t.Errorf("write of %d at %d: %v, want %v", c.size, c.off, err, c.want)
		}
	}
	if _, err := r.Ports().Read(0, 2); err != devices.ErrWriteOnly {
		t.Errorf("read of the selector: %v", err)
	}
	if err := New(Config{}).Ports().Write(4, 4, 0); err != devices.ErrNoRegister {
		t.Errorf("DMA without memory: %v", err)
	}
}

func FuzzFwCfg(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0x19, 0, 0, 0, 0, 1, 0, 5, 4, 0, 0, 0, 0, 0, 5, 8, 0, 0, 0, 1, 0}, []byte{0, 0x19, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0})
	f.Add([]byte{5, 8, 0, 0, 0, 1, 0}, []byte{0, 0x20, 0, 24, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, program, ram []byte) {
		m := devtest.NewRAM(1 << 12)
		copy(m.Data[0x100:], ram)
		d := New(Config{Memory: m})
		_ = d.AddWritableFile("w", make([]byte, 32), nil)
		_ = d.AddFile("r", []byte("hello"))
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), d, nil, drive.Window{Region: d.Ports(), Size: Size})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		d := New(Config{Memory: devtest.NewRAM(4096)})
		drive.FuzzRestore(p, devtest.NewClock(time.Time{}), d, drive.Window{Region: d.Ports(), Size: Size})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{Memory: devtest.NewRAM(4096)})
	drive.Hammer(clock, d, drive.Window{Region: d.Ports(), Size: Size})
}
