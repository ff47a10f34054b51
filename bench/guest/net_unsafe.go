//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Addresses handed to the kernel here are of Go variables that outlive the
// system call; the kernel keeps none of them.

// piece is how much one operation on a connection moves, in bytes.
const piece = 1 << 20

// chunk is what one system call moves.
const chunk = 128 << 10

// networks measures connections to the host through each NIC: "PORT" and the numbers of the NICs. NIC n has the
// hardware address 52:54:00:00:00:n in the network 10.9.n.0/24, where the host is .2 and this is .15.
func networks(words []string, report reporter) {
	if len(words) == 0 {
		report.fail("net", errors.New("no port"))
		return
	}
	port, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		report.fail("net", err)
		return
	}
	for _, w := range words[1:] {
		n, err := strconv.ParseUint(w, 10, 8)
		if err == nil {
			err = bringUp(byte(n))
		}
		if err != nil {
			report.fail("nic"+w, err)
			continue
		}
		host := &syscall.SockaddrInet4{Port: int(port), Addr: [4]byte{10, 9, byte(n), 2}}
		report.measure("nic"+w+"/out", func(n int) error { return transfer(host, 'o', n) })
		report.measure("nic"+w+"/in", func(n int) error { return transfer(host, 'i', n) })
	}
}

// bringUp gives the NIC its address, and waits for its link.
func bringUp(n byte) error {
	mac := fmt.Sprintf("52:54:00:00:00:%02x", n)
	name := ""
	for range 500 {
		files, _ := filepath.Glob("/sys/class/net/*/address")
		for _, f := range files {
			if p, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(p)) == mac {
				name = filepath.Base(filepath.Dir(f))
			}
		}
		if name != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if name == "" {
		return fmt.Errorf("no NIC has the address %s", mac)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	for _, set := range []struct {
		request uintptr
		value   []byte
	}{
		{syscall.SIOCSIFADDR, inet(10, 9, n, 15)},
		{syscall.SIOCSIFNETMASK, inet(255, 255, 255, 0)},
		{syscall.SIOCSIFFLAGS, binary.LittleEndian.AppendUint16(nil, syscall.IFF_UP)},
	} {
		if _, err := interfaceControl(fd, name, set.request, set.value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for range 1000 {
		flags, err := interfaceControl(fd, name, syscall.SIOCGIFFLAGS, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if binary.LittleEndian.Uint16(flags)&syscall.IFF_RUNNING != 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s has no link", name)
}

// inet is a struct sockaddr_in.
func inet(a, b, c, d byte) []byte {
	return append(binary.LittleEndian.AppendUint16(nil, syscall.AF_INET), 0, 0, a, b, c, d)
}

// interfaceControl is an ioctl(2) with a struct ifreq, whose union it returns.
func interfaceControl(fd int, name string, request uintptr, value []byte) ([]byte, error) {
	var ifreq [40]byte
	copy(ifreq[:15], name)
	copy(ifreq[16:], value)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&ifreq))); errno != 0 {
		return nil, errno
	}
	return ifreq[16:], nil
}

var buffer [chunk]byte

// transfer moves n pieces out to the host or in from it, over a connection of its own. Going out, it is done when the
// host says that all has arrived.
func transfer(host *syscall.SockaddrInet4, direction byte, n int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Connect(fd, host); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	ask := binary.LittleEndian.AppendUint64([]byte{direction}, uint64(n)*piece)
	if err := write(fd, ask); err != nil {
		return err
	}
	if direction == 'o' {
		for range n * (piece / chunk) {
			if err := write(fd, buffer[:]); err != nil {
				return err
			}
		}
		return read(fd, 1)
	}
	return read(fd, n*piece)
}

func write(fd int, p []byte) error {
	for len(p) > 0 {
		k, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch {
		case errno == syscall.EINTR:
			k = 0
		case errno != 0:
			return fmt.Errorf("send: %w", errno)
		}
		p = p[k:]
	}
	return nil
}

// read reads n bytes and forgets them.
func read(fd, n int) error {
	for n > 0 {
		k, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(min(n, chunk)))
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return fmt.Errorf("receive: %w", errno)
		case k == 0:
			return fmt.Errorf("the connection ended with %d bytes missing", n)
		}
		n -= int(k)
	}
	return nil
}
