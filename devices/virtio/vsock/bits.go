package vsock

import "dfemu/devices"

// HostCID is the host's address, on all machines (Virtual I/O Device 1.2, section 5.10.4).
const HostCID = 2

// Addresses that guests cannot have: 0 to 2 are reserved, and the last is VMADDR_CID_ANY.
const (
	minCID = 3
	anyCID = 0xffffffff
)

// Feature bits (section 5.10.3).
const (
	featureStream    = 1 << 0
	featureSeqpacket = 1 << 1
)

var featureNames = map[uint64]string{featureStream: "STREAM", featureSeqpacket: "SEQPACKET"}

// Queues (section 5.10.2).
const (
	queueRx    = 0
	queueTx    = 1
	queueEvent = 2
)

// Operations (section 5.10.6).
const (
	opRequest       = 1
	opResponse      = 2
	opRst           = 3
	opShutdown      = 4
	opRW            = 5
	opCreditUpdate  = 6
	opCreditRequest = 7
)

var opNames = [...]string{"INVALID", "REQUEST", "RESPONSE", "RST", "SHUTDOWN", "RW", "CREDIT_UPDATE", "CREDIT_REQUEST"}

func opName(op uint16) string {
	if int(op) < len(opNames) {
		return opNames[op]
	}
	return "?"
}

// Types of sockets (section 5.10.6.2).
const (
	typeStream    = 1
	typeSeqpacket = 2
)

const (
	// Flags of RW packets on seqpacket sockets (section 5.10.6.6.1): the last of a message, and the
	// last of a record, which is one or more messages.
	seqEOM = 1
	seqEOR = 2

	shutdownReceive = 1 // its sender will receive no more
	shutdownSend    = 2 // its sender will send no more

	eventTransportReset = 0
	eventSize           = 4

	headerSize  = 44
	maxPacket   = 64 << 10 // bytes of data in one packet of the guest, as in Linux
	bufferSize  = 256 << 10
	maxMessage  = bufferSize // from the host, in one piece
	maxConns    = 1024
	maxResets   = 1024    // answers to packets of no connection, waiting for the guest
	maxGreeting = 32      // of a host's CONNECT line
	maxWaiting  = 64      // hosts that have not said CONNECT yet
	firstPort   = 1 << 30 // of connections that the host makes
)

const regGuestCID = 0

// configRegisters is the table of the device configuration (section 5.10.4).
var configRegisters = devices.NewBank("virtio vsock", []devices.Register{
	regGuestCID: {Offset: 0, Size: 8, Name: "guest_cid", Rights: devices.RO},
}).With(devices.Rules{Clause: "virtio 1.2, 5.10.4"})
