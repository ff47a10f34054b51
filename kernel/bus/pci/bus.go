package pci

import (
	"fmt"
	"slices"
	"sync"

	"dfemu/kernel/kern"
)

// Driver attaches to functions.
type Driver interface {
	// Name is what its units are called: nvme0 is a unit of nvme.
	Name() string
	// Match tells whether the driver is for a function.
	Match(d *Device) bool
	// Attach takes a function over under a unit number. It may take its time; other
	// functions are attached meanwhile. Attached is what Detach is called on when the
	// function is gone.
	Attach(d *Device, unit int) (Attached, error)
}

// Attached is a unit of a driver.
type Attached interface {
	// Detach lets the function go. It may be gone already: its registers then read as all ones.
	Detach()
}

// Bus is all PCI functions of a machine.
type Bus struct {
	k       *kern.Kernel
	drivers []Driver
	ints    Interrupts
	lines   lines

	restarts  func(d *Device) // see OnRestart
	restarted func(d *Device, ok bool)

	mu      sync.Mutex
	spans   []span
	found   map[Address]*unit
	order   []Address
	units   map[string][]bool
	areas   map[uint8]*area // by bus; 0 is the machine's
	nextBus uint8
}

// span is the configuration space of a range of buses: in memory at base, or what conf returns.
type span struct {
	base        uint64
	conf        func(Address) kern.Registers
	first, last uint8
}

type unit struct {
	dev      *Device
	name     string
	drv      Driver // nil if there is none for it
	n        int    // its number
	attached Attached
	restarts restarts
}

// New returns an empty bus with the drivers to attach, the better first.
func New(k *kern.Kernel, drivers ...Driver) *Bus {
	return &Bus{k: k, drivers: drivers, found: map[Address]*unit{}, units: map[string][]bool{}, areas: map[uint8]*area{}}
}

// AddSpan says where configuration space of the buses from first to last is.
func (b *Bus) AddSpan(base uint64, first, last uint8) {
	b.spans = append(b.spans, span{base: base, first: first, last: last})
}

// AddConfig says how configuration space of all buses is reached that is not in memory.
func (b *Bus) AddConfig(conf func(Address) kern.Registers) {
	b.spans = append(b.spans, span{conf: conf, last: 255})
}

// Empty tells whether nobody has said where configuration space is.
func (b *Bus) Empty() bool { return len(b.spans) == 0 }

// config returns a function's configuration space.
func (b *Bus) config(a Address) (kern.Registers, error) {
	for _, s := range b.spans {
		if s.conf != nil {
			return s.conf(a), nil
		}
		if a.Bus >= s.first && a.Bus <= s.last {
			off := uint64(a.Bus-s.first)<<20 | uint64(a.Slot)<<15 | uint64(a.Func)<<12
			return b.k.MapRegisters(s.base+off, 4096)
		}
	}
	return nil, fmt.Errorf("pci %v: no configuration space", a)
}

// Scan looks at all buses: drivers attach to what is new and detach from what is gone.
// It returns when all have.
func (b *Bus) Scan() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[Address]bool{}
	var all []*Device
	if len(b.spans) > 0 { // the other buses are behind bridges
		if err := b.scanBus(b.spans[0].first, nil, seen, &all); err != nil {
			return err
		}
	}
	for _, a := range slices.Clone(b.order) {
		if !seen[a] {
			b.remove(a)
		}
	}
	b.assign(all)
	var wg sync.WaitGroup
	for _, d := range all {
		if u := b.found[d.Address]; u != nil {
			continue
		}
		u := &unit{dev: d}
		b.found[d.Address] = u
		b.order = append(b.order, d.Address)
		b.match(u, &wg)
	}
	wg.Wait()
	return nil
}

func (b *Bus) scanBus(bus uint8, parent *Device, seen map[Address]bool, all *[]*Device) error {
	for slot := range uint8(32) {
		for fn := range uint8(8) {
			a := Address{bus, slot, fn}
			conf, err := b.config(a)
			if err != nil {
				return err
			}
			if id := conf.Read32(regID); id == 0xffffffff || id == 0 {
				if fn == 0 {
					break
				}
				continue
			}
			d := (*Device)(nil)
			if u := b.found[a]; u != nil && u.dev.Vendor == conf.Read16(regID) && u.dev.ID == conf.Read16(regID+2) {
				d = u.dev
				seen[a] = true
			} else if u == nil {
				d = NewDevice(b.k, a, conf)
				d.bus, d.parent = b, parent
				// Without a driver nobody would take its pin back, which others may share.
				conf.Write16(regCommand, conf.Read16(regCommand)|cmdNoINTx)
				seen[a] = true
			} else {
				continue // another function is in its place: first the old one goes
			}
			*all = append(*all, d)
			if d.header() != headerBridge {
				// nothing is behind it
			} else if behind := b.bridge(d); behind > bus {
				if err := b.scanBus(behind, d, seen, all); err != nil {
					return err
				}
			}
			if fn == 0 && conf.Read8(regHeader)&multiFn == 0 {
				break
			}
		}
	}
	return nil
}

// match finds a driver for a function and starts its attachment.
func (b *Bus) match(u *unit, wg *sync.WaitGroup) {
	d := u.dev
	for _, drv := range b.drivers {
		if !drv.Match(d) {
			continue
		}
		n := b.takeUnit(drv.Name())
		u.name, u.drv, u.n = fmt.Sprintf("%s%d", drv.Name(), n), drv, n
		b.k.Printf("%s: <%s> at device %d.%d on pci%d", u.name, Describe(d.Class), d.Slot, d.Func, d.Bus)
		wg.Add(1)
		b.attach(u, wg.Done)
		return
	}
	b.k.Printf("pci%d: <%s %04x:%04x> at device %d.%d", d.Bus, Describe(d.Class), d.Vendor, d.ID, d.Slot, d.Func)
}

// attach has the driver take the function over, in a thread of its own, and calls done.
func (b *Bus) attach(u *unit, done func()) {
	b.k.Start(kern.ThreadAttr{Name: u.name + " attach", Priority: kern.Daemon}, func() {
		ended := false
		defer func() {
			if !ended {
				u.dev.Failed() // before anybody hears that the attachment is over
			}
			done()
		}()
		a, err := u.drv.Attach(u.dev, u.n)
		ended = true
		if err != nil {
			b.k.Printf("%s: not attached: %v", u.name, err)
			return
		}
		u.attached = a
	})
}

func (b *Bus) takeUnit(name string) int {
	for i, used := range b.units[name] {
		if !used {
			b.units[name][i] = true
			return i
		}
	}
	b.units[name] = append(b.units[name], true)
	return len(b.units[name]) - 1
}

func (b *Bus) remove(a Address) {
	u := b.found[a]
	delete(b.found, a)
	b.order = slices.DeleteFunc(b.order, func(o Address) bool { return o == a })
	if u.attached != nil {
		u.attached.Detach()
	}
	if u.dev.HasFailed() && b.restarted != nil {
		b.restarted(u.dev, false) // there will be no restart
	}
	if u.name != "" {
		b.k.Printf("%s: detached", u.name)
		var n int
		name := u.name
		for i := range name {
			if name[i] >= '0' && name[i] <= '9' {
				if _, err := fmt.Sscanf(name[i:], "%d", &n); err == nil && n < len(b.units[name[:i]]) {
					b.units[name[:i]][n] = false
				}
				break
			}
		}
	}
}

// Entry is a function and what it is called.
type Entry struct {
	Device *Device
	Name   string // "" if no driver has it
}

// List returns all functions in the order they were found in.
func (b *Bus) List() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Entry
	for _, a := range b.order {
		out = append(out, Entry{b.found[a].dev, b.found[a].name})
	}
	return out
}

// Describe names a class code (PCI Code and ID Assignment Specification).
func Describe(class uint32) string {
	names := map[uint32]string{
		0x0100: "SCSI controller", 0x0101: "IDE controller", 0x0106: "SATA controller", 0x0108: "NVM controller",
		0x0200: "Ethernet controller", 0x0300: "VGA display", 0x0600: "Host bridge", 0x0601: "ISA bridge",
		0x0604: "PCI-PCI bridge", 0x0c03: "USB controller", 0x0c05: "SMBus controller", 0x0880: "system device",
		0x00ff: "unclassified device", 0x1000: "encryption controller", 0x0403: "audio device",
	}
	switch class {
	case 0x010601:
		return "AHCI SATA controller"
	case 0x010802:
		return "NVM Express controller"
	}
	if n, ok := names[class>>8]; ok {
		return n
	}
	return fmt.Sprintf("device of class %06x", class)
}
