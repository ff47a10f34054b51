// Package atapi is a CD, DVD and BD drive for a Serial ATA port: the packet device
// of ACS-4 with the commands of SPC-4 and MMC-6, reading discs whose image is a
// [devices.Block] of 2048-byte blocks.
//
// The medium can be changed while the guest runs: [Drive.Insert] and
// [Drive.Eject]. The guest learns of it through unit attention, media events and,
// where it asks for that, asynchronous notification. It can lock the tray, and open
// and close it.
//
// Concurrency: methods may be called from any goroutine; a controller executes one
// command at a time.
package atapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
)

// ErrLocked reports that the guest keeps the medium locked in the drive.
var ErrLocked = errors.New("the guest has locked the medium")

// Options describes a drive.
type Options struct {
	Name     string // unit name, as "ahci0.cd0", for errors
	Serial   string // at most 20 printable characters
	Model    string // at most 24: vendor (8) and product (16); default "dfemu   CD-ROM"
	Firmware string // at most 4; default "1.0"
	WWN      uint64 // world wide name, 0: none
	// Ejected, if not nil, is called after the guest opened (true) or closed the
	// tray. It must not call into the drive.
	Ejected func(open bool)
}

// Drive is an optical drive. It implements [ata.Drive].
type Drive struct {
	o Options

	mu     sync.Mutex // guards what follows; held while a command is executed
	store  devices.Block
	notify func()
	s      state
}

var _ ata.Drive = (*Drive)(nil)

// state is what is saved.
type state struct {
	Version   int
	Blocks    uint64 // of the medium; 0 without one
	Open      bool   // the tray is open
	Locked    bool
	Sense     sense
	Attention []sense // unit attention conditions not reported yet
	Event     uint8   // media event not reported yet
	Asleep    bool
	Standby   bool
	Notifies  bool // asynchronous notification is enabled
	Error     [12]byte
}

const stateVersion = 1

// New returns a drive without a medium.
func New(o Options) (*Drive, error) {
	if o.Model == "" {
		o.Model = "dfemu   CD-ROM"
	}
	if o.Firmware == "" {
		o.Firmware = "1.0"
	}
	for _, f := range []struct {
		what, text string
		limit      int
	}{{"serial number", o.Serial, 20}, {"model", o.Model, 24}, {"firmware revision", o.Firmware, 4}} {
		if len(f.text) > f.limit {
			return nil, fmt.Errorf("%s: %s %q: at most %d characters are possible", o.Name, f.what, f.text, f.limit)
		}
		for i := range len(f.text) {
			if f.text[i] < 0x20 || f.text[i] > 0x7e {
				return nil, fmt.Errorf("%s: %s %q: only printable ASCII characters are possible", o.Name, f.what, f.text)
			}
		}
	}
	return &Drive{o: o, s: state{Version: stateVersion, Error: recoveryPage}}, nil
}

// Name is the unit name given in the options.
func (d *Drive) Name() string { return d.o.Name }

// Insert puts a medium in and closes the tray. The drive owns the store until it is
// ejected. It reports a drive that holds a medium already, and a store that is not
// whole blocks of 2048 bytes or too large.
func (d *Drive) Insert(store devices.Block) error {
	n := uint64(store.Size()) / blockSize
	if n == 0 || n > 1<<32-1 {
		return fmt.Errorf("%s: an image of %d bytes: must hold 1 to 2^32-1 blocks of %d bytes", d.o.Name, store.Size(), blockSize)
	}
	d.mu.Lock()
	if d.store != nil {
		d.mu.Unlock()
		return fmt.Errorf("%s holds a medium; eject it first", d.o.Name)
	}
	d.store, d.s.Blocks, d.s.Open = store, n, false
	d.changed(eventNewMedia)
	f := d.news()
	d.mu.Unlock()
	f()
	return nil
}

// Eject opens the tray, takes the medium out and returns it (nil if there was none).
// If the guest has locked it, the guest is asked to give it up and the error is
// [ErrLocked]; with force it is taken all the same.
func (d *Drive) Eject(force bool) (devices.Block, error) {
	d.mu.Lock()
	if d.s.Locked && !force && d.store != nil {
		d.s.Event = eventEject
		f := d.news()
		d.mu.Unlock()
		f()
		return nil, fmt.Errorf("%s: %w", d.o.Name, ErrLocked)
	}
	b := d.store
	d.store, d.s.Blocks, d.s.Open, d.s.Locked = nil, 0, true, false
	if b != nil {
		d.changed(eventRemoval)
	}
	f := d.news()
	d.mu.Unlock()
	f()
	return b, nil
}

// Medium tells whether there is a medium in the drive, and whether the tray is open
// and locked.
func (d *Drive) Medium() (present, open, locked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.store != nil, d.s.Open, d.s.Locked
}

// Media events (MMC-6, table 280).
const (
	eventNone     = 0
	eventEject    = 1
	eventNewMedia = 2
	eventRemoval  = 3
)

// changed notes a change of the medium; mu is held.
func (d *Drive) changed(event uint8) {
	d.s.Event = event
	if event == eventNewMedia {
		d.attention(senseMediumChanged)
	}
}

// attention establishes a unit attention condition; mu is held.
func (d *Drive) attention(s sense) {
	for _, o := range d.s.Attention {
		if o == s {
			return
		}
	}
	d.s.Attention = append(d.s.Attention, s)
}

// news returns what to call, without the lock, to notify the host.
func (d *Drive) news() func() {
	if d.s.Notifies && d.notify != nil {
		return d.notify
	}
	return func() {}
}

// OnNotify implements [ata.Drive].
func (d *Drive) OnNotify(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = f
}

// Signature implements [ata.Drive]: that of a packet device.
func (d *Drive) Signature() ata.Result { return signature }

var signature = ata.Result{Error: 1, LBA: 0xeb1401, Count: 1}

// Reset implements [ata.Drive].
func (d *Drive) Reset(hard bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.s.Asleep, d.s.Standby = false, false
	if !hard {
		return
	}
	d.s.Locked, d.s.Sense, d.s.Notifies = false, senseNone, false
	d.s.Attention = nil
	d.attention(senseReset)
	if d.store != nil {
		d.attention(senseMediumChanged)
	}
}

// Asleep implements [ata.Drive].
func (d *Drive) Asleep() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.s.Asleep
}

// Abort implements [ata.Drive].
func (d *Drive) Abort(*ata.Request) {}

// SetSense sets the sense data that the next REQUEST SENSE returns: for errors that do
// not come from the drive itself.
func (d *Drive) SetSense(key, asc, ascq uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if key == 0 {
		key = 0xb // aborted command
	}
	d.s.Sense = sense{key, asc, ascq}
}

// Close implements [ata.Drive].
func (d *Drive) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil
	}
	b := d.store
	d.store = nil
	return b.Close()
}

// SaveState implements [ata.Drive].
func (d *Drive) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return json.Marshal(&d.s)
}

// RestoreState implements [ata.Drive]. A medium of the same size must be in the drive.
func (d *Drive) RestoreState(p []byte) error {
	var s state
	if err := json.Unmarshal(p, &s); err != nil {
		return fmt.Errorf("%s: restore state: %w", d.o.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case s.Version != stateVersion || len(s.Attention) > 8:
		return fmt.Errorf("%s: restore state: version %d, want %d", d.o.Name, s.Version, stateVersion)
	case s.Blocks != d.s.Blocks:
		return fmt.Errorf("%s: restore state: it was saved with a medium of %d blocks, there is one of %d", d.o.Name, s.Blocks, d.s.Blocks)
	}
	d.s = s
	return nil
}
