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

// function is a device that is a PCI function.
type function interface {
	devices.Device
	Function() *pci.Function
}

// nics makes the network devices.
func (p *pc) nics() error {
	for _, o := range p.m.cfg.NICs {
		dev, err := p.openNIC(o)
		if err != nil {
			return fmt.Errorf("--nic %s: %w", o.Kind, err)
		}
		if err := p.place(dev, o.Slot); err != nil {
			return err
		}
	}
	return nil
}

// openNIC opens a back end and makes the device in front of it, which owns it then.
func (p *pc) openNIC(o network.Options) (function, error) {
	kind := map[string]string{"": "virtio-net", "virtio": "virtio-net", "e1000e": "e1000e"}[o.Model]
	if kind == "" {
		return nil, fmt.Errorf("model=%s: must be virtio or e1000e", o.Model)
	}
	name, err := p.unit(kind, o.ID)
	if err != nil {
		return nil, err
	}
	if o.MAC == ([6]byte{}) {
		o.MAC = network.DefaultMAC(o.Kind, p.nextNIC())
	}
	hubs := p.m.cfg.Hubs
	if hubs == nil {
		hubs = &p.hubs
	}
	back, err := network.Open(o, network.Env{
		Clock: p.m.clock, Hubs: hubs, Warn: func(err error) { p.m.cfg.Logf("network: %v", err) },
	})
	if err != nil {
		p.removeUnit(name)
		return nil, err
	}
	dev, err := p.nic(kind, name, &o, back)
	if err != nil {
		p.removeUnit(name)
		return nil, errors.Join(err, back.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nicKinds == nil {
		p.nicKinds = map[string][2]string{}
	}
	p.nicKinds[name] = [2]string{kind, o.Kind}
	return dev, nil
}

// nextNIC counts network devices, those included that are gone: a new one does not get the address of another.
func (p *pc) nextNIC() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nicCount++
	return p.nicCount - 1
}

// nic makes a device on a back end, which is the device's if there is no error.
func (p *pc) nic(kind, name string, o *network.Options, back devices.Network) (function, error) {
	if kind == "e1000e" {
		return e1000e.New(e1000e.Options{Name: name, MAC: o.MAC, Clock: p.m.clock, InSlot: o.Slot}, back)
	}
	pairs := o.Queues
	if pairs == 0 {
		pairs = min(p.m.cfg.CPUs, 8)
	}
	return net.New(net.Options{Name: name, MAC: o.MAC, Pairs: pairs, MTU: o.MTU, Clock: p.m.clock, InSlot: o.Slot, Broken: p.broken}, back)
}
