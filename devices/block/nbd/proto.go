package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var be = binary.BigEndian

// Magic numbers.
const (
	magicInit            = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption          = 0x49484156454f5054 // "IHAVEOPT"
	magicOldstyle        = 0x0000420281861253
	magicOptionReply     = 0x0003e889045565a9
	magicRequest         = 0x25609513
	magicSimpleReply     = 0x67446698
	magicStructuredReply = 0x668e33ef
)

// Handshake flags, and the client's answers to them.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// Options.
const (
	optExportName      = 1
	optGo              = 7
	optStructuredReply = 8
	optSetMetaContext  = 10
)

// Option reply types.
const (
	repAck         = 1
	repInfo        = 3
	repMetaContext = 4
	repError       = 1 << 31
	repErrUnsup    = repError + 1
	repErrPolicy   = repError + 2
	repErrInvalid  = repError + 3
	repErrPlatform = repError + 4
	repErrTLS      = repError + 5
	repErrUnknown  = repError + 6
	repErrShutdown = repError + 7
	repErrSize     = repError + 8
	repErrTooBig   = repError + 9
)

// Information types.
const (
	infoExport    = 0
	infoBlockSize = 3
)

// Transmission flags.
const (
	flagHasFlags        = 1 << 0
	flagReadOnly        = 1 << 1
	flagSendFlush       = 1 << 2
	flagSendFUA         = 1 << 3
	flagSendTrim        = 1 << 5
	flagSendWriteZeroes = 1 << 6
	flagCanMultiConn    = 1 << 8
)

// Request types.
const (
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisc        = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdBlockStatus = 7
)

// Request flags.
const (
	cmdFlagFUA    = 1 << 0
	cmdFlagNoHole = 1 << 1
)

// Structured reply flags and types.
const (
	replyFlagDone    = 1 << 0
	replyNone        = 0
	replyOffsetData  = 1
	replyOffsetHole  = 2
	replyBlockStatus = 5
	replyError       = 1<<15 + 1
	replyErrorOffset = 1<<15 + 2
)

// Block status flags of the context base:allocation.
const (
	stateHole = 1 << 0
	stateZero = 1 << 1
)

// Limits on what a server may send.
const (
	maxOptionReply = 32 << 10
	maxInfoReplies = 256
	maxErrorChunk  = 6 + 4096 + 8
	maxChunks      = 1 << 16
	maxStatusChunk = 1 << 20
)

// ErrProtocol is wrapped by errors about a server that breaks the protocol.
var ErrProtocol = errors.New("the NBD server breaks the protocol")

func protocol(what string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(what, args...))
}

// RemoteError is an error that the server has reported for a request.
type RemoteError struct {
	// Code is the NBD error number; the usual ones are those of Linux.
	Code uint32
	// Message is what the server says about it, possibly nothing.
	Message string
}

// Error implements error.
func (e *RemoteError) Error() string {
	name := map[uint32]string{
		1: "not permitted", 5: "input/output error", 12: "out of memory", 22: "invalid argument",
		28: "no space left", 75: "value too large", 95: "not supported", 108: "shutting down",
	}[e.Code]
	if name == "" {
		name = fmt.Sprintf("error %d", e.Code)
	}
	if e.Message != "" {
		return fmt.Sprintf("NBD server: %s: %q", name, e.Message)
	}
	return "NBD server: " + name
}
