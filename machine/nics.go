package machine

import (
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/e1000e"
	"dfemu/devices/network"
	"dfemu/devices/pci"
	"dfemu/devices/virtio/net"
)

// NICModels returns the values of network.Options.Model, the default first.
func NICModels() []string { return []string{"virtio", "e1000e"} }

// nics makes the network devices.
func (p *pc) nics() error {
	for i := range p.m.cfg.NICs {
		o := p.m.cfg.NICs[i]
		if o.MAC == ([6]byte{}) {
			o.MAC = [6]byte{0x52, 0x54, 0x00, 0x12, 0x34, byte(0x56 + i)}
		}
		hubs := p.m.cfg.Hubs
		if hubs == nil {
			hubs = &p.hubs
		}
		back, err := network.Open(o, network.Env{
			Clock: p.m.clock, Hubs: hubs, Warn: func(err error) { p.m.cfg.Logf("network: %v", err) },
		})
		if err != nil {
			return fmt.Errorf("--nic %s: %w", o.Kind, err)
		}
		dev, err := p.nic(i, &o, back, false)
		if err != nil {
			return errors.Join(fmt.Errorf("--nic %s: %w", o.Kind, err), back.Close())
		}
		p.add(dev)
		if err := p.plug(dev.Function()); err != nil {
			return err
		}
	}
	return nil
}

// function is a device that is a PCI function.
type function interface {
	devices.Device
	Function() *pci.Function
}

// nic makes device number i on a back end, which is the device's then.
func (p *pc) nic(i int, o *network.Options, back devices.Network, slot bool) (function, error) {
	switch o.Model {
	case "", "virtio":
		pairs := o.Queues
		if pairs == 0 {
			pairs = min(p.m.cfg.CPUs, 8)
		}
		return net.New(net.Options{Name: fmt.Sprintf("virtio-net%d", i), MAC: o.MAC, Pairs: pairs, MTU: o.MTU, Clock: p.m.clock, InSlot: slot}, back)
	case "e1000e":
		return e1000e.New(e1000e.Options{Name: fmt.Sprintf("e1000e%d", i), MAC: o.MAC, Clock: p.m.clock, InSlot: slot}, back)
	}
	return nil, fmt.Errorf("model=%s: must be virtio or e1000e", o.Model)
}
