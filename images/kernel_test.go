package images

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"
)

// TestBuildKernel builds the guest kernel and looks at what loaders look at.
func TestBuildKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command")
	}
	var progress testWriter = func(p []byte) { t.Logf("%s", p) }
	name, err := BuildKernel(context.Background(), UserCache(), progress)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Entry != stubBase {
		t.Errorf("entry %#x, want %#x", f.Entry, stubBase)
	}
	notes := 0
	loaded := uint64(0) // end of what is loaded in the file
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_NOTE:
			notes++
			if p.Align != 4 {
				t.Errorf("the note's alignment is %d, want 4", p.Align)
			}
		case elf.PT_LOAD:
			loaded = max(loaded, p.Off+p.Filesz)
			// A loader that copies the file as one block yields the same memory.
			if p.Off-stubOffset != p.Paddr-stubBase {
				t.Errorf("the segment for %#x is at %#x of the file", p.Paddr, p.Off)
			}
			if p.Paddr+p.Memsz > 1<<28 {
				t.Errorf("the segment at %#x of %#x bytes is too high for a small machine", p.Paddr, p.Memsz)
			}
		}
	}
	if notes != 1 {
		t.Errorf("%d notes, want 1", notes)
	}
	found := false
	for i := 0; i+12 <= 8192; i += 4 {
		u := func(off int) uint32 { return binary.LittleEndian.Uint32(data[i+off:]) }
		if u(0) == 0x1badb002 && u(0)+u(4)+u(8) == 0 {
			found = true
			if load, end := u(16), u(20); load != stubBase || end-load != uint32(loaded-stubOffset) {
				t.Errorf("Multiboot loads %#x to %#x", load, end)
			}
		}
	}
	if !found {
		t.Error("there is no Multiboot header in the first 8 KiB")
	}
	// Symbols and debugging information are those of where the kernel runs.
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	named := false
	for _, s := range syms {
		if s.Name == kernelEntry {
			named = true
			text := f.Sections[s.Section]
			if text.Name != ".text" || s.Value < kernelText || s.Value < text.Addr || s.Value-text.Addr >= text.Size {
				t.Errorf("%s is at %#x of %s", s.Name, s.Value, text.Name)
			}
		}
	}
	if _, err := f.DWARF(); err != nil || !named {
		t.Errorf("symbols: %v; debugging information: %v", named, err)
	}
	// A second build of the same source is taken from the cache.
	again, err := BuildKernel(context.Background(), UserCache(), progress)
	if err != nil || again != name {
		t.Errorf("again: %s, %v; want %s", again, err, name)
	}
}
