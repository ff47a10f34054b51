package ata

import "encoding/binary"

// Subcommands of SMART (ACS-4, section 7.46), in the Feature field.
const (
	smartReadData   = 0xd0
	smartThresholds = 0xd1 // ATA-3
	smartAutosave   = 0xd2
	smartSave       = 0xd3 // ATA-5
	smartOffline    = 0xd4
	smartReadLog    = 0xd5
	smartWriteLog   = 0xd6
	smartEnable     = 0xd8
	smartDisable    = 0xd9
	smartStatus     = 0xda
	smartAuto       = 0xdb // ATA-4
)

// smartKey is in bits 23:8 of the address of every SMART command.
const smartKey = 0xc24f

// smartState is what SMART keeps.
type smartState struct {
	Enabled     bool
	Autosave    bool
	AutoOffline bool
	PowerCycles uint64
	ErrorCount  uint16
	Errors      []errorEntry // the last ones, newest first
	Tests       []testEntry  // the last ones, newest first
	Running     bool         // Tests[0] is not finished
	Ends        int64        // clock's time at which it is
	Length      int64        // ns
	Selective   []byte       // log 09h
}

// A testEntry describes a self-test.
type testEntry struct {
	Sub    uint8 // the subcommand that started it
	Status uint8 // 0 passed, 1 aborted by host, 2 by a reset, 7 read failure
	Left   uint8 // tenths not done when it ended
	Hours  uint16
	LBA    uint64 // of the failure
}

const (
	maxTests  = 21
	maxErrors = 20
)

// parseSMART finds a SMART command's protocol.
func (d *Disk) parseSMART(c *Command, t *Task) {
	type sub struct {
		name     string
		protocol Protocol
		bytes    int64
	}
	pages := int64(t.Count&0xff) * pageSize
	s, ok := map[uint16]sub{
		smartReadData:   {"SMART READ DATA", PIOIn, pageSize},
		smartThresholds: {"SMART READ THRESHOLDS", PIOIn, pageSize},
		smartAutosave:   {"SMART ATTRIBUTE AUTOSAVE", NonData, 0},
		smartSave:       {"SMART SAVE ATTRIBUTE VALUES", NonData, 0},
		smartOffline:    {"SMART EXECUTE OFF-LINE IMMEDIATE", NonData, 0},
		smartReadLog:    {"SMART READ LOG", PIOIn, pages},
		smartWriteLog:   {"SMART WRITE LOG", PIOOut, pages},
		smartEnable:     {"SMART ENABLE OPERATIONS", NonData, 0},
		smartDisable:    {"SMART DISABLE OPERATIONS", NonData, 0},
		smartStatus:     {"SMART RETURN STATUS", NonData, 0},
		smartAuto:       {"SMART AUTOMATIC OFF-LINE", NonData, 0},
	}[t.Feature&0xff]
	d.mu.Lock()
	enabled := d.s.SMART.Enabled
	d.mu.Unlock()
	if !ok || t.LBA>>8&0xffff != smartKey || !enabled && t.Feature&0xff != smartEnable {
		c.Refused = ErrAborted
		return
	}
	c.Name, c.Protocol, c.Bytes = s.name, s.protocol, s.bytes
}

func (d *Disk) smart(r *Request) {
	t := &r.Task
	switch t.Feature & 0xff {
	case smartReadData:
		p := d.smartData()
		d.give(r, p[:])
	case smartThresholds:
		p := d.smartThresholdPage()
		d.give(r, p[:])
	case smartReadLog:
		d.readLog(r, uint8(t.LBA), 0, true)
	case smartWriteLog:
		d.writeLog(r, uint8(t.LBA), 0, true)
	case smartOffline:
		d.offline(r, uint8(t.LBA))
	case smartStatus:
		r.Finish() // the key unchanged: no threshold is exceeded
	default:
		d.mu.Lock()
		s := &d.s.SMART
		switch t.Feature & 0xff {
		case smartEnable:
			s.Enabled = true
		case smartDisable:
			s.Enabled = false
		case smartAutosave:
			s.Autosave = t.Count&0xff == 0xf1
		case smartAuto:
			s.AutoOffline = t.Count&0xff == 0xf8
		}
		d.mu.Unlock()
		r.Finish()
	}
}

// An attribute of SMART data.
type attribute struct {
	id, value, threshold uint8
	flags                uint16
	raw                  uint64
}

// attributes returns the attributes; mu is held.
func (d *Disk) attributes() []attribute {
	bad := uint64(0)
	for _, b := range d.s.Bad {
		bad += b.N
	}
	hours := uint64(d.o.Clock.Now() / (3600 * second))
	const temperature = 30
	return []attribute{
		{1, 100, 50, 0x000b, uint64(d.s.SMART.ErrorCount)},
		{5, 100, 10, 0x0033, 0},
		{9, 100, 0, 0x0032, hours},
		{12, 100, 0, 0x0032, d.s.SMART.PowerCycles},
		{187, 100, 0, 0x0032, uint64(d.s.SMART.ErrorCount)},
		{194, 100 - temperature, 0, 0x0022, temperature},
		{197, 100, 0, 0x0032, bad},
		{198, 100, 0, 0x0030, bad},
		{199, 200, 0, 0x003e, 0},
		{241, 100, 0, 0x0032, d.writtenBlocks.Load()},
		{242, 100, 0, 0x0032, d.readBlocks.Load()},
	}
}

// smartData makes the SMART data structure.
func (d *Disk) smartData() (p [pageSize]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	le := binary.LittleEndian
	p[0] = 0x10
	for i, a := range d.attributes() {
		e := p[2+12*i:]
		e[0] = a.id
		le.PutUint16(e[1:], a.flags)
		e[3], e[4] = a.value, a.value
		for k := range 6 {
			e[5+k] = byte(a.raw >> (8 * k))
		}
	}
	d.finishTest()
	if s := &d.s.SMART; s.AutoOffline {
		p[362] = 0x82
	} else {
		p[362] = 0x02
	}
	p[363] = d.testStatus()
	le.PutUint16(p[364:], 60)
	p[367] = 1<<0 | 1<<1 | 1<<3 | 1<<4 | 1<<6 // immediate, automatic, scan, self-test, selective
	le.PutUint16(p[368:], 3)                  // saves attributes, autosave
	p[370] = 1                                // error logging
	p[372], p[373] = shortMinutes, extendedMinutes
	p[511] = Checksum(p[:511])
	return p
}

func (d *Disk) smartThresholdPage() (p [pageSize]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p[0] = 0x10
	for i, a := range d.attributes() {
		p[2+12*i], p[3+12*i] = a.id, a.threshold
	}
	p[511] = Checksum(p[:511])
	return p
}

// Lengths of self-tests.
const (
	shortMinutes    = 1
	extendedMinutes = 10
)

// offline executes or starts a self-test (ACS-4, table 141).
func (d *Disk) offline(r *Request, sub uint8) {
	minutes := int64(0)
	switch sub & 0x7f {
	case 0: // off-line data collection is complete at once
	case 1:
		minutes = shortMinutes
	case 2:
		minutes = extendedMinutes
	case 4:
		minutes = extendedMinutes
	case 0x7f:
		d.mu.Lock()
		d.finishTest()
		d.abortTest(1)
		d.mu.Unlock()
		r.Finish()
		return
	default:
		r.Fail(ErrAborted)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.s.SMART
	d.finishTest()
	d.abortTest(1)
	if sub&0x7f == 0 {
		r.Finish()
		return
	}
	now := d.o.Clock.Now()
	s.Tests = append([]testEntry{{Sub: sub, Left: 9, Hours: uint16(now / (3600 * second))}}, s.Tests[:min(len(s.Tests), maxTests-1)]...)
	s.Running, s.Length, s.Ends = true, minutes*60*second, now+minutes*60*second
	if sub&0x80 == 0 {
		r.Finish()
		return
	}
	// In captive mode the command ends with the test; it takes no time here.
	s.Ends = now
	d.finishTest()
	if s.Tests[0].Status == 7 {
		r.Fail(ErrAborted)
		r.Result.LBA = 0x2cf4<<8 | uint64(sub)
		return
	}
	r.Finish()
}

// finishTest records the result of a test whose time is over; mu is held.
func (d *Disk) finishTest() {
	s := &d.s.SMART
	if !s.Running || d.o.Clock.Now() < s.Ends {
		return
	}
	s.Running = false
	t := &s.Tests[0]
	t.Left, t.Status = 0, 0
	for i, b := range d.s.Bad {
		if i == 0 || b.First < t.LBA {
			t.Status, t.LBA, t.Left = 7, b.First, 1
		}
	}
}

// abortTest ends a running test; mu is held.
func (d *Disk) abortTest(status uint8) {
	s := &d.s.SMART
	if !s.Running {
		return
	}
	s.Running = false
	s.Tests[0].Left = d.testLeft()
	s.Tests[0].Status = status
}

// testLeft is how many tenths of a running test are left; mu is held.
func (d *Disk) testLeft() uint8 {
	s := &d.s.SMART
	if s.Length <= 0 {
		return 0
	}
	return uint8(min(max((s.Ends-d.o.Clock.Now())*10/s.Length, 0), 9))
}

// testStatus is the self-test execution status byte; mu is held.
func (d *Disk) testStatus() uint8 {
	s := &d.s.SMART
	switch {
	case s.Running:
		return 0xf0 | d.testLeft()
	case len(s.Tests) > 0:
		return s.Tests[0].Status<<4 | s.Tests[0].Left
	}
	return 0
}
