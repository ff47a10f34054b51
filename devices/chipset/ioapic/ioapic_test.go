package ioapic

import (
	"slices"
	"testing"
	"time"

	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

type rig struct {
	*Device
	msi devtest.MSI
	t   *testing.T
}

func newRig(t *testing.T, c Config) *rig {
	r := &rig{t: t}
	c.MSI = &r.msi
	r.Device = New(c)
	return r
}

func (r *rig) write(index, v uint64) {
	drive.Out(r.t, r.Registers(), 0, 4, index)
	drive.Out(r.t, r.Registers(), 0x10, 4, v)
}

func (r *rig) read(index uint64) uint64 {
	drive.Out(r.t, r.Registers(), 0, 4, index)
	return drive.In(r.t, r.Registers(), 0x10, 4)
}

func (r *rig) entry(pin, v uint64) {
	r.write(0x11+2*pin, v>>32)
	r.write(0x10+2*pin, v&0xffff_ffff)
}

func (r *rig) want(msgs ...devtest.Message) {
	r.t.Helper()
	if got := r.msi.Take(); !slices.Equal(got, msgs) {
		r.t.Fatalf("messages %x, want %x", got, msgs)
	}
}

func TestBank(t *testing.T) {
	if err := bank.Check(); err != nil {
		t.Error(err)
	}
}

func TestRegisters(t *testing.T) {
	r := newRig(t, Config{ID: 3})
	if v := r.read(1); v != 0x0017_0020 {
		t.Errorf("version %#x", v)
	}
	if v := r.read(0); v != 3<<24 {
		t.Errorf("ID %#x", v)
	}
	r.write(0, 0xff00_0000)
	if v := r.read(0); v != 0xf<<24 {
		t.Errorf("ID %#x after write", v)
	}
	if v := r.read(0x10); v != 1<<16 {
		t.Errorf("entry %#x after reset, want masked", v)
	}
	r.entry(5, 0xffff_ffff_ffff_ffff)
	if v := r.Entry(5); v != 0xff00_0000_0001_afff {
		t.Errorf("entry %#x keeps reserved or read-only bits", v)
	}
	if v := r.read(0x10 + 2*24); v != 0 {
		t.Errorf("entry of no pin reads %#x", v)
	}
}

func TestMessages(t *testing.T) {
	for _, c := range []struct {
		name  string
		entry uint64
		addr  uint64
		data  uint32
	}{
		{"fixed, physical", 3<<56 | 0x31, 0xfee0_3000, 0x4031},
		{"fixed, logical", 0xff<<56 | 0x831, 0xfeef_f004, 0x4031},
		{"lowest priority, logical", 0x0f<<56 | 0x941, 0xfee0_f00c, 0x4141},
		{"NMI", 0x400, 0xfee0_0000, 0x4400},
		{"NMI is an edge", 0x8400, 0xfee0_0000, 0x4400},
		{"ExtINT", 0x700, 0xfee0_0000, 0x4700},
		{"level", 1<<56 | 0x8055, 0xfee0_1000, 0xc055},
		{"extended destination", 0x01<<56 | 0x7f<<49 | 0x20, 0xfee0_1fe0, 0x4020},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{ExtendedDestID: true})
			r.entry(7, c.entry)
			r.Line(7).Set(true)
			r.want(devtest.Message{Addr: c.addr, Data: c.data})
		})
	}
}

func TestEdge(t *testing.T) {
	msg := devtest.Message{Addr: 0xfee0_0000, Data: 0x4030}
	r := newRig(t, Config{})
	r.entry(4, 0x10030)
	r.Line(4).Set(true)
	r.want()
	r.entry(4, 0x30) // the edge while masked is lost
	r.want()
	r.Line(4).Set(true)
	r.want()
	for range 2 {
		r.Line(4).Set(false)
		r.Line(4).Set(true)
		r.want(msg)
	}
}

func TestLevel(t *testing.T) {
	msg := devtest.Message{Addr: 0xfee0_0000, Data: 0xc030}
	for _, c := range []struct {
		name string
		eoi  func(r *rig)
	}{
		{"broadcast", func(r *rig) { r.EOI(0x30) }},
		{"register", func(r *rig) { drive.Out(r.t, r.Registers(), 0x40, 4, 0x30) }},
		{"edge and back", func(r *rig) { r.write(0x10+8, 0x10030); r.write(0x10+8, 0x8030) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.entry(4, 0x18030)
			r.Line(4).Set(true)
			r.want()
			r.entry(4, 0x8030) // a level is seen when unmasked
			r.want(msg)
			if r.Entry(4)&uint64(remoteIRR) == 0 {
				t.Error("Remote IRR is clear")
			}
			r.Line(4).Set(false)
			r.Line(4).Set(true)
			r.want() // one message until it is answered
			r.EOI(0x31)
			r.want()
			c.eoi(r)
			r.want(msg) // still high
			r.Line(4).Set(false)
			c.eoi(r)
			r.want()
			if r.Entry(4)&uint64(remoteIRR) != 0 {
				t.Error("Remote IRR is set")
			}
		})
	}
}

func TestRegisterNames(t *testing.T) {
	d := New(Config{})
	drive.Out(t, d.Registers(), 0, 4, 0x15)
	n := d.Registers().(interface {
		RegisterName(off uint64, write bool) string
	})
	if got := n.RegisterName(0x10, false); got != "IOREDTBL2[63:32]" {
		t.Errorf("window is called %q", got)
	}
	if got := n.RegisterName(0, true); got != "IOREGSEL" {
		t.Errorf("index is called %q", got)
	}
}

func FuzzIOAPIC(f *testing.F) {
	f.Add([]byte{5, 0, 0, 0x10, 0, 0, 0, 5, 0x10, 0, 0x30, 0x80, 0, 0, 0x0c, 0x80, 0x0c, 0x40, 5, 0x40, 0, 0x30, 0, 0, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		var msi devtest.MSI
		d := New(Config{MSI: &msi})
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), d, func(op byte) {
			if op&0x40 != 0 {
				d.EOI(op)
				return
			}
			d.Line(int(op & 31)).Set(op&0x80 != 0)
		}, drive.Window{Region: d.Registers(), Size: 0x50})
		for _, m := range msi.Take() {
			if m.Addr>>20 != 0xfee {
				t.Errorf("message to %#x", m.Addr)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		d := New(Config{})
		drive.FuzzRestore(p, devtest.NewClock(time.Time{}), d, drive.Window{Region: d.Registers(), Size: 0x50})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{MSI: new(devtest.MSI)})
	drive.Hammer(clock, d, drive.Window{Region: d.Registers(), Size: 0x50})
}
