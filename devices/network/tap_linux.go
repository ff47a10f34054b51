package network

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"dfemu/devices"
)

// tap is a tap interface of the host (Linux, Documentation/networking/tuntap.rst).
type tap struct {
	name    string
	queues  []*tapQueue
	header  bool // frames have a virtio_net_hdr
	multi   bool // made with IFF_MULTI_QUEUE, so that queues can be detached
	mtu     int
	to      devices.FrameReceiver
	closed  chan struct{}
	readers sync.WaitGroup
	once    sync.Once

	mu       sync.Mutex
	accept   devices.Offloads
	attached int
}

// tapQueue is one file descriptor of the interface.
type tapQueue struct {
	t     *tap
	n     int
	file  *os.File
	raw   syscall.RawConn
	ready chan struct{}

	soft   completer
	iov    [][]byte
	linear []byte
	header [tapHeader]byte
	lost   atomic.Uint64 // frames the kernel did not take
}

const (
	tapHeader = 10 // struct virtio_net_hdr
	// tapArena is the space for the frames of one batch.
	tapArena = 512 << 10
	tapBatch = 256
	iovMax   = 1024
)

// OpenTap attaches to a tap interface, making it if it is not there and this
// process may. Descriptors in o.FDs are used instead if there are any; they belong to
// the back end then, also after an error.
func OpenTap(o Options) (devices.Network, error) {
	t := &tap{closed: make(chan struct{}), header: true}
	var err error
	if len(o.FDs) > 0 {
		err = t.adopt(o.FDs)
	} else {
		err = t.open(o)
	}
	if err == nil {
		err = t.setup(o)
	}
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("tap %s: %w", cmpOr(t.name, o.Interface), err)
	}
	t.attached = len(t.queues)
	t.Configure(0, 1)
	return t, nil
}

// open opens /dev/net/tun once for each queue.
func (t *tap) open(o Options) error {
	n := max(o.Queues, 1)
	t.name = o.Interface
	if t.name == "" {
		t.name = "dfemu%d"
	}
	for i := range n {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w; give a descriptor with fd=, or use --nic user", err)
		}
		if err := t.attach(fd, n > 1); err != nil {
			unix.Close(fd)
			if i > 0 {
				return fmt.Errorf("queue %d: %w", i, err)
			}
			return err
		}
		t.add(fd)
	}
	t.multi = n > 1
	return nil
}

// attach connects a descriptor to the interface.
func (t *tap) attach(fd int, multi bool) error {
	ifr, err := unix.NewIfreq(t.name)
	if err != nil {
		return fmt.Errorf("an interface's name has 1 to 15 characters")
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if multi {
		flags |= unix.IFF_MULTI_QUEUE
	}
	ifr.SetUint16(flags)
	if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); errors.Is(err, unix.EINVAL) && !multi {
		// An interface that exists already may have been made for several queues.
		ifr.SetUint16(flags | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; as root: ip tuntap add dev NAME mode tap user $USER vnet_hdr, then name it with ifname=NAME; or use --nic user", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w; the interface exists and is of another kind, or was not made for several queues (multi_queue)", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w; another process uses it", err)
	case err != nil:
		return err
	}
	t.name = ifr.Name()
	return nil
}

// adopt takes descriptors that someone else opened.
func (t *tap) adopt(fds []int) error {
	for i, fd := range fds {
		ifr, err := unix.NewIfreq("x")
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr)
		}
		if err == nil && ifr.Uint16()&unix.IFF_TAP == 0 {
			err = errors.New("it is a tun device, which has no Ethernet frames")
		}
		if err == nil && ifr.Uint16()&unix.IFF_NO_PI == 0 {
			err = errors.New("it was opened without IFF_NO_PI")
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		header := err == nil && ifr.Uint16()&unix.IFF_VNET_HDR != 0
		if err == nil && i > 0 && header != t.header {
			err = errors.New("it was opened with other flags than the first one")
		}
		if err != nil {
			for _, fd := range fds[i:] {
				unix.Close(fd)
			}
			return fmt.Errorf("descriptor %d is no tap device that can be used: %w", fd, err)
		}
		unix.CloseOnExec(fd)
		t.name, t.header, t.multi = ifr.Name(), header, ifr.Uint16()&unix.IFF_MULTI_QUEUE != 0
		t.add(fd)
	}
	return nil
}

func (t *tap) add(fd int) {
	t.queues = append(t.queues, &tapQueue{t: t, n: len(t.queues), file: os.NewFile(uintptr(fd), "tap "+t.name), ready: make(chan struct{}, 1)})
}

// setup brings descriptors and interface into the state needed.
func (t *tap) setup(o Options) error {
	for _, q := range t.queues {
		raw, err := q.file.SyscallConn()
		if err != nil {
			return err
		}
		q.raw = raw
		if !t.header {
			continue
		}
		err = q.control(func(fd int) error {
			if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, tapHeader); err != nil {
				return fmt.Errorf("set the header's size: %w", err)
			}
			// Little-endian is the host's order where this runs; other kernels refuse.
			if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("set the header's byte order: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return t.setInterface(o)
}

// setInterface brings the interface up, and gives it what the options say.
func (t *tap) setInterface(o Options) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	do := func(what string, req uint, set func(*unix.Ifreq) error) error {
		ifr, err := unix.NewIfreq(t.name)
		if err == nil {
			err = set(ifr)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, req, ifr)
		}
		if err == nil && req == unix.SIOCGIFMTU {
			t.mtu = int(ifr.Uint32())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	nothing := func(*unix.Ifreq) error { return nil }
	if o.MTU != 0 {
		if err := do("set the MTU", unix.SIOCSIFMTU, func(i *unix.Ifreq) error { i.SetUint32(uint32(o.MTU)); return nil }); err != nil {
			return err
		}
	}
	if err := do("read the MTU", unix.SIOCGIFMTU, nothing); err != nil {
		return err
	}
	if o.HostAddress.IsValid() {
		a := o.HostAddress.Addr().As4()
		if err := do("set the address", unix.SIOCSIFADDR, func(i *unix.Ifreq) error { return i.SetInet4Addr(a[:]) }); err != nil {
			return err
		}
		m := ^uint32(0) << (32 - o.HostAddress.Bits())
		mask := []byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}
		if err := do("set the netmask", unix.SIOCSIFNETMASK, func(i *unix.Ifreq) error { return i.SetInet4Addr(mask) }); err != nil {
			return err
		}
	}
	if err := t.bringUp(s); err != nil {
		return err
	}
	if o.Bridge != "" {
		return t.join(s, o.Bridge)
	}
	return nil
}

func (t *tap) bringUp(s int) error {
	ifr, err := unix.NewIfreq(t.name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, ifr); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	if ifr.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring it up: %w; as root: ip link set %s up", err, t.name)
	}
	return nil
}

// join makes the interface a port of a bridge.
func (t *tap) join(s int, bridge string) error {
	own, err := unix.NewIfreq(t.name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, own); err != nil {
		return err
	}
	br, err := unix.NewIfreq(bridge)
	if err != nil {
		return fmt.Errorf("bridge %q: an interface's name has 1 to 15 characters", bridge)
	}
	br.SetUint32(own.Uint32())
	if err := unix.IoctlIfreq(s, unix.SIOCBRADDIF, br); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("join bridge %s: %w", bridge, err)
	}
	return nil
}

// control calls f with the queue's descriptor.
func (q *tapQueue) control(f func(fd int) error) error {
	var err error
	if e := q.raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// Properties implements devices.Network.
func (t *tap) Properties() devices.NetworkProperties {
	return devices.NetworkProperties{Kind: "tap " + t.name, Takes: devices.OffloadsAll, Queues: len(t.queues), MTU: t.mtu, Link: true}
}

// Connect implements devices.Network.
func (t *tap) Connect(to devices.FrameReceiver) {
	t.to = to
	for _, q := range t.queues {
		t.readers.Add(1)
		go q.read()
	}
}

// Configure implements devices.Network.
func (t *tap) Configure(accept devices.Offloads, queues int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accept = accept
	if t.header {
		t.setOffload(accept)
	}
	if !t.multi || len(t.queues) < 2 {
		return
	}
	want := min(max(queues, 1), len(t.queues))
	for ; t.attached < want; t.attached++ {
		t.queues[t.attached].setAttached(unix.IFF_ATTACH_QUEUE)
		t.Ready(t.attached)
	}
	for ; t.attached > want; t.attached-- {
		t.queues[t.attached-1].setAttached(unix.IFF_DETACH_QUEUE)
	}
}

// setAttached has the kernel use the queue for received frames, or not. Where it
// refuses, the device still gets the frames, on a queue it listens to.
func (q *tapQueue) setAttached(flag uint16) {
	_ = q.control(func(fd int) error {
		ifr, err := unix.NewIfreq(q.t.name)
		if err != nil {
			return err
		}
		ifr.SetUint16(flag)
		return unix.IoctlIfreq(fd, unix.TUNSETQUEUE, ifr)
	})
}

const (
	tunUSO4 = 0x20 // TUN_F_USO4
	tunUSO6 = 0x40 // TUN_F_USO6
)

// setOffload tells the kernel what it may leave to the receiver.
func (t *tap) setOffload(o devices.Offloads) {
	v := 0
	if o&devices.OffloadChecksum != 0 {
		v = unix.TUN_F_CSUM
		if o&devices.OffloadTSO4 != 0 {
			v |= unix.TUN_F_TSO4
		}
		if o&devices.OffloadTSO6 != 0 {
			v |= unix.TUN_F_TSO6
		}
		if o&devices.OffloadECN != 0 && v != unix.TUN_F_CSUM {
			v |= unix.TUN_F_TSO_ECN
		}
		if o&devices.OffloadUSO != 0 {
			v |= tunUSO4 | tunUSO6
		}
	}
	_ = t.queues[0].control(func(fd int) error {
		err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, v)
		if err != nil && v&tunUSO4 != 0 {
			// Kernels before 6.2 do not know it.
			err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, v&^(tunUSO4|tunUSO6))
		}
		return err
	})
}

// Ready implements devices.Network.
func (t *tap) Ready(queue int) {
	if queue >= 0 && queue < len(t.queues) {
		select {
		case t.queues[queue].ready <- struct{}{}:
		default:
		}
	}
}

// Close implements devices.Network.
func (t *tap) Close() error {
	var err error
	t.once.Do(func() {
		close(t.closed)
		for _, q := range t.queues {
			if e := q.file.Close(); err == nil {
				err = e
			}
		}
		t.readers.Wait()
	})
	return err
}
