package ifnet

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors of sending.
var (
	ErrFull = errors.New("the transmit queue is full")                // ENOBUFS
	ErrDown = errors.New("the link is down")                          // ENETDOWN
	ErrGone = errors.New("the interface is gone")                     // ENXIO
	ErrSize = errors.New("the frame is too short or exceeds the MTU") // EMSGSIZE
)

// Sizes of Ethernet, in bytes.
const (
	HeaderLen  = 14
	MinMTU     = 68 // RFC 791
	DefaultMTU = 1500
	MaxMTU     = 65535
)

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the address of all stations.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String is the address as it is usually written.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Multicast tells whether the address is that of a group; the broadcast address is one.
func (m MAC) Multicast() bool { return m[0]&1 != 0 }

// Driver is the hardware's side of an interface.
type Driver interface {
	// Transmit sends a frame, from the destination address on and without checksum. It does not wait, and has
	// copied the frame when it returns. Any thread may call it.
	Transmit(frame []byte) error
}

// Stats counts what an interface has carried.
type Stats struct {
	InFrames, InBytes, InErrors, InDrops     atomic.Uint64
	OutFrames, OutBytes, OutErrors, OutDrops atomic.Uint64
}

// Info is what a driver knows of its device.
type Info struct {
	Name  string // "vtnet0"
	MAC   MAC
	MTU   int    // payload of a frame in bytes
	Where string // one line for people: queues, features
}

// Receiver takes frames that have arrived, on the thread of the driver that calls it, which it must not block. The frame is the
// receiver's.
type Receiver func(i *Interface, frame []byte)

// Interface is a network device as protocols see it.
type Interface struct {
	Info
	Stats Stats

	set    *Set
	driver Driver
	up     atomic.Bool
	gone   atomic.Bool

	suspended atomic.Bool
}

// Event is something that happened to an interface.
type Event uint8

// Events.
const (
	Attached Event = iota
	Detached
	LinkUp
	LinkDown
)

// Set is the interfaces of a system. It is made by New.
type Set struct {
	mu      sync.Mutex
	list    []*Interface
	input   atomic.Pointer[Receiver]
	notices []func(*Interface, Event)
}

// New returns an empty set.
func New() *Set { return &Set{} }

// Handle makes f the receiver of all frames. Frames that come while there is none are dropped.
func (s *Set) Handle(f Receiver) { s.input.Store(&f) }

// Notify has f called when interfaces come, go or change their link, on the thread of the driver.
func (s *Set) Notify(f func(i *Interface, e Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, f)
}

// Attach adds an interface, whose link is down.
func (s *Set) Attach(info Info, d Driver) (*Interface, error) {
	i := &Interface{Info: info, set: s, driver: d}
	if info.MTU < MinMTU || info.MTU > MaxMTU {
		return nil, fmt.Errorf("%s: an MTU of %d: must be %d to %d", info.Name, info.MTU, MinMTU, MaxMTU)
	}
	s.mu.Lock()
	if slices.ContainsFunc(s.list, func(o *Interface) bool { return o.Name == info.Name }) {
		s.mu.Unlock()
		return nil, fmt.Errorf("%s: there is an interface of this name", info.Name)
	}
	s.list = append(s.list, i)
	s.mu.Unlock()
	s.tell(i, Attached)
	return i, nil
}

func (s *Set) tell(i *Interface, e Event) {
	s.mu.Lock()
	l := slices.Clone(s.notices)
	s.mu.Unlock()
	for _, f := range l {
		f(i, e)
	}
}

// Detach takes the interface away. Sending fails from now on.
func (i *Interface) Detach() {
	if i.gone.Swap(true) {
		return
	}
	i.up.Store(false)
	s := i.set
	s.mu.Lock()
	s.list = slices.DeleteFunc(s.list, func(o *Interface) bool { return o == i })
	s.mu.Unlock()
	s.tell(i, Detached)
}

// Suspend is Detach because the interface's driver has failed and is about to be restarted: it will attach an interface of the same name and address, if all
// goes well.
func (i *Interface) Suspend() {
	i.suspended.Store(true)
	i.Detach()
}

// Suspended tells whether the interface went by Suspend.
func (i *Interface) Suspended() bool { return i.suspended.Load() }

// List returns the interfaces in the order they came in.
func (s *Set) List() []*Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// Find returns the interface of a name, or nil.
func (s *Set) Find(name string) *Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.list {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// SetLink tells whether there is a connection, and returns whether that is news.
func (i *Interface) SetLink(up bool) bool {
	if i.gone.Load() || i.up.Swap(up) == up {
		return false
	}
	e := LinkDown
	if up {
		e = LinkUp
	}
	i.set.tell(i, e)
	return true
}

// Link tells whether there is a connection.
func (i *Interface) Link() bool { return i.up.Load() }

// Send transmits a frame; see [Driver.Transmit].
func (i *Interface) Send(frame []byte) error {
	var err error
	switch {
	case i.gone.Load():
		err = ErrGone
	case !i.up.Load():
		err = ErrDown
	case len(frame) < HeaderLen || len(frame) > HeaderLen+i.MTU:
		err = ErrSize
	default:
		err = i.driver.Transmit(frame)
	}
	switch {
	case err == nil:
		i.Stats.OutFrames.Add(1)
		i.Stats.OutBytes.Add(uint64(len(frame)))
	case errors.Is(err, ErrFull):
		i.Stats.OutDrops.Add(1)
	default:
		i.Stats.OutErrors.Add(1)
	}
	return err
}

// Input takes a frame that has arrived, which is the receiver's from now on.
func (i *Interface) Input(frame []byte) {
	if len(frame) < HeaderLen {
		i.Stats.InErrors.Add(1)
		return
	}
	i.Stats.InFrames.Add(1)
	i.Stats.InBytes.Add(uint64(len(frame)))
	f := i.set.input.Load()
	if f == nil {
		i.Stats.InDrops.Add(1)
		return
	}
	(*f)(i, frame)
}
