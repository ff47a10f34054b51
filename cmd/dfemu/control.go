package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"dfemu/devices/pci"
	"dfemu/machine"
	"dfemu/qmp"
)

// target is a machine as the control socket sees it. It implements qmp.Target.
type target struct {
	*machine.Control
	m   *machine.Machine
	cfg *machine.Config
	log *serialLog
}

// listenControl opens the control socket of a machine.
func listenControl(path string, m *machine.Machine, cfg *machine.Config, log *serialLog) (*qmp.Server, error) {
	if fi, err := os.Stat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
		if conn, err := net.Dial("unix", path); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("--control %s: another machine listens there", path)
		}
		_ = os.Remove(path) // left over
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("--control: %w", err)
	}
	s := qmp.Serve(l, &target{m.Control(), m, cfg, log})
	m.Control().OnRemoved(func(unit string) {
		s.Event("DEVICE_DELETED", map[string]string{"device": unit, "path": "/machine/peripheral/" + unit})
	})
	return s, nil
}

// Running implements qmp.Target.
func (t *target) Running() bool { return !t.m.Paused() }

// Pause implements qmp.Target.
func (t *target) Pause() { t.m.Pause() }

// Resume implements qmp.Target.
func (t *target) Resume() { t.m.Resume() }

// Reset implements qmp.Target.
func (t *target) Reset() { t.m.Reset() }

// PowerButton implements qmp.Target.
func (t *target) PowerButton() { t.m.PowerButton() }

// Quit implements qmp.Target.
func (t *target) Quit() { t.m.Stop() }

// CPUs implements qmp.Target.
func (t *target) CPUs() int { return max(t.cfg.CPUs, 1) }

// Name implements qmp.Target.
func (t *target) Name() string { return "dfemu" }

// Blocks implements qmp.Target.
func (t *target) Blocks() (l []qmp.Block) {
	for _, d := range t.Drives() {
		l = append(l, qmp.Block{
			Device: d.Name, Unit: d.Unit, File: d.File, Format: d.Format, Size: d.Size, ReadOnly: d.ReadOnly,
			Removable: d.Removable, Medium: d.Medium, Locked: d.Locked,
		})
	}
	return l
}

// NICs implements qmp.Target.
func (t *target) NICs() (l []qmp.NIC) {
	for _, n := range t.Control.NICs() {
		l = append(l, qmp.NIC{Name: n.Name, Model: n.Model, MAC: net.HardwareAddr(n.MAC[:]).String(), Backend: n.Backend, Link: n.Link})
	}
	return l
}

// Functions implements qmp.Target.
func (t *target) Functions() (l []qmp.Function) {
	for _, f := range t.Control.Functions() {
		bus, dev, fn, ok := f.Address()
		if !ok {
			continue
		}
		l = append(l, qmp.Function{
			Bus: bus, Slot: dev, Fn: fn, Name: f.Name(), Class: f.Config(pci.RegRevision, 4) >> 8,
			Vendor: uint16(f.Config(pci.RegVendor, 2)), Device: uint16(f.Config(pci.RegDevice, 2)),
		})
	}
	return l
}

// Plug implements qmp.Target: the driver and its options are those of --device.
func (t *target) Plug(kind string, o map[string][]string) (string, error) {
	return t.Control.Plug(kind, o)
}

// Unplug implements qmp.Target.
func (t *target) Unplug(name string, surprise bool) error {
	return notFound(t.Control.Unplug(name, surprise))
}

// Eject implements qmp.Target.
func (t *target) Eject(name string) error { return notFound(t.Control.Eject(name)) }

// Insert implements qmp.Target.
func (t *target) Insert(name, file string) error { return notFound(t.Control.Insert(name, file)) }

// SetLink implements qmp.Target.
func (t *target) SetLink(name string, up bool) error { return notFound(t.Control.SetLink(name, up)) }

// notFound gives the errors that a name is unknown the class that clients look for.
func notFound(err error) error {
	if errors.Is(err, machine.ErrNoDevice) {
		return &qmp.Error{Class: qmp.DeviceNotFound, Desc: err.Error()}
	}
	return err
}

// RemoveFaults implements qmp.Target.
func (t *target) RemoveFaults(rule string) int {
	if f := t.Control.Faults(); f != nil {
		return f.Remove(rule)
	}
	return 0
}

// Faults implements qmp.Target.
func (t *target) Faults() (l []qmp.Fault) {
	f := t.Control.Faults()
	if f == nil {
		return nil
	}
	rules, applied := f.List()
	for i := range rules {
		l = append(l, qmp.Fault{Rule: rules[i], Applied: applied[i]})
	}
	return l
}

// SerialLog implements qmp.Target.
func (t *target) SerialLog(port int) ([]byte, error) {
	if port != 0 {
		return nil, fmt.Errorf("x-port %d: only the output of COM1 (0) is kept", port)
	}
	return t.log.bytes(), nil
}

// serialLog passes output on and keeps the end of it.
type serialLog struct {
	out io.Writer

	mu   sync.Mutex
	tail []byte
}

// serialLogSize is how much is kept, in bytes.
const serialLogSize = 256 << 10

// Write implements io.Writer.
func (l *serialLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.tail = append(l.tail, p...)
	if n := len(l.tail); n > 2*serialLogSize {
		l.tail = append(l.tail[:0], l.tail[n-serialLogSize:]...)
	}
	l.mu.Unlock()
	if l.out == nil {
		return len(p), nil
	}
	return l.out.Write(p)
}

func (l *serialLog) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.tail...)
}
