package block

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
	"dfemu/devices/block/nbd"
	"dfemu/devices/block/qcow2"
)

// Open opens the store of a disk, with everything that its description puts
// around it, in the time of clock.
//
// The format of an image matters for safety: a guest that can write to a raw
// image can make it begin like a qcow2 image, whose header names another file
// of the host to read. Therefore without a format the name and the content must
// agree: an image whose name ends in .qcow2 must be one, any other must not
// begin like one, and else there is an error that asks for format=. With
// format=auto the content alone decides, which is safe for an image that no
// guest ever had as a raw disk with format=raw. In a raw image that was opened
// without a format or with format=auto, the guest's write that would make it
// begin like another format fails.
func Open(o Options, clock devices.Clock) (devices.Block, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b, err := o.openStore()
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	w, err := o.wrap(b, clock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open disk %s: %w", o.File, err), b.Close())
	}
	return w, nil
}

// maxMemory bounds disks in memory, in bytes.
const maxMemory = 64 << 30

// below tells whether the store itself is read-only.
func (o *Options) below() bool { return o.ReadOnly || o.Snapshot || o.At != "" }

// openStore opens what is below all decorators.
func (o *Options) openStore() (devices.Block, error) {
	switch {
	case o.isMemory():
		n, err := ParseSize(strings.TrimPrefix(o.File, "mem:"))
		if err != nil {
			return nil, fmt.Errorf("%s: the size %w", o.File, err)
		}
		if n > maxMemory {
			return nil, fmt.Errorf("%s: a disk in memory of more than %d bytes", o.File, int64(maxMemory))
		}
		return NewMemory(make([]byte, n), o.below())
	case o.isNBD():
		return nbd.OpenURL(o.File, nbd.Options{ReadOnly: o.below(), Connections: o.Connections, Reconnect: o.Reconnect})
	}
	format, guarded, err := o.format()
	if err != nil {
		return nil, err
	}
	direct := o.Cache == CacheNone
	if format == FormatQcow2 {
		return qcow2.Open(o.File, qcow2.Options{
			ReadOnly: o.below(), Direct: direct, Unsafe: o.Cache == CacheUnsafe, Snapshot: o.At, Remote: openRemote,
		})
	}
	if o.At != "" {
		return nil, fmt.Errorf("%s: at= is for qcow2 images, which this is not", o.File)
	}
	f, err := OpenFile(o.File, FileOptions{ReadOnly: o.below(), Direct: direct})
	if err != nil {
		return nil, err
	}
	if guarded && !o.below() {
		return &guard{File: f}, nil
	}
	return f, nil
}

// openRemote opens a backing file that is not a file.
func openRemote(url string) (devices.Block, error) {
	return nbd.OpenURL(url, nbd.Options{ReadOnly: true})
}

// wrap puts the decorators around a store.
func (o *Options) wrap(b devices.Block, clock devices.Clock) (devices.Block, error) {
	switch {
	case o.Snapshot && !o.ReadOnly:
		v, err := NewFileOverlay(b, "")
		if err != nil {
			return nil, err
		}
		b = v
	case o.below() && !b.ReadOnly():
		b = NewReadOnly(b)
	}
	switch {
	case b.ReadOnly():
	case o.Cache == CacheVolatile:
		v, err := NewVolatile(b, VolatileOptions{Seed: o.Seed, Sector: int64(o.Logical)})
		if err != nil {
			return nil, err
		}
		b = v
	case o.Cache == CacheUnsafe:
		// A qcow2 image's flush, which it was told not to wait for, writes
		// the tables: without it a crash of the monitor would lose all.
		if _, ok := b.(*qcow2.Image); !ok {
			b = unsafeFlush{forward{b}}
		}
	}
	if o.IOPS != 0 || o.BPS != 0 {
		l, err := NewLimited(b, Limits{IOPS: o.IOPS, BytesPerSecond: o.BPS, Burst: o.Burst}, clock)
		if err != nil {
			return nil, err
		}
		b = l
	}
	if o.Latency != 0 {
		d, err := NewDelayed(b, o.Latency, clock)
		if err != nil {
			return nil, err
		}
		b = d
	}
	return b, nil
}

// format decides about an image's format. A raw image whose content was looked
// at must be guarded.
func (o *Options) format() (f Format, guarded bool, err error) {
	switch o.Format {
	case FormatRaw, FormatQcow2:
		return o.Format, false, nil
	case FormatDefault, FormatAuto:
	default:
		return "", false, fmt.Errorf("image %s: unknown format %q", o.File, o.Format)
	}
	p, err := firstBytes(o.File)
	if err != nil {
		return "", false, err
	}
	like := ProbeFormat(p)
	named := strings.HasSuffix(strings.ToLower(o.File), ".qcow2")
	switch {
	case like == "raw" && (!named || o.Format == FormatAuto):
		return FormatRaw, true, nil
	case like == "raw":
		return "", false, fmt.Errorf("image %s: its name says that it is a qcow2 image, but it does not begin like one: it is damaged, or give format=raw", o.File)
	case like == "qcow2" && (named || o.Format == FormatAuto):
		return FormatQcow2, false, nil
	case like == "qcow2":
		return "", false, fmt.Errorf("image %s: it begins like a qcow2 image, which its name does not say and a guest may have made it do: give format=qcow2 if it is one, else format=raw", o.File)
	}
	return "", false, fmt.Errorf("image %s: it begins like a %s image, which is not supported: convert it with \"qemu-img convert -O qcow2\", or give format=raw if it is none", o.File, like)
}

// firstBytes is how much of an image ProbeFormat looks at.
func firstBytes(name string) ([]byte, error) {
	f, err := host.Open(name, host.Options{ReadOnly: true, NoLock: true})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := make([]byte, probeBytes)
	n, err := f.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the beginning of image %s: %w", name, err)
	}
	return p[:n], nil
}

// probeBytes is how many bytes tell formats apart.
const probeBytes = 80

// ProbeFormat tells what an image that begins with p looks like: "qcow2", the
// name of another format, or "raw". The beginning of a raw image may have been
// written by a guest; see [Open].
func ProbeFormat(p []byte) string {
	for _, f := range []struct {
		off         int
		magic, name string
	}{
		{0, qcow2.Magic, "qcow2"},
		{0, "QED\x00", "QED"},
		{0, "KDMV", "VMDK"},
		{0, "COWD", "VMDK"},
		{0, "# Disk DescriptorFile", "VMDK"},
		{0, "vhdxfile", "VHDX"},
		{0, "conectix", "VHD"},
		{0x40, "\x7f\x10\xda\xbe", "VDI"},
		{0, "WithoutFreeSpace", "Parallels"},
		{0, "WithouFreSpacExt", "Parallels"},
	} {
		if len(p) >= f.off+len(f.magic) && string(p[f.off:f.off+len(f.magic)]) == f.magic {
			return f.name
		}
	}
	return "raw"
}

// unsafeFlush is a store whose flushes do nothing.
type unsafeFlush struct{ forward }

func (unsafeFlush) Flush() error { return nil }

func (u unsafeFlush) WriteFUA(p []byte, off int64) (int, error) { return u.Block.WriteAt(p, off) }
