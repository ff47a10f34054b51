// Command vsockcat is what guests of the tests use virtio sockets with: it connects its standard input and output with
// "connect CID PORT", or with the first that connects to "listen PORT"; it says on standard error when it listens.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vsockcat:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var n []uint32
	for i, a := range args {
		if i == 0 {
			continue
		}
		v, err := strconv.ParseUint(a, 10, 32)
		if err != nil {
			return err
		}
		n = append(n, uint32(v))
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	switch {
	case len(n) == 2 && args[0] == "connect":
		// Linux gives up after two seconds, in which a busy host need not have answered.
		if err := unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &unix.Timeval{Sec: 60}); err != nil {
			return fmt.Errorf("connect: time-out: %w", err)
		}
		if err := unix.Connect(fd, &unix.SockaddrVM{CID: n[0], Port: n[1]}); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	case len(n) == 1 && args[0] == "listen":
		if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: n[0]}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		if err := unix.Listen(fd, 1); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		fmt.Fprintln(os.Stderr, "listens")
		if fd, _, err = unix.Accept(fd); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
	default:
		return fmt.Errorf("usage: vsockcat connect CID PORT, or listen PORT")
	}
	sock := os.NewFile(uintptr(fd), "vsock")
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(sock, os.Stdin)
		if err == nil {
			err = unix.Shutdown(fd, unix.SHUT_WR)
		}
		sent <- err
	}()
	if _, err := io.Copy(os.Stdout, sock); err != nil {
		return err
	}
	return <-sent
}
