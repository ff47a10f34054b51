package disk

import (
	"errors"
	"fmt"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
)

// Cmd is what a request asks for.
type Cmd uint8

// Requests.
const (
	Read Cmd = iota
	Write
	Flush  // what was written before is to last
	Delete // the range's content is not needed any more
)

// String names a request.
func (c Cmd) String() string {
	switch c {
	case Read:
		return "read"
	case Write:
		return "write"
	case Flush:
		return "flush"
	}
	return "delete"
}

// Results of requests; the driver's errors wrap them.
var (
	ErrGone      = errors.New("the device is gone")            // ENXIO
	ErrIO        = errors.New("input/output error")            // EIO
	ErrRestart   = errors.New("its driver is being restarted") // EIO
	ErrTimeout   = errors.New("the device does not answer")    // ETIMEDOUT
	ErrRange     = errors.New("outside the device")            // EINVAL
	ErrAlign     = errors.New("not a multiple of sectors")     // EINVAL
	ErrReadOnly  = errors.New("the device is read-only")       // EROFS
	ErrSupported = errors.New("the device does not do this")   // EOPNOTSUPP
	ErrMedium    = errors.New("medium error")                  // EIO
	ErrNoMedium  = errors.New("there is no medium in it")      // ENXIO
	ErrAborted   = errors.New("the request was aborted")       // EINTR
	errSize      = errors.New("more than one request can do")  // the layer splits them
)

// Bio is a request for blocks. Make it with NewBio; it can be used again when it has come back.
type Bio struct {
	Cmd Cmd
	// Offset and Length are in bytes, whole sectors. Offset counts from the start of what the
	// request is sent to; for the driver from the start of the disk.
	Offset, Length int64
	// Mem is the data's memory, at least Length bytes, for Read and Write.
	Mem kern.DMA
	// Msg is the request as a message; its Err is the result.
	Msg *msgport.Msg
	// Driver is the driver's own as long as it has the request.
	Driver any

	offset int64 // as it was sent
	node   *Node
	disk   *Disk
	drv    *Driver // that has it
	again  bool    // it was under way when its driver was restarted
}

// NewBio returns a request whose completion is queued at reply; nil is for those sent by Do.
func NewBio(k *kern.Kernel, reply *msgport.Port) *Bio {
	b := &Bio{Msg: msgport.New(k, reply, 0)}
	b.Msg.Data = b
	return b
}

// Done completes a request. The driver calls it once, and does not touch the request afterwards.
func (b *Bio) Done(err error) {
	d := b.disk
	if errors.Is(err, ErrGone) && (d.state.Load() == suspended || d.drv.Load() != b.drv) { // only its driver is
		if !b.again {
			b.again = true
			b.Offset, b.Driver, b.drv = b.offset, nil, nil
			d.park(b)
			return
		}
		err = ErrRestart // twice: it may be what the driver fails of
	}
	if err != nil {
		err = &Error{Device: d.info.Name, Cmd: b.Cmd, Offset: b.Offset, Length: b.Length, Err: err}
		d.stats.Errors.Add(1)
		d.complain(err)
	}
	b.Offset, b.Driver, b.drv, b.again = b.offset, nil, nil, false
	d.pending.Add(-1)
	msgport.Reply(b.Msg, err)
}

// Error is how a request failed.
type Error struct {
	Device         string
	Cmd            Cmd
	Offset, Length int64
	Err            error
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %v of %d bytes at %d: %v", e.Device, e.Cmd, e.Length, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
