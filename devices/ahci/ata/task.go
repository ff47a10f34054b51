package ata

// A Task is what a host asks of a drive: the fields of a Register Host to Device
// FIS (Serial ATA 3.3, section 10.5.5).
type Task struct {
	Command uint8
	Feature uint16
	LBA     uint64 // 48 bits
	Count   uint16
	Device  uint8
	Control uint8
	ICC     uint8
	Aux     uint32
}

// lba28 is the address of a 28-bit command, or of one that uses cylinders,
// heads and sectors on the translation that IDENTIFY reports.
func (t *Task) lba28() (lba uint64, ok bool) {
	if t.Device&deviceLBA != 0 {
		return t.LBA&0xffffff | uint64(t.Device&0xf)<<24, true
	}
	sector, cylinder, head := t.LBA&0xff, t.LBA>>8&0xffff, uint64(t.Device&0xf)
	if sector == 0 || sector > chsSectors {
		return 0, false
	}
	return (cylinder*chsHeads+head)*chsSectors + sector - 1, true
}

// Protocol is how a command's data and status travel (ACS-4, section 4; Serial
// ATA 3.3, section 11).
type Protocol uint8

// The protocols.
const (
	NonData Protocol = iota
	PIOIn
	PIOOut
	DMAIn
	DMAOut
	Packet     // a packet command; whether it uses DMA is bit 0 of Feature
	QueuedNone // native queued commands
	QueuedIn
	QueuedOut
	DeviceReset
	Diagnostic
)

// Queued tells whether the protocol is that of native queued commands.
func (p Protocol) Queued() bool { return p >= QueuedNone && p <= QueuedOut }

// Out tells whether data goes to the drive; a packet command says so itself.
func (p Protocol) Out() bool { return p == PIOOut || p == DMAOut || p == QueuedOut }

// A Command is a task understood by a drive.
type Command struct {
	Name     string // the specification's, as "READ FPDMA QUEUED"
	Protocol Protocol
	LBA      uint64 // in logical blocks, when Blocks is not 0
	Blocks   uint64
	// Bytes is the length of the data. For packet commands it is the most that
	// the packet asks for.
	Bytes int64
	Write bool // data goes from the host to the drive
	// Block is the length of one data block of a PIO transfer in bytes.
	Block int
	// Opcode is the command, or for a packet command the operation code of the packet.
	Opcode uint8
	// Refused, when not 0, are the bits of the Error register with which the
	// drive answers without executing the command.
	Refused uint8
}

// A Buffer is the host's memory for one transfer.
type Buffer struct {
	Pieces [][]byte // in order; none is empty
	Size   int64    // bytes in all pieces
}

// Copy stores p at byte off of the buffer and returns how much of it fitted.
func (b *Buffer) Copy(off int64, p []byte) int {
	done := 0
	for _, piece := range b.Pieces {
		if off >= int64(len(piece)) {
			off -= int64(len(piece))
			continue
		}
		done += copy(piece[off:], p[done:])
		off = 0
		if done == len(p) {
			break
		}
	}
	return done
}

// Gather fills p from byte off of the buffer and returns how much there was.
func (b *Buffer) Gather(off int64, p []byte) int {
	done := 0
	for _, piece := range b.Pieces {
		if off >= int64(len(piece)) {
			off -= int64(len(piece))
			continue
		}
		done += copy(p[done:], piece[off:])
		off = 0
		if done == len(p) {
			break
		}
	}
	return done
}

// Slice appends to dst the pieces that hold n bytes from off on.
func (b *Buffer) Slice(dst [][]byte, off, n int64) [][]byte {
	for _, piece := range b.Pieces {
		if n <= 0 {
			break
		}
		if off >= int64(len(piece)) {
			off -= int64(len(piece))
			continue
		}
		p := piece[off:min(int64(len(piece)), off+n)]
		off = 0
		n -= int64(len(p))
		dst = append(dst, p)
	}
	return dst
}

// A Result is what a drive answers: the fields of a Register Device to Host FIS
// (Serial ATA 3.3, section 10.5.6).
type Result struct {
	Status uint8
	Error  uint8
	LBA    uint64 // 48 bits
	Count  uint16
	Device uint8
}

// Failed tells whether the command ended with an error.
func (r *Result) Failed() bool { return r.Status&StatusErr != 0 }

// A Request is one command on its way through a drive. The controller owns it.
type Request struct {
	Task    Task
	Packet  [16]byte // of a packet command
	Command Command
	Tag     int // of a queued command, 0 to 31
	Data    Buffer
	// Result and Moved, the number of bytes transferred, are set by Execute.
	Result Result
	Moved  int64

	scratch [][]byte
}

// Finish ends the request with good status; the other fields of the result
// repeat those of the task.
func (r *Request) Finish() {
	r.Result = Result{Status: StatusReady | StatusSeek, LBA: r.Task.LBA, Count: r.Task.Count, Device: r.Task.Device}
}

// Fail ends the request with bits of the Error register.
func (r *Request) Fail(bits uint8) {
	r.Finish()
	r.Result.Status |= StatusErr
	r.Result.Error = bits
}

// A Drive is what can be attached to a port.
type Drive interface {
	// Signature is what the drive reports after a reset.
	Signature() Result
	// Reset is a software reset, or with hard a COMRESET or a loss of power.
	Reset(hard bool)
	// Parse understands a task without any effect. packet is the command of a
	// packet device.
	Parse(t *Task, packet *[16]byte) Command
	// Execute carries a request out and waits for its end. Of the buffer it
	// touches no more than Command.Bytes.
	Execute(r *Request)
	// Abort tells that a queued command failed, or was never executed, for a
	// reason that lies outside the drive (an injected fault); the drive keeps
	// its error for the log.
	Abort(r *Request)
	// Asleep tells whether the drive ignores commands until it is reset.
	Asleep() bool
	// OnNotify sets what the drive calls when it has something to tell (Serial
	// ATA 3.3, section 13.8). It may be called from any goroutine, with no lock
	// of the drive held.
	OnNotify(f func())
	// SaveState and RestoreState are called while no request is executed.
	SaveState() ([]byte, error)
	RestoreState(p []byte) error
	// Close releases the drive's store.
	Close() error
}
