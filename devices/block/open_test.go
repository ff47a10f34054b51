package block_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/block/qcow2"
	"dfemu/devices/devtest"
)

func TestParseDisk(t *testing.T) {
	for s, want := range map[string]block.Options{
		"disk.img":                                          {File: "disk.img"},
		"file=a=b,ro":                                       {File: "a=b", ReadOnly: true},
		"a,,b.img,serial=x,,y=z":                            {File: "a,b.img", Serial: "x,y=z"},
		"d,if=ahci,format=raw":                              {File: "d", Interface: "ahci", Format: block.FormatRaw},
		"d,if=nvme,cache=none":                              {File: "d", Interface: "nvme", Cache: block.CacheNone},
		"d,cache=volatile,seed=0x10":                        {File: "d", Cache: block.CacheVolatile, Seed: 16},
		"d,snapshot,at=before":                              {File: "d", Snapshot: true, At: "before"},
		"d,snapshot=off,ro=on":                              {File: "d", ReadOnly: true},
		"d,iops=500,bps=10M,burst=1s":                       {File: "d", IOPS: 500, BPS: 10 << 20, Burst: time.Second},
		"d,latency=1.5ms":                                   {File: "d", Latency: 1500 * time.Microsecond},
		"d,logical=4096,physical=8192":                      {File: "d", Logical: 4096, Physical: 8192},
		"d,queues=4,removable":                              {File: "d", Device: []block.Setting{{"queues", "4"}, {"removable", "on"}}},
		"mem:64M,logical=512":                               {File: "mem:64M", Logical: 512},
		"nbd://h:1/x,connections=4":                         {File: "nbd://h:1/x", Connections: 4},
		"nbd+unix:///x?socket=/s,reconnect=5s,cache=unsafe": {File: "nbd+unix:///x?socket=/s", Reconnect: 5 * time.Second, Cache: block.CacheUnsafe},
	} {
		if want.Cache == "" {
			want.Cache = block.CacheWriteback
		}
		if o, err := block.ParseDisk(s); err != nil || !reflect.DeepEqual(o, want) {
			t.Errorf("%q: %+v, %v", s, o, err)
		}
	}
	for s, why := range map[string]string{
		"": "name of an image", ",ro": "name of an image", "d,": "no name", "d,if=floppy": "ahci, nvme, scsi, virtio",
		"d,ro=maybe": "on or off", "d,ro,ro": "twice", "d,seed=x": "number", "d,seed=1": "volatile",
		"d,iops=0": "not 0", "d,iops=-1": "number", "d,bps=99999999999T": "number", "d,latency=5": "2ms",
		"d,latency=-5s": "2ms", "d,logical=1024": "512 or 4096", "d,physical=1000": "power of two",
		"d,logical=4096,physical=512": "less than", "d,format=vmdk": "raw, qcow2", "d,serial=": "needs a value",
		"d,burst=1s": "iops", "d,format=raw,at=x": "qcow2", "nbd://h,format=qcow2": "files only",
		"nbd://h,cache=none": "files only", "mem:1M,at=x": "qcow2", "d,connections=2": "nbd", "d,connections=0": "from 1",
	} {
		if _, err := block.ParseDisk(s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", s, err, why)
		}
	}
}

func TestSettings(t *testing.T) {
	o, err := block.ParseDisk("d,queues=4,odd,rpm=1")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"queues": "4", "rpm": "1"} {
		if v, ok := o.Take(key); !ok || v != want {
			t.Errorf("%s: %q, %v", key, v, ok)
		}
	}
	if _, ok := o.Take("queues"); ok {
		t.Error("taken twice")
	}
	if err := o.Unknown(); err == nil || !strings.Contains(err.Error(), `"odd"`) {
		t.Error(err)
	}
}

func FuzzParseDisk(f *testing.F) {
	for _, s := range []string{"d", "d,ro", "a,,b,if=nvme,iops=5k", "mem:1M", "nbd://h/x,connections=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := block.ParseDisk(s)
		if err == nil && (o.File == "" || o.IOPS < 0 || o.BPS < 0 || o.Latency < 0) {
			t.Errorf("%q: %+v", s, o)
		}
	})
}

// disk opens a disk by its description.
func disk(t testing.TB, format string, args ...any) (devices.Block, error) {
	t.Helper()
	o, err := block.ParseDisk(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	b, err := block.Open(o, devtest.NewClock(time.Unix(0, 0)))
	if err == nil {
		t.Cleanup(func() { b.Close() })
	}
	return b, err
}

// TestFormats checks which images are taken for what.
func TestFormats(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, p []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), append(p, make([]byte, 1<<20)...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"q.qcow2", "q.img"} {
		if err := qcow2.Create(filepath.Join(dir, name), qcow2.CreateOptions{Size: 3 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	put("r.img", nil)
	put("r.qcow2", nil)
	put("v.img", []byte("KDMV"))
	for _, c := range []struct {
		disk string
		size int64 // 0 if it must be refused
		why  string
	}{
		{"q.qcow2", 3 << 20, ""},
		{"q.img", 0, "format=qcow2"},
		{"q.img,format=auto", 3 << 20, ""},
		{"q.img,format=qcow2", 3 << 20, ""},
		{"r.img", 1 << 20, ""},
		{"r.img,format=auto", 1 << 20, ""},
		{"r.img,format=qcow2", 0, "no qcow2 image"},
		{"r.qcow2", 0, "format=raw"},
		{"r.qcow2,format=raw", 1 << 20, ""},
		{"v.img", 0, "VMDK"},
		{"v.img,format=auto", 0, "VMDK"},
		{"v.img,format=raw", 1 << 20, ""},
		{"none.img", 0, "no such file"},
		{"r.img,at=x", 0, "qcow2"},
	} {
		b, err := disk(t, "%s/%s", dir, c.disk)
		if c.size == 0 {
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s: %v, want %q", c.disk, err, c.why)
			}
			continue
		}
		if err != nil || b.Size()&^511 != c.size&^511 {
			t.Errorf("%s: %v", c.disk, err)
			continue
		}
		b.Close()
	}
}

// TestGuard checks that a guest cannot turn a raw image into another that was
// taken for raw by its content.
func TestGuard(t *testing.T) {
	name, _ := image(t, 1<<20)
	for _, format := range []string{"", ",format=auto"} {
		b, err := disk(t, "%s%s", name, format)
		if err != nil {
			t.Fatal(err)
		}
		evil := append([]byte(qcow2.Magic), make([]byte, 508)...)
		vdi := append(make([]byte, 64), "\x7f\x10\xda\xbe"...)
		_, err = b.WriteAt(evil, 0)
		_, errFUA := block.WriteFUA(b, evil, 0)
		_, errVDI := b.WriteAt(vdi[60:], 60)
		errV := block.WriteV(b, [][]byte{evil[:2], evil[2:]}, 0)
		for _, err := range []error{err, errFUA, errVDI, errV} {
			if !errors.Is(err, block.ErrLooksLikeImage) {
				t.Errorf("%q: %v", format, err)
			}
		}
		if _, err := b.WriteAt([]byte("QFI"), 0); err != nil {
			t.Error(err)
		}
		if _, err := b.WriteAt([]byte("\xfb"), 3); !errors.Is(err, block.ErrLooksLikeImage) {
			t.Errorf("%q: %v", format, err)
		}
		if _, err := b.WriteAt(evil, 512); err != nil {
			t.Error(err)
		}
		b.Close()
	}
	b, err := disk(t, "%s,format=raw", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteAt([]byte("\xfb"), 3); err != nil {
		t.Error(err)
	}
}

func TestOpenOptions(t *testing.T) {
	name, before := image(t, 1<<20)
	qname := filepath.Join(t.TempDir(), "q.qcow2")
	if err := qcow2.Create(qname, qcow2.CreateOptions{Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Run("ro", func(t *testing.T) {
		for _, n := range []string{name, qname, "mem:1M"} {
			b, err := disk(t, "%s,ro,cache=volatile,snapshot", n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.WriteAt(filled(512, 1), 0); !errors.Is(err, block.ErrReadOnly) || !b.ReadOnly() {
				t.Errorf("%s: %v", n, err)
			}
			b.Close()
		}
	})
	t.Run("snapshot", func(t *testing.T) {
		for _, n := range []string{name, qname, "mem:1M"} {
			file, _ := os.ReadFile(n)
			b, err := disk(t, "%s,snapshot,cache=volatile", n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.WriteAt(filled(512, 1), 0); err != nil || b.Flush() != nil || content(t, b)[0] != 1 {
				t.Errorf("%s: %v", n, err)
			}
			b.Close()
			if after, _ := os.ReadFile(n); !bytes.Equal(file, after) {
				t.Errorf("%s changed", n)
			}
		}
	})
	t.Run("volatile", func(t *testing.T) {
		b, err := disk(t, "%s,cache=volatile,seed=3,iops=1000000,latency=0s,burst=1s", name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(50) {
			if _, err := b.WriteAt(filled(512, 7), i*512); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.(devices.PowerLoser).PowerLoss(); err != nil {
			t.Fatal(err)
		}
		p := content(t, b)
		kept := 0
		for i := range 50 {
			if bytes.Equal(p[i*512:(i+1)*512], filled(512, 7)) {
				kept++
			} else if !bytes.Equal(p[i*512:(i+1)*512], before[i*512:(i+1)*512]) {
				t.Errorf("sector %d has something else", i)
			}
		}
		if kept == 0 || kept == 50 {
			t.Errorf("%d of 50 writes survived", kept)
		}
	})
	t.Run("caches", func(t *testing.T) {
		for _, n := range []string{name, qname} {
			for _, c := range []string{"writeback", "none", "unsafe", "volatile"} {
				b, err := disk(t, "%s,cache=%s", n, c)
				if err != nil {
					if c == "none" {
						continue // not on every file system
					}
					t.Fatal(err)
				}
				if _, err := block.WriteFUA(b, filled(1024, c[0]), 512); err != nil || b.Flush() != nil {
					t.Errorf("%s, %s: %v", n, c, err)
				}
				b.Close()
				if b, err = disk(t, "%s,ro", n); err != nil {
					t.Fatal(err)
				}
				if p := content(t, b); !bytes.Equal(p[512:1536], filled(1024, c[0])) {
					t.Errorf("%s, %s: content differs", n, c)
				}
				b.Close()
			}
		}
	})
}

func TestImageFiles(t *testing.T) {
	dir := t.TempDir()
	raw, q := filepath.Join(dir, "r"), filepath.Join(dir, "q")
	if err := block.CreateRaw(raw, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := block.CreateRaw(raw, 1<<20); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if err := block.CreateRaw(filepath.Join(dir, "x"), 1000); err == nil {
		t.Error("1000 bytes")
	}
	if err := qcow2.Create(q, qcow2.CreateOptions{Size: 1 << 21}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		format block.Format
		want   string
		size   int64
	}{{raw, "", "raw", 1 << 30}, {q, "", "qcow2", 1 << 21}, {q, "raw", "raw", 0}} {
		i, err := block.ReadInfo(c.name, c.format)
		if err != nil || i.Format != c.want || c.size != 0 && i.VirtualSize != c.size || i.ActualSize > 1<<20 {
			t.Errorf("%s: %+v, %v", c.name, i, err)
		}
	}
	if _, err := block.ReadInfo(raw, "qcow2"); err == nil {
		t.Error("a raw image is described as qcow2")
	}
}
