package regs

import (
	"strings"
	"testing"

	"dfemu/devices"
)

func TestBlock(t *testing.T) {
	var cell [2]uint64
	bank := devices.NewBank("t", []devices.Register{
		{Offset: 0, Size: 1, Name: "A"},
		{Offset: 1, Size: 1, Name: "B"},
	})
	b := &Block{Bank: bank, Dev: Funcs{
		ReadFunc:  func(r devices.Reg, _ uint64) uint64 { return cell[r.ID] },
		WriteFunc: func(r devices.Reg, v, _ uint64) { cell[r.ID] = v },
	}, Name: func(r devices.Reg, write bool) string {
		if write && r.ID == 1 {
			return "B (write)"
		}
		return ""
	}}
	if err := b.Write(0, 2, 0x1234); err != nil || cell != [2]uint64{0x34, 0x12} {
		t.Fatalf("a word reaches two byte registers: %x, %v", cell, err)
	}
	if v, _ := b.Read(0, 2); v != 0x1234 {
		t.Errorf("read back %#x", v)
	}
	for _, c := range []struct {
		off   uint64
		write bool
		want  string
	}{{0, true, "A"}, {1, false, "B"}, {1, true, "B (write)"}, {2, false, ""}} {
		if got := b.RegisterName(c.off, c.write); got != c.want {
			t.Errorf("RegisterName(%d, %v) = %q, want %q", c.off, c.write, got, c.want)
		}
	}
}

func TestSaved(t *testing.T) {
	type state struct{ A, B int }
	p, err := Save(2, state{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	var got state
	if err := Restore("dev", p, 2, &got); err != nil || got != (state{1, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, c := range []struct{ in, want string }{
		{`{"version":1,"state":{}}`, "version 1"},
		{`{"version":2,"state":{"C":1}}`, "unknown field"},
		{`{"version":2,"state":{"A":"x"}}`, "cannot unmarshal"},
		{`nonsense`, "saved state"},
	} {
		if err := Restore("dev", []byte(c.in), 2, &got); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.in, err, c.want)
		}
	}
}
