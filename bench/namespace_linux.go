package bench

import (
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace calls f on a thread with a network namespace of its own, in which nothing but the loopback interface is
// there; processes that f starts and sockets that it opens are in it. An error that wraps errNoTap says that there
// can be none, or no tap interfaces; f was not called then.
func inNamespace(f func() error) error {
	result := make(chan error)
	go func() {
		// The thread is not unlocked, and so it ends with the goroutine and takes the namespace with it.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("%w: make a network namespace: %w; run this as root", errNoTap, err)
			return
		}
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			result <- fmt.Errorf("%w: open /dev/net/tun: %w; load the kernel module tun", errNoTap, err)
			return
		}
		unix.Close(fd)
		if err := interfaceUp("lo", nil); err != nil {
			result <- fmt.Errorf("%w: loopback interface: %w", errNoTap, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// configure waits for the interface and gives it its address, in the namespace of the calling thread.
func (t tapEnd) configure(gone <-chan struct{}) error {
	for range 1000 {
		if _, err := net.InterfaceByName(t.name); err == nil {
			if err := interfaceUp(t.name, &t.address); err != nil {
				return fmt.Errorf("interface %s: %w", t.name, err)
			}
			return nil
		}
		select {
		case <-gone:
			return fmt.Errorf("the monitor ended without making the tap interface %s", t.name)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("the monitor does not make the tap interface %s", t.name)
}

// interfaceUp gives an interface an address, if there is one, and switches it on (netdevice(7)).
func interfaceUp(name string, address *[4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if address != nil {
		if err := ifr.SetInet4Addr(address[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr); err != nil {
			return err
		}
		if err := ifr.SetInet4Addr([]byte{255, 255, 255, 0}); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, ifr); err != nil {
			return err
		}
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
