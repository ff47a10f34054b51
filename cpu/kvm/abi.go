//go:build linux && amd64

package kvm

import gokvm "github.com/bobuhiro11/gokvm/kvm"

// The ioctls of Documentation/virt/kvm/api.rst that are made here directly:
// either gokvm has none, or the reason stands beside it.
var (
	// gokvm.Run turns EINTR into success, and whether a kick came is what
	// the caller has to know.
	ioctlRun = gokvm.IIO(0x80)
	// gokvm.GetRegs and GetSregs allocate the result and pass its address as
	// an integer, which is not safe should the compiler put it on the stack.
	ioctlGetRegs  = gokvm.IIOR(0x81, sizeRegs)
	ioctlGetSregs = gokvm.IIOR(0x83, sizeSregs)
	// gokvm.GetMSRs and SetMSRs drop the count of MSRs that were processed,
	// which is how KVM reports the one that failed.
	ioctlGetMSRs = gokvm.IIOWR(0x88, 8)
	ioctlSetMSRs = gokvm.IIOW(0x89, 8)
	// gokvm.SetIdentityMapAddr passes a 4-byte variable where the kernel
	// reads 8.
	ioctlSetIdentityMap = gokvm.IIOW(0x48, 8)
	// gokvm's routing entries are 24 bytes, the kernel's 48; and it has no
	// message-signalled ones.
	ioctlSetGSIRouting = gokvm.IIOW(0x6a, 8)
	// gokvm's coalesced zones are memory only: it clears the field for ports.
	ioctlRegisterCoalesced = gokvm.IIOW(0x67, sizeZone)

	ioctlIRQFD         = gokvm.IIOW(0x76, sizeIRQFD)
	ioctlIOEventFD     = gokvm.IIOW(0x79, sizeIOEventFD)
	ioctlNMI           = gokvm.IIO(0x9a)
	ioctlEnableCap     = gokvm.IIOW(0xa3, sizeEnableCap)
	ioctlGetXSAVE      = gokvm.IIOR(0xa4, xsaveSize)
	ioctlSetXSAVE      = gokvm.IIOW(0xa5, xsaveSize)
	ioctlSignalMSI     = gokvm.IIOW(0xa5, sizeMSI)
	ioctlSetDeviceAttr = gokvm.IIOW(0xe1, sizeDeviceAttr)
	ioctlGetDeviceAttr = gokvm.IIOW(0xe2, sizeDeviceAttr)
	ioctlHasDeviceAttr = gokvm.IIOW(0xe3, sizeDeviceAttr)
)

// Sizes of the structures behind the ioctls.
const (
	sizeRegs       = 144
	sizeSregs      = 312
	sizeZone       = 16
	sizeIRQFD      = 32
	sizeIOEventFD  = 64
	sizeEnableCap  = 104
	sizeMSI        = 32
	sizeDeviceAttr = 24
	xsaveSize      = 4096
)

// Capabilities that gokvm has no name for.
const (
	capSplitIRQChip  = 121
	capX2APICAPI     = 129
	capImmediateExit = 136
)

// Exit reasons that gokvm has no name for.
const (
	exitSystemEvent = 24
	exitIOAPICEOI   = 26
)

// Suberrors of an internal error.
const suberrorEmulation = 1

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	Cap, Flags uint32
	Args       [4]uint64
	_          [64]byte
}

// msi is struct kvm_msi.
type msi struct {
	AddressLo, AddressHi, Data uint32
	Flags, DevID               uint32
	_                          [12]byte
}

// routeEntry is struct kvm_irq_routing_entry with a message.
type routeEntry struct {
	GSI, Type, Flags, _        uint32
	AddressLo, AddressHi, Data uint32
	_                          [5]uint32
}

// routeMSI is the type of an entry that sends a message.
const routeMSI = 2

// routing is struct kvm_irq_routing with room for all entries.
type routing struct {
	N, Flags uint32
	Entries  [maxRoutes]routeEntry
}

// irqfd is struct kvm_irqfd.
type irqfd struct {
	FD, GSI, Flags, ResampleFD uint32
	_                          [16]byte
}

// irqfdDeassign takes an irqfd away.
const irqfdDeassign = 1

// ioeventfd is struct kvm_ioeventfd.
type ioeventfd struct {
	DataMatch, Addr uint64
	Len             uint32
	FD              int32
	Flags           uint32
	_               [36]byte
}

// Flags of an ioeventfd.
const (
	ioeventfdDataMatch = 1 << 0
	ioeventfdPort      = 1 << 1
	ioeventfdDeassign  = 1 << 2
)

// zone is struct kvm_coalesced_mmio_zone.
type zone struct {
	Addr uint64
	Size uint32
	Port uint32
}

// msrEntries is struct kvm_msrs with room for all that are kept.
type msrEntries struct {
	N, _    uint32
	Entries [maxMSRs]gokvm.MSREntry
}

// deviceAttr is struct kvm_device_attr; Addr is the address of the value.
type deviceAttr struct {
	Flags, Group uint32
	Attr, Addr   uint64
}

// The attribute of a processor that holds its TSC offset.
const (
	attrTSCGroup  = 0
	attrTSCOffset = 0
)

// syncRegs asks for the general registers in the run page at every exit.
const syncRegs = 1 << 0
