package devices

import (
	"fmt"
	"testing"
)

type inspected struct{}

func (inspected) ReadRegister(r Reg, _ uint64) uint64 { return uint64(0x10*r.ID + r.Index + 0xf00) }
func (inspected) WriteRegister(Reg, uint64, uint64)   {}

func TestInspect(t *testing.T) {
	b := NewBank("x", []Register{
		{Offset: 0, Size: 4, Name: "A", Fields: []Field{{"low", 0, 3}, {"mid", 8, 8}, {"high", 9, 11}}},
		{Offset: 8, Size: 1, Name: "B", Count: 2, Stride: 4},
		{Offset: 16, Size: 4, Name: "C", Rights: WO},
		{Offset: 20, Size: 4, Name: "D"},
	})
	l := b.Inspect(inspected{}, func(r Reg) bool { return r.Name == "D" })
	if got, want := fmt.Sprint(l), "[A = 0xf00  {mid high=0x7} B[0] = 0x10 B[1] = 0x11]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
