// Package balloon is the virtio memory balloon (Virtual I/O Device 1.2, section
// 5.5): the host takes memory from the guest and gives it back, and the guest
// tells which pages it does not use at the moment.
package balloon

import (
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// Options describes a balloon.
type Options struct {
	Name string // unit name, as "virtio-balloon0"
	RAM  uint64 // bytes of memory that the guest has with an empty balloon
	// Clock is for delays that faults make. It may be nil.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a memory balloon.
type Device struct {
	*virtio.Device
	o      Options
	server *requests.Server

	mu    sync.Mutex
	state state
	pages pageSet // in the balloon
	told  told    // has a lock of its own
	// held is the driver's buffer for statistics, until new ones are wanted.
	held    virtio.Detached
	holding bool
	stats   map[string]uint64
	changed chan struct{} // closed when stats change
}

// state is what the device's configuration holds.
type state struct {
	Target uint32 // pages that the balloon should have: num_pages
	Actual uint32 // pages that it has, as the driver says
	Poison uint32
}

// New returns a device with an empty balloon.
func New(o Options) (*Device, error) {
	if o.RAM == 0 || o.RAM%pageSize != 0 || o.RAM/pageSize >= 1<<32 {
		return nil, fmt.Errorf("%s: %d bytes of memory: must be whole pages, less than 16 TiB", o.Name, o.RAM)
	}
	d := &Device{o: o, changed: make(chan struct{})}
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 5, Class: 0x00ff00, Features: featureStats | featureDeflateOnOOM | featurePoison | featureReporting,
		FeatureNames: featureNames, Queues: []int{128, 128, 8, 128, 128},
		Region: configRegisters.Region(configuration{d}), Registers: configRegisters, Size: configSize, InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.server = requests.New(d.Device, o.Clock)
	for i := range queues {
		d.server.Handle(i, 1, d.serve)
	}
	d.Init(d)
	return d, nil
}

// configuration serves the registers of the device configuration.
type configuration struct{ d *Device }

// ReadRegister implements devices.Registers.
func (c configuration) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.ID {
	case regNumPages:
		return uint64(d.state.Target)
	case regActual:
		return uint64(d.state.Actual)
	case regPoison:
		return uint64(d.state.Poison)
	}
	return 0
}

// WriteRegister implements devices.Registers.
func (c configuration) WriteRegister(r devices.Reg, v, mask uint64) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	merge := func(p *uint32) { *p = uint32(uint64(*p)&^mask | v&mask) }
	switch r.ID {
	case regActual:
		merge(&d.state.Actual)
	case regPoison:
		if d.Features()&featurePoison == 0 {
			d.Misuse(-1, "5.5.4", "poison_val is written without VIRTIO_BALLOON_F_PAGE_POISON")
			return
		}
		was := d.state.Poison
		if merge(&d.state.Poison); d.Active() && d.state.Poison != was {
			d.Misuse(-1, "5.5.6.6.1", "poison_val is changed from %#x to %#x while DRIVER_OK is set", was, d.state.Poison)
		}
	}
}

// SetTarget has the guest give memory up, or take it back, until it has bytes left. It returns at once: the guest
// follows when it can.
func (d *Device) SetTarget(bytes uint64) {
	bytes = min(bytes, d.o.RAM)
	d.mu.Lock()
	d.state.Target = uint32((d.o.RAM - bytes) / pageSize)
	d.mu.Unlock()
	d.ConfigChanged()
}

// Actual is how many bytes of memory the guest says that it has.
func (d *Device) Actual() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.o.RAM - min(uint64(d.state.Actual)*pageSize, d.o.RAM)
}

// Holds tells whether the guest has given up any of n bytes of its memory at addr, and not taken it back.
func (d *Device) Holds(addr, n uint64) bool {
	first, last := addr/pageSize, (addr+n-1)/pageSize
	if n == 0 || last < first || last >= 1<<32 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pages.has(uint32(first), uint32(last-first+1))
}

// Stats returns the statistics that the guest gave last, by name, and asks for new ones. The channel
// is closed when they arrive.
func (d *Device) Stats() (map[string]uint64, <-chan struct{}) {
	d.mu.Lock()
	last, changed := d.stats, d.changed
	held, holding := d.held, d.holding
	d.holding = false
	d.mu.Unlock()
	if holding {
		d.told.returned() // before the driver can see it, and give the next one
		q := d.Queue(queueStats)
		if c := q.Attach(held); c != nil {
			q.Push(c, 0)
		}
	}
	return last, changed
}

// LastStats returns the statistics that the guest gave last, by name; nil if there are none.
func (d *Device) LastStats() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Activate implements virtio.Model.
func (d *Device) Activate(uint64) {}

// Deactivate implements virtio.Model. What the host wants stays.
func (d *Device) Deactivate() {
	d.server.Reset()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Actual, d.state.Poison = 0, 0
	d.pages = nil
	d.told.set(nil, false)
	d.held, d.holding = virtio.Detached{}, false
}

// Kick implements virtio.Model. All queues are served.
func (d *Device) Kick(int) {}

// Pause implements devices.Pauser.
func (d *Device) Pause() { d.server.Pause() }

// Close implements devices.Closer.
func (d *Device) Close() error { return d.server.Close() }

const saveVersion = 1

// saved is the device's own state.
type saved struct {
	State state
	Pages [][2]uint32 // runs in the balloon: first page and number
	// Stats is the buffer for statistics, if the device has it.
	Stats *virtio.ChainState `json:",omitempty"`
}

// SaveState implements devices.Saver.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	s := saved{State: d.state, Pages: d.pages.runs()}
	if d.holding {
		c := d.held.State()
		s.Stats = &c
	}
	d.mu.Unlock()
	return d.SaveWith(saveVersion, &s)
}

// RestoreState implements devices.Saver.
func (d *Device) RestoreState(p []byte) error {
	var s saved
	var pages pageSet
	return d.RestoreWith(saveVersion, p, &s, func() error {
		for _, r := range s.Pages {
			if uint64(r[0])+uint64(r[1]) > 1<<32 {
				return fmt.Errorf("%d pages from page %#x on are not possible", r[1], r[0])
			}
			pages.add(r[0], r[1])
		}
		return nil
	}, func() (err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.state, d.pages = s.State, pages
		if s.Stats != nil && d.Active() {
			d.held, err = d.Queue(queueStats).Adopt(*s.Stats)
			d.holding = err == nil
		}
		d.told.set(pages, d.holding)
		return err
	})
}
