//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A Doorbell is a register whose writes only tell that there is something to
// do: KVM signals them without stopping the processor that wrote.
type Doorbell struct {
	Port bool   // Addr is a port
	Addr uint64 // guest-physical address or port
	Size int    // width of the writes in bytes: 1, 2, 4 or 8; 0: any
	// Match restricts it to writes of Value; other values reach the bus. It
	// needs a Size.
	Match bool
	Value uint64
	// Ring is called, on a goroutine of its own, after one or more writes.
	Ring func()
}

// bell is a registered doorbell.
type bell struct {
	a    *Accel
	req  ioeventfd
	file *os.File
	done chan struct{}
}

// ErrUnsupported is wrapped where the host's KVM lacks what a method is for;
// the caller does without, through the bus.
var ErrUnsupported = errors.New("not supported by this host's KVM")

// AddDoorbell registers d. Its writes no longer reach the bus until stop is
// called, which returns when Ring is not running and will not be called any
// more. Two doorbells must not overlap.
func (a *Accel) AddDoorbell(d Doorbell) (stop func() error, err error) {
	switch {
	case !a.caps.ioeventfd:
		return nil, fmt.Errorf("kvm: doorbell: %w", ErrUnsupported)
	case d.Size != 0 && d.Size != 1 && d.Size != 2 && d.Size != 4 && d.Size != 8, d.Match && d.Size == 0:
		return nil, fmt.Errorf("kvm: doorbell at %#x: writes of %d bytes", d.Addr, d.Size)
	case d.Port && (d.Addr > 0xffff || d.Size > 4):
		return nil, fmt.Errorf("kvm: doorbell at port %#x of %d bytes: no such port", d.Addr, d.Size)
	}
	fd, f, err := newEvent()
	if err != nil {
		return nil, err
	}
	b := &bell{a: a, file: f, done: make(chan struct{})}
	b.req = ioeventfd{Addr: d.Addr, Len: uint32(d.Size), FD: int32(fd)}
	if d.Port {
		b.req.Flags |= ioeventfdPort
	}
	if d.Match {
		b.req.Flags |= ioeventfdDataMatch
		b.req.DataMatch = d.Value
	}
	if _, err := ioctl(a.vm, ioctlIOEventFD, &b.req); err != nil {
		return nil, errors.Join(fmt.Errorf("kvm: doorbell at %#x: %w", d.Addr, err), f.Close())
	}
	a.mu.Lock()
	a.bells = append(a.bells, b)
	a.mu.Unlock()
	go b.listen(d.Ring)
	return func() error {
		a.mu.Lock()
		i := slices.Index(a.bells, b)
		if i >= 0 {
			a.bells = slices.Delete(a.bells, i, i+1)
		}
		a.mu.Unlock()
		if i < 0 {
			return nil
		}
		return b.close()
	}, nil
}

// listen calls ring after writes until the descriptor is closed.
func (b *bell) listen(ring func()) {
	defer close(b.done)
	var count [8]byte
	for {
		if _, err := b.file.Read(count[:]); err != nil {
			return
		}
		ring()
	}
}

func (b *bell) close() error {
	b.req.Flags |= ioeventfdDeassign
	_, err := ioctl(b.a.vm, ioctlIOEventFD, &b.req)
	if err != nil {
		err = fmt.Errorf("kvm: remove the doorbell at %#x: %w", b.req.Addr, err)
	}
	err = errors.Join(err, b.file.Close())
	<-b.done
	return err
}

// newEvent returns an event counter as a file that the Go runtime polls, and
// its descriptor: asking the file for it would make it block.
func newEvent() (int, *os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, nil, fmt.Errorf("kvm: eventfd: %w", err)
	}
	return fd, os.NewFile(uintptr(fd), "eventfd"), nil
}

// A Line is an interrupt message that is sent by writing to a file
// descriptor: for a device outside this process, or the kernel's.
type Line struct {
	a    *Accel
	gsi  uint32
	fd   int
	file *os.File
}

// NewLine returns a line that sends a message when its descriptor is written.
func (a *Accel) NewLine(addr uint64, data uint32) (*Line, error) {
	if !a.caps.irqfd {
		return nil, fmt.Errorf("kvm: interrupt line: %w", ErrUnsupported)
	}
	fd, f, err := newEvent()
	if err != nil {
		return nil, err
	}
	l := &Line{a: a, fd: fd, file: f}
	if l.gsi, err = a.routes.addLine(message{addr, data}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := l.assign(0); err != nil {
		return nil, errors.Join(fmt.Errorf("kvm: interrupt line: %w", err), a.routes.setLine(l.gsi, nil), f.Close())
	}
	a.mu.Lock()
	a.lines = append(a.lines, l)
	a.mu.Unlock()
	return l, nil
}

func (l *Line) assign(flags uint32) error {
	_, err := ioctl(l.a.vm, ioctlIRQFD, &irqfd{FD: uint32(l.fd), GSI: l.gsi, Flags: flags})
	return err
}

// FD is the descriptor: writing 8 bytes that are not all zero sends the
// message. It is non-blocking and belongs to the line.
func (l *Line) FD() int { return l.fd }

// Trigger sends the message.
func (l *Line) Trigger() error {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, err := l.file.Write(one[:])
	return err
}

// SetMessage changes what the line sends.
func (l *Line) SetMessage(addr uint64, data uint32) error {
	return l.a.routes.setLine(l.gsi, &message{addr, data})
}

// Close takes the line away.
func (l *Line) Close() error {
	l.a.mu.Lock()
	i := slices.Index(l.a.lines, l)
	if i >= 0 {
		l.a.lines = slices.Delete(l.a.lines, i, i+1)
	}
	l.a.mu.Unlock()
	if i < 0 {
		return nil
	}
	return l.close()
}

func (l *Line) close() error {
	return errors.Join(l.assign(irqfdDeassign), l.a.routes.setLine(l.gsi, nil), l.file.Close())
}
