package acpi

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// ram is physical memory of a megabyte and a bit.
type ram []byte

func (r ram) view(a uint64, n int) []byte {
	if a > uint64(len(r)) || uint64(n) > uint64(len(r))-a {
		return make([]byte, n)
	}
	return r[a:][:n]
}

// put writes a table with its header and checksum.
func (r ram) put(addr uint64, sig string, body []byte) {
	t := make([]byte, 36+len(body))
	copy(t, sig)
	binary.LittleEndian.PutUint32(t[4:], uint32(len(t)))
	copy(t[36:], body)
	t[9] = -sum(t)
	copy(r[addr:], t)
}

// words makes bytes of 32-bit values.
func words(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

// machine is a set of tables as a PC has them.
func machine(aml []byte) ram {
	r := make(ram, 0x110000)
	root := append([]byte("RSD PTR \x00TESTOM\x02"), words(0x101000, 36, 0x101800, 0)...)
	root = append(root, 0, 0, 0, 0)
	root[8] = -sum(root[:20])
	copy(r[0xf1230:], root)
	r.put(0x101800, "XSDT", words(0x102000, 0, 0x103000, 0, 0x104000, 0, 0x108000, 0))
	madt := words(0xfee00000, 1)
	madt = append(madt, 0, 8, 0, 0, 1, 0, 0, 0)   // CPU 0
	madt = append(madt, 0, 8, 1, 7, 0, 0, 0, 0)   // not usable
	madt = append(madt, 0, 8, 1, 4, 1, 0, 0, 0)   // APIC 4
	madt = append(madt, 9, 16, 0, 0)              // x2APIC 300
	madt = append(madt, words(300, 1, 2)...)      //
	madt = append(madt, 1, 12, 2, 0)              // I/O APIC
	madt = append(madt, words(0xfec00000, 24)...) //
	madt = append(madt, 2, 10, 0, 0, 2, 0, 0, 0)  // override: IRQ 0 is GSI 2
	madt = append(madt, 0, 0, 2, 10, 0, 9, 9, 0)  // IRQ 9: level, low
	madt = append(madt, 0, 0, 15, 0, 99, 1)       // and a broken entry
	r.put(0x102000, "APIC", madt)
	fadt := make([]byte, 244-36)
	set := func(off int, v uint32) { binary.LittleEndian.PutUint32(fadt[off-36:], v) }
	set(40, 0x105000)
	set(46, 9)
	set(48, 0xb2)
	set(52, 0xf0)
	set(56, 0x600)
	set(64, 0x604)
	set(76, 0x608)
	set(112, 1<<10)
	set(116, 0x1)
	set(120, 0xcf9)
	set(128, 0x0f)
	r.put(0x103000, "FACP", fadt)
	r.put(0x104000, "MCFG", append(words(0, 0), append(words(0xb0000000, 0), 0, 0, 0, 255, 0, 0, 0, 0)...))
	r.put(0x105000, "DSDT", aml)
	r.put(0x108000, "HPET", words(0, 0, 0xfed00000, 0))
	return r
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		aml  []byte
		a, b uint8
		ok   bool
	}{
		"bytes":    {[]byte("\x10\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00..........."), 5, 6, true},
		"zeros":    {[]byte("\x14\x08\\_S5_\x12\x06\x04\x00\x01\x00\x00................"), 0, 1, true},
		"long":     {[]byte("\x10\x08_S5_\x12\x48\x00\x04\x0a\x07\x0a\x07\x00\x00..........."), 7, 7, true},
		"none":     {[]byte("................................"), 0, 0, false},
		"cut":      {[]byte("................\x08_S5_\x12"), 0, 0, false},
		"not data": {[]byte("\x10\x08_S5_\x11\x08\x04\x0a\x05\x0a\x06\x00\x00..........."), 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := machine(c.aml)
			root := Find(r.view, 0)
			if root != 0xf1230 {
				t.Fatalf("root pointer at %#x", root)
			}
			var i Info
			if !i.Parse(r.view, root) {
				t.Fatal("the tables are refused")
			}
			if i.NCPUs != 3 || i.CPUs[0] != 0 || i.CPUs[1] != 4 || i.CPUs[2] != 300 {
				t.Errorf("CPUs %v", i.CPUs[:i.NCPUs])
			}
			if i.NIOAPICs != 1 || i.IOAPICs[0] != (IOAPIC{2, 0xfec00000, 24}) {
				t.Errorf("I/O APICs %v", i.IOAPICs[:i.NIOAPICs])
			}
			if i.ISA[0].GSI != 2 || i.ISA[4].GSI != 4 {
				t.Errorf("IRQ 0 is %v, IRQ 4 %v", i.ISA[0], i.ISA[4])
			}
			if i.NECAMs != 1 || i.ECAMs[0] != (ECAM{0xb0000000, 0, 0, 255}) {
				t.Errorf("ECAM %v", i.ECAMs[:i.NECAMs])
			}
			if i.PM1aControl != 0x604 || i.PM1aEvent != 0x600 || i.PMTimer != 0x608 || i.SMICommand != 0xb2 || i.Enable != 0xf0 ||
				i.ResetPort != 0xcf9 || i.ResetValue != 0x0f || i.HPET == 0 {
				t.Errorf("fixed hardware: %+v", i)
			}
			if i.HasS5 != c.ok || i.S5a != c.a || i.S5b != c.b {
				t.Errorf("_S5 %v: %d, %d, want %v: %d, %d", i.HasS5, i.S5a, i.S5b, c.ok, c.a, c.b)
			}
		})
	}
}

func TestDamaged(t *testing.T) {
	r := machine(nil)
	r[0x101805] ^= 0xff // the root table's length
	var i Info
	if i.Parse(r.view, 0xf1230) {
		t.Error("a damaged root table is accepted")
	}
	r = machine(nil)
	r[0x102030]++ // the MADT
	i = Info{}
	if !i.Parse(r.view, 0xf1230) || i.NCPUs != 0 || i.PM1aControl == 0 {
		t.Error("one damaged table is not skipped alone")
	}
	clear(r)
	if Find(r.view, 0x1000) != 0 {
		t.Error("a root pointer is found in empty memory")
	}
}

func FuzzParse(f *testing.F) {
	r := machine([]byte("\x10\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00..........."))
	for _, a := range []int{0x101800, 0x102000, 0x103000, 0x104000, 0x105000} {
		f.Add(uint32(a), bytes.Clone(r[a:a+200]))
	}
	f.Fuzz(func(t *testing.T, at uint32, data []byte) {
		m := machine(nil)
		copy(m[min(int(at), len(m)):], data)
		// Make the checksums right, so that what is behind them is reached.
		for _, a := range []uint64{0x101800, 0x102000, 0x103000, 0x104000, 0x105000} {
			if n := binary.LittleEndian.Uint32(m[a+4:]); n >= 36 && n < 0x1000 {
				m[a+9] -= sum(m[a:][:n])
			}
		}
		var i Info
		i.Parse(m.view, 0xf1230)
		if i.NCPUs > MaxCPUs || i.NIOAPICs > MaxIOAPICs || i.NECAMs > MaxECAMs {
			t.Errorf("too many: %+v", i)
		}
	})
}
