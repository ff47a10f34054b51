package ata

// Parse implements [Drive].
func (d *Disk) Parse(t *Task, _ *[16]byte) Command {
	c := Command{Opcode: t.Command}
	row, ok := lookup(t.Command)
	if !ok {
		c.Name = "unknown command"
		c.Refused = ErrAborted
		return c
	}
	c.Name, c.Protocol = row.name, row.protocol
	c.Block = pageSize
	switch row.shape {
	case shapeBlocks, shapeRange:
		d.parseRange(&c, t, &row)
	case shapePage:
		c.Bytes = pageSize
	case shapePages:
		c.Bytes = int64(t.Count) * pageSize
	}
	switch t.Command {
	case CmdSMART:
		d.parseSMART(&c, t)
	case CmdSetFeatures:
		if n := featureName(uint8(t.Feature)); n != "" {
			c.Name += ": " + n
		}
	case CmdSendFPDMA, CmdReceiveFPDMA:
		c.Bytes = int64(count16(t.Feature)) * pageSize
	case CmdDataSetManagement:
		if t.Feature&1 != 0 {
			c.Name += ": TRIM"
		}
	}
	c.Write = c.Protocol.Out()
	// After a queued command failed, only reading the log that tells why, and
	// resets, are served (Serial ATA 3.3, section 13.6.4).
	if d.failed.Load() && c.Refused == 0 && !readsQueueError(t) {
		c.Refused = ErrAborted
	}
	return c
}

func readsQueueError(t *Task) bool {
	return (t.Command == CmdReadLogExt || t.Command == CmdReadLogDMAExt) && t.LBA&0xff == logQueueError
}

// count16 and count8 undo that 0 means the largest count.
func count16(n uint16) uint64 {
	if n == 0 {
		return 1 << 16
	}
	return uint64(n)
}

func count8(n uint16) uint64 {
	if n&0xff == 0 {
		return 1 << 8
	}
	return uint64(n & 0xff)
}

// parseRange finds which blocks a command is about.
func (d *Disk) parseRange(c *Command, t *Task, row *row) {
	switch {
	case c.Protocol.Queued():
		c.LBA, c.Blocks = t.LBA, count16(t.Feature)
	case row.ext:
		c.LBA, c.Blocks = t.LBA, count16(t.Count)
	default:
		lba, ok := t.lba28()
		if !ok {
			c.Refused = ErrNotFound
		}
		c.LBA, c.Blocks = lba, count8(t.Count)
	}
	if row.shape == shapeBlocks {
		c.Bytes = int64(c.Blocks) << d.shift
	}
	c.Block = 1 << d.shift
	if row.multi {
		d.mu.Lock()
		n := d.s.Multi
		d.mu.Unlock()
		if n == 0 {
			c.Refused = ErrAborted // READ MULTIPLE is disabled
		}
		c.Block = max(n, 1) << d.shift
	}
}

// Execute implements [Drive].
func (d *Disk) Execute(r *Request) {
	r.Moved = 0
	if e := r.Command.Refused; e != 0 {
		r.Fail(e)
	} else {
		d.execute(r)
	}
	if r.Result.Status&StatusErr != 0 {
		d.noteError(r)
	}
}

// Abort implements [Drive].
func (d *Disk) Abort(r *Request) { d.noteError(r) }

func (d *Disk) execute(r *Request) {
	t := &r.Task
	if write, durable, ok := plainTransfer(t); write {
		d.write(r, durable)
		return
	} else if ok {
		d.read(r)
		return
	}
	switch t.Command {
	case CmdVerify, CmdVerifyNR, CmdVerifyExt:
		d.verify(r)
	case CmdFlush, CmdFlushExt:
		d.flush(r)
	case CmdDataSetManagement:
		d.manage(r, uint8(t.Feature))
	case CmdSendFPDMA:
		if t.Count>>8&0x1f != 0 { // only DATA SET MANAGEMENT
			r.Fail(ErrAborted)
			return
		}
		d.manage(r, uint8(t.Aux))
	case CmdReceiveFPDMA:
		if t.Count>>8&0x1f != 1 { // only READ LOG DMA EXT
			r.Fail(ErrAborted)
			return
		}
		d.readLog(r, uint8(t.LBA), logPage(t), false)
	case CmdNCQNonData:
		d.queuedNonData(r)
	case CmdZeroExt:
		d.zero(r)
	case CmdWriteUncorrect:
		d.writeUncorrectable(r)
	case CmdReadLogExt, CmdReadLogDMAExt:
		d.readLog(r, uint8(t.LBA), logPage(t), false)
	case CmdWriteLogExt, CmdWriteLogDMAExt:
		d.writeLog(r, uint8(t.LBA), logPage(t), false)
	case CmdSMART:
		d.smart(r)
	case CmdSetFeatures:
		d.setFeatures(r, uint8(t.Feature), uint8(t.Count))
	case CmdIdentify:
		p := d.identify()
		d.give(r, p[:])
	case CmdIdentifyPacket:
		d.refuseWithSignature(r)
	case CmdReadBuffer, CmdReadBufferDMA:
		d.mu.Lock()
		p := [pageSize]byte(d.s.Buffer)
		d.mu.Unlock()
		d.give(r, p[:])
	case CmdWriteBuffer, CmdWriteBufferDMA:
		var p [pageSize]byte
		n := r.Data.Gather(0, p[:])
		d.mu.Lock()
		copy(d.s.Buffer, p[:n])
		d.mu.Unlock()
		r.Moved = int64(n)
		r.Finish()
	case CmdDiagnostic:
		r.Result = d.Signature()
	default:
		d.control(r)
	}
}

// control executes commands without data.
func (d *Disk) control(r *Request) {
	t := &r.Task
	switch t.Command {
	case CmdSetMultiple:
		n := int(t.Count & 0xff)
		if n > maxMulti || n&(n-1) != 0 {
			r.Fail(ErrAborted)
			return
		}
		d.mu.Lock()
		d.s.Multi = n
		d.mu.Unlock()
		r.Finish()
	case CmdReadNativeMax, CmdReadNativeMaxExt:
		last := d.blocks - 1
		if t.Command == CmdReadNativeMax {
			last = min(last, max28)
		}
		r.Finish()
		r.Result.LBA = last
		if t.Command == CmdReadNativeMax {
			r.Result.LBA = last & 0xffffff
			r.Result.Device = deviceLBA | uint8(last>>24)
		}
	case CmdRecalibrate, CmdSeek, CmdInitParameters:
		r.Finish()
	case CmdRequestSense:
		r.Finish() // nothing to report: NO SENSE
		r.Result.LBA, r.Result.Count = 0, 0
	case CmdStandbyImmediate, CmdIdleImmediate, CmdStandby, CmdIdle, CmdCheckPower, CmdSleep:
		d.setPower(r)
	default: // NOP is always aborted (ACS-4, section 7.20)
		r.Fail(ErrAborted)
	}
}

// give answers with data.
func (d *Disk) give(r *Request, p []byte) {
	r.Moved = int64(r.Data.Copy(0, p))
	r.Finish()
}

// refuseWithSignature is how a device answers the identification command of the
// other kind of device.
func (d *Disk) refuseWithSignature(r *Request) {
	r.Fail(ErrAborted)
	sig := d.Signature()
	r.Result.LBA, r.Result.Count, r.Result.Device = sig.LBA, sig.Count, sig.Device
}
