package ata

import "dfemu/devices/internal/aio"

// Suits tells whether [Disk.Begin] is of use.
func (d *Disk) Suits() bool { return aio.Suits(d.store) }

// Begin describes the transfer of a plain read in o, for the caller to make and then to call [Disk.End]. It returns false,
// without any effect, for all requests that are for Execute. It does not wait.
func (d *Disk) Begin(r *Request, o *aio.Op) bool {
	if write, _, plain := plainTransfer(&r.Task); !plain || write || r.Command.Refused != 0 {
		return false
	}
	off, n := int64(r.Command.LBA)<<d.shift, r.whole(d, false)
	if n == 0 || n > aio.MaxBytes || !d.inside(r.Command.LBA, r.Command.Blocks) || d.nBad.Load() != 0 {
		return false
	}
	bufs := r.pieces(n)
	fd, ok := aio.Descriptor(d.store, bufs, off)
	if !ok {
		return false
	}
	d.touch()
	o.FD, o.Off, o.Bufs = fd, off, bufs
	r.Moved = 0
	return true
}

// End ends a request whose transfer was made.
func (d *Disk) End(r *Request, o *aio.Op) {
	d.wasRead(r, r.whole(d, false), o.Err)
	if r.Result.Failed() {
		d.noteError(r)
	}
}

// plainTransfer tells whether a task moves blocks between the disk and memory, and how.
func plainTransfer(t *Task) (write, durable, ok bool) {
	switch t.Command {
	case CmdReadFPDMA, CmdReadDMAExt, CmdReadDMA, CmdReadDMANR, CmdReadSectors, CmdReadSectorsNR,
		CmdReadSectorsExt, CmdReadMultiple, CmdReadMultipleExt:
		return false, false, true
	case CmdWriteFPDMA:
		return true, t.Device&deviceFUA != 0, true
	case CmdWriteDMAExt, CmdWriteDMA, CmdWriteDMANR, CmdWriteSectors, CmdWriteSectorsNR,
		CmdWriteSectorsExt, CmdWriteMultiple, CmdWriteMultipleExt:
		return true, false, true
	case CmdWriteDMAFUAExt, CmdWriteMultipleFUA:
		return true, true, true
	}
	return false, false, false
}
