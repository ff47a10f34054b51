package acpi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func u8p(v uint8) *uint8 { return &v }

// fullConfig has every optional part.
func fullConfig(cpus int) Config {
	c := Config{
		PCAT:    true,
		IOAPICs: []IOAPIC{{ID: 0, Addr: 0xfec00000}},
		Overrides: []Override{
			{Source: 0, GSI: 2},
			{Source: 5, GSI: 5, Level: true},
			{Source: 10, GSI: 10, Level: true, ActiveLow: true},
		},
		PM: PM{
			Base: 0x600, SMICommand: 0xb2, Enable: 2, Disable: 3,
			ResetPort: 0xcf9, ResetValue: 6, S3: u8p(1), S4: u8p(2), S5: 5, RTCCentury: 0x32,
		},
		Power: Button{Kind: GPEButton, GPE: 8},
		Sleep: Button{Kind: GPEButton, GPE: 9},
		PCI: &PCI{
			ECAM: 0xb0000000, LastBus: 255,
			Windows32:     []Range{{0x80000000, 0x30000000}, {0xc0000000, 0x3ec00000}},
			Windows64:     []Range{{0x8000000000, 0x800000000}},
			VGA:           true,
			LPC:           &LPC{Device: 31},
			RootPorts:     []RootPort{{Device: 2, Slot: 1}, {Device: 3, Function: 1, Slot: 2}},
			NativeHotplug: true,
			BusCheckGPE:   1,
		},
		ISA: ISA{
			RTC: true, PIC: true, PIT: true, Speaker: true, DMA: true, Keyboard: true, Mouse: true,
			COM:   []COM{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}},
			FwCfg: 0x510, PVPanic: 0x505,
		},
		VirtioMMIO: []VirtioMMIO{{0xfeb00000, 0x200, 24}, {0xfeb00200, 0x200, 25}},
		CPUHotplug: &CPUHotplug{Base: 0xcd8, GPE: 2},
		HPET:       0xfed00000,
		Reserved:   []Range{{0xfed1c000, 0x4000}},
	}
	for i := 0; i < cpus; i++ {
		c.CPUs = append(c.CPUs, CPU{APICID: uint32(i), Absent: i > 0 && i == cpus-1})
	}
	return c
}

func smallConfig() Config {
	return Config{CPUs: []CPU{{}}, PM: PM{Base: 0x600}}
}

func configs() map[string]Config {
	noLPC := fullConfig(2)
	p := *noLPC.PCI
	p.LPC = nil
	noLPC.PCI, noLPC.CPUHotplug = &p, nil
	high := fullConfig(3)
	q := *high.PCI
	q.ECAM = 0x1000000000
	high.PCI = &q
	fixed := fullConfig(1)
	fixed.Power, fixed.Sleep = Button{Kind: FixedButton}, Button{}
	return map[string]Config{
		"small": smallConfig(), "full": fullConfig(4), "many": fullConfig(300),
		"noLPC": noLPC, "highECAM": high, "fixedButtons": fixed,
	}
}

// memory is guest memory which knows only what was placed.
type memory []Chunk

func (m memory) read(t *testing.T, addr uint64, n int) []byte {
	t.Helper()
	for _, c := range m {
		if addr >= c.Addr && addr+uint64(n) <= c.Addr+uint64(len(c.Data)) {
			return c.Data[addr-c.Addr:][:n]
		}
	}
	t.Fatalf("nothing was placed at %#x+%d", addr, n)
	return nil
}

func (m memory) table(t *testing.T, addr uint64) []byte {
	t.Helper()
	n := binary.LittleEndian.Uint32(m.read(t, addr, 8)[4:])
	return m.read(t, addr, int(n))
}

// walk follows the pointers from the RSDP as an operating system does, checks
// every checksum, and returns the tables by signature.
func (m memory) walk(t *testing.T, rsdp uint64) map[string][]byte {
	t.Helper()
	le := binary.LittleEndian
	root := m.read(t, rsdp, RSDPSize)
	if string(root[:8]) != "RSD PTR " || root[15] != 2 || le.Uint32(root[20:]) != 36 {
		t.Fatalf("RSDP % x", root)
	}
	if sum(root[:20]) != 0 || sum(root) != 0 {
		t.Errorf("RSDP checksums %#x %#x", sum(root[:20]), sum(root))
	}
	out := map[string][]byte{}
	get := func(addr uint64) []byte {
		p := m.table(t, addr)
		sig := string(p[:4])
		if sig != "FACS" && sum(p) != 0 {
			t.Errorf("%s: checksum is off by %#x", sig, sum(p))
		}
		if sig == "FACS" && addr&63 != 0 {
			t.Errorf("FACS at %#x", addr)
		}
		out[sig] = p
		return p
	}
	rsdt, xsdt := get(uint64(le.Uint32(root[16:]))), get(le.Uint64(root[24:]))
	n := (len(rsdt) - headerLen) / 4
	if (len(xsdt)-headerLen)/8 != n {
		t.Errorf("RSDT has %d entries, XSDT %d", n, (len(xsdt)-headerLen)/8)
	}
	for i := 0; i < n; i++ {
		a, b := uint64(le.Uint32(rsdt[headerLen+4*i:])), le.Uint64(xsdt[headerLen+8*i:])
		if a != b {
			t.Errorf("entry %d: RSDT %#x, XSDT %#x", i, a, b)
		}
		p := get(a)
		if string(p[:4]) == "FACP" {
			if le.Uint64(p[140:]) != uint64(le.Uint32(p[40:])) {
				t.Errorf("DSDT %#x, X_DSDT %#x", le.Uint32(p[40:]), le.Uint64(p[140:]))
			}
			get(uint64(le.Uint32(p[36:])))
			get(le.Uint64(p[140:]))
		}
	}
	return out
}

func TestPlace(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			tabs, err := Build(c)
			if err != nil {
				t.Fatal(err)
			}
			chunks, err := tabs.Place(0xe0000, 0x7ff0000)
			if err != nil {
				t.Fatal(err)
			}
			got := memory(chunks).walk(t, 0xe0000)
			want := []string{"RSDT", "XSDT", "FACP", "FACS", "DSDT", "APIC"}
			if c.PCI != nil {
				want = append(want, "MCFG", "HPET")
			}
			for _, s := range want {
				if got[s] == nil {
					t.Errorf("no %s", s)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d tables, want %d", len(got), len(want))
			}
			if n := len(got["FACP"]); n != 276 {
				t.Errorf("FADT of %d bytes, want 276", n)
			}
			if low, err := tabs.PlaceLow(); err != nil {
				t.Error(err)
			} else {
				memory(low).walk(t, low[0].Addr)
			}
		})
	}
}

// runLoader is firmware's side of the table loader.
func runLoader(t *testing.T, files []File) memory {
	t.Helper()
	le := binary.LittleEndian
	data := map[string][]byte{}
	for _, f := range files {
		data[f.Name] = bytes.Clone(f.Data)
	}
	script := data[LoaderFile]
	if len(script)%commandLen != 0 {
		t.Fatalf("script of %d bytes", len(script))
	}
	name := func(p []byte) string { return strings.TrimRight(string(p[:fileNameLen]), "\x00") }
	at := map[string]uint64{}
	summed := map[string]bool{}
	for ; len(script) > 0; script = script[commandLen:] {
		p := script[4:commandLen]
		switch le.Uint32(script) {
		case cmdAllocate:
			f := name(p)
			align := uint64(le.Uint32(p[fileNameLen:]))
			base := uint64(0x7f00010)
			if p[fileNameLen+4] == zoneFSeg {
				base = 0xf5a34
			}
			at[f] = (base + align - 1) &^ (align - 1)
		case cmdAddPointer:
			f, to := name(p), name(p[fileNameLen:])
			off := le.Uint32(p[2*fileNameLen:])
			if at[f] == 0 || at[to] == 0 {
				t.Fatalf("pointer in %s to %s before both are allocated", f, to)
			}
			if summed[f] && f == RSDPFile {
				t.Error("the RSDP is summed before its pointers are set")
			}
			switch dst := data[f][off:]; p[2*fileNameLen+4] {
			case 4:
				le.PutUint32(dst, le.Uint32(dst)+uint32(at[to]))
			case 8:
				le.PutUint64(dst, le.Uint64(dst)+at[to])
			default:
				t.Fatalf("pointer of %d bytes", p[2*fileNameLen+4])
			}
		case cmdAddChecksum:
			f := name(p)
			summed[f] = true
			off, start, n := le.Uint32(p[fileNameLen:]), le.Uint32(p[fileNameLen+4:]), le.Uint32(p[fileNameLen+8:])
			data[f][off] += sum(data[f][start : start+n])
		default:
			t.Fatalf("command %d", le.Uint32(script))
		}
	}
	var m memory
	for f, a := range at {
		m = append(m, Chunk{a, data[f]})
	}
	return m
}

func TestLoader(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			tabs, err := Build(c)
			if err != nil {
				t.Fatal(err)
			}
			m := runLoader(t, tabs.Loader())
			for _, ch := range m {
				if ch.Addr < 0x100000 {
					m.walk(t, ch.Addr)
				}
			}
			if len(m) != 2 {
				t.Errorf("%d allocations", len(m))
			}
		})
	}
}

func build(t *testing.T, c Config) map[string][]byte {
	t.Helper()
	tabs, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := tabs.Place(0xe0000, 0x7ff0000)
	if err != nil {
		t.Fatal(err)
	}
	return memory(chunks).walk(t, 0xe0000)
}

func TestFADT(t *testing.T) {
	le := binary.LittleEndian
	c := fullConfig(2)
	p := build(t, c)["FACP"]
	for _, f := range []struct {
		name      string
		off, size int
		want      uint64
	}{
		{"revision", 8, 1, 6}, {"SCI_INT", 46, 2, 9}, {"SMI_CMD", 48, 4, 0xb2},
		{"ACPI_ENABLE", 52, 1, 2}, {"ACPI_DISABLE", 53, 1, 3},
		{"PM1a_EVT_BLK", 56, 4, 0x600}, {"PM1a_CNT_BLK", 64, 4, 0x604}, {"PM_TMR_BLK", 76, 4, 0x608},
		{"GPE0_BLK", 80, 4, 0x620}, {"PM1_EVT_LEN", 88, 1, 4}, {"PM1_CNT_LEN", 89, 1, 2},
		{"PM_TMR_LEN", 91, 1, 4}, {"GPE0_BLK_LEN", 92, 1, 16}, {"CENTURY", 108, 1, 0x32},
		{"IAPC_BOOT_ARCH", 109, 2, 0x13},
		{"FLAGS", 112, 4, 1<<0 | 1<<2 | 1<<4 | 1<<5 | 1<<7 | 1<<8 | 1<<10 | 1<<15},
		{"RESET_REG space", 116, 1, 1}, {"RESET_REG address", 120, 8, 0xcf9}, {"RESET_VALUE", 128, 1, 6},
		{"minor version", 131, 1, 3}, {"X_FIRMWARE_CTRL", 132, 8, 0},
		{"X_PM1a_EVT_BLK", 152, 8, 0x600}, {"X_PM1a_CNT_BLK", 176, 8, 0x604},
		{"X_PM_TMR_BLK", 212, 8, 0x608}, {"X_GPE0_BLK width", 221, 1, 128}, {"X_GPE0_BLK", 224, 8, 0x620},
	} {
		var b [8]byte
		copy(b[:], p[f.off:f.off+f.size])
		if got := le.Uint64(b[:]); got != f.want {
			t.Errorf("%s: %#x, want %#x", f.name, got, f.want)
		}
	}
	c.Power, c.Sleep = Button{Kind: FixedButton}, Button{Kind: FixedButton}
	c.PM.ResetPort, c.PM.S4 = 0, nil
	if v := le.Uint32(build(t, c)["FACP"][112:]); v != 1<<0|1<<2|1<<8|1<<15 {
		t.Errorf("FLAGS with fixed buttons and no reset: %#x", v)
	}
}

func TestMADT(t *testing.T) {
	le := binary.LittleEndian
	c := fullConfig(300)
	for i := range c.CPUs {
		c.CPUs[i].APICID = uint32(i * 2)
	}
	p := build(t, c)["APIC"]
	if le.Uint32(p[36:]) != 0xfee00000 || le.Uint32(p[40:]) != 1 {
		t.Errorf("head % x", p[36:44])
	}
	counts := map[byte]int{}
	overrides := map[byte]string{}
	for q := p[44:]; len(q) > 0; q = q[q[1]:] {
		counts[q[0]]++
		switch q[0] {
		case madtLocalAPIC:
			if int(q[3]) != int(q[2])*2 {
				t.Errorf("local APIC %d has ID %d", q[2], q[3])
			}
		case madtLocalX2APIC:
			if le.Uint32(q[4:]) != le.Uint32(q[12:])*2 {
				t.Errorf("x2APIC of processor %d has ID %d", le.Uint32(q[12:]), le.Uint32(q[4:]))
			}
			want := uint32(cpuEnabled)
			if le.Uint32(q[12:]) == 299 {
				want = cpuOnlineCapable
			}
			if le.Uint32(q[8:]) != want {
				t.Errorf("processor %d: flags %#x", le.Uint32(q[12:]), le.Uint32(q[8:]))
			}
		case madtOverride:
			overrides[q[3]] = fmt.Sprintf("%d %#x", le.Uint32(q[4:]), le.Uint16(q[8:]))
		case madtLocalNMI:
			if q[2] != 0xff || q[5] != 1 {
				t.Errorf("NMI % x", q[:6])
			}
		}
	}
	// IDs 0 to 254 are 128 even numbers.
	want := map[byte]int{madtLocalAPIC: 128, madtLocalX2APIC: 172, madtIOAPIC: 1, madtOverride: 4, madtLocalNMI: 1, madtLocalX2NMI: 1}
	if fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("structures %v, want %v", counts, want)
	}
	if got := fmt.Sprint(overrides); got != "map[0:2 0x0 5:5 0xd 9:9 0xd 10:10 0xf]" {
		t.Errorf("overrides %s", got)
	}
}

func TestExtend(t *testing.T) {
	tabs, err := Build(fullConfig(1))
	if err != nil {
		t.Fatal(err)
	}
	extra := make([]byte, 50)
	copy(extra, "SPCR")
	more, err := tabs.Extend(extra)
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := more.Place(0xe0000, 0x7ff0000)
	if err != nil {
		t.Fatal(err)
	}
	got := memory(chunks).walk(t, 0xe0000)
	if len(got["SPCR"]) != 50 || len(got) != 9 {
		t.Errorf("SPCR of %d bytes among %d tables", len(got["SPCR"]), len(got))
	}
	if _, err := more.Extend(extra); err == nil {
		t.Error("a second SPCR was taken")
	}
	if _, err := more.Extend(extra[:20]); err == nil {
		t.Error("a table shorter than its header was taken")
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*Config)
	}{
		{"0 CPUs", func(c *Config) { c.CPUs = nil }},
		{"boot processor", func(c *Config) { c.CPUs[0].Absent = true }},
		{"same APIC ID", func(c *Config) { c.CPUs[1].APICID = 0 }},
		{"broadcast", func(c *Config) { c.CPUs[1].APICID = 0xffffffff }},
		{"PM base", func(c *Config) { c.PM.Base = 0 }},
		{"PM base", func(c *Config) { c.PM.Base = 0xfff8 }},
		{"GPE0 block", func(c *Config) { c.PM.GPE0, c.PM.GPE0Len = 0x620, 3 }},
		{"SCI", func(c *Config) { c.PM.SCI = 20 }},
		{"SLP_TYP", func(c *Config) { c.PM.S5 = 8 }},
		{"outside the GPE0", func(c *Config) { c.Power.GPE = 64 }},
		{"same GPE", func(c *Config) { c.Power.GPE = 2 }},
		{"OEMID", func(c *Config) { c.OEMID = "SEVENCH" }},
		{"OEMTableID", func(c *Config) { c.OEMTableID = "\x01" }},
		{"override", func(c *Config) { c.Overrides[0].Source = 16 }},
		{"reserved range", func(c *Config) { c.Reserved = []Range{{0xffffffff, 2}} }},
		{"ECAM", func(c *Config) { c.PCI.ECAM = 0xb0001000 }},
		{"32-bit PCI window", func(c *Config) { c.PCI.Windows32 = []Range{{0xf0000000, 0x20000000}} }},
		{"64-bit PCI window", func(c *Config) { c.PCI.Windows64 = []Range{{0x10000000, 0x1000}} }},
		{"64-bit PCI window", func(c *Config) { c.PCI.Windows64 = []Range{{1 << 40, 0}} }},
		{"PIRQ(0, 0)", func(c *Config) { c.PCI.Routing.PIRQ = func(int, int) int { return 8 } }},
		{"overlap", func(c *Config) { c.PCI.LPC = &LPC{Device: 31, PIRQA: 0x60, PIRQE: 0x62} }},
		{"root port", func(c *Config) { c.PCI.RootPorts = []RootPort{{Device: 31}} }},
		{"COM1 interrupt", func(c *Config) { c.ISA.COM[0].IRQ = 16 }},
	} {
		c := fullConfig(2)
		tc.change(&c)
		if _, err := Build(c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want an error with %q, got %v", tc.want, err)
		}
	}
}

func TestPlaceErrors(t *testing.T) {
	tabs, err := Build(smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range [][2]uint64{
		{0xdfff0, 0x100000}, {0xffff0, 0x100000}, {0xe0001, 0x100000},
		{0xe0000, 0x100001}, {0xe0000, 0xffffffc0}, {0xe0000, 1 << 32}, {0xe0000, 0}, {0xe0040, 0xe0000},
	} {
		if _, err := tabs.Place(a[0], a[1]); err == nil {
			t.Errorf("Place(%#x, %#x) succeeded", a[0], a[1])
		}
	}
}

// TestIASL has ACPICA read every table, and compile again what it made of the
// DSDT, which finds what no structural test does: unresolved names, wrong
// argument counts, methods that must be serialized.
func TestIASL(t *testing.T) {
	iasl, err := exec.LookPath("iasl")
	if err != nil {
		t.Skip("iasl (package acpica-tools) is not installed")
	}
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			run := func(args ...string) string {
				cmd := exec.Command(iasl, args...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("iasl %v: %v\n%s", args, err, out)
				}
				return string(out)
			}
			for sig, p := range build(t, c) {
				file := strings.ToLower(sig)
				if err := os.WriteFile(filepath.Join(dir, file+".dat"), p, 0o666); err != nil {
					t.Fatal(err)
				}
				out := run("-d", file+".dat")
				for _, bad := range []string{"Warning", "ERROR", "Error", "Invalid", "Unknown", "unknown"} {
					if strings.Contains(out, bad) {
						t.Errorf("iasl -d %s:\n%s", sig, out)
						break
					}
				}
			}
			out := run("-we", "-oa", "-of", "-p", "again", "dsdt.dsl")
			if !strings.Contains(out, "0 Errors, 0 Warnings, 0 Remarks") {
				t.Errorf("iasl dsdt.dsl:\n%s", out)
			}
			// The DSDT must come back as it was.
			a, b := build(t, c)["DSDT"], []byte(nil)
			if b, err = os.ReadFile(filepath.Join(dir, "again.aml")); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a[headerLen:], b[headerLen:]) {
				t.Errorf("the DSDT of %d bytes compiles again to other %d bytes", len(a), len(b))
			}
		})
	}
}
