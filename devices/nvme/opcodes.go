package nvme

import "fmt"

// Admin commands (base specification, figure 138).
const (
	opDeleteSQ         = 0x00
	opCreateSQ         = 0x01
	opGetLogPage       = 0x02
	opDeleteCQ         = 0x04
	opCreateCQ         = 0x05
	opIdentify         = 0x06
	opAbort            = 0x08
	opSetFeatures      = 0x09
	opGetFeatures      = 0x0a
	opAsyncEvent       = 0x0c
	opNamespaceManage  = 0x0d
	opFirmwareCommit   = 0x10
	opFirmwareDownload = 0x11
	opSelfTest         = 0x14
	opNamespaceAttach  = 0x15
	opDoorbellBuffer   = 0x7c
	opFormat           = 0x80
	opSanitize         = 0x84
)

// I/O commands (NVM command set, figure 12; zoned namespaces, figure 13; and
// the reservations of the base specification, figure 390).
const (
	opFlush              = 0x00
	opWrite              = 0x01
	opRead               = 0x02
	opWriteUncorrectable = 0x04
	opCompare            = 0x05
	opWriteZeroes        = 0x08
	opDatasetManagement  = 0x09
	opVerify             = 0x0c
	opResvRegister       = 0x0d
	opResvReport         = 0x0e
	opResvAcquire        = 0x11
	opResvRelease        = 0x15
	opCopy               = 0x19
	opZoneSend           = 0x79
	opZoneReceive        = 0x7a
	opZoneAppend         = 0x7d
)

// Command set identifiers.
const (
	csiNVM   = 0
	csiZoned = 2
)

// Bits of the commands supported and effects log (figure 210).
const (
	effSupported = 1 << 0
	effContent   = 1 << 1 // logical block content may change
	effNCC       = 1 << 2 // namespace capabilities
	effNIC       = 1 << 3 // namespace inventory
	effCCC       = 1 << 4 // controller capabilities
	effOneNS     = 1 << 16
	effOneAll    = 2 << 16
)

// An opcode describes one command.
type opcode struct {
	name string
	// effects is its entry in the commands supported and effects log; 0 for commands that do not exist here.
	effects uint32
	// zoned commands exist in the zoned command set only.
	zoned bool
}

type opcodeTable map[uint8]opcode

var adminOpcodes = opcodeTable{
	opDeleteSQ:         {name: "Delete I/O Submission Queue", effects: effSupported},
	opCreateSQ:         {name: "Create I/O Submission Queue", effects: effSupported},
	opGetLogPage:       {name: "Get Log Page", effects: effSupported},
	opDeleteCQ:         {name: "Delete I/O Completion Queue", effects: effSupported},
	opCreateCQ:         {name: "Create I/O Completion Queue", effects: effSupported},
	opIdentify:         {name: "Identify", effects: effSupported},
	opAbort:            {name: "Abort", effects: effSupported},
	opSetFeatures:      {name: "Set Features", effects: effSupported | effCCC},
	opGetFeatures:      {name: "Get Features", effects: effSupported},
	opAsyncEvent:       {name: "Asynchronous Event Request", effects: effSupported},
	opNamespaceManage:  {name: "Namespace Management", effects: effSupported | effNIC | effContent},
	opFirmwareCommit:   {name: "Firmware Commit", effects: effSupported},
	opFirmwareDownload: {name: "Firmware Image Download", effects: effSupported},
	opSelfTest:         {name: "Device Self-test", effects: effSupported},
	opNamespaceAttach:  {name: "Namespace Attachment", effects: effSupported | effNIC},
	opDoorbellBuffer:   {name: "Doorbell Buffer Config", effects: effSupported},
	opFormat:           {name: "Format NVM", effects: effSupported | effContent | effNCC | effOneNS},
	opSanitize:         {name: "Sanitize", effects: effSupported | effContent | effOneAll},
	0x18:               {name: "Keep Alive"},
	0x19:               {name: "Directive Send"},
	0x1a:               {name: "Directive Receive"},
	0x1c:               {name: "Virtualization Management"},
	0x1d:               {name: "NVMe-MI Send"},
	0x1e:               {name: "NVMe-MI Receive"},
	0x20:               {name: "Capacity Management"},
	0x24:               {name: "Lockdown"},
	0x81:               {name: "Security Send"},
	0x82:               {name: "Security Receive"},
	0x86:               {name: "Get LBA Status"},
}

var ioOpcodes = opcodeTable{
	opFlush:              {name: "Flush", effects: effSupported},
	opWrite:              {name: "Write", effects: effSupported | effContent},
	opRead:               {name: "Read", effects: effSupported},
	opWriteUncorrectable: {name: "Write Uncorrectable", effects: effSupported | effContent},
	opCompare:            {name: "Compare", effects: effSupported},
	opWriteZeroes:        {name: "Write Zeroes", effects: effSupported | effContent},
	opDatasetManagement:  {name: "Dataset Management", effects: effSupported | effContent},
	opVerify:             {name: "Verify", effects: effSupported},
	opResvRegister:       {name: "Reservation Register", effects: effSupported},
	opResvReport:         {name: "Reservation Report", effects: effSupported},
	opResvAcquire:        {name: "Reservation Acquire", effects: effSupported},
	opResvRelease:        {name: "Reservation Release", effects: effSupported},
	opCopy:               {name: "Copy", effects: effSupported | effContent},
	opZoneSend:           {name: "Zone Management Send", effects: effSupported | effContent, zoned: true},
	opZoneReceive:        {name: "Zone Management Receive", effects: effSupported, zoned: true},
	opZoneAppend:         {name: "Zone Append", effects: effSupported | effContent, zoned: true},
}

// opcodeName is the specification's name of a command.
func opcodeName(adminQueue bool, op uint8) string {
	t := ioOpcodes
	if adminQueue {
		t = adminOpcodes
	}
	if o, ok := t[op]; ok {
		return o.name
	}
	return fmt.Sprintf("opcode %#02x", op)
}
