package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"dfemu/machine"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// connect opens the other ends of the serial ports and of the debug console.
// The closers are to be closed also when there is an error.
func (f *bootFlags) connect(cfg *machine.Config, con *console) (closers []io.Closer, err error) {
	ports := f.serial
	if len(ports) == 0 {
		ports = []string{"stdio"}
		if slices.Contains(f.consoles, "stdio") || slices.ContainsFunc(cfg.Consoles, func(s machine.Serial) bool { return s.Spec == "stdio" }) {
			ports = nil
		}
	}
	if len(ports) > len(cfg.Serial) {
		return nil, usageError{fmt.Errorf("--serial: %d given, the machine has %d ports", len(ports), len(cfg.Serial))}
	}
	open := func(flag, spec string) (machine.Serial, error) {
		end, closer, err := openSerial(spec, con)
		if closer != nil {
			closers = append(closers, closer)
		}
		if err != nil {
			err = fmt.Errorf("%s %s: %w", flag, spec, err)
		}
		return end, err
	}
	for i, spec := range ports {
		if cfg.Serial[i], err = open("--serial", spec); err != nil {
			return closers, err
		}
	}
	for i := range cfg.Consoles {
		if spec := cfg.Consoles[i].Spec; spec != "" {
			if cfg.Consoles[i], err = open("--device virtio-console,to=", spec); err != nil {
				return closers, err
			}
		}
	}
	for _, spec := range f.consoles {
		end, err := open("--virtio-console", spec)
		if err != nil {
			return closers, err
		}
		cfg.Consoles = append(cfg.Consoles, end)
	}
	switch f.debugcon {
	case "":
	case "-":
		cfg.Debug = os.Stderr
	default:
		file, err := os.Create(f.debugcon)
		if err != nil {
			return closers, usageError{fmt.Errorf("--debugcon: %w", err)}
		}
		cfg.Debug = file
		closers = append(closers, file)
	}
	return closers, nil
}

// openSerial opens what a value of --serial names.
func openSerial(spec string, con *console) (machine.Serial, io.Closer, error) {
	kind, name, _ := strings.Cut(spec, ":")
	switch kind {
	case "none":
		return machine.Serial{}, nil, nil
	case "stdio":
		if con.used {
			return machine.Serial{}, nil, usageError{errors.New("standard input and output belong to another port already")}
		}
		con.used = true
		return machine.Serial{In: con.reader(), Out: con.out}, nil, nil
	case "file":
		file, err := os.Create(name)
		if err != nil {
			return machine.Serial{}, nil, usageError{err}
		}
		return machine.Serial{Out: file}, file, nil
	case "pty":
		return openPTY()
	case "socket":
		return listen(name)
	}
	return machine.Serial{}, nil, usageError{errors.New("must be stdio, file:NAME, pty, socket:NAME or none")}
}

// openPTY makes a pseudo-terminal and says where its other end is.
func openPTY() (machine.Serial, io.Closer, error) {
	master, slave, err := newPTY()
	if err != nil {
		return machine.Serial{}, nil, err
	}
	both := multiCloser{master, slave}
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		return machine.Serial{}, both, err
	}
	fmt.Fprintf(os.Stderr, "dfemu: serial port at %s\r\n", slave.Name())
	return machine.Serial{In: master, Out: master}, both, nil
}

// newPTY makes a pseudo-terminal. As long as its other end, slave, is open,
// reading from master does not fail because nobody is connected.
func newPTY() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("set up the pseudo-terminal: %w", err), master.Close())
	}
	return master, slave, nil
}

type multiCloser []io.Closer

func (m multiCloser) Close() error {
	var err error
	for _, c := range m {
		err = errors.Join(err, c.Close())
	}
	return err
}

// listen makes a Unix socket at which one client at a time gets the serial
// port. Without a client, output is lost, as on an unplugged cable.
func listen(name string) (machine.Serial, io.Closer, error) {
	l, err := net.Listen("unix", name)
	if err != nil {
		return machine.Serial{}, nil, usageError{err}
	}
	s := &socket{l: l}
	s.cond = sync.NewCond(&s.mu)
	go s.accept()
	return machine.Serial{In: s, Out: s}, s, nil
}

// socket is a serial port's end on a Unix socket.
type socket struct {
	l net.Listener

	mu     sync.Mutex
	cond   *sync.Cond
	conn   net.Conn
	closed bool
}

func (s *socket) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		for s.conn != nil && !s.closed {
			s.cond.Wait()
		}
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conn = c
		s.cond.Broadcast()
		s.mu.Unlock()
	}
}

// Read implements io.Reader: it waits for a client, and for the next one when
// one has gone.
func (s *socket) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		for s.conn == nil && !s.closed {
			s.cond.Wait()
		}
		c := s.conn
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return 0, io.EOF
		}
		if n, err := c.Read(p); n > 0 || err == nil {
			return n, nil
		}
		s.drop(c)
	}
}

// Write implements io.Writer.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c != nil {
		if _, err := c.Write(p); err != nil {
			s.drop(c)
		}
	}
	return len(p), nil
}

// drop forgets a client that has gone.
func (s *socket) drop(c net.Conn) {
	c.Close()
	s.mu.Lock()
	if s.conn == c {
		s.conn = nil
		s.cond.Broadcast()
	}
	s.mu.Unlock()
}

// Close implements io.Closer.
func (s *socket) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.conn != nil {
		s.conn.Close()
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	return s.l.Close()
}
