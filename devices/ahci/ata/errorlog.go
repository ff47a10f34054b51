package ata

import "encoding/binary"

// An errorEntry is one error in the SMART error logs.
type errorEntry struct {
	Task   Task
	Result Result
	At     int64 // clock's time
}

// A queueError is what the queued error log says (Serial ATA 3.3, section 13.7.4).
type queueError struct {
	Valid  bool
	Queued bool // the command that failed was a queued one
	Tag    int
	Result Result
}

// noteError keeps an error for the logs.
func (d *Disk) noteError(r *Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Command.Protocol.Queued() {
		if !d.failed.Load() { // the first failure is the one to report
			d.s.Queue = queueError{true, true, r.Tag, r.Result}
		}
		d.failed.Store(true)
	}
	if r.Result.Error&(ErrUncorrectable|ErrNotFound|ErrCRC) == 0 && r.Result.Status&StatusFault == 0 {
		return // merely refused
	}
	s := &d.s.SMART
	s.ErrorCount = min(s.ErrorCount, 1<<16-2) + 1
	s.Errors = append([]errorEntry{{r.Task, r.Result, d.o.Clock.Now()}}, s.Errors[:min(len(s.Errors), maxErrors-1)]...)
}

// page makes log 10h.
func (q *queueError) page() (p [pageSize]byte) {
	if q.Valid {
		p[0] = byte(q.Tag & 0x1f)
		if !q.Queued {
			p[0] = 0x80
		}
		p[2], p[3] = q.Result.Status, q.Result.Error
		lba := q.Result.LBA
		p[4], p[5], p[6], p[7] = byte(lba), byte(lba>>8), byte(lba>>16), q.Result.Device
		p[8], p[9], p[10] = byte(lba>>24), byte(lba>>32), byte(lba>>40)
		binary.LittleEndian.PutUint16(p[12:], q.Result.Count)
		p[14], p[15], p[16] = sense(&q.Result)
		for i := range 6 {
			p[17+i] = byte(lba >> (8 * i))
		}
	}
	p[511] = Checksum(p[:511])
	return p
}

// sense is the SCSI sense key and additional codes of an error (SAT-4, table 11).
func sense(r *Result) (key, asc, ascq byte) {
	switch {
	case r.Error&ErrUncorrectable != 0:
		return 0x03, 0x11, 0x04 // unrecovered read error
	case r.Error&ErrNotFound != 0:
		return 0x05, 0x21, 0x00 // logical block address out of range
	case r.Error&ErrCRC != 0:
		return 0x0b, 0x47, 0x03 // information unit CRC error
	case r.Status&StatusFault != 0:
		return 0x04, 0x44, 0x00 // internal target failure
	}
	return 0x0b, 0x00, 0x00 // aborted command
}

const (
	milli = 1_000_000
	hour  = 3600 * second
)

// summaryErrors makes SMART log 01h: the last five errors. mu is held.
func (d *Disk) summaryErrors(p *[pageSize]byte) {
	s := &d.s.SMART
	p[0] = 1
	n := min(len(s.Errors), 5)
	// Entry number ErrorCount-1 modulo 5 is the newest.
	if n > 0 {
		p[1] = byte((int(s.ErrorCount)-1)%5 + 1)
	}
	for i := range n {
		e := &s.Errors[i]
		at := ((int(s.ErrorCount)-1-i)%5 + 5) % 5
		q := p[2+90*at:]
		c := q[48:60] // the fifth command is the one that failed
		t := &e.Task
		c[0], c[1], c[2] = t.Control, byte(t.Feature), byte(t.Count)
		c[3], c[4], c[5] = byte(t.LBA), byte(t.LBA>>8), byte(t.LBA>>16)
		c[6], c[7] = t.Device, t.Command
		binary.LittleEndian.PutUint32(c[8:], uint32(e.At/milli))
		x := q[60:90]
		x[1], x[2] = e.Result.Error, byte(e.Result.Count)
		x[3], x[4], x[5] = byte(e.Result.LBA), byte(e.Result.LBA>>8), byte(e.Result.LBA>>16)
		x[6], x[7] = e.Result.Device, e.Result.Status
		x[27] = 3 // active
		binary.LittleEndian.PutUint16(x[28:], uint16(e.At/hour))
	}
	binary.LittleEndian.PutUint16(p[452:], s.ErrorCount)
	p[511] = Checksum(p[:511])
}

// extErrors makes a page of log 03h: four errors in each. mu is held.
func (d *Disk) extErrors(p *[pageSize]byte, page int) {
	s := &d.s.SMART
	p[0] = 1
	if len(s.Errors) > 0 {
		binary.LittleEndian.PutUint16(p[2:], uint16((int(s.ErrorCount)-1)%maxErrors+1))
	}
	for i := range s.Errors {
		at := ((int(s.ErrorCount)-1-i)%maxErrors + maxErrors) % maxErrors
		if at/4 != page {
			continue
		}
		e := &s.Errors[i]
		q := p[4+124*(at%4):]
		c := q[72:90]
		t := &e.Task
		c[0], c[1], c[2] = t.Control, byte(t.Feature), byte(t.Feature>>8)
		c[3], c[4] = byte(t.Count), byte(t.Count>>8)
		putLBA(c[5:], t.LBA)
		c[11], c[12] = t.Device, t.Command
		binary.LittleEndian.PutUint32(c[14:], uint32(e.At/milli))
		x := q[90:124]
		x[1] = e.Result.Error
		binary.LittleEndian.PutUint16(x[2:], e.Result.Count)
		putLBA(x[4:], e.Result.LBA)
		x[10], x[11] = e.Result.Device, e.Result.Status
		x[31] = 3
		binary.LittleEndian.PutUint16(x[32:], uint16(e.At/hour))
	}
	binary.LittleEndian.PutUint16(p[500:], s.ErrorCount)
	p[511] = Checksum(p[:511])
}

// putLBA stores an address in the order of the registers that hold it: each one's
// present and previous content.
func putLBA(p []byte, lba uint64) {
	p[0], p[1], p[2] = byte(lba), byte(lba>>24), byte(lba>>8)
	p[3], p[4], p[5] = byte(lba>>32), byte(lba>>16), byte(lba>>40)
}

// selfTests makes SMART log 06h. mu is held.
func (d *Disk) selfTests(p *[pageSize]byte) {
	d.finishTest()
	p[0] = 1
	tests := d.s.SMART.Tests
	for i, t := range tests {
		// The newest is last, and the index says where that is.
		e := p[2+24*(len(tests)-1-i):]
		e[0], e[1] = t.Sub, d.resultOf(i)
		binary.LittleEndian.PutUint16(e[2:], t.Hours)
		binary.LittleEndian.PutUint32(e[5:], uint32(t.LBA))
	}
	p[508] = byte(len(tests))
	p[511] = Checksum(p[:511])
}

// extSelfTests makes log 07h. mu is held.
func (d *Disk) extSelfTests(p *[pageSize]byte) {
	d.finishTest()
	p[0] = 1
	tests := d.s.SMART.Tests
	tests = tests[:min(len(tests), 19)]
	for i, t := range tests {
		e := p[4+26*(len(tests)-1-i):]
		e[0], e[1] = t.Sub, d.resultOf(i)
		binary.LittleEndian.PutUint16(e[2:], t.Hours)
		putLBA(e[5:], t.LBA)
	}
	binary.LittleEndian.PutUint16(p[2:], uint16(len(tests)))
	p[511] = Checksum(p[:511])
}

// resultOf is the status byte of a self-test; mu is held.
func (d *Disk) resultOf(i int) byte {
	if i == 0 {
		return d.testStatus()
	}
	t := &d.s.SMART.Tests[i]
	return t.Status<<4 | t.Left
}
