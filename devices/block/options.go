package block

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Format is how a disk's content is stored.
type Format string

// Formats. FormatDefault and FormatAuto look at what the image begins with; see
// [Open].
const (
	FormatDefault Format = ""
	FormatAuto    Format = "auto"
	FormatRaw     Format = "raw"
	FormatQcow2   Format = "qcow2"
)

// Cache says what happens between a write and its flush.
type Cache string

// Cache modes.
const (
	// CacheWriteback leaves writes in the host's page cache until a flush.
	CacheWriteback Cache = "writeback"
	// CacheNone bypasses the host's page cache (O_DIRECT).
	CacheNone Cache = "none"
	// CacheUnsafe ignores flushes: a crash of the host may lose anything.
	CacheUnsafe Cache = "unsafe"
	// CacheVolatile is a volatile write cache whose unflushed writes are lost
	// or torn when the power fails; see [Volatile].
	CacheVolatile Cache = "volatile"
)

// Options describes a disk, as the option --disk does.
type Options struct {
	// File is an image's name, "nbd://…" or "nbd+unix://…" (see [nbd.ParseURL]
	// for both), or "mem:SIZE" for an empty disk in memory.
	File string
	// Interface is the kind of device: "ahci", "nvme", "scsi", "virtio", or "" for the
	// machine's choice.
	Interface string
	// Serial is the drive's serial number, "" for the device's choice.
	Serial   string
	ReadOnly bool
	Format   Format
	Cache    Cache
	// Seed decides what CacheVolatile loses.
	Seed uint64
	// Snapshot keeps all changes apart, and drops them in the end.
	Snapshot bool
	// At is the internal snapshot of a qcow2 image to show. It makes the image
	// read-only, except with Snapshot.
	At string
	// IOPS and BPS limit requests and bytes per second, and Burst is for how
	// long unused ones are kept; Latency is what a request takes at least. 0
	// means no limit and no delay.
	IOPS, BPS      int64
	Burst, Latency time.Duration
	// Logical and Physical are block sizes in bytes; 0 for the device's choice.
	Logical, Physical int
	// Connections and Reconnect are for NBD; see [nbd.Options].
	Connections int
	Reconnect   time.Duration
	// Device are settings that are not about the store, for the device.
	Device []Setting
}

// Setting is a key and its value; a key alone has the value "on".
type Setting struct{ Key, Value string }

// Take removes a setting from o.Device and returns its value. What is left when
// a device has taken all that it knows is unknown to everybody.
func (o *Options) Take(key string) (value string, ok bool) {
	for i, s := range o.Device {
		if s.Key == key {
			o.Device = append(o.Device[:i:i], o.Device[i+1:]...)
			return s.Value, true
		}
	}
	return "", false
}

// Unknown returns an error if a device has left settings in o.Device.
func (o *Options) Unknown() error {
	if len(o.Device) == 0 {
		return nil
	}
	return fmt.Errorf("disk %s: unknown setting %q", o.File, o.Device[0].Key)
}

// ParseDisk reads the description of a disk: FILE[,key=value…]. A comma in a
// name or value is written twice. The keys are
//
//	if=ahci|nvme|scsi|virtio  the device
//	serial=S             its serial number
//	ro                   read-only
//	format=raw|qcow2|auto
//	cache=writeback|none|unsafe|volatile
//	seed=N               for cache=volatile
//	snapshot             drop all changes in the end
//	at=S                 show an internal snapshot of a qcow2 image
//	iops=N bps=SIZE      limits for a second, burst=DURATION
//	latency=DURATION     of each request
//	logical=512|4096     block size, physical=SIZE
//	connections=N reconnect=DURATION  for NBD
//
// where SIZE is in bytes, or with the suffix K, M, G or T in units of 1024 and
// so on, and DURATION is like "2ms" or "1.5s". Other keys are in Device.
func ParseDisk(s string) (Options, error) {
	o := Options{Cache: CacheWriteback}
	parts := splitCommas(s)
	o.File = strings.TrimPrefix(parts[0], "file=")
	if o.File == "" {
		return Options{}, fmt.Errorf("disk %q: it does not begin with the name of an image", s)
	}
	seen := map[string]bool{}
	for _, p := range parts[1:] {
		key, value, given := strings.Cut(p, "=")
		if seen[key] {
			return Options{}, fmt.Errorf("disk %q: %s is given twice", o.File, key)
		}
		seen[key] = true
		if err := o.set(key, value, given); err != nil {
			return Options{}, fmt.Errorf("disk %q: %s: %w", o.File, p, err)
		}
	}
	return o, o.check()
}

// splitCommas splits at single commas, and makes double ones single.
func splitCommas(s string) []string {
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		switch last := &parts[len(parts)-1]; {
		case s[i] != ',':
			*last += s[i : i+1]
		case i+1 < len(s) && s[i+1] == ',':
			*last += ","
			i++
		default:
			parts = append(parts, "")
		}
	}
	return parts
}

// set takes one setting.
func (o *Options) set(key, value string, given bool) (err error) {
	switch key {
	case "":
		return errors.New("a setting has no name")
	case "ro":
		o.ReadOnly, err = parseSwitch(value, given)
		return err
	case "snapshot":
		o.Snapshot, err = parseSwitch(value, given)
		return err
	}
	known := true
	switch key {
	case "if":
		o.Interface, err = oneOf(value, "ahci", "nvme", "scsi", "virtio")
	case "serial":
		o.Serial = value
	case "format":
		var f string
		f, err = oneOf(value, "raw", "qcow2", "auto")
		o.Format = Format(f)
	case "cache":
		var c string
		c, err = oneOf(value, "writeback", "none", "unsafe", "volatile")
		o.Cache = Cache(c)
	case "seed":
		if o.Seed, err = strconv.ParseUint(value, 0, 64); err != nil {
			err = errors.New("must be a number")
		}
	case "at":
		o.At = value
	case "iops":
		o.IOPS, err = ParseSize(value)
	case "bps":
		o.BPS, err = ParseSize(value)
	case "burst":
		o.Burst, err = parseDuration(value)
	case "latency":
		o.Latency, err = parseDuration(value)
	case "reconnect":
		o.Reconnect, err = parseDuration(value)
	case "connections":
		o.Connections, err = parseInt(value, 1, 16)
	case "logical":
		if o.Logical, err = parseInt(value, 512, 4096); err == nil && o.Logical != 512 && o.Logical != 4096 {
			err = errors.New("must be 512 or 4096")
		}
	case "physical":
		if o.Physical, err = parseInt(value, 512, 1<<20); err == nil && o.Physical&(o.Physical-1) != 0 {
			err = errors.New("must be a power of two")
		}
	default:
		known = false
	}
	switch {
	case err != nil:
		return err
	case known && value == "":
		return errors.New("it needs a value")
	case !known:
		if !given {
			value = "on"
		}
		o.Device = append(o.Device, Setting{key, value})
	}
	return nil
}

// check looks at whether the settings go together.
func (o *Options) check() error {
	fail := func(what string) error { return fmt.Errorf("disk %q: %s", o.File, what) }
	switch {
	case o.Seed != 0 && o.Cache != CacheVolatile:
		return fail("seed= is for cache=volatile only")
	case o.Burst != 0 && o.IOPS == 0 && o.BPS == 0:
		return fail("burst= is for iops= and bps= only")
	case o.Physical != 0 && o.Physical < o.Logical:
		return fail("physical= must not be less than logical=")
	case o.At != "" && (o.Format == FormatRaw || !o.isFile()):
		return fail("at= is for qcow2 images only")
	case !o.isFile() && o.Format != FormatDefault && o.Format != FormatRaw:
		return fail("format= is for files only")
	case !o.isFile() && o.Cache == CacheNone:
		return fail("cache=none is for files only")
	case !o.isNBD() && (o.Connections != 0 || o.Reconnect != 0):
		return fail("connections= and reconnect= are for nbd: only")
	}
	return nil
}

func (o *Options) isNBD() bool {
	scheme, _, ok := strings.Cut(o.File, ":")
	return ok && (scheme == "nbd" || scheme == "nbd+unix" || scheme == "nbds" || scheme == "nbds+unix")
}

func (o *Options) isMemory() bool { return strings.HasPrefix(o.File, "mem:") }

func (o *Options) isFile() bool { return !o.isNBD() && !o.isMemory() }

func parseSwitch(s string, given bool) (bool, error) {
	switch {
	case !given || s == "on":
		return true, nil
	case s == "off":
		return false, nil
	}
	return false, errors.New("must be on or off")
}

func oneOf(s string, choices ...string) (string, error) {
	for _, c := range choices {
		if s == c {
			return s, nil
		}
	}
	return "", fmt.Errorf("must be one of %s", strings.Join(choices, ", "))
}

func parseInt(s string, from, to int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < from || n > to {
		return 0, fmt.Errorf("must be a number from %d to %d", from, to)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New(`must be a time like "2ms"`)
	}
	return d, nil
}

// ParseSize reads a number of bytes, which is not 0: with the suffix K, M, G or T in units of 1024 and so on.
func ParseSize(s string) (int64, error) {
	unit := int64(1)
	if n := len(s); n > 0 {
		if i := strings.IndexByte("KMGT", s[n-1]&^0x20); i >= 0 {
			unit, s = 1<<(10*(i+1)), s[:n-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return 0, errors.New(`must be a number like "512", "64K" or "10G", and not 0`)
	}
	return n * unit, nil
}
