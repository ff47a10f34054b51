package nvme

// Controller registers (3.1).
const (
	regCAP   = 0x00
	regVS    = 0x08
	regINTMS = 0x0c
	regINTMC = 0x10
	regCC    = 0x14
	regCSTS  = 0x1c
	regAQA   = 0x24
	regASQ   = 0x28
	regACQ   = 0x30
	regBells = 0x1000

	ccEnable    = 1 << 0
	ccSQEntry   = 6 << 16 // 64 bytes
	ccCQEntry   = 4 << 20 // 16 bytes
	ccNormal    = 1 << 14 // normal shutdown
	cstsReady   = 1 << 0
	cstsFatal   = 1 << 1
	cstsShut    = 3 << 2
	cstsShutEnd = 2 << 2
	allOnes     = 0xffffffff
)

// Admin commands (5) and commands of the NVM command set (6).
const (
	admDeleteSQ    = 0x00
	admCreateSQ    = 0x01
	admGetLog      = 0x02
	admDeleteCQ    = 0x04
	admCreateCQ    = 0x05
	admIdentify    = 0x06
	admAbort       = 0x08
	admSetFeatures = 0x09
	admAsyncEvent  = 0x0c

	ioFlush   = 0x00
	ioWrite   = 0x01
	ioRead    = 0x02
	ioDataset = 0x09

	featQueues     = 0x07
	featCoalescing = 0x08
	featEvents     = 0x0b

	cnsNamespace  = 0x00
	cnsController = 0x01
	cnsActive     = 0x02
	cnsDescriptor = 0x03 // what identifies a namespace

	queueContiguous = 1
	queueInterrupt  = 2
	attrDeallocate  = 4
)

// status is a completion's, without the phase: the code type in bits 10:8, the code in 7:0, "do not retry" in 14.
type status uint16

const (
	statusNoRetry     = 1 << 14
	typeGeneric       = 0
	typeSpecific      = 1
	typeMedia         = 2
	codeNotChangeable = 0x0e
	codeInvalidNS     = 0x0b
	codeAborted       = 0x07
	codeAbortedSQ     = 0x08
	codeNotReady      = 0x82
	codeLBARange      = 0x80
	codeReadOnly      = 0x20
	codeUnsupported   = 0x01
)

func (s status) kind() int   { return int(s >> 8 & 7) }
func (s status) code() int   { return int(s & 0xff) }
func (s status) retry() bool { return s&statusNoRetry == 0 }

const (
	pageSize    = 4096
	sqEntry     = 64
	cqEntry     = 16
	adminDepth  = 32
	queueDepth  = 64
	maxQueues   = 1024
	maxSpaces   = 1024
	prpSlot     = 2048 // bytes for the list of a request: 512 KiB and a straddle
	maxTransfer = 512 << 10
)
