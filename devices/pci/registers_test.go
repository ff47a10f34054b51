package pci

import (
	"fmt"
	"strings"
	"testing"

	"dfemu/devices"
)

// accesses collects what a probe reports of registers.
type accesses struct{ l []string }

func (a *accesses) Access(x devices.RegisterAccess) {
	r, _, ok := x.Bank.Find(x.Off)
	a.l = append(a.l, fmt.Sprintf("%v %v %v %#x", ok, x.Write, r, x.Value))
}
func (*accesses) Command(*devices.Command)                    {}
func (*accesses) Completion(*devices.Command, devices.Status) {}
func (*accesses) Interrupt(devices.Interrupt)                 {}
func (*accesses) Rang(int)                                    {}
func (*accesses) DMA(devices.Transfer)                        {}
func (*accesses) Violation(devices.Violation)                 {}
func (*accesses) State(string)                                {}

// TestRegisterNames checks that every byte of configuration space that has a meaning has a
// name, whatever capabilities a function has, and that accesses are reported with it.
func TestRegisterNames(t *testing.T) {
	f := NewFunction("dev", Identity{Vendor: 1, Device: 2, Pin: 1})
	f.AddPM()
	f.AddMSI(4, true, true)
	f.AddMSIXBAR(3, 1)
	f.AddCapability(CapVendor, make([]byte, 10), nil)
	f.AddExpress(Endpoint)
	f.AddExtended(3, 1, make([]byte, 8), nil)
	port := NewRootPort(PortConfig{Name: "port", Slot: 1, HotPlug: true, Pin: 1})
	for name, f := range map[string]*Function{"endpoint": f, "bridge": port.Function} {
		if err := f.err; err != nil {
			t.Fatal(err)
		}
		b := f.registers()
		if err := b.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for off, v := range f.power {
			if _, _, ok := b.Find(uint64(off)); !ok && v != 0 {
				t.Errorf("%s: the byte %#x at %#x has no name", name, v, off)
			}
		}
	}
	var a accesses
	f.Probe().Watch(devices.ClassRegister, &a, nil)
	f.WriteConfig(RegCommand, 2, CommandMaster)
	f.ReadConfig(RegBAR0+8, 4)
	x := int(f.Config(RegCapPtr, 1)) // power management comes first
	f.ReadConfig(x+4, 2)
	want := "true true Command 0x4\ntrue false BAR[2] 0x0\ntrue false PM Control/Status 0x8"
	if got := strings.Join(a.l, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
