package nvme

import (
	"errors"
	"fmt"

	"dfemu/devices"
)

// SubsystemOptions describes an NVM subsystem.
type SubsystemOptions struct {
	Serial   string // at most 20 ASCII characters; default "dfemu"
	Model    string // at most 40 ASCII characters; default "dfemu NVMe Ctrl"
	Firmware string // revision in slot 1, at most 8 ASCII characters; default "1.0"
	NQN      string // default: made of the serial number
	// Namespaces are the static ones.
	Namespaces []NamespaceOptions
	// Pool, if not nil, is what namespaces created by the guest are carved out of. Their table is kept in its
	// first 64 KiB, so that they survive; a pool of zeroes is an empty one. The subsystem owns it.
	Pool devices.Block
	// MaxNamespaces is the largest namespace identifier, 1 to 1024; 0 means 256, or as many as Namespaces needs.
	MaxNamespaces int
	// PoolZoneSize is the zone size in bytes of zoned namespaces that the guest creates; 0 means 16 MiB.
	PoolZoneSize int64
}

// NamespaceOptions describes a static namespace.
type NamespaceOptions struct {
	NSID  uint32        // 0: the next free one, from 1
	Store devices.Block // owned by the subsystem from then on
	// BlockSize is the size in bytes of logical blocks, 512 or 4096; 0 means 512. Format NVM changes it until the
	// machine ends.
	BlockSize int
	// EUI64 and NGUID identify the namespace; when both are zero an EUI64 is made of the serial number.
	EUI64 uint64
	NGUID [16]byte
	// UUID, if not zero, is reported besides.
	UUID [16]byte
	// Detached namespaces are there, but attached to no controller until the guest does that.
	Detached bool
	// Shared namespaces may be attached to several controllers.
	Shared bool
	// Zoned makes it a zoned namespace (Zoned Namespace Command Set).
	Zoned bool
	// ZoneSize and ZoneCapacity are in bytes. ZoneSize is a power of two in blocks; 0 means 16 MiB.
	// ZoneCapacity is at most ZoneSize; 0 means ZoneSize.
	ZoneSize, ZoneCapacity int64
	// MaxOpen and MaxActive are limits of zones in these states; 0 means none.
	MaxOpen, MaxActive int
}

// Options describes a controller.
type Options struct {
	Name  string        // unit name, as "nvme0"
	Clock devices.Clock // required
	// Subsystem is one that several controllers share. When nil, New makes one of Sub, which the controller owns.
	Subsystem *Subsystem
	Sub       SubsystemOptions
	// VendorID and DeviceID are those of the function; 0 means 15ad:07f0. Linux turns features off for the
	// identifiers of some other emulated controllers, 1b36:0010 among them.
	VendorID, DeviceID uint16
	// Queues is the number of I/O queue pairs, 1 to 128; 0 means 64.
	Queues int
	// QueueEntries is the largest size of an I/O queue, 2 to 65536; 0 means 1024.
	QueueEntries int
	// MaxTransfer is the largest transfer in bytes, a power of two from 8 KiB to 16 MiB (MDTS has no value for one page: 0 is no limit);
	// 0 means 2 MiB.
	MaxTransfer int
	// Buffer is the size in bytes of the controller memory buffer, a power of two from 4096; 0 means none.
	Buffer int
	// HostMemory is the size in bytes of the host memory buffer asked for, a multiple of 4096; 0 means none. The
	// controller does not depend on it.
	HostMemory int
	// InSlot says that the controller goes behind a root port rather than on bus 0.
	InSlot bool
	// MSIVectors is the number of MSI messages asked for, a power of two up to 32; 0 means 32. MSI-X has one for
	// each queue.
	MSIVectors int
	// NoMSIX and NoMSI leave the capabilities out, for drivers that are to be tested without.
	NoMSIX, NoMSI bool
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (o *Options) check() error {
	defaultTo(&o.Name, "nvme0")
	defaultTo(&o.VendorID, 0x15ad)
	defaultTo(&o.DeviceID, 0x07f0)
	defaultTo(&o.Queues, 64)
	defaultTo(&o.QueueEntries, 1024)
	defaultTo(&o.MaxTransfer, 2<<20)
	defaultTo(&o.MSIVectors, 32)
	power := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	switch {
	case o.Clock == nil:
		return fmt.Errorf("%s: no clock given", o.Name)
	case o.Queues < 1 || o.Queues > maxQueues-1:
		return fmt.Errorf("%s: %d I/O queue pairs: must be 1 to %d", o.Name, o.Queues, maxQueues-1)
	case o.QueueEntries < 2 || o.QueueEntries > 1<<16:
		return fmt.Errorf("%s: queues of %d entries: must be 2 to 65536", o.Name, o.QueueEntries)
	case !power(o.MaxTransfer) || o.MaxTransfer < 8192 || o.MaxTransfer > 16<<20:
		return fmt.Errorf("%s: transfers of %d bytes: must be a power of two from 8 KiB to 16 MiB", o.Name, o.MaxTransfer)
	case o.Buffer != 0 && (!power(o.Buffer) || o.Buffer < 4096 || o.Buffer > 1<<30):
		return fmt.Errorf("%s: controller memory buffer of %d bytes: must be a power of two from 4096 to 1 GiB", o.Name, o.Buffer)
	case o.HostMemory < 0 || o.HostMemory%4096 != 0 || o.HostMemory > 1<<30:
		return fmt.Errorf("%s: host memory buffer of %d bytes: must be a multiple of 4096 up to 1 GiB", o.Name, o.HostMemory)
	case !power(o.MSIVectors) || o.MSIVectors > 32:
		return fmt.Errorf("%s: %d MSI vectors: must be a power of two up to 32", o.Name, o.MSIVectors)
	}
	return nil
}

// printable reports text that cannot be in an ASCII field of n bytes.
func printable(what, s string, n int) error {
	if len(s) > n {
		return fmt.Errorf("%s %q: at most %d characters are possible", what, s, n)
	}
	for _, r := range s {
		if r < 0x20 || r > 0x7e {
			return fmt.Errorf("%s %q: only printable ASCII is possible", what, s)
		}
	}
	return nil
}

func (o *SubsystemOptions) check() error {
	defaultTo(&o.Serial, "dfemu")
	defaultTo(&o.Model, "dfemu NVMe Ctrl")
	defaultTo(&o.Firmware, "1.0")
	defaultTo(&o.MaxNamespaces, max(256, len(o.Namespaces)))
	defaultTo(&o.PoolZoneSize, 16<<20)
	if o.NQN == "" {
		o.NQN = "nqn.2024-01.org.dfemu:nvme:" + o.Serial
	}
	for _, f := range []struct {
		what, s string
		n       int
	}{
		{"NVMe serial number", o.Serial, 20}, {"NVMe model", o.Model, 40}, {"NVMe firmware revision", o.Firmware, 8},
		{"NVMe subsystem name", o.NQN, 223},
	} {
		if err := printable(f.what, f.s, f.n); err != nil {
			return err
		}
	}
	if o.MaxNamespaces < 1 || o.MaxNamespaces > maxSpaces {
		return fmt.Errorf("%d NVMe namespaces: must be 1 to %d", o.MaxNamespaces, maxSpaces)
	}
	return nil
}

// closeStores closes what the options would have handed over.
func (o *SubsystemOptions) closeStores() error {
	var errs []error
	for i := range o.Namespaces {
		if b := o.Namespaces[i].Store; b != nil {
			errs = append(errs, b.Close())
		}
	}
	if o.Pool != nil {
		errs = append(errs, o.Pool.Close())
	}
	return errors.Join(errs...)
}
