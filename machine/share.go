package machine

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"dfemu/devices/virtio/p9"
)

// Share is a folder of the host that the guest can mount: see package p9.
type Share struct {
	Dir      string
	Tag      string // what the guest mounts it by; "" is the folder's name
	ReadOnly bool
}

// ParseShare reads DIR[,tag=NAME][,ro]. A comma in a name is written twice.
func ParseShare(s string) (Share, error) {
	dir, settings, err := splitSettings(s)
	if err != nil {
		return Share{}, err
	}
	o := Share{Dir: dir}
	for _, x := range settings {
		switch {
		case x.key == "tag" && x.value != "":
			o.Tag = x.value
		case x.key == "ro" && (!x.given || x.value == "on" || x.value == "off"):
			o.ReadOnly = x.value != "off"
		default:
			return Share{}, fmt.Errorf("%s: must be tag=NAME or ro", x.text)
		}
	}
	if o.Dir == "" {
		return Share{}, errors.New("begin with the folder of the host")
	}
	if o.Tag == "" {
		abs, err := filepath.Abs(o.Dir)
		if err != nil {
			return Share{}, err
		}
		o.Tag = filepath.Base(abs)
	}
	return o, nil
}

// setting is one of the words behind a comma on the command line.
type setting struct {
	key, value, text string
	given            bool // there is a value
}

// splitSettings splits WORD[,KEY[=VALUE]]…, where a comma that belongs to a word is written twice. No key is given twice, but
// those named.
func splitSettings(s string, repeated ...string) (first string, l []setting, err error) {
	const comma = "\x00"
	parts := strings.Split(strings.ReplaceAll(s, ",,", comma), ",")
	seen := map[string]bool{}
	for i, p := range parts {
		p = strings.ReplaceAll(p, comma, ",")
		if i == 0 {
			first = p
			continue
		}
		x := setting{text: p}
		x.key, x.value, x.given = strings.Cut(p, "=")
		if x.key == "" || seen[x.key] && !slices.Contains(repeated, x.key) {
			return "", nil, fmt.Errorf("%q: no setting, or given twice", p)
		}
		seen[x.key] = true
		l = append(l, x)
	}
	return first, l, nil
}

// shares makes the devices for shared folders.
func (p *pc) shares() error {
	tags := map[string]bool{}
	for i, s := range p.m.cfg.Shares {
		if tags[s.Tag] {
			return &FileError{"share", s.Dir, fmt.Errorf("tag %q is that of another share", s.Tag)}
		}
		tags[s.Tag] = true
		d, err := p9.New(p9.Options{
			Name: fmt.Sprintf("virtio-9p%d", i), Dir: s.Dir, Tag: s.Tag, ReadOnly: s.ReadOnly,
			MaxFids: p9.Fids(len(p.m.cfg.Shares)), Clock: p.m.clock, Broken: p.broken,
		})
		if err != nil {
			return &FileError{"share", s.Dir, err}
		}
		p.add(d)
		if err := p.plug(d.Function()); err != nil {
			return err
		}
	}
	return nil
}

// broken tells the person who runs the machine that a driver has driven a device into a state that only a reset ends.
func (p *pc) broken(err error) { p.m.cfg.Logf("%v", err) }
