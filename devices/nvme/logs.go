package nvme

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Log page identifiers (base specification, figure 202).
const (
	logSupported           = 0x00
	logErrors              = 0x01
	logSMART               = 0x02
	logFirmware            = 0x03
	logChanged             = 0x04
	logEffects             = 0x05
	logSelfTest            = 0x06
	logTelemetryHost       = 0x07
	logTelemetryController = 0x08
	logFeatures            = 0x12
	logReservation         = 0x80
	logSanitize            = 0x81
	logZones               = 0xbf
)

var logPages = []uint8{
	logSupported, logErrors, logSMART, logFirmware, logChanged, logEffects, logSelfTest, logTelemetryHost,
	logTelemetryController, logFeatures, logReservation, logSanitize, logZones,
}

// logBytes is the length that Get Log Page asks for.
func logBytes(e *entry) uint64 {
	return (uint64(e.dw[10]>>16) | uint64(e.dw[11]&0xffff)<<16 + 1) * 4
}

// logOffset is where in the page that begins.
func logOffset(e *entry) uint64 { return uint64(e.dw[12]) | uint64(e.dw[13])<<32 }

// checkLogPage tells whether Get Log Page asks for something that is possible.
func (d *Device) checkLogPage(e *entry) status {
	if n := logBytes(e); n > uint64(d.o.MaxTransfer) {
		d.strictf(admin, "NVMe base 2.0, 5.16", "Get Log Page asks for %d bytes, more than MDTS allows", n)
		return invalidField
	}
	if logOffset(e)&3 != 0 || e.dw[14]>>23&1 != 0 {
		return invalidField
	}
	if id := uint8(e.dw[10]); !slices.Contains(logPages, id) {
		d.strictf(admin, "NVMe base 2.0, figure 202", "log page %#02x is not supported", id)
		return logPageInvalid
	}
	return success
}

// getLogPage is the command Get Log Page.
func (d *Device) getLogPage(r *request) status {
	e := &r.e
	id, specific, retain := uint8(e.dw[10]), uint8(e.dw[10]>>8&0x7f), e.dw[10]>>15&1 != 0
	n, off := logBytes(e), logOffset(e)
	if st := d.checkLogPage(e); st != success {
		return st
	}
	page, st := d.logPage(e, id, specific, retain)
	if st != success {
		return st
	}
	if off > uint64(len(page)) {
		return invalidField
	}
	// What is beyond the end of the page reads as zero.
	b := make([]byte, n)
	copy(b, page[off:])
	if st := d.toHost(r, b); st != success {
		return st
	}
	if !retain {
		d.mu.Lock()
		d.events.clear(d, id)
		d.mu.Unlock()
	}
	return success
}

func (d *Device) logPage(e *entry, id, specific uint8, retain bool) ([]byte, status) {
	global := e.nsid == 0 || e.nsid == allSpaces
	switch id {
	case logSupported:
		b := make([]byte, 1024)
		for _, p := range logPages {
			le.PutUint32(b[4*int(p):], 1)
		}
		return b, success
	case logErrors:
		return d.errors.page(), success
	case logSMART:
		if !global {
			return nil, invalidField
		}
		return d.smart(), success
	case logFirmware:
		return d.sub.firmwarePage(), success
	case logChanged:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.changed.page(retain), success
	case logEffects:
		return effectsPage(uint8(e.dw[14] >> 24))
	case logSelfTest:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.test.page(d), success
	case logTelemetryHost, logTelemetryController:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.telem.page(d, id, specific&1 != 0), success
	case logFeatures:
		b := make([]byte, 1024)
		for id, t := range featureTable {
			v := uint32(effSupported | effCCC | 2<<20) // changes the controller
			if t.spaces {
				v = effSupported | effNCC | 1<<20
			}
			le.PutUint32(b[4*int(id):], v)
		}
		return b, success
	case logReservation:
		return d.sub.reservationLog(d), success
	case logSanitize:
		return d.sub.sanitizePage(), success
	case logZones:
		ns := d.space(e.nsid)
		if ns == nil {
			return nil, invalidNamespace
		}
		if ns.zones == nil {
			return nil, logPageInvalid
		}
		return ns.zones.changedPage(retain), success
	}
	return nil, logPageInvalid
}

// effectsPage is the Commands Supported and Effects log of a command set.
func effectsPage(csi uint8) ([]byte, status) {
	if csi != csiNVM && csi != csiZoned {
		return nil, commandSetInvalid
	}
	b := make([]byte, 4096)
	for op, o := range adminOpcodes {
		le.PutUint32(b[4*int(op):], o.effects)
	}
	for op, o := range ioOpcodes {
		if !o.zoned || csi == csiZoned {
			le.PutUint32(b[1024+4*int(op):], o.effects)
		}
	}
	return b, success
}

const errorEntries = 64

// An errorEntry is one entry of the error information log (figure 204).
type errorEntry struct {
	Count  uint64
	SQ     uint16
	CID    uint16
	Status uint16
	Where  uint16
	LBA    uint64
	NSID   uint32
}

// errorLog has the latest errors.
type errorLog struct {
	mu      sync.Mutex
	Entries [errorEntries]errorEntry
	Count   uint64
}

func (l *errorLog) add(e errorEntry) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Count++
	e.Count = l.Count
	l.Entries[l.Count%errorEntries] = e
	return l.Count
}

// page has the most recent entry first.
func (l *errorLog) page() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := make([]byte, 64*errorEntries)
	for i := range min(l.Count, errorEntries) {
		e := &l.Entries[(l.Count-i)%errorEntries]
		p := b[64*i:]
		le.PutUint64(p[0:], e.Count)
		le.PutUint16(p[8:], e.SQ)
		le.PutUint16(p[10:], e.CID)
		le.PutUint16(p[12:], e.Status<<1)
		le.PutUint16(p[14:], e.Where)
		le.PutUint64(p[16:], e.LBA)
		le.PutUint32(p[24:], e.NSID)
	}
	return b
}

// logError records a command that failed.
func (d *Device) logError(sq uint16, r *request, st status) {
	e := errorEntry{SQ: sq, CID: r.e.cid, Status: uint16(st), Where: 0xffff, NSID: r.e.nsid}
	if sq != admin {
		e.LBA = r.e.slba()
		if st.code()>>8 == 2 {
			d.counters.mediaErrors.Add(1)
		}
	}
	d.errorCount.Store(d.errors.add(e))
}

// logDoorbell records a doorbell write that makes no sense: no command belongs to it.
func (d *Device) logDoorbell(queue int) {
	d.errorCount.Store(d.errors.add(errorEntry{SQ: uint16(queue), CID: 0xffff, Where: 0xffff}))
}

// counters are what the SMART log counts.
type counters struct {
	readUnits, writtenUnits  atomic.Uint64 // blocks of 512 bytes
	reads, writes            atomic.Uint64 // commands
	busy                     atomic.Int64  // ns
	powerCycles, mediaErrors atomic.Uint64
	unsafeShutdowns          atomic.Uint64
	cleanShutdown            atomic.Bool
}

// smart is the SMART / Health Information log (figure 205).
func (d *Device) smart() []byte {
	b := make([]byte, 512)
	c := &d.counters
	d.mu.Lock()
	if d.feat.tooHot() {
		b[0] |= 1 << 1
	}
	d.mu.Unlock()
	if d.sub.allReadOnly() {
		b[0] |= 1 << 3
	}
	le.PutUint16(b[1:], temperature)
	b[3] = 100 // available spare in percent
	b[4] = 10  // its threshold
	thousands := func(n uint64) uint64 { return (n + 999) / 1000 }
	le.PutUint64(b[32:], thousands(c.readUnits.Load()))
	le.PutUint64(b[48:], thousands(c.writtenUnits.Load()))
	le.PutUint64(b[64:], c.reads.Load())
	le.PutUint64(b[80:], c.writes.Load())
	le.PutUint64(b[96:], uint64(c.busy.Load())/60e9)
	le.PutUint64(b[112:], c.powerCycles.Load())
	le.PutUint64(b[128:], uint64(d.o.Clock.Now())/3600e9)
	le.PutUint64(b[144:], c.unsafeShutdowns.Load())
	le.PutUint64(b[160:], c.mediaErrors.Load())
	le.PutUint64(b[176:], d.errorCount.Load())
	le.PutUint16(b[200:], temperature) // sensor 1
	return b
}

// changedSpaces is the Changed Namespace List (figure 208), guarded by Device.mu.
type changedSpaces struct{ IDs []uint32 }

const maxChanged = 1024

func (c *changedSpaces) add(id uint32) {
	for _, have := range c.IDs {
		if have == id || have == allSpaces {
			return
		}
	}
	if len(c.IDs) >= maxChanged {
		c.IDs = []uint32{allSpaces}
		return
	}
	i := 0
	for i < len(c.IDs) && c.IDs[i] < id {
		i++
	}
	c.IDs = append(c.IDs[:i:i], append([]uint32{id}, c.IDs[i:]...)...)
}

// page returns the list, which is empty afterwards unless it is retained.
func (c *changedSpaces) page(retain bool) []byte {
	b := make([]byte, 4*maxChanged)
	for i, id := range c.IDs {
		le.PutUint32(b[4*i:], id)
	}
	if !retain {
		c.IDs = nil
	}
	return b
}
