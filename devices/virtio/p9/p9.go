// Package p9 shares a folder of the host with the guest: a virtio 9P transport (device type 9) and a server for the
// protocol 9P2000.L, which Linux mounts with -t 9p -o trans=virtio,version=9p2000.L.
//
// The guest is confined to the folder: see host_linux.go. What it makes belongs to the user who runs the monitor; it
// cannot make devices and programs with the set-user-ID bit, and opens only regular files and folders of the host.
// Symbolic links are shown as they are and followed by the guest, in its own tree.
package p9

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// Options describes a shared folder.
type Options struct {
	Name     string // unit name, as "virtio-9p0"
	Dir      string // the folder of the host
	Tag      string // what the guest mounts it by: at most 256 bytes
	ReadOnly bool
	// Workers is the number of requests carried out at a time; 0 means 8.
	Workers int
	// MaxFids bounds the files that the guest has handles of, and with them the descriptors that the device has: three for each.
	// 0 means Fids(1).
	MaxFids int
	// Clock is for delays that faults make. It may be nil.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// queueSize is what Linux expects: it makes requests of up to 125 pages.
const queueSize = 128

// featureMountTag tells that the configuration has a tag.
const featureMountTag = 1 << 0

const (
	regTagLen = iota
	regTag
)

// configRegisters is the table of the device configuration.
var configRegisters = devices.NewBank("virtio 9p", []devices.Register{
	regTagLen: {Offset: 0, Size: 2, Name: "tag_len", Rights: devices.RO},
	regTag:    {Offset: 2, Size: 1, Name: "tag", Rights: devices.RO, Count: tagSize, Stride: 1},
})

// Device is a virtio 9P device.
type Device struct {
	*virtio.Device
	o       Options
	root    *node
	server  *requests.Server
	session session
	buffers sync.Pool // of *[]byte

	// running is held for reading while a request is carried out, and for writing by Tversion.
	running sync.RWMutex

	mu     sync.Mutex
	seq    uint64
	flying map[uint16]*flight // by tag
	told   told
}

// flight is a request under way.
type flight struct {
	seq  uint64
	req  *requests.Request
	m    *message
	done chan struct{}
	// answered: the driver may know, and use the tag again. It is guarded by Device.mu.
	answered bool
}

// New returns a device. The folder is held until Close.
func New(o Options) (*Device, error) {
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.MaxFids == 0 {
		o.MaxFids = Fids(1)
	}
	switch {
	case o.Tag == "" || len(o.Tag) > tagSize:
		return nil, fmt.Errorf("%s: tag %q: must have 1 to %d bytes", o.Name, o.Tag, tagSize)
	case o.Workers < 1 || o.Workers > 64:
		return nil, fmt.Errorf("%s: %d workers: must be 1 to 64", o.Name, o.Workers)
	case o.MaxFids < 1:
		return nil, fmt.Errorf("%s: %d fids: must be at least 1", o.Name, o.MaxFids)
	}
	root, err := openRoot(o.Dir, 2*o.MaxFids)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	d := &Device{o: o, root: root, flying: map[uint16]*flight{}, told: told{}}
	d.session.fids, d.session.max = map[uint32]*fid{}, o.MaxFids
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 9, Class: 0x018000, Features: featureMountTag, Queues: []int{queueSize},
		FeatureNames: map[uint64]string{featureMountTag: "MOUNT_TAG"},
		Region:       configRegisters.Region(configuration{d}), Registers: configRegisters, Size: uint64(2 + len(o.Tag)),
		InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.server = requests.New(d.Device, o.Clock)
	d.server.Handle(0, o.Workers, d.serve)
	d.Init(d)
	return d, nil
}

// configuration serves the registers of the device configuration.
type configuration struct{ d *Device }

// ReadRegister implements devices.Registers.
func (c configuration) ReadRegister(r devices.Reg, _ uint64) uint64 {
	if r.ID == regTagLen {
		return uint64(len(c.d.o.Tag))
	}
	if r.Index < len(c.d.o.Tag) {
		return uint64(c.d.o.Tag[r.Index])
	}
	return 0
}

// WriteRegister implements devices.Registers. All registers are read-only.
func (configuration) WriteRegister(devices.Reg, uint64, uint64) {}

// Activate implements virtio.Model.
func (d *Device) Activate(uint64) {}

// Deactivate implements virtio.Model: the driver is gone, and with it the session.
func (d *Device) Deactivate() {
	d.server.Reset()
	d.mu.Lock()
	clear(d.told)
	d.mu.Unlock()
	d.session.clear()
	d.session.mu.Lock()
	d.session.msize = 0
	d.session.mu.Unlock()
}

// Kick implements virtio.Model. The queue is served.
func (d *Device) Kick(int) {}

// Pause implements devices.Pauser: requests under way come to their end.
func (d *Device) Pause() { d.server.Pause() }

// Close waits for requests under way and lets go of the folder.
func (d *Device) Close() error {
	err := d.server.Close()
	d.session.clear()
	d.root.drop()
	return err
}

var errNoAnswer = errors.New("request without room for an answer")

// serve handles a chain.
func (d *Device) serve(r *requests.Request) {
	c := r.Chain
	size, room := virtio.Total(c.Out), virtio.Total(c.In)
	if size < headerSize || size > maxMessage || room < errorSize {
		r.Queue.Broken(fmt.Errorf("%w: message of %d bytes, answer of %d", errNoAnswer, size, room))
		r.Complete(0, status(ePROTO))
		return
	}
	buf := d.buffer(int(size))
	p := (*buf)[:size]
	if err := c.Read(0, p); err != nil {
		d.buffers.Put(buf)
		r.Queue.Broken(err)
		r.Complete(0, status(eIO))
		return
	}
	m, known, bad := d.understand(p)
	d.judge(&m, size, known && !bad)
	f := d.launch(r, &m)
	r.OnAbort = func() {
		d.land(f)
		d.buffers.Put(buf)
	}
	r.Run(func() *devices.Command { return m.command(0, int(c.ID())) }, func() {
		d.execute(r, f, known, bad, int(min(room, maxMessage)))
		d.land(f)
		d.buffers.Put(buf)
	})
}

// buffer returns a buffer of at least n bytes.
func (d *Device) buffer(n int) *[]byte {
	b, _ := d.buffers.Get().(*[]byte)
	if b == nil || cap(*b) < n {
		s := make([]byte, max(n, minMessage))
		b = &s
	}
	*b = (*b)[:cap(*b)]
	return b
}

// launch notes a request, so that it can be flushed.
func (d *Device) launch(r *requests.Request, m *message) *flight {
	d.mu.Lock()
	d.seq++
	f := &flight{seq: d.seq, req: r, m: m, done: make(chan struct{})}
	twice := d.busy(m.tag)
	d.flying[m.tag] = f
	d.mu.Unlock()
	if twice {
		d.violate(m, "intro(5)", "tag %d belongs to a request under way", m.tag)
	}
	return f
}

// busy tells whether a tag is that of a request under way. The caller holds mu.
func (d *Device) busy(tag uint16) bool { return d.flying[tag] != nil && !d.flying[tag].answered }

// answer marks a request as one that is about to be given back.
func (d *Device) answer(f *flight) {
	d.mu.Lock()
	if !f.answered {
		d.told.settle(f.m)
	}
	f.answered = true
	d.mu.Unlock()
}

// land forgets a request that was given back.
func (d *Device) land(f *flight) {
	d.mu.Lock()
	if !f.answered {
		d.told.settle(f.m) // it never will be
	}
	if d.flying[f.m.tag] == f {
		delete(d.flying, f.m.tag)
	}
	d.mu.Unlock()
	close(f.done)
}

// execute carries a message out and completes the request.
func (d *Device) execute(r *requests.Request, f *flight, known, bad bool, room int) {
	m := f.m
	buf := d.buffer(minMessage)
	defer d.buffers.Put(buf)
	w := writer{p: *buf}
	w.reset()
	var err error
	switch {
	case r.Effect.Fail:
		err = errno(r.Effect.Status)
		if r.Effect.Status == 0 {
			err = eIO
		}
	case !known:
		err = eOPNOTSUPP
	case bad:
		err = ePROTO
	case m.kind == tVersion:
		d.version(m, &w)
	case m.kind == tFlush:
		d.flush(m, r)
	default:
		err = d.dispatch(r, m, &w, room)
	}
	kind := m.kind + 1
	if err != nil {
		w.reset()
		w.u32(uint32(number(err)))
		kind = rLerror
	} else if len(w.p) > room {
		d.violate(m, "intro(5)", "there is room for %d bytes, but the answer has %d", room, len(w.p))
		w.reset()
		w.u32(uint32(eMSGSIZE))
		kind, err = rLerror, eMSGSIZE
	}
	w.finish(kind, m.tag)
	*buf = w.p
	d.answer(f)
	if e := r.Chain.Write(0, w.p); e != nil {
		r.Queue.Broken(e)
	}
	r.Complete(uint32(len(w.p)), status(number(err)))
}

// dispatch carries out a message that belongs to a session.
func (d *Device) dispatch(r *requests.Request, m *message, w *writer, room int) error {
	d.running.RLock()
	defer d.running.RUnlock()
	d.session.mu.Lock()
	msize := d.session.msize
	d.session.mu.Unlock()
	if msize == 0 {
		d.violate(m, "version(5)", "there was no Tversion")
		return ePROTO
	}
	if kinds(m.kind).writes && d.o.ReadOnly {
		if m.kind == tRemove {
			d.session.remove(m.fid)
		}
		return eROFS
	}
	if len(m.data) > 0 {
		m.data = m.data[:r.Limit(len(m.data))]
		r.Flip(m.data)
	}
	if m.kind == tRead {
		m.count = uint32(r.Limit(int(min(m.count, maxMessage))))
	}
	err := ops[m.kind](d, m, w, min(room, int(msize)))
	if err == nil && (m.kind == tRead || m.kind == tReaddir) {
		r.Flip(w.p[readHeader:])
	}
	return err
}

// version begins a session. The one before, if there is one, ends.
func (d *Device) version(m *message, w *writer) {
	d.running.Lock()
	defer d.running.Unlock()
	d.session.clear()
	s := &d.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.name != dialect || m.count < minMessage {
		s.msize = 0
		w.u32(min(m.count, maxMessage))
		w.str("unknown")
		return
	}
	s.msize = min(m.count, maxMessage)
	w.u32(s.msize)
	w.str(dialect)
}

// flush ends when the request with the old tag has ended. It waits only for requests that came before it, so that none
// waits for another in a circle.
func (d *Device) flush(m *message, r *requests.Request) {
	d.mu.Lock()
	self, old := d.flying[m.tag], d.flying[m.oldTag]
	d.mu.Unlock()
	if old == nil || self == nil || self.req != r || old.seq >= self.seq {
		return
	}
	if old.req.Hasten() {
		// A fault delays it: it has had no effect yet and has none now.
		w := writer{}
		w.reset()
		w.u32(uint32(eINTR))
		w.finish(rLerror, old.m.tag)
		d.answer(old)
		if err := old.req.Chain.Write(0, w.p); err != nil {
			r.Queue.Broken(err)
		}
		old.req.Complete(uint32(len(w.p)), status(eINTR))
		d.land(old)
		return
	}
	<-old.done
}
