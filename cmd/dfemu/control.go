package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"dfemu/devices/network"
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
	return qmp.Serve(l, &target{m.Control(), m, cfg, log}), nil
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
	for i := range t.cfg.Disks {
		d := &t.cfg.Disks[i]
		format := string(d.Store.Format)
		if format == "" {
			format = "raw"
		}
		b := qmp.Block{Device: fmt.Sprintf("disk%d", i), File: d.File, Format: format, ReadOnly: d.ReadOnly, Medium: true}
		if fi, err := os.Stat(d.File); err == nil {
			b.Size = fi.Size()
		}
		l = append(l, b)
	}
	return l
}

// NICs implements qmp.Target.
func (t *target) NICs() (l []qmp.NIC) {
	for i := range t.cfg.NICs {
		o := &t.cfg.NICs[i]
		model := o.Model
		name := fmt.Sprintf("virtio-net%d", i)
		if model == "e1000e" {
			name = fmt.Sprintf("e1000e%d", i)
		}
		l = append(l, qmp.NIC{Name: name, Model: model, MAC: net.HardwareAddr(o.MAC[:]).String(), Backend: o.Kind, Link: true})
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

// Plug implements qmp.Target. The driver is ahci, nvme, virtio-net or e1000e; drives take the options of --disk, with the file
// as "file", network devices those of --nic, with the kind as "netdev".
func (t *target) Plug(kind string, o map[string]string) error {
	delete(o, "id")
	join := func(first string) string {
		for k, v := range o {
			first += "," + k + "=" + strings.ReplaceAll(v, ",", ",,")
		}
		return first
	}
	switch kind {
	case "ahci", "nvme":
		file := o["file"]
		delete(o, "file")
		o["if"] = kind
		d, err := parseDisk(join(strings.ReplaceAll(file, ",", ",,")))
		if err != nil {
			return err
		}
		_, err = t.PlugDisk(d)
		return err
	case "virtio-net", "e1000e":
		net := o["netdev"]
		delete(o, "netdev")
		o["model"] = strings.TrimSuffix(kind, "-net")
		n, err := network.ParseNIC(join(net))
		if err != nil {
			return err
		}
		_, err = t.PlugNIC(n)
		return err
	}
	return fmt.Errorf("driver %s: must be ahci, nvme, virtio-net or e1000e", kind)
}

// Unplug implements qmp.Target.
func (t *target) Unplug(name string, surprise bool) error {
	err := t.Control.Unplug(name, surprise)
	if errors.Is(err, machine.ErrNoDevice) {
		return &qmp.Error{Class: qmp.DeviceNotFound, Desc: fmt.Sprintf("Device '%s' not found", name)}
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
