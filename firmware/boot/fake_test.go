package boot

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dfemu/firmware/e820"
)

// fakeMemory is sparse guest memory of 4 KiB pages, which refuses what its map
// does not call RAM.
type fakeMemory struct {
	m     e820.Map
	pages map[uint64]*[4096]byte
}

func newFake(m e820.Map) *fakeMemory {
	return &fakeMemory{m: m, pages: map[uint64]*[4096]byte{}}
}

func (f *fakeMemory) Write(addr uint64, p []byte) error {
	if !f.m.Contains(e820.RAM, addr, uint64(len(p))) {
		return fmt.Errorf("%#x+%#x is not RAM", addr, len(p))
	}
	for len(p) > 0 {
		page := f.pages[addr>>12]
		if page == nil {
			page = new([4096]byte)
			f.pages[addr>>12] = page
		}
		n := copy(page[addr&0xfff:], p)
		p, addr = p[n:], addr+uint64(n)
	}
	return nil
}

func (f *fakeMemory) read(addr uint64, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		if page := f.pages[(addr+uint64(i))>>12]; page != nil {
			out[i] = page[(addr+uint64(i))&0xfff]
		}
	}
	return out
}

func (f *fakeMemory) u16(addr uint64) uint16 { return binary.LittleEndian.Uint16(f.read(addr, 2)) }
func (f *fakeMemory) u32(addr uint64) uint32 { return binary.LittleEndian.Uint32(f.read(addr, 4)) }
func (f *fakeMemory) u64(addr uint64) uint64 { return binary.LittleEndian.Uint64(f.read(addr, 8)) }

func (f *fakeMemory) str(addr uint64) string {
	var b []byte
	for c := f.read(addr, 1)[0]; c != 0; c = f.read(addr, 1)[0] {
		b = append(b, c)
		addr++
	}
	return string(b)
}

// translate walks the page tables that an entry in long mode has.
func (f *fakeMemory) translate(t *testing.T, e Entry, v uint64) uint64 {
	t.Helper()
	pml4 := f.u64(e.CR3 + v>>39&511*8)
	pdpt := f.u64(pml4&^0xfff + v>>30&511*8)
	pd := f.u64(pdpt&^0xfff + v>>21&511*8)
	if pml4&3 != 3 || pdpt&3 != 3 || pd&0x83 != 0x83 {
		t.Fatalf("%#x is not mapped: %#x %#x %#x", v, pml4, pdpt, pd)
	}
	return pd&^(2<<20-1)&(1<<52-1) | v&(2<<20-1)
}

func layout(t testing.TB, ram uint64) e820.Map {
	t.Helper()
	l, err := e820.New(e820.Config{RAM: ram})
	if err != nil {
		t.Fatal(err)
	}
	return l.Map
}

func wantError(t *testing.T, name string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: want an error with %q, got %v", name, want, err)
	}
}

// gokrazyKernel is the kernel of a module that is in the module cache when
// this repository has it among its requirements.
func gokrazyKernel(t testing.TB) []byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/gokrazy/kernel.amd64").Output()
	if err != nil {
		t.Skipf("module github.com/gokrazy/kernel.amd64 is not required: %v", err)
	}
	p, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "vmlinuz"))
	if err != nil {
		t.Skipf("the kernel is not in the module cache: %v", err)
	}
	return p
}

// checkFlat holds for every entry in protected or long mode.
func checkFlat(t *testing.T, f *fakeMemory, e Entry, mode Mode) {
	t.Helper()
	if e.Mode != mode || e.CR0&cr0PE == 0 {
		t.Fatalf("entry in %v, CR0 %#x, want %v", e.Mode, e.CR0, mode)
	}
	code := uint64(0x00cf9b000000ffff)
	if mode == Long {
		code = 0x00af9b000000ffff
		if e.EFER != 0x500 || e.CR4 != 0x20 || e.CR0>>31 != 1 {
			t.Errorf("EFER %#x, CR4 %#x, CR0 %#x", e.EFER, e.CR4, e.CR0)
		}
		for _, v := range []uint64{0, e.RIP, 0xdeadbeef, 1<<32 - 1} {
			if got := f.translate(t, e, v); got != v {
				t.Errorf("%#x is mapped to %#x", v, got)
			}
		}
	} else if e.EFER != 0 || e.CR4 != 0 || e.CR0>>31 != 0 {
		t.Errorf("EFER %#x, CR4 %#x, CR0 %#x", e.EFER, e.CR4, e.CR0)
	}
	if got := f.u64(e.GDT.Base + uint64(e.CS.Selector)); got != code {
		t.Errorf("code descriptor %#x, want %#x", got, code)
	}
	if got := f.u64(e.GDT.Base + uint64(e.SS.Selector)); got != 0x00cf93000000ffff {
		t.Errorf("data descriptor %#x", got)
	}
	if e.RFLAGS != 2 || e.RSP == 0 {
		t.Errorf("RFLAGS %#x, RSP %#x", e.RFLAGS, e.RSP)
	}
}
