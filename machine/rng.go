package machine

import (
	"io"
	"os"

	"dfemu/devices/virtio/rng"
)

// RNG is a source of entropy for the guest, besides the one that every machine has.
type RNG struct {
	ID     string // unit name; "" for virtio-rng and a number
	Source string // file; "" is the host's entropy
}

// rngs makes the entropy devices: the first takes Config.Entropy.
func (p *pc) rngs() error {
	if err := p.addRNG("", p.m.cfg.Entropy); err != nil {
		return err
	}
	for _, o := range p.m.cfg.RNGs {
		var in io.Reader
		if o.Source != "" {
			f, err := os.Open(o.Source)
			if err != nil {
				return &FileError{"virtio-rng", o.Source, err}
			}
			p.files = append(p.files, f)
			in = f
		}
		if err := p.addRNG(o.ID, in); err != nil {
			return err
		}
	}
	return nil
}

func (p *pc) addRNG(id string, source io.Reader) error {
	name, err := p.unit("virtio-rng", id)
	if err != nil {
		return err
	}
	r := rng.New(rng.Options{Name: name, Source: source, Clock: p.m.clock, Broken: p.broken})
	p.add(r)
	return p.plug(r.Function())
}
