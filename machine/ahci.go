package machine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/ahci/atapi"
)

// Adapter is a SATA adapter, to whose ports disks are attached. The zero value is one as the ICH9 has.
type Adapter struct {
	ID    string // unit name; "" for ahci and a number
	Ports int    // 1 to 32; 0 means 6
	Slots int    // command slots of each port, 1 to 32; 0 means 32
	Speed int    // generation of the fastest interface speed, 1 to 3; 0 means 3
	// MSI is how many messages are asked for, a power of two up to 32; 0 means 1, and -1 that there is no MSI.
	MSI int
	// Multiplier is how many device ports a port multiplier at the last port has, 1 to 15; 0 means that there is none.
	Multiplier int
	// StaggeredSpinUp leaves it to the guest to spin drives up. BIOSOwned has the firmware own the adapter until the guest
	// asks for it.
	StaggeredSpinUp, BIOSOwned bool
	// No64, NoNCQ and NoFBS leave out 64-bit addresses, native command queuing, and FIS-based switching at a multiplier.
	No64, NoNCQ, NoFBS bool
}

// adapter is an AHCI adapter and where drives may be attached to it.
type adapter struct {
	*ahci.Device
	places []sataPort
}

// A sataPort is a port of an adapter, or with m the device port fan of the multiplier at one.
type sataPort struct {
	a    *ahci.Device
	port int
	m    *ahci.Multiplier
	fan  int
}

// name is what a drive there is called.
func (s *sataPort) name() string {
	if s.m != nil {
		return fmt.Sprintf("%s.%d.%d", s.a.Name(), s.port, s.fan)
	}
	return s.cable()
}

// cable is what the cable to the adapter is called, of which there is one for all drives at a multiplier.
func (s *sataPort) cable() string { return fmt.Sprintf("%s.%d", s.a.Name(), s.port) }

func (s *sataPort) drive() ata.Drive {
	if s.m != nil {
		return s.m.Drive(s.fan)
	}
	return s.a.Drive(s.port)
}

func (s *sataPort) attach(v ata.Drive) error {
	if s.m != nil {
		return s.m.Attach(s.fan, v)
	}
	return s.a.Attach(s.port, v)
}

func (s *sataPort) detach() (ata.Drive, error) {
	if s.m != nil {
		return s.m.Detach(s.fan)
	}
	return s.a.Detach(s.port)
}

// addAdapter makes an AHCI adapter without drives.
func (p *pc) addAdapter(o Adapter) error {
	name, err := p.unit("ahci", o.ID)
	if err != nil {
		return err
	}
	if o.Ports == 0 {
		o.Ports = ahciPorts
	}
	a, err := ahci.New(ahci.Options{
		Name: name, Clock: p.m.clock, Ports: o.Ports, Slots: o.Slots, Speed: o.Speed, MSIVectors: o.MSI, StaggeredSpinUp: o.StaggeredSpinUp,
		BIOSOwned: o.BIOSOwned, No64: o.No64, NoNCQ: o.NoNCQ, PortMultipliers: o.Multiplier != 0, FISSwitching: o.Multiplier != 0 && !o.NoFBS,
	})
	if err != nil {
		return err
	}
	l := adapter{Device: a}
	for n := range o.Ports {
		l.places = append(l.places, sataPort{a: a, port: n})
	}
	if o.Multiplier != 0 {
		last := o.Ports - 1
		m, err := a.AttachMultiplier(last, o.Multiplier)
		if err != nil {
			return errors.Join(err, a.Close())
		}
		l.places = l.places[:last]
		for i := range o.Multiplier {
			l.places = append(l.places, sataPort{a, last, m, i})
		}
	}
	p.adapters = append(p.adapters, l)
	p.add(a)
	return p.plug(a.Function())
}

// ahciPorts is how many ports an adapter has, as in the ICH9.
const ahciPorts = 6

// attachAHCI attaches a disk, or with media=cdrom an optical drive, to the next free port of an AHCI adapter.
func (p *pc) attachAHCI(d *Disk, store devices.Block) error {
	if p.freeATA() == nil {
		if err := p.addAdapter(Adapter{}); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	_, err := p.plugATA(d, store)
	return err
}

// plugATA attaches a drive to a free port and returns its name. The store is the drive's then, or closed.
func (p *pc) plugATA(d *Disk, store devices.Block) (string, error) {
	at := p.freeATA()
	if at == nil {
		return "", errors.Join(errors.New("no AHCI adapter with a free port: start the machine with one (--device ahci)"), store.Close())
	}
	name := at.name()
	v, err := p.ataDrive(name, d, store)
	if err != nil {
		return "", errors.Join(err, store.Close())
	}
	if err := at.attach(v); err != nil {
		return "", errors.Join(err, v.Close())
	}
	optical, _ := v.(*atapi.Drive)
	p.addDrive(&drive{name: name, unit: name, disk: *d, store: store, optical: optical})
	return name, nil
}

// ataDrive makes what sits at the end of a SATA cable. The store is the caller's if there is an error.
func (p *pc) ataDrive(name string, d *Disk, store devices.Block) (ata.Drive, error) {
	s := settings{o: &d.Store}
	media, model, firmware := s.choice("media", "disk", "cdrom"), s.text("model"), s.text("firmware")
	wwn, serial := uint64(0), d.Serial
	if b := s.hex("wwn", 8); b != nil {
		wwn = binary.BigEndian.Uint64(b)
	}
	if serial == "" {
		serial = defaultSerial(name)
	}
	if id := s.text("id"); id != "" && id != name {
		s.fail(fmt.Errorf("id=%s: drives of an AHCI adapter are called after their port, this one %s", id, name))
	}
	if media == "cdrom" {
		if err := s.done(); err != nil {
			return nil, err
		}
		v, err := atapi.New(atapi.Options{Name: name, Serial: serial, Model: model, Firmware: firmware, WWN: wwn})
		if err == nil {
			err = v.Insert(store)
		}
		if err != nil {
			return nil, err
		}
		return v, nil
	}
	rpm, trim := s.number("rpm", 1, 65534), s.choice("trim", "on", "zero", "off")
	if err := s.done(); err != nil {
		return nil, err
	}
	v, err := ata.New(ata.Options{
		Name: name, Serial: serial, Model: model, Firmware: firmware, WWN: wwn, LogicalSize: d.Store.Logical, PhysicalSize: d.Store.Physical,
		RPM: rpm, TrimZeroes: trim == "zero", NoTrim: trim == "off", Clock: p.m.clock,
	}, store)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// freeATA returns a place for a drive, or nil.
func (p *pc) freeATA() *sataPort {
	return p.findPlace(func(s *sataPort) bool { return s.drive() == nil })
}

// findATA finds a drive by its unit name.
func (p *pc) findATA(name string) *sataPort {
	return p.findPlace(func(s *sataPort) bool { return s.name() == name && s.drive() != nil })
}

// findPlace returns the first place that a condition is true of, or nil.
func (p *pc) findPlace(is func(s *sataPort) bool) *sataPort {
	for _, a := range p.adapters {
		for i := range a.places {
			if is(&a.places[i]) {
				return &a.places[i]
			}
		}
	}
	return nil
}
