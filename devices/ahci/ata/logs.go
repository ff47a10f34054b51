package ata

import "encoding/binary"

// Addresses of logs (ACS-4, table A.2).
const (
	logDirectory     = 0x00
	logSummaryErrors = 0x01 // SMART only
	logExtErrors     = 0x03 // general purpose only
	logStatistics    = 0x04
	logSelfTest      = 0x06 // SMART only
	logExtSelfTest   = 0x07 // general purpose only
	logSelective     = 0x09 // SMART only
	logQueueError    = 0x10 // general purpose only
	logPhyEvents     = 0x11 // general purpose only
	logNCQNonData    = 0x12 // general purpose only
	logSendReceive   = 0x13 // general purpose only
	logIdentify      = 0x30
	logHostFirst     = 0x80
	logHostLast      = 0x9f
)

const (
	extErrorPages = 5  // four entries in each
	statPages     = 8  // page numbers 0 to 7
	identifyPages = 9  // page numbers 0 to 8
	hostPages     = 16 // of each host vendor-specific log
)

// logPage is the page number in a general purpose log command.
func logPage(t *Task) int { return int(t.LBA>>8&0xff | t.LBA>>24&0xff00) }

// logLength is the number of pages of a log, 0 if there is none such.
func logLength(log uint8, smart bool) int {
	switch log {
	case logDirectory:
		return 1
	case logStatistics:
		return statPages
	case logIdentify:
		return identifyPages
	case logSummaryErrors, logSelfTest, logSelective:
		if smart {
			return 1
		}
	case logExtErrors:
		if !smart {
			return extErrorPages
		}
	case logExtSelfTest, logQueueError, logPhyEvents, logNCQNonData, logSendReceive:
		if !smart {
			return 1
		}
	}
	if log >= logHostFirst && log <= logHostLast {
		return hostPages
	}
	return 0
}

// readLog executes the commands that read logs.
func (d *Disk) readLog(r *Request, log uint8, page int, smart bool) {
	pages := int(r.Command.Bytes / pageSize)
	if pages == 0 || page+pages > logLength(log, smart) {
		r.Fail(ErrAborted)
		return
	}
	for i := range pages {
		p := d.logPageData(log, page+i, smart)
		r.Moved += int64(r.Data.Copy(int64(i)*pageSize, p[:]))
	}
	if log == logQueueError {
		d.failed.Store(false)
	}
	r.Finish()
}

// logPageData makes one page of a log that exists.
func (d *Disk) logPageData(log uint8, page int, smart bool) (p [pageSize]byte) {
	if log == logIdentify {
		d.identifyLog(&p, page)
		return p
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch log {
	case logDirectory:
		p[0] = 1
		for i := 1; i < 256; i++ {
			binary.LittleEndian.PutUint16(p[2*i:], uint16(logLength(uint8(i), smart)))
		}
	case logSummaryErrors:
		d.summaryErrors(&p)
	case logExtErrors:
		d.extErrors(&p, page)
	case logStatistics:
		d.statistics(&p, page)
	case logSelfTest:
		d.selfTests(&p)
	case logExtSelfTest:
		d.extSelfTests(&p)
	case logSelective:
		copy(p[:], d.s.SMART.Selective)
		p[0] = 1
		p[511] = Checksum(p[:511])
	case logQueueError:
		p = d.s.Queue.page()
	case logPhyEvents:
		// One counter, always zero: the link has no errors of its own.
		binary.LittleEndian.PutUint16(p[4:], 0x1001)
		p[511] = Checksum(p[:511])
	case logNCQNonData:
		p[20] = 1 // SET FEATURES
	case logSendReceive:
		if d.offersTrim() {
			p[0], p[4] = 1, 1 // DATA SET MANAGEMENT, with TRIM
		}
		p[8] = 1 // READ LOG DMA EXT
	default:
		copy(p[:], d.s.Host[log][min(page*pageSize, len(d.s.Host[log])):])
	}
	return p
}

// writeLog executes the commands that write logs: the host's own ones and the
// selective self-test log.
func (d *Disk) writeLog(r *Request, log uint8, page int, smart bool) {
	pages := int(r.Command.Bytes / pageSize)
	host := log >= logHostFirst && log <= logHostLast
	if pages == 0 || page+pages > logLength(log, smart) || !host && log != logSelective {
		r.Fail(ErrAborted)
		return
	}
	buf := make([]byte, pages*pageSize)
	n := r.Data.Gather(0, buf)
	d.mu.Lock()
	if host {
		if d.s.Host[log] == nil {
			d.s.Host[log] = make([]byte, hostPages*pageSize)
		}
		copy(d.s.Host[log][page*pageSize:], buf[:n])
	} else {
		d.s.SMART.Selective = buf
	}
	d.mu.Unlock()
	r.Moved = int64(n)
	r.Finish()
}

// statistics makes a page of device statistics (ACS-4, section 9.5). mu is held.
func (d *Disk) statistics(p *[pageSize]byte, page int) {
	le := binary.LittleEndian
	put := func(i int, v uint64, size uint) { // supported and valid
		le.PutUint64(p[8*i:], 3<<62|v&(1<<size-1))
	}
	le.PutUint64(p[0:], uint64(page)<<16|1)
	switch page {
	case 0:
		list := []byte{0, 1, 4, 5, 7}
		p[8] = byte(len(list))
		copy(p[9:], list)
	case 1:
		put(1, d.s.SMART.PowerCycles, 32)
		put(2, uint64(d.o.Clock.Now()/(3600*second)), 32)
		put(3, d.writtenBlocks.Load(), 48)
		put(4, d.writes.Load(), 48)
		put(5, d.readBlocks.Load(), 48)
		put(6, d.reads.Load(), 48)
	case 4:
		put(1, uint64(d.s.SMART.ErrorCount), 32)
		put(2, 0, 32)
	case 5:
		put(1, 30, 8)
	case 7:
		put(1, 0, 8)
	default:
		le.PutUint64(p[0:], 0)
	}
}

// identifyLog makes a page of the IDENTIFY DEVICE data log (ACS-4, section 9.11).
func (d *Disk) identifyLog(p *[pageSize]byte, page int) {
	le := binary.LittleEndian
	const valid = 1 << 63
	le.PutUint64(p[0:], valid|uint64(page)<<16|1)
	switch page {
	case 0:
		list := []byte{0, 1, 2, 5}
		p[8] = byte(len(list))
		copy(p[9:], list)
	case 1:
		*p = d.identify()
	case 2:
		le.PutUint64(p[8:], valid|d.blocks)
		le.PutUint64(p[16:], valid|1<<62|1<<61|uint64(sectorSizes(d.o.LogicalSize, d.o.PhysicalSize)&0xf)<<16)
		le.PutUint64(p[24:], valid|uint64(d.o.LogicalSize/2))
	case 5:
		var w Words
		w.Text(0, 10, d.o.Serial)
		w.Text(16, 4, d.o.Firmware)
		w.Text(32, 20, d.o.Model)
		copy(p[8:28], w[0:])
		copy(p[32:40], w[32:])
		copy(p[48:88], w[64:])
	default:
		le.PutUint64(p[0:], 0)
	}
}
