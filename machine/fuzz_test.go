package machine

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dfemu/tests/tiny"
)

// FuzzMachine starts machines with any bytes as kernel, RAM disk, firmware and
// disk image, and lets those that start run for a moment. Nothing may go wrong
// but what is told by an error of New or is the guest's own business.
func FuzzMachine(f *testing.F) {
	const (
		asKernel = iota
		asInitrd
		asFirmware
		asDisk
		kinds
	)
	seeds := [][]byte{
		nil, {0x7f}, []byte("\x7fELF"), make([]byte, 512), make([]byte, 64<<10),
		tiny.Exit(3), tiny.TripleFault(), tiny.Hang(), tiny.Reset(), tiny.BzImage(), tiny.ELF(),
		// REP OUTSB over all ports, and REP MOVSB over all memory.
		append([]byte{0xba, 0xf8, 0x03, 0xb9, 0xff, 0xff, 0xf3, 0x6e, 0xf3, 0xa4}, make([]byte, 502)...),
	}
	for _, s := range seeds {
		for kind := range byte(kinds) {
			f.Add(kind, s)
		}
	}
	bios := tiny.Exit(1)
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		dir := t.TempDir()
		file := func(name string, p []byte) string {
			name = filepath.Join(dir, name)
			if err := os.WriteFile(name, p, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}
		cfg := Config{Accel: "interp", Memory: 16 << 20, NoReboot: true, CPUs: 1 + len(data)%2}
		switch kind % kinds {
		case asKernel:
			cfg.Kernel, cfg.Unpack = file("kernel", data), true
		case asInitrd:
			cfg.Kernel, cfg.Initrd = file("kernel", tiny.ELF()), file("initrd", data)
		case asFirmware:
			// Any size is tried, and what is not a size of firmware once more in one that is.
			cfg.Firmware = file("firmware", data)
			if m, err := New(cfg); err == nil {
				run(t, m)
			}
			cfg.Firmware = file("firmware", append(make([]byte, 64<<10-len(data)%(64<<10)), data...))
		case asDisk:
			cfg.Kernel, cfg.Snapshot = file("kernel", bios), true
			cfg.Disks = []Disk{{File: file("disk", data)}}
		}
		m, err := New(cfg)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		run(t, m)
	})
}

// run lets a machine run for a moment and closes it.
func run(t *testing.T, m *Machine) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if _, err := m.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
