package ata

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"dfemu/devices"
)

// Options describes a disk.
type Options struct {
	Name     string // unit name, as "ahci0.disk0", for errors
	Serial   string // at most 20 printable characters
	Model    string // at most 40; default "dfemu disk"
	Firmware string // at most 8; default "1.0"
	WWN      uint64 // world wide name; 0 derives one from the serial number
	// LogicalSize is the logical block size in bytes, 512 (default) or 4096, and
	// PhysicalSize the physical one, at least as large: default 4096. So 512 and
	// 512 is 512n, 512 and 4096 is 512e, 4096 and 4096 is 4Kn.
	LogicalSize, PhysicalSize int
	// RPM is the nominal rotation rate, 1 (default) for a drive that does not
	// rotate.
	RPM int
	// TrimZeroes makes trimmed blocks read as zeroes, and says so to the guest.
	// Where the store cannot unmap, it writes the zeroes.
	TrimZeroes bool
	// NoTrim leaves DATA SET MANAGEMENT out.
	NoTrim bool
	Clock  devices.Clock
}

// power is what CHECK POWER MODE distinguishes.
type power = uint32

const (
	powerActive power = iota
	powerIdle
	powerStandby
	powerSleep
)

// vectored is a store that moves several pieces at once.
type vectored interface {
	ReadVAt(bufs [][]byte, off int64) error
	WriteVAt(bufs [][]byte, off int64) error
}

// Disk is an ATA disk drive. It implements [Drive].
type Disk struct {
	o      Options
	store  devices.Block
	vec    vectored // the store, if it can do that
	blocks uint64   // logical ones
	shift  uint     // binary logarithm of LogicalSize
	timer  devices.Timer

	cache   atomic.Bool   // writes are complete when they are in the cache
	power   atomic.Uint32 // one of power…
	timed   atomic.Bool   // the standby timer is in use
	lastUse atomic.Int64  // clock's time, while timed
	failed  atomic.Bool   // a queued command failed; log 10h has not been read
	nBad    atomic.Int32  // length of s.Bad

	reads, readBlocks, writes, writtenBlocks, trims, flushes atomic.Uint64

	mu sync.Mutex // guards s
	s  state
}

var _ Drive = (*Disk)(nil)

// state is what commands change, in the form in which it is saved.
type state struct {
	Version   int
	Blocks    uint64 // guards against restoring into another disk
	Cache     bool
	Power     uint32
	Failed    bool
	Multi     int // sectors in a block of READ MULTIPLE, 0: off
	LookAhead bool
	APM       uint8 // level, 0: off
	UDMA      int   // selected mode
	MWDMA     int   // selected mode, -1: a UDMA mode is selected
	AutoAct   bool  // DMA Setup auto-activate
	DIPM      bool  // device-initiated power management
	Preserve  bool  // software settings preservation
	Standby   int64 // period of the standby timer in ns, 0: off
	Buffer    []byte
	Bad       []span // pseudo-uncorrectable blocks
	Queue     queueError
	SMART     smartState
	Host      map[uint8][]byte // host vendor-specific logs
	Stats     [6]uint64
}

// span is a range of blocks.
type span struct{ First, N uint64 }

const stateVersion = 1

// New returns a disk over a store, which it owns from then on.
func New(o Options, store devices.Block) (*Disk, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.LogicalSize, 512)
	def(&o.PhysicalSize, 4096)
	def(&o.RPM, 1)
	if o.Model == "" {
		o.Model = "dfemu disk"
	}
	if o.Firmware == "" {
		o.Firmware = "1.0"
	}
	if o.WWN == 0 {
		o.WWN = deriveWWN(o.Serial)
	}
	ratio := uint(o.PhysicalSize / max(o.LogicalSize, 1))
	switch {
	case o.Clock == nil:
		return nil, fmt.Errorf("%s: a disk needs a clock", o.Name)
	case o.LogicalSize != 512 && o.LogicalSize != 4096:
		return nil, fmt.Errorf("%s: logical blocks of %d bytes: must be 512 or 4096", o.Name, o.LogicalSize)
	case bits.OnesCount(ratio) != 1 || o.LogicalSize*int(ratio) != o.PhysicalSize || ratio > 1<<15:
		return nil, fmt.Errorf("%s: physical blocks of %d bytes: must be a power of two, at least the logical %d", o.Name, o.PhysicalSize, o.LogicalSize)
	case o.RPM != 1 && (o.RPM < 0x401 || o.RPM > 0xfffe):
		return nil, fmt.Errorf("%s: %d revolutions a minute: must be 1 (does not rotate) or 1025 to 65534", o.Name, o.RPM)
	}
	for _, f := range []struct {
		what, text string
		limit      int
	}{{"serial number", o.Serial, 20}, {"model", o.Model, 40}, {"firmware revision", o.Firmware, 8}} {
		if err := checkText(f.what, f.text, f.limit); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	d := &Disk{o: o, store: store, shift: uint(bits.TrailingZeros(uint(o.LogicalSize)))}
	d.blocks = uint64(store.Size()) >> d.shift
	if d.blocks == 0 || d.blocks >= 1<<48 {
		return nil, fmt.Errorf("%s: a store of %d bytes: must hold 1 to 2^48-1 blocks of %d bytes", o.Name, store.Size(), o.LogicalSize)
	}
	d.vec, _ = store.(vectored)
	d.timer = o.Clock.NewTimer(d.standbyDue)
	d.s = state{Version: stateVersion, Blocks: d.blocks, Buffer: make([]byte, pageSize), Host: map[uint8][]byte{}}
	d.s.SMART.Enabled = true
	d.s.SMART.PowerCycles = 1
	d.defaults()
	return d, nil
}

// checkText tells whether s can be shown in an ATA string of limit characters.
func checkText(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s %q: at most %d characters are possible", what, s, limit)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("%s %q: only printable ASCII characters are possible", what, s)
		}
	}
	return nil
}

// deriveWWN makes a locally assigned world wide name (NAA 3) of a serial number.
func deriveWWN(serial string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(serial) {
		h = (h ^ uint64(serial[i])) * 1099511628211
	}
	return 3<<60 | h&(1<<60-1)
}

// defaults are the settings after power-on. mu is held, or nobody else has d.
func (d *Disk) defaults() {
	d.cache.Store(true)
	d.s.Multi = maxMulti
	d.s.LookAhead = true
	d.s.APM = 0
	d.s.UDMA, d.s.MWDMA = 6, -1
	d.s.AutoAct, d.s.DIPM = false, false
	d.s.Preserve = true
}

// Name is the unit name given in the options.
func (d *Disk) Name() string { return d.o.Name }

// Signature implements [Drive]: that of an ATA device (ACS-4, section 9.2,
// "Diagnostic passed").
func (d *Disk) Signature() Result {
	return Result{Status: StatusReady | StatusSeek, Error: 1, LBA: 1, Count: 1}
}

// Reset implements [Drive]. Settings survive a software reset, and a hard one
// while software settings preservation is on (Serial ATA 3.3, section 13.5).
func (d *Disk) Reset(hard bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed.Store(false)
	if d.power.Load() == powerSleep {
		d.power.Store(powerStandby)
	}
	if hard && !d.s.Preserve {
		d.defaults()
	}
	d.abortTest(2) // interrupted by a reset
}

// Asleep implements [Drive].
func (d *Disk) Asleep() bool { return d.power.Load() == powerSleep }

// OnNotify implements [Drive]. A disk has nothing to tell.
func (d *Disk) OnNotify(func()) {}

// PowerLoss tells the store that its power failed; what was not flushed is lost
// as far as the store models that.
func (d *Disk) PowerLoss() error {
	if p, ok := d.store.(devices.PowerLoser); ok {
		return p.PowerLoss()
	}
	return nil
}

// Close implements [Drive].
func (d *Disk) Close() error {
	d.timer.Stop()
	return d.store.Close()
}

// SaveState implements [Drive].
func (d *Disk) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.s.Cache, d.s.Power, d.s.Failed = d.cache.Load(), d.power.Load(), d.failed.Load()
	for i, c := range d.counters() {
		d.s.Stats[i] = c.Load()
	}
	p, err := json.Marshal(&d.s)
	if err != nil {
		return nil, fmt.Errorf("%s: save state: %w", d.o.Name, err)
	}
	return p, nil
}

func (d *Disk) counters() [6]*atomic.Uint64 {
	return [6]*atomic.Uint64{&d.reads, &d.readBlocks, &d.writes, &d.writtenBlocks, &d.trims, &d.flushes}
}

// RestoreState implements [Drive].
func (d *Disk) RestoreState(p []byte) error {
	var s state
	if err := json.Unmarshal(p, &s); err != nil {
		return fmt.Errorf("%s: restore state: %w", d.o.Name, err)
	}
	if err := d.checkState(&s); err != nil {
		return fmt.Errorf("%s: restore state: %w", d.o.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.Host == nil {
		s.Host = map[uint8][]byte{}
	}
	d.s = s
	d.cache.Store(s.Cache)
	d.power.Store(s.Power)
	d.failed.Store(s.Failed)
	d.nBad.Store(int32(len(s.Bad)))
	for i, c := range d.counters() {
		c.Store(s.Stats[i])
	}
	d.startTimer()
	return nil
}

func (d *Disk) checkState(s *state) error {
	switch {
	case s.Version != stateVersion:
		return fmt.Errorf("version %d, want %d", s.Version, stateVersion)
	case s.Blocks != d.blocks:
		return fmt.Errorf("it belongs to a disk of %d blocks, this one has %d", s.Blocks, d.blocks)
	case len(s.Buffer) != pageSize, s.Power > powerSleep, s.Multi < 0, s.Multi > maxMulti, s.Standby < 0,
		len(s.Bad) > maxBad, len(s.SMART.Errors) > maxErrors, len(s.SMART.Tests) > maxTests,
		s.UDMA > 6, s.UDMA < -1, s.MWDMA > 2, s.MWDMA < -1:
		return fmt.Errorf("a value is out of range")
	}
	for _, b := range s.Bad {
		if !d.inside(b.First, b.N) {
			return fmt.Errorf("bad blocks %d+%d are not on the disk", b.First, b.N)
		}
	}
	for log, p := range s.Host {
		if log < 0x80 || log > 0x9f || len(p) != hostPages*pageSize {
			return fmt.Errorf("host log %#x of %d bytes cannot be", log, len(p))
		}
	}
	return nil
}
