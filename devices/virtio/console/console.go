// Package console is the virtio console (Virtual I/O Device 1.2, section 5.3)
// with one port.
package console

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// Feature bits and configuration (sections 5.3.3 and 5.3.4).
const (
	featureSize = 1 << 0

	cfgCols     = 0 // 16 bits
	cfgRows     = 2 // 16 bits
	cfgMaxPorts = 4 // 32 bits
	cfgSize     = 12
)

// configRegisters names the fields of the configuration.
var configRegisters = devices.NewBank("virtio console config", []devices.Register{
	{Offset: cfgCols, Size: 2, Name: "cols", Rights: devices.RO}, {Offset: cfgRows, Size: 2, Name: "rows", Rights: devices.RO},
	{Offset: cfgMaxPorts, Size: 4, Name: "max_nr_ports", Rights: devices.RO}, {Offset: 8, Size: 4, Name: "emerg_wr", Rights: devices.RO},
}).With(devices.Rules{Clause: "virtio 1.2, 5.3.4"})

// The queues of port 0.
const (
	receiveQueue = iota
	transmitQueue
)

// Options describes a console.
type Options struct {
	Name string // unit name, as "virtio-console0"
	// Out gets what the guest writes. A write that waits delays pausing and
	// resetting the machine; errors are ignored: nobody listens.
	Out io.Writer
	// Cols and Rows are the size of the terminal in characters; 0 if unknown.
	Cols, Rows uint16
	// Clock is for delays that faults make. It may be nil.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a virtio console. It implements devices.Receiver for input.
type Device struct {
	*virtio.Device
	server *requests.Server

	outMu sync.Mutex // guards what follows
	out   io.Writer
	buf   [4096]byte

	mu         sync.Mutex
	cols, rows uint16
	onSpace    func()
	waiting    bool // a Receive took less than it was offered
	closed     bool
	wg         sync.WaitGroup // calls of onSpace
}

var _ devices.Receiver = (*Device)(nil)

// New returns a console.
func New(o Options) *Device {
	d := &Device{out: o.Out, cols: o.Cols, rows: o.Rows}
	if d.out == nil {
		d.out = io.Discard
	}
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 3, Class: 0x078000, Features: featureSize, Queues: []int{128, 128},
		Region: devices.RegionFuncs{ReadFunc: d.readConfig}, Registers: configRegisters, Size: cfgSize,
		FeatureNames: map[uint64]string{featureSize: "SIZE", 1 << 1: "MULTIPORT", 1 << 2: "EMERG_WRITE"},
		InSlot:       o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.server = requests.New(d.Device, o.Clock)
	d.server.Handle(transmitQueue, 1, d.transmit)
	d.Init(d)
	return d
}

// How writes end, for watchers.
var (
	statusDone = devices.Status{Name: "OK"}
	statusLost = devices.Status{Code: 1, Name: "lost"}
)

func (d *Device) transmit(r *requests.Request) {
	total := virtio.Total(r.Chain.Out)
	d.judge(transmitQueue, r.Chain)
	r.Run(func() *devices.Command {
		return &devices.Command{Queue: transmitQueue, Tag: int(r.Chain.ID()), Name: "WRITE", Bytes: total, Write: true}
	}, func() {
		if r.Effect.Fail {
			r.Complete(0, statusLost)
			return
		}
		if err := d.write(r, total); err != nil {
			r.Queue.Broken(err)
			r.Complete(0, statusLost)
			return
		}
		r.Complete(0, statusDone)
	})
}

// write passes total bytes of a chain on.
func (d *Device) write(r *requests.Request, total uint64) error {
	if total > maxWrite {
		return errTooLong
	}
	flips := r.Effect.Flips(total)
	total = uint64(r.Limit(int(total)))
	d.outMu.Lock()
	defer d.outMu.Unlock()
	for off := uint64(0); off < total; {
		b := d.buf[:min(total-off, uint64(len(d.buf)))]
		if err := r.Chain.Read(off, b); err != nil {
			return err
		}
		devices.Flip(b, off, flips)
		_, _ = d.out.Write(b)
		off += uint64(len(b))
	}
	return nil
}

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) {
	d.judge(queue, c)
	switch {
	case queue == transmitQueue && virtio.Total(c.Out) > maxWrite:
		d.Breach(queue, errTooLong)
	case queue == receiveQueue && virtio.Total(c.In) == 0:
		d.Breach(queue, errNoRoom)
	}
}

// judge reports what is wrong with a chain, short of what breaks the queue.
func (d *Device) judge(queue int, c *virtio.Chain) {
	switch {
	case queue == transmitQueue && len(c.In) != 0:
		d.Violation(queue, "5.3.6.1", "what is transmitted has device-writable buffers")
	case queue == receiveQueue && len(c.Out) != 0:
		d.Violation(queue, "5.3.6.1", "a receive buffer is device-readable")
	}
}

// maxWrite bounds what a guest can have written by one chain, which could name
// all its memory many times over.
const maxWrite = 16 << 20

var errTooLong = errors.New("write of more than 16 MiB")

var errNoRoom = errors.New("receive buffer without room for a byte")

// Receive implements devices.Receiver.
func (d *Device) Receive(p []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.Queue(receiveQueue)
	taken := 0
	for taken < len(p) {
		c := q.Pop()
		if c == nil {
			d.waiting = true
			if q.SetNotify(true) {
				continue
			}
			break
		}
		d.judge(receiveQueue, c)
		n := int(min(virtio.Total(c.In), uint64(len(p)-taken)))
		err := errNoRoom
		if n > 0 {
			err = c.Write(0, p[taken:taken+n])
		}
		if err != nil {
			q.Broken(err)
			n = 0
		}
		q.Push(c, uint32(n))
		taken += n
	}
	if taken == len(p) {
		d.waiting = false
	}
	return taken
}

// OnSpace implements devices.Receiver.
func (d *Device) OnSpace(f func()) {
	d.mu.Lock()
	d.onSpace = f
	d.mu.Unlock()
}

// Resize tells the guest the size of the terminal in characters.
func (d *Device) Resize(cols, rows uint16) {
	d.mu.Lock()
	changed := d.cols != cols || d.rows != rows
	d.cols, d.rows = cols, rows
	d.mu.Unlock()
	if changed {
		d.ConfigChanged()
	}
}

func (d *Device) readConfig(off uint64, size int) (uint64, error) {
	var b [cfgSize]byte
	d.mu.Lock()
	binary.LittleEndian.PutUint16(b[cfgCols:], d.cols)
	binary.LittleEndian.PutUint16(b[cfgRows:], d.rows)
	d.mu.Unlock()
	binary.LittleEndian.PutUint32(b[cfgMaxPorts:], 1)
	if off+uint64(size) > cfgSize {
		return 0, devices.ErrNoRegister
	}
	var v uint64
	for i := range size {
		v |= uint64(b[off+uint64(i)]) << (8 * i)
	}
	return v, nil
}

// Activate implements virtio.Model.
func (d *Device) Activate(uint64) {}

// Deactivate implements virtio.Model.
func (d *Device) Deactivate() { d.server.Reset() }

// Pause implements devices.Pauser.
func (d *Device) Pause() { d.server.Pause() }

// Kick implements virtio.Model: the driver has added receive buffers.
func (d *Device) Kick(int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting && d.onSpace != nil && !d.closed {
		d.waiting = false
		// The driver's notification must not wait for the host.
		d.wg.Go(d.onSpace)
	}
}

// Close implements devices.Closer.
func (d *Device) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.wg.Wait()
	return d.server.Close()
}
