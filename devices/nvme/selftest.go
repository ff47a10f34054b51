package nvme

import "dfemu/devices"

// Codes of the Device Self-test command, and results (base specification, figures
// 163 and 211).
const (
	testShort    = 1
	testExtended = 2
	testAbort    = 0xf

	testPassed    = 0x0
	testAborted   = 0x1
	testByReset   = 0x2
	testSpaceGone = 0x3
	testFailed    = 0x7
	testUnused    = 0xf

	testShortTime    = 2_000_000_000 // ns
	testExtendedTime = 10_000_000_000
	testSteps        = 10
	testResults      = 20
)

// A testResult is one entry of the self-test log.
type testResult struct {
	Status uint8 // result, and the code in the upper half
	Hours  uint64
	NSID   uint32
	Valid  bool // the namespace identifier
}

// selfTest is the state of the device self-test, guarded by Device.mu.
type selfTest struct {
	timer   devices.Timer
	Code    uint8 // what is running, or 0
	NSID    uint32
	Step    int64
	Results []testResult // latest first
}

// selfTest is the command Device Self-test.
func (d *Device) selfTest(e *entry) status {
	code := uint8(e.dw[10] & 0xf)
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &d.test
	switch code {
	case testShort, testExtended:
		if t.Code != 0 {
			return selfTestInProgress
		}
		if e.nsid != 0 && e.nsid != allSpaces && d.space(e.nsid) == nil {
			return invalidNamespace
		}
		t.Code, t.NSID, t.Step = code, e.nsid, 0
		t.arm(d)
		d.statef("self-test %d begins", code)
	case testAbort:
		d.stopTest(testAborted)
	default:
		return invalidField
	}
	return success
}

func (t *selfTest) arm(d *Device) {
	step := int64(testShortTime)
	if t.Code == testExtended {
		step = testExtendedTime
	}
	t.timer.Set(d.o.Clock.Now() + step/testSteps)
}

// testStep is called when a tenth of the test is over. At the end a block of each
// namespace concerned is read.
func (d *Device) testStep() {
	d.mu.Lock()
	t := &d.test
	if t.Code == 0 {
		d.mu.Unlock()
		return
	}
	if t.Step++; t.Step < testSteps {
		t.arm(d)
		d.mu.Unlock()
		return
	}
	id := t.NSID
	d.mu.Unlock()

	result := uint8(testPassed)
	for _, ns := range d.attached() {
		if id != allSpaces && ns.id != id {
			continue
		}
		b := make([]byte, 1<<ns.geometry().shift)
		if _, err := ns.store.ReadAt(b, ns.base); err != nil {
			result = testFailed
		}
	}
	d.mu.Lock()
	d.stopTest(result)
	d.mu.Unlock()
}

// stopTest ends the test, if one runs, with a result. The caller holds mu.
func (d *Device) stopTest(result uint8) {
	t := &d.test
	if t.Code == 0 {
		return
	}
	t.timer.Stop()
	t.Results = append([]testResult{{
		Status: result | t.Code<<4, Hours: uint64(d.o.Clock.Now()) / 3600e9, NSID: t.NSID, Valid: t.NSID != 0,
	}}, t.Results...)
	t.Results = t.Results[:min(len(t.Results), testResults)]
	d.statef("self-test %d ends with result %d", t.Code, result)
	t.Code = 0
}

// page is the Device Self-test log. The caller holds mu.
func (t *selfTest) page(*Device) []byte {
	b := make([]byte, 4+28*testResults)
	b[0] = t.Code
	if t.Code != 0 {
		b[1] = uint8(t.Step * 100 / testSteps)
	}
	for i := range testResults {
		p := b[4+28*i:]
		if i >= len(t.Results) {
			p[0] = testUnused
			continue
		}
		x := &t.Results[i]
		p[0] = x.Status
		le.PutUint64(p[4:], x.Hours)
		if x.Valid {
			p[2] |= 1
			le.PutUint32(p[12:], x.NSID)
		}
	}
	return b
}

const telemetryBlock = 512

// telemetry is the state of the telemetry logs, guarded by Device.mu. Its one
// data block is the error counters in text.
type telemetry struct {
	Host       []byte // captured on the host's request
	Generation uint8
}

func (t *telemetry) hostDirty() { t.Host = nil }

// page is a telemetry log: header, and one block of data (figures 212 and 213).
func (t *telemetry) page(d *Device, id uint8, create bool) []byte {
	b := make([]byte, 2*telemetryBlock)
	b[0] = id
	b[5], b[6], b[7] = 0x00, 0x54, 0x52
	if id == logTelemetryHost {
		if create || t.Host == nil {
			t.Host = d.diagnosis()
			t.Generation++
		}
		for i := range 3 {
			le.PutUint16(b[8+2*i:], 1) // last block of data areas 1 to 3
		}
		b[381] = t.Generation
		copy(b[telemetryBlock:], t.Host)
	} else if d.csts.Load()&cstsCFS != 0 {
		for i := range 3 {
			le.PutUint16(b[8+2*i:], 1)
		}
		b[382] = 1
		copy(b[telemetryBlock:], d.diagnosis())
	}
	copy(b[384:], "dfemu")
	return b
}
