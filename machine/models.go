package machine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dfemu/devices/block"
	"dfemu/devices/network"
)

// Model is a kind of device that can be added by its name.
type Model struct {
	Name  string // as "nvme"
	About string
	Keys  []Key
	// add enters a device into the configuration of a machine that is to be made.
	add func(c *Config, s Settings) error
	// plug adds a device to a running machine and returns its unit name; nil if that is not possible.
	plug func(c *Control, s Settings) (string, error)
}

// Key is a setting of a model.
type Key struct {
	Name  string // as "serial"
	Value string // what it is set to, as "N" or "on|off"; "" for one that stands alone
	About string
}

// HotPlug tells whether a device of the model can be added while the machine runs.
func (m *Model) HotPlug() bool { return m.plug != nil }

// Models are the models there are. This is the one table in which they register: it serves --device, its help, and
// dfemu ctl plug. A new kind of device is a row here, with a function that makes of its settings what Config has for it, and
// one for Control if it can be hot-plugged.
func Models() []Model {
	drive := func(kind string) (add func(*Config, Settings) error, plug func(*Control, Settings) (string, error)) {
		add = func(c *Config, s Settings) error {
			d, err := s.disk(kind)
			c.Disks = append(c.Disks, d)
			return err
		}
		plug = func(c *Control, s Settings) (string, error) {
			d, err := s.disk(kind)
			if err != nil {
				return "", err
			}
			return c.PlugDisk(d)
		}
		return add, plug
	}
	nic := func(model string) (add func(*Config, Settings) error, plug func(*Control, Settings) (string, error)) {
		add = func(c *Config, s Settings) error {
			o, err := s.nic(model)
			c.NICs = append(c.NICs, o)
			return err
		}
		plug = func(c *Control, s Settings) (string, error) {
			o, err := s.nic(model)
			if err != nil {
				return "", err
			}
			return c.PlugNIC(o)
		}
		return add, plug
	}
	id := Key{"id", "NAME", "unit name, instead of the model's and a number"}
	slot := Key{"slot", "on|off", "in a hot-plug slot, from which it can be taken"}
	l := []Model{
		{Name: "ahci", About: "SATA adapter (ICH9), or with file= a drive at the next free port of one", Keys: slices.Concat(
			[]Key{id}, adapterKeys, storeKeys, []Key{
				{"model", "S", "model of the drive"}, {"firmware", "S", "its firmware revision"}, {"wwn", "HEX", "its world wide name, 16 digits"},
				{"media", "disk|cdrom", "hard disk or optical drive"}, {"rpm", "N", "rotation rate; 1, the default, does not rotate"},
				{"trim", "on|zero|off", "TRIM; with zero, trimmed blocks read as zeroes"},
			})},
		{Name: "nvme", About: "NVMe controller with a namespace", Keys: slices.Concat(storeKeys, []Key{
			id, slot, {"model", "S", "model of the controller"}, {"firmware", "S", "its firmware revision"}, {"nqn", "NAME", "name of the subsystem"},
			{"mdts", "SIZE", "largest transfer, a power of two from 8K to 16M"}, {"eui64", "HEX", "identifier of the namespace, 16 digits"},
			{"nguid", "HEX", "identifier of the namespace, 32 digits"}, {"uuid", "HEX", "identifier of the namespace, 32 digits"},
			{"detached", "on|off", "the guest attaches the namespace"}, {"ctrl", "NAME", "namespace of the controller that others with this name share"},
			{"pool", "on|off", "the guest makes namespaces of it"}, {"zoned", "on|off", "zoned namespace"},
			{"zone-size", "SIZE", "of a zone; default 16M"}, {"zone-capacity", "SIZE", "of a zone; default all of it"},
			{"max-open", "N", "zones that are open"}, {"max-active", "N", "zones that are active"},
			{"queues", "N", "I/O queue pairs, 1 to 128"}, {"queue-size", "N", "entries of the largest queue"},
			{"cmb", "N", "controller memory buffer, MiB"}, {"hmb", "N", "host memory buffer asked for, MiB"},
		})},
		{Name: "virtio-blk", About: "virtio disk", Keys: slices.Concat(storeKeys, []Key{
			id, slot, {"queues", "N", "request queues; default one for each CPU"}, {"queue-size", "N", "descriptors of a queue, a power of two"},
			{"packed", "on|off", "offer packed virtqueues"},
		})},
		{Name: "virtio-scsi", About: "disk of the virtio SCSI host", Keys: slices.Concat(storeKeys, []Key{
			{"target", "N", "0 to 255; default the next free one"}, {"lun", "N", "unit of the target"}, {"model", "S", "product name"},
		})},
		{
			Name: "virtio-balloon", About: "gives memory of the guest back to the host",
			add: func(c *Config, _ Settings) error {
				c.Balloon = true
				return nil
			},
		},
		{Name: "virtio-net", About: "virtio network device", Keys: slices.Concat([]Key{id, slot}, nicKeys, []Key{{"queues", "N", "queue pairs"}})},
		{Name: "e1000e", About: "Intel 82574L network device", Keys: slices.Concat([]Key{id, slot}, nicKeys)},
		{
			Name: "virtio-rng", About: "another source of entropy, besides the one that every machine has",
			Keys: []Key{id, {"source", "FILE", "where it comes from; default the host's"}},
			add: func(c *Config, s Settings) error {
				c.RNGs = append(c.RNGs, RNG{ID: s.get("id"), Source: s.get("source")})
				return nil
			},
		},
		{
			Name: "virtio-9p", About: "shared folder, mounted with -t 9p", Keys: []Key{
				{"dir", "DIR", "folder of the host"}, {"tag", "NAME", "what the guest mounts it by; default the folder's name"}, {"ro", "", "read-only"},
			},
			add: func(c *Config, s Settings) error {
				o, err := ParseShare(s.join(strings.ReplaceAll(s.get("dir"), ",", ",,"), "dir"))
				c.Shares = append(c.Shares, o)
				return err
			},
		},
		{
			Name: "virtio-vsock", About: "connections between programs of guest and host",
			Keys: []Key{{"cid", "N", "address of the guest, 3 or more"}, {"path", "SOCKET", "Unix socket of the host"}},
			add: func(c *Config, s Settings) error {
				if c.Vsock != nil {
					return errors.New("one is all that is possible")
				}
				v, err := ParseVsock(strings.TrimPrefix(s.join(""), ","))
				c.Vsock = &v
				return err
			},
		},
		{
			Name: "virtio-console", About: "virtio console with one port",
			Keys: []Key{{"to", "END", "its other end, as for --serial: stdio, file:F, pty, socket:F, none"}},
			add: func(c *Config, s Settings) error {
				to := s.get("to")
				if to == "" {
					to = "none"
				}
				c.Consoles = append(c.Consoles, Serial{Spec: to})
				return nil
			},
		},
	}
	for i := range l {
		switch m := &l[i]; m.Name {
		case "nvme":
			m.add, m.plug = drive("nvme")
		case "virtio-blk":
			m.add, m.plug = drive("virtio")
		case "virtio-scsi":
			m.add, m.plug = drive("scsi")
		case "virtio-net":
			m.add, m.plug = nic("virtio")
		case "e1000e":
			m.add, m.plug = nic("e1000e")
		case "ahci":
			add, plug := drive("ahci")
			m.plug = plug
			m.add = func(c *Config, s Settings) error {
				if s.get("file") != "" {
					return add(c, s)
				}
				a, err := s.adapter()
				c.Adapters = append(c.Adapters, a)
				return err
			}
		}
	}
	return l
}

// adapterKeys are the settings of an AHCI adapter.
var adapterKeys = []Key{
	{"ports", "N", "of the adapter, 1 to 32; default 6"}, {"slots", "N", "commands of a port at a time, 1 to 32; Linux uses 32 whatever it is"},
	{"multiplier", "N", "a port multiplier with N device ports at the last port, 1 to 15"}, {"speed", "1|2|3", "interface generation"},
	{"msi", "N", "messages asked for, 0 to 32"}, {"staggered", "on|off", "the guest spins drives up"},
	{"bios-owned", "on|off", "the firmware owns the adapter until it is asked"}, {"64bit", "on|off", "64-bit addresses"},
	{"ncq", "on|off", "native command queuing"}, {"fbs", "on|off", "FIS-based switching at the multiplier"},
}

// storeKeys are the settings of what is behind a drive; block.ParseDisk reads them.
var storeKeys = []Key{
	{"file", "FILE", "image, nbd://…, or mem:SIZE"}, {"serial", "S", "serial number, at most 20 characters"},
	{"ro", "", "read-only"}, {"snapshot", "", "drop all writes at the end"}, {"format", "raw|qcow2|auto", "of the image"},
	{"cache", "writeback|none|unsafe|volatile", "what becomes of writes until a flush"}, {"seed", "N", "what cache=volatile loses"},
	{"at", "NAME", "snapshot inside a qcow2 image"}, {"iops", "N", "requests a second"}, {"bps", "SIZE", "bytes a second"},
	{"burst", "TIME", "how long unused ones are kept"}, {"latency", "TIME", "of each request"},
	{"logical", "512|4096", "block size"}, {"physical", "SIZE", "physical block size"},
	{"connections", "N", "of NBD"}, {"reconnect", "TIME", "of NBD"},
}

// nicKeys are the settings of what is behind a network device; network.ParseNIC reads them.
var nicKeys = []Key{
	{"netdev", "tap|user|hub", "back end"}, {"mac", "M", "address"}, {"mtu", "N", "bytes"}, {"pcap", "FILE", "capture frames"},
	{"ifname", "NAME", "of a tap"}, {"fd", "N[:N…]", "of a tap"}, {"bridge", "NAME", "of a tap"}, {"addr", "A/N", "of a tap"},
	{"hostfwd", "tcp|udp:[ADDR]:PORT-[GUEST]:PORT", "into a user network; any number of times"}, {"net", "A/N", "of a user network"},
	{"isolated", "", "user network"}, {"hostname", "NAME", "user network"}, {"dns", "ADDR:PORT", "user network"},
	{"name", "HUB", "of a hub"}, {"listen", "ADDR", "of a hub"}, {"connect", "ADDR", "of a hub"}, {"udp", "ADDR", "of a hub"}, {"peer", "ADDR", "of a hub"},
}

// repeated is the key that may be given more than once.
const repeated = "hostfwd"

// Settings are what a device is described by, in the order in which they were given.
type Settings []setting

// get returns the value of a key, or "".
func (s Settings) get(key string) string {
	for _, x := range s {
		if x.key == key {
			return x.value
		}
	}
	return ""
}

// join writes settings for another parser behind its first word. Those named are left out.
func (s Settings) join(first string, without ...string) string {
	for _, x := range s {
		if slices.Contains(without, x.key) {
			continue
		}
		first += "," + x.key
		if x.given {
			first += "=" + strings.ReplaceAll(x.value, ",", ",,")
		}
	}
	return first
}

// disk describes a drive.
func (s Settings) disk(kind string) (Disk, error) {
	file := s.get("file")
	if file == "" {
		return Disk{}, errors.New("file= is missing: the image, or mem:SIZE")
	}
	for _, x := range s {
		if slices.ContainsFunc(adapterKeys, func(k Key) bool { return k.Name == x.key }) {
			return Disk{}, fmt.Errorf("%s= is for an adapter alone, without file=", x.key)
		}
	}
	return ParseDisk(s.join(strings.ReplaceAll(file, ",", ",,")+",if="+kind, "file"))
}

// adapter describes an AHCI adapter.
func (s Settings) adapter() (a Adapter, err error) {
	for _, x := range s {
		number := func(p *int, from, to int) {
			if *p, err = strconv.Atoi(x.value); err != nil || *p < from || *p > to {
				err = fmt.Errorf("%s=%s: must be a number from %d to %d", x.key, x.value, from, to)
			}
		}
		off := func(p *bool, is bool) {
			if x.value != "on" && x.value != "off" && x.given {
				err = fmt.Errorf("%s=%s: must be on or off", x.key, x.value)
			}
			*p = (x.value != "off") == is
		}
		switch x.key {
		case "id":
			a.ID = x.value
		case "ports":
			number(&a.Ports, 1, 32)
		case "slots":
			number(&a.Slots, 1, 32)
		case "speed":
			number(&a.Speed, 1, 3)
		case "multiplier":
			number(&a.Multiplier, 1, 15)
		case "msi":
			number(&a.MSI, 0, 32)
			switch {
			case err == nil && a.MSI&(a.MSI-1) != 0:
				err = fmt.Errorf("msi=%d: must be 0 or a power of two up to 32", a.MSI)
			case a.MSI == 0:
				a.MSI = -1
			}
		case "staggered":
			off(&a.StaggeredSpinUp, true)
		case "bios-owned":
			off(&a.BIOSOwned, true)
		case "64bit":
			off(&a.No64, false)
		case "ncq":
			off(&a.NoNCQ, false)
		case "fbs":
			off(&a.NoFBS, false)
		default:
			err = fmt.Errorf("%s: this is about a drive, and there is none without file=", x.text)
		}
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

// nic describes a network device.
func (s Settings) nic(model string) (network.Options, error) {
	kind := s.get("netdev")
	if kind == "" {
		return network.Options{}, errors.New("netdev= is missing: tap, user or hub")
	}
	for _, x := range s {
		if strings.Contains(x.value, ",") {
			return network.Options{}, fmt.Errorf("%s: a comma is not possible here", x.text)
		}
	}
	return network.ParseNIC(s.join(kind+",model="+model, "netdev"))
}

// ParseDisk reads FILE[,opt[=value]…]. A comma in the name is written twice.
func ParseDisk(s string) (Disk, error) {
	o, err := block.ParseDisk(s)
	if err != nil {
		return Disk{}, err
	}
	if names := DiskInterfaces(); o.Interface != "" && !slices.Contains(names, o.Interface) {
		return Disk{}, fmt.Errorf("if=%s: must be one of %s", o.Interface, strings.Join(names, ", "))
	}
	if len(o.Serial) > 20 {
		return Disk{}, fmt.Errorf("serial=%s: at most 20 characters", o.Serial)
	}
	return Disk{File: o.File, If: o.Interface, Serial: o.Serial, ReadOnly: o.ReadOnly, Snapshot: o.Snapshot, Store: o}, nil
}

// FindModel returns the model of a name.
func FindModel(name string) (*Model, error) {
	var names []string
	for _, m := range Models() {
		if m.Name == name {
			return &m, nil
		}
		names = append(names, m.Name)
	}
	return nil, fmt.Errorf("%s: there is no such device; there are %s", name, strings.Join(names, ", "))
}

// check refuses keys that the model does not have.
func (m *Model) check(s Settings) error {
	for _, x := range s {
		var names []string
		at := slices.IndexFunc(m.Keys, func(k Key) bool { names = append(names, k.Name); return k.Name == x.key })
		switch {
		case at < 0:
			return fmt.Errorf("%s: %s has no %q; there are %s", x.text, m.Name, x.key, strings.Join(names, ", "))
		case m.Keys[at].Value != "" && (!x.given || x.value == "") && !strings.HasPrefix(m.Keys[at].Value, "on|"):
			return fmt.Errorf("%s: must be %s=%s", x.text, x.key, m.Keys[at].Value)
		}
	}
	return nil
}

// AddDevice enters the device that MODEL[,KEY[=VALUE]]… describes, as --device has it, into a configuration. A comma that belongs
// to a value is written twice.
func (c *Config) AddDevice(s string) error {
	name, l, err := splitSettings(s, repeated)
	if err != nil {
		return err
	}
	m, err := FindModel(name)
	if err != nil {
		return err
	}
	if err := m.check(l); err != nil {
		return err
	}
	if err := m.add(c, l); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Plug adds a device of a model to a running machine, with settings as those of --device, and returns its unit name. A setting
// has a value for each time that it is given, "on" for one that stands alone.
func (c *Control) Plug(model string, settings map[string][]string) (string, error) {
	m, err := FindModel(model)
	if err != nil {
		return "", err
	}
	if m.plug == nil {
		var names []string
		for _, m := range Models() {
			if m.HotPlug() {
				names = append(names, m.Name)
			}
		}
		return "", fmt.Errorf("%s: it cannot be added to a running machine, only %s can", model, strings.Join(names, ", "))
	}
	var l Settings
	for k, values := range settings {
		if len(values) > 1 && k != repeated {
			return "", fmt.Errorf("%s: %s is given %d times; only %s= may be", model, k, len(values), repeated)
		}
		for _, v := range values {
			l = append(l, setting{k, v, k + "=" + v, true})
		}
	}
	slices.SortStableFunc(l, func(a, b setting) int { return strings.Compare(a.key, b.key) })
	if err := m.check(l); err != nil {
		return "", err
	}
	name, err := m.plug(c, l)
	if err != nil {
		err = fmt.Errorf("%s: %w", model, err)
	}
	return name, err
}
