package perf_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"dfemu/cpu"
	"dfemu/images"
	"dfemu/machine"
	"dfemu/perf"
)

// accels are the processors in software of this host.
func accels() []string {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return []string{"interp", "jit"}
	}
	return []string{"interp"}
}

// guest is a Multiboot kernel: _start calls outer, which calls spin again and again; spin
// loops for a while and reads port 0x80.
func guest(t *testing.T) string {
	const base = 0x100000
	code := map[uint32][]byte{
		0x20: { // _start
			0xbc, 0x00, 0x00, 0x20, 0x00, // MOV ESP, 200000h
			0x31, 0xed, //                   XOR EBP, EBP
			0xe8, 0x14, 0x00, 0x00, 0x00, // CALL outer
			0xf4, // HLT
		},
		0x40: { // outer
			0x55, 0x89, 0xe5, //             PUSH EBP; MOV EBP, ESP
			0xe8, 0x18, 0x00, 0x00, 0x00, // CALL spin
			0xeb, 0xf9, //                   JMP to the call
		},
		0x60: { // spin
			0x55, 0x89, 0xe5, //             PUSH EBP; MOV EBP, ESP
			0xb9, 0x00, 0x10, 0x00, 0x00, // MOV ECX, 1000h
			0x83, 0xe9, 0x01, //             SUB ECX, 1
			0x75, 0xfb, //                   JNZ
			0xe4, 0x80, //                   IN AL, 80h
			0x5d, 0xc3, //                   POP EBP; RET
		},
	}
	text := make([]byte, 0x80)
	for at, p := range code {
		copy(text[at:], p)
	}
	le := binary.LittleEndian
	const magic = uint32(0x1badb002) // of a Multiboot header; flags and a sum follow
	le.PutUint32(text[0:], magic)
	le.PutUint32(text[8:], ^magic+1)

	// System V ABI, Intel386 supplement: the header, one segment, and sections for the symbols.
	const textOff = 0x1000
	strtab := []byte("\x00_start\x00outer\x00spin\x00")
	symtab := make([]byte, 16)
	for name, at := range map[uint32]uint32{1: 0x20, 8: 0x40, 14: 0x60} {
		symtab = le.AppendUint32(symtab, name)
		symtab = le.AppendUint32(symtab, base+at)
		symtab = le.AppendUint32(symtab, 0x20)
		symtab = append(symtab, 1<<4|2, 0, 1, 0)
	}
	shstr := []byte("\x00.text\x00.symtab\x00.strtab\x00.shstrtab\x00")
	symOff := textOff + len(text)
	strOff := symOff + len(symtab)
	shstrOff := strOff + len(strtab)
	shOff := shstrOff + len(shstr)
	b := []byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x03\x00\x01\x00\x00\x00")
	for _, v := range []uint32{base + 0x20, 52, uint32(shOff), 0} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{52, 32, 1, 40, 5, 4} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint32{1, textOff, base, base, uint32(len(text)), uint32(len(text)), 5, 0x1000} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, make([]byte, textOff-len(b))...)
	b = append(append(append(append(b, text...), symtab...), strtab...), shstr...)
	for _, s := range [][10]uint32{
		{},
		{1, 1, 6, base, textOff, uint32(len(text)), 0, 0, 16, 0},
		{7, 2, 0, 0, uint32(symOff), uint32(len(symtab)), 3, 1, 4, 16},
		{15, 3, 0, 0, uint32(strOff), uint32(len(strtab)), 0, 0, 1, 0},
		{23, 3, 0, 0, uint32(shstrOff), uint32(len(shstr)), 0, 0, 1, 0},
	} {
		for _, v := range s {
			b = le.AppendUint32(b, v)
		}
	}
	name := filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// run profiles a machine until it has so many samples.
func run(t *testing.T, cfg machine.Config, samples int64) *perf.Report {
	t.Helper()
	kernel, err := perf.Open(cfg.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	kernel.Kernel = true
	kernel.SetPhysical()
	c := perf.NewCollector(perf.Config{CPUs: 1, Period: time.Millisecond, Kernel: kernel})
	var m *machine.Machine
	left := atomic.Int64{}
	left.Store(samples)
	cfg.NoReboot = true
	cfg.SamplePeriod = time.Millisecond
	cfg.Sample = func(id int, s *cpu.Sample) {
		c.Sample(id, s)
		if left.Add(-1) == 0 {
			m.Stop()
		}
	}
	cfg.Exit = func(e machine.Exit) { c.Exit(e.CPU, e.RIP, perf.Cause{Port: e.Port, Write: e.Write, Name: e.Name}) }
	if m, err = machine.New(cfg); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	begin := time.Now()
	out, err := m.Run(ctx)
	if err != nil || out.Cause != machine.Stopped {
		t.Fatalf("ended with %v %s, %v", out.Cause, out.Detail, err)
	}
	return c.Report(perf.Run{Accel: m.Accel(), Start: begin, Elapsed: time.Since(begin), Stats: m.CPUStats()})
}

// stacks returns the samples of a profile by their functions, and their number.
func stacks(t *testing.T, p *profile.Profile) (map[string]int64, int64) {
	t.Helper()
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	out, total := map[string]int64{}, int64(0)
	for _, s := range p.Sample {
		var names []string
		for _, l := range s.Location {
			names = append(names, l.Line[0].Function.Name)
		}
		out[strings.Join(names, "<")] += s.Value[0]
		total += s.Value[0]
	}
	return out, total
}

// TestRun profiles a guest of which it is known where it is.
func TestRun(t *testing.T) {
	name := guest(t)
	for _, accel := range accels() {
		t.Run(accel, func(t *testing.T) {
			r := run(t, machine.Config{Kernel: name, Accel: accel, Memory: 32 << 20}, 40)
			got, total := stacks(t, r.Profile())
			if got["spin<outer<_start"] < total*9/10 || total < 40 {
				t.Errorf("%d samples: %v", total, got)
			}
			var b bytes.Buffer
			if err := r.Text(&b, 5); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{" on " + accel, "spin\n", "spin+0x8\n", "read port", ": spin 100.0%", " exits\n"} {
				if !strings.Contains(b.String(), want) {
					t.Errorf("the report lacks %q", want)
				}
			}
			if t.Failed() {
				t.Log(b.String())
			}
		})
	}
}

// TestDebian reads the symbols of a kernel with the tables of Linux 6.1.
func TestDebian(t *testing.T) {
	dir, err := images.GuestsDir()
	if err != nil {
		t.Skip(err)
	}
	name := filepath.Join(dir, "linux-image-cloud-amd64", "vmlinuz")
	if _, err := os.Stat(name); err != nil || testing.Short() {
		t.Skipf("%s is not there (run tests/install-debian as root), or it would take too long", name)
	}
	o, err := perf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Kernel || !o.Packed() || o.Functions() < 20000 {
		t.Errorf("kernel %v, packed %v, %d functions", o.Kernel, o.Packed(), o.Functions())
	}
	if s, ok := o.Lookup(0xffffffff81000000); !ok || s.Name != "startup_64" {
		t.Errorf("it begins with %+v, %v", s, ok)
	}
}

// TestLinux profiles the beginning of a real kernel's boot.
func TestLinux(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a real kernel")
	}
	kernel, err := images.LinuxKernel(context.Background())
	if err != nil {
		t.Skipf("the kernel's module cannot be had: %v", err)
	}
	accel := accels()
	r := run(t, machine.Config{Kernel: kernel, Accel: accel[len(accel)-1], Unpack: true, Cmdline: "quiet"}, 120)
	got, total := stacks(t, r.Profile())
	named, started := int64(0), int64(0)
	for s, n := range got {
		if !strings.Contains(s, "[") {
			named += n
		}
		if strings.Contains(s+"<", "<start_kernel<") {
			started += n
		}
	}
	t.Logf("of %d samples %d are in functions with names, %d below start_kernel", total, named, started)
	if named < total*95/100 || started < total/2 {
		t.Errorf("too few: %v", got)
	}
}
