package pci

// ConfigSize is the size in bytes of a function's configuration space. The
// first 256 bytes can also be reached through ports (mechanism #1).
const ConfigSize = 4096

// Registers of the header that both header types share (PCI 3.0, section 6.1).
const (
	RegVendor     = 0x00 // 16 bits
	RegDevice     = 0x02 // 16 bits
	RegCommand    = 0x04 // 16 bits
	RegStatus     = 0x06 // 16 bits
	RegRevision   = 0x08 // 8 bits
	RegClass      = 0x09 // 24 bits: interface, sub-class, base class
	RegCacheLine  = 0x0c // 8 bits
	RegLatency    = 0x0d // 8 bits
	RegHeaderType = 0x0e // 8 bits
	RegBAR0       = 0x10 // 32 bits each, six (type 0) or two (type 1)
	RegCapPtr     = 0x34 // 8 bits
	RegIntLine    = 0x3c // 8 bits
	RegIntPin     = 0x3d // 8 bits
)

// Registers of the type 0 header only.
const (
	RegSubsystemVendor = 0x2c // 16 bits
	RegSubsystem       = 0x2e // 16 bits
	RegROM             = 0x30 // 32 bits
)

// Registers of the type 1 header only (PCI-to-PCI Bridge 1.2, section 3.2).
const (
	RegPrimaryBus     = 0x18 // 8 bits
	RegSecondaryBus   = 0x19 // 8 bits
	RegSubordinateBus = 0x1a // 8 bits
	RegIOBase         = 0x1c // 8 bits
	RegIOLimit        = 0x1d // 8 bits
	RegSecondStatus   = 0x1e // 16 bits
	RegMemBase        = 0x20 // 16 bits
	RegMemLimit       = 0x22 // 16 bits
	RegPrefBase       = 0x24 // 16 bits
	RegPrefLimit      = 0x26 // 16 bits
	RegPrefBaseHigh   = 0x28 // 32 bits
	RegPrefLimitHigh  = 0x2c // 32 bits
	RegIOBaseHigh     = 0x30 // 16 bits
	RegIOLimitHigh    = 0x32 // 16 bits
	RegBridgeROM      = 0x38 // 32 bits
	RegBridgeControl  = 0x3e // 16 bits
)

// Bits of the Command register.
const (
	CommandIO          = 1 << 0
	CommandMemory      = 1 << 1
	CommandMaster      = 1 << 2
	CommandParity      = 1 << 6
	CommandSERR        = 1 << 8
	CommandINTxDisable = 1 << 10
)

// Bits of the Status register.
const (
	StatusInterrupt = 1 << 3
	StatusCapList   = 1 << 4
	statusErrors    = 0xf900 // write one to clear
)

// Capability identifiers (PCI Code and ID Assignment, section 2).
const (
	CapPM      = 0x01
	CapMSI     = 0x05
	CapVendor  = 0x09
	CapSSVID   = 0x0d
	CapExpress = 0x10
	CapMSIX    = 0x11
)

const (
	headerMulti  = 0x80 // header type: more than one function in this slot
	headerBridge = 0x01

	bridgeControlReset = 1 << 6
)
