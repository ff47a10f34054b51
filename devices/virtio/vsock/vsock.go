// Package vsock is the virtio socket device (Virtual I/O Device 1.2, section
// 5.10): connections between programs of the guest and of the host, streams and
// sequenced packets.
//
// On the host they are Unix sockets, as Firecracker and Cloud Hypervisor have
// them. A program that connects to Options.Path and sends "CONNECT 5000\n" is
// connected with port 5000 of the guest, which it is told with "OK PORT\n"; a
// guest that connects to port P of the host (address 2) reaches the program
// that listens at Options.Path + "_P".
//
// Sequenced packets (SOCK_SEQPACKET) are such of the host too, where it has them
// for Unix sockets: its programs connect to Options.Path + "_seq" and send
// "CONNECT 5000" as a packet, and a guest's connection of that type reaches a
// program that listens for packets. Each message is a packet of at most 256 KiB.
// What Unix sockets cannot carry is not passed on: the boundaries of records
// (MSG_EOR) and empty messages, which would mean the end of the connection there.
package vsock

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// Options describes a socket device.
type Options struct {
	Name string // unit name, as "virtio-vsock0"
	CID  uint32 // the guest's address, 3 or more
	Path string // of the Unix socket; "" to have connections by the guest only, and none that succeeds
	// Clock is for delays that faults make. It may be nil.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a virtio socket device.
type Device struct {
	*virtio.Device
	o        Options
	server   *requests.Server // of what the guest sends
	listener net.Listener     // or nil
	packets  net.Listener     // for sequenced packets, or nil

	mu      sync.Mutex
	conns   map[key]*conn
	told    told
	ready   []*conn // those that have something for the guest
	resets  []stray // to be answered by RST
	event   bool    // the guest is to be told that connections are lost
	waiting map[net.Conn]bool
	port    uint32 // last one given to a connection that the host makes
	active  bool
	closed  bool
	filling bool // a goroutine moves packets into the receive queue
	again   bool // it is to look once more
	stalled bool // a fault delays it
	timer   devices.Timer
	wg      sync.WaitGroup
}

// key names a connection.
type key struct{ guest, host uint32 } // ports

// stray is a packet of no connection.
type stray struct {
	key
	kind uint16
}

// New returns a device, which listens at its path from now on.
func New(o Options) (*Device, error) {
	if o.CID < minCID || o.CID == anyCID {
		return nil, fmt.Errorf("%s: guest address %d: must be %d to %d", o.Name, o.CID, minCID, uint32(anyCID-1))
	}
	d := &Device{o: o, conns: map[key]*conn{}, told: told{}, waiting: map[net.Conn]bool{}, port: firstPort}
	if o.Path != "" {
		if err := d.listen(); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	features := uint64(featureStream)
	if sequenced {
		features |= featureSeqpacket
	}
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 19, Class: 0x028000, Features: features, FeatureNames: featureNames, Queues: []int{128, 128, 8},
		Region: configRegisters.Region(configuration{d}), Registers: configRegisters, Size: 8, InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.server = requests.New(d.Device, o.Clock)
	d.server.Handle(queueTx, 1, d.send)
	d.Init(d)
	if o.Clock != nil {
		d.timer = o.Clock.NewTimer(func() {
			d.mu.Lock()
			d.stalled = false
			d.mu.Unlock()
			d.fill()
		})
	}
	for _, l := range []net.Listener{d.listener, d.packets} {
		if l != nil {
			d.wg.Add(1)
			go d.accept(l)
		}
	}
	return d, nil
}

// configuration serves the registers of the device configuration.
type configuration struct{ d *Device }

// ReadRegister implements devices.Registers.
func (c configuration) ReadRegister(devices.Reg, uint64) uint64 { return uint64(c.d.o.CID) }

// WriteRegister implements devices.Registers. The only register is read-only.
func (configuration) WriteRegister(devices.Reg, uint64, uint64) {}

// Activate implements virtio.Model.
func (d *Device) Activate(uint64) {
	d.mu.Lock()
	d.active = true
	d.mu.Unlock()
}

// Deactivate implements virtio.Model: all connections end.
func (d *Device) Deactivate() {
	d.server.Reset()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active, d.event, d.stalled = false, false, false
	if d.timer != nil {
		d.timer.Stop()
	}
	for _, c := range d.conns {
		d.remove(c)
	}
	d.ready, d.resets = nil, nil
	clear(d.told)
}

// Kick implements virtio.Model.
func (d *Device) Kick(queue int) {
	if queue != queueTx {
		d.fill()
	}
}

// Pause implements devices.Pauser. Connections stay; what comes from the host waits.
func (d *Device) Pause() { d.server.Pause() }

// Close ends all connections and removes the socket.
func (d *Device) Close() error {
	err := d.server.Close()
	d.mu.Lock()
	d.closed, d.active = true, false
	if d.timer != nil {
		d.timer.Stop()
	}
	for _, c := range d.conns {
		d.remove(c)
	}
	for c := range d.waiting {
		_ = c.Close()
	}
	d.mu.Unlock()
	for _, l := range []net.Listener{d.listener, d.packets} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	d.wg.Wait()
	return err
}

// spawn runs f on a goroutine, unless the device is closed. The caller holds mu.
func (d *Device) spawn(f func()) {
	if d.closed {
		return
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		f()
	}()
}

const saveVersion = 1

// saved is the device's own state. Connections cannot be saved: their other ends are not part of the machine.
type saved struct {
	// Lost means that the guest is to be told of lost connections.
	Lost bool
}

// SaveState implements devices.Saver.
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	s := saved{Lost: d.event || len(d.conns) != 0}
	d.mu.Unlock()
	return d.SaveWith(saveVersion, &s)
}

// RestoreState implements devices.Saver. All connections are lost, which the guest is told (section 5.10.6.7).
func (d *Device) RestoreState(p []byte) error {
	var s saved
	return d.RestoreWith(saveVersion, p, &s, nil, func() error {
		d.mu.Lock()
		d.event = s.Lost && d.active
		d.mu.Unlock()
		return nil
	})
}
