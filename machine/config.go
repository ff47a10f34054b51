package machine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dfemu/cpu"
	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/network"
)

// Limits of a machine.
const (
	MinMemory = 16 << 20 // bytes
	MaxMemory = 64 << 30
	MaxCPUs   = 255
)

// Config says what machine to put together. The zero value of a field is its default.
type Config struct {
	CPUs   int    // logical processors; default 1
	Memory uint64 // bytes of RAM, a multiple of 1 MiB; default 512 MiB
	Accel  string // one of Accelerators; default "auto"
	LA57   bool   // announce 5-level paging, where the processors have it
	// Lockstep compares each block that "jit" translates with the interpreter, and ends the run at the first difference.
	Lockstep bool

	// Kernel is the file of a kernel to start directly: a Linux bzImage, an
	// ELF file with a PVH note or a Multiboot header, or a flat image. Initrd and
	// Cmdline go with it.
	Kernel  string
	Initrd  string
	Cmdline string
	// Unpack decompresses a bzImage's payload on the host.
	Unpack bool
	// Firmware is the file of a flash image that ends at 4 GiB. Without a kernel it
	// starts the machine; with one it is refused.
	Firmware string

	// Adapters are SATA adapters besides those that Disks need.
	Adapters []Adapter
	Disks    []Disk
	// Shares are folders of the host for the guest.
	Shares []Share
	// Vsock connects programs of guest and host; nil means that nothing does.
	Vsock *Vsock
	// Balloon adds a memory balloon: see Control.Balloon.
	Balloon bool
	// NICs are the network devices.
	NICs []network.Options
	// Hubs are those that NICs of this process share; nil: the machine's own.
	Hubs *network.Hubs
	// Watch traces the devices, checks the guest's drivers, and makes faults. It may be nil.
	Watch *Watch
	// Serial are the ends of COM1 to COM4.
	Serial [4]Serial
	// Consoles are the ends of virtio consoles.
	Consoles []Serial
	// Debug receives what the guest writes to the debug consoles at ports
	// 0xE9 and 0x402. It may be nil.
	Debug io.Writer
	// Entropy is the source of the guest's virtio-rng; nil means the host's.
	Entropy io.Reader
	// RNGs are further sources.
	RNGs []RNG

	// NoReboot makes a reset or a triple fault end the run.
	NoReboot bool
	// Snapshot keeps all writes to disks for this run only.
	Snapshot bool
	// Wall is the date at power-on; zero means the host's.
	Wall time.Time
	// Logf receives lines for the person who runs the machine. It may be nil.
	Logf func(format string, args ...any)

	// Sample and SamplePeriod are for profiles of the guest; see cpu.Config.
	Sample       func(id int, s *cpu.Sample)
	SamplePeriod time.Duration
	// Exit, if not nil, is told of each access to a device, on the processor's goroutine.
	Exit func(Exit)
}

// Disk is one disk of the machine.
type Disk struct {
	File     string // an image, or what else block.Options.File may be
	If       string // what it is attached to: one of DiskInterfaces; default the first
	Serial   string // serial number shown to the guest, at most 20 bytes
	ReadOnly bool
	Snapshot bool // keep writes for this run only
	// Store is what else there is to say of the store: format, cache, limits; the fields above
	// count more than its own. Its Device settings are about the drive: see settings.
	Store block.Options
	// Backend is used instead of File if it is not nil. The machine closes it.
	Backend devices.Block
}

// Serial is what a serial port is connected to. In is read until it fails or
// ends; the guest sees no hang-up. Either may be nil.
type Serial struct {
	In  io.Reader
	Out io.Writer
	// Spec says what In and Out are to be, in the words of the command line, which opens them; the machine does not
	// look at it.
	Spec string
}

// check fills in defaults and refuses what cannot be.
func (c *Config) check() error {
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	if c.Memory == 0 {
		c.Memory = 512 << 20
	}
	if c.Accel == "" {
		c.Accel = "auto"
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	switch {
	case c.CPUs < 1 || c.CPUs > MaxCPUs:
		return fmt.Errorf("%d CPUs: must be 1 to %d", c.CPUs, MaxCPUs)
	case c.Memory < MinMemory || c.Memory > MaxMemory || c.Memory%(1<<20) != 0:
		return fmt.Errorf("%d bytes of memory: must be whole MiB, from %d MiB to %d GiB", c.Memory, MinMemory>>20, MaxMemory>>30)
	case c.Kernel == "" && c.Firmware == "":
		return errors.New("nothing to start: neither a kernel nor firmware was given")
	case c.Kernel != "" && c.Firmware != "":
		return errors.New("a kernel and firmware exclude each other: the kernel is started directly")
	case c.Kernel == "" && c.Initrd != "":
		return errors.New("an initial RAM disk needs a kernel")
	}
	for i := range c.Disks {
		d := &c.Disks[i]
		names := DiskInterfaces()
		if d.If == "" {
			d.If = names[0]
		}
		if !slices.Contains(names, d.If) {
			return fmt.Errorf("disk %s: if=%s: must be one of %s", d.File, d.If, strings.Join(names, ", "))
		}
		if len(d.Serial) > 20 {
			return fmt.Errorf("disk %s: serial number %q is longer than 20 bytes", d.File, d.Serial)
		}
	}
	return nil
}
