package chipset_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/debugport"
	"dfemu/devices/chipset/dma8237"
	"dfemu/devices/chipset/fwcfg"
	"dfemu/devices/chipset/hpet"
	"dfemu/devices/chipset/i8042"
	"dfemu/devices/chipset/ioapic"
	"dfemu/devices/chipset/pic"
	"dfemu/devices/chipset/pit"
	"dfemu/devices/chipset/pm"
	"dfemu/devices/chipset/pvpanic"
	"dfemu/devices/chipset/reset"
	"dfemu/devices/chipset/rtc"
	"dfemu/devices/chipset/uart"
	"dfemu/devices/devtest"
)

// A board is all devices connected as on a PC, with the test as its CPU.
type board struct {
	clock       *devtest.Clock
	ports, mmio devices.Space
	pic         *pic.Device
	ioapic      *ioapic.Device
	kbd         *i8042.Device
	com1        *uart.Device
	msi         devtest.MSI
	intr        devtest.Line
	console     bytes.Buffer
	resets      []string
}

func newBoard(t *testing.T) *board {
	b := &board{clock: devtest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	b.pic = pic.New(pic.Config{INTR: &b.intr})
	b.ioapic = ioapic.New(ioapic.Config{MSI: &b.msi})
	// gsi drives both controllers; IRQ 0 is the I/O APIC's pin 2.
	gsi := func(irq int) devices.Line {
		p, pin := b.pic.Line(irq), irq
		if irq == 0 {
			pin = 2
		}
		a := b.ioapic.Line(pin)
		return devices.LineFunc(func(level bool) { p.Set(level); a.Set(level) })
	}
	h := hpet.New(hpet.Config{Clock: b.clock, IRQ0: gsi(0), IRQ8: gsi(8), MSI: &b.msi})
	timer := pit.New(pit.Config{Clock: b.clock, IRQ: h.PITLine()})
	cmos := rtc.New(rtc.Config{Clock: b.clock, IRQ: h.RTCLine()})
	power := pm.New(pm.Config{Clock: b.clock, SCI: gsi(pm.SCIInterruptGSI)})
	rst := reset.New(reset.Config{Reset: func(k reset.Kind) { b.resets = append(b.resets, k.String()) }})
	b.kbd = i8042.New(i8042.Config{IRQ1: gsi(1), IRQ12: gsi(12), A20: rst.KeyboardA20,
		Reset: func() { b.resets = append(b.resets, "keyboard") }})
	b.com1 = uart.New(uart.Config{Name: "uart0", Clock: b.clock, IRQ: gsi(4), Out: &b.console})
	dma := dma8237.New(dma8237.Config{})
	post := debugport.NewPost()
	cfg := fwcfg.New(fwcfg.Config{Memory: devtest.NewRAM(4096)})
	panics := pvpanic.New(pvpanic.Config{})
	for _, m := range []devices.Mapping{
		{Name: "pic0", Base: pic.MasterPort, Size: pic.MasterSize, Region: b.pic.Master()},
		{Name: "pic1", Base: pic.SlavePort, Size: pic.SlaveSize, Region: b.pic.Slave()},
		{Name: "elcr", Base: pic.ELCRPort, Size: pic.ELCRSize, Region: b.pic.ELCR()},
		{Name: "pit", Base: pit.Port, Size: pit.PortSize, Region: timer.Ports()},
		{Name: "portb", Base: pit.PortB, Size: pit.PortBSize, Region: timer.PortB()},
		{Name: "rtc", Base: rtc.Port, Size: rtc.PortSize, Region: cmos.Ports()},
		{Name: "pm", Base: pm.DefaultBase, Size: pm.Size, Region: power.Ports()},
		{Name: "apm", Base: pm.APMPort, Size: pm.APMSize, Region: power.APM()},
		{Name: "cf9", Base: reset.ControlPort, Size: reset.ControlSize, Priority: 1, Region: rst.Control()},
		{Name: "porta", Base: reset.PortA, Size: reset.PortASize, Region: rst.SystemControlA()},
		{Name: "kbd", Base: i8042.DataPort, Size: i8042.PortSize, Region: b.kbd.Data()},
		{Name: "kbdc", Base: i8042.CommandPort, Size: i8042.PortSize, Region: b.kbd.Command()},
		{Name: "uart0", Base: uart.COM1, Size: uart.Size, Region: b.com1.Ports()},
		{Name: "dma0", Base: dma8237.Port1, Size: dma8237.Size1, Region: dma.First()},
		{Name: "dma1", Base: dma8237.Port2, Size: dma8237.Size2, Region: dma.Second()},
		{Name: "dmapage", Base: dma8237.PagePort, Size: dma8237.PageSize, Region: dma.Pages()},
		{Name: "post", Base: debugport.PostPort, Size: debugport.PostSize, Region: post.Port()},
		{Name: "debugcon", Base: debugport.FirmwarePort, Size: debugport.ConsoleSize, Region: debugport.Console(&b.console)},
		{Name: "bochs", Base: debugport.BochsPort, Size: debugport.ConsoleSize, Region: debugport.Console(&b.console)},
		{Name: "delay", Base: debugport.DelayPort, Size: debugport.DelaySize, Region: debugport.Delay()},
		{Name: "exit", Base: debugport.ExitPort, Size: debugport.ExitSize, Region: debugport.Exit(func(int) {})},
		{Name: "pvpanic", Base: pvpanic.Port, Size: pvpanic.Size, Region: panics.Ports()},
		{Name: "fwcfg", Base: fwcfg.Port, Size: fwcfg.Size, Region: cfg.Ports()},
	} {
		if _, err := b.ports.Map(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []devices.Mapping{
		{Name: "ioapic", Base: ioapic.Base, Size: ioapic.Size, Region: b.ioapic.Registers()},
		{Name: "hpet", Base: hpet.Base, Size: hpet.Size, Region: h.Registers()},
	} {
		if _, err := b.mmio.Map(m); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *board) out(writes ...uint64) {
	for i := 0; i < len(writes); i += 2 {
		b.ports.Write(writes[i], 1, writes[i+1])
	}
}

// initPIC programs the controllers as firmware does and unmasks everything.
func (b *board) initPIC() {
	b.out(0x20, 0x11, 0x21, 0x08, 0x21, 4, 0x21, 1, 0xa0, 0x11, 0xa1, 0x70, 0xa1, 2, 0xa1, 1, 0x21, 0, 0xa1, 0)
}

func TestPortsDoNotOverlap(t *testing.T) {
	b := newBoard(t)
	maps := b.ports.Mappings()
	for i, m := range maps[1:] {
		if p := maps[i]; p.Base+p.Size > m.Base && p.Priority == m.Priority {
			t.Errorf("%s and %s overlap at %#x", p.Name, m.Name, m.Base)
		}
	}
}

// TestInterrupts follows one interrupt of each device to the CPU through the
// PIC, and through the I/O APIC.
func TestInterrupts(t *testing.T) {
	for _, c := range []struct {
		name   string
		cause  func(b *board)
		vector uint8
		pin    uint64
	}{
		{"timer", func(b *board) { b.out(0x43, 0x34, 0x40, 0, 0x40, 0); b.clock.Advance(60e6) }, 0x08, 2},
		{"keyboard", func(b *board) { b.kbd.Press(0x1c) }, 0x09, 1},
		{"serial port", func(b *board) { b.out(0x3fc, 8, 0x3f9, 1); b.com1.Receive([]byte("x")) }, 0x0c, 4},
		{"clock", func(b *board) { b.out(0x70, 0x0b, 0x71, 0x12); b.clock.Advance(1e9) }, 0x70, 8},
		{"power management", func(b *board) { b.out(0xb2, pm.CmdACPIEnable, 0x602, 1); b.clock.Advance(3e9) }, 0x71, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBoard(t)
			b.initPIC()
			b.mmio.Write(ioapic.Base, 4, 0x10+2*c.pin)
			b.mmio.Write(ioapic.Base+0x10, 4, 0x40)
			c.cause(b)
			if !b.intr.Level() {
				t.Fatal("INTR is low")
			}
			if v := b.pic.Ack(); v != c.vector {
				t.Errorf("vector %#x, want %#x", v, c.vector)
			}
			if got := b.msi.Take(); !slices.Contains(got, devtest.Message{Addr: 0xfee0_0000, Data: 0x4040}) {
				t.Errorf("messages %x", got)
			}
		})
	}
}

func TestConsoles(t *testing.T) {
	b := newBoard(t)
	b.out(0x3f8, 'a', 0xe9, 'b', 0x402, 'c')
	if b.console.String() != "abc" {
		t.Errorf("wrote %q", b.console.String())
	}
}

func TestResets(t *testing.T) {
	b := newBoard(t)
	b.out(0x64, 0xfe, 0x92, 1, 0xcf9, 6)
	if want := []string{"keyboard", "INIT", "hard reset"}; !slices.Equal(b.resets, want) {
		t.Errorf("resets %q, want %q", b.resets, want)
	}
}

// TestCalibration measures 10 ms with the speaker's counter against the PM
// timer, as kernels do.
func TestCalibration(t *testing.T) {
	b := newBoard(t)
	const count = pit.Hz / 100
	b.out(0x61, 1, 0x43, 0xb0, 0x42, count&0xff, 0x42, count>>8)
	start := b.ports.Read(pm.DefaultBase+pm.PMTimer, 4)
	polls := 0
	for b.ports.Read(0x61, 1)&0x20 == 0 {
		b.clock.Advance(1000)
		if polls++; polls > 20_000 {
			t.Fatal("the output does not rise")
		}
	}
	if n := b.ports.Read(pm.DefaultBase+pm.PMTimer, 4) - start; n < 35_795 || n > 35_805 {
		t.Errorf("%d ticks of the PM timer in 10 ms", n)
	}
}
