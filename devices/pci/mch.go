package pci

import "fmt"

// Registers of the Q35 host bridge (Intel 3 Series Chipset, section 5.1).
const (
	mchPCIEXBAR = 0x60 // 64 bits
	mchPAM0     = 0x90 // 7 registers of 8 bits
	mchSMRAM    = 0x9d // 8 bits
	mchESMRAMC  = 0x9e // 8 bits
	mchTOM      = 0xa0 // 16 bits
	mchTOUUD    = 0xa2 // 16 bits
	mchTSEGMB   = 0xac // 32 bits
	mchTOLUD    = 0xb0 // 16 bits

	smramOpen   = 1 << 6
	smramClosed = 1 << 5
	smramLock   = 1 << 4
	smramEnable = 1 << 3
)

// A PAMRange is one of the 13 pieces of memory between 768 KiB and 1 MiB whose
// reads and writes go to RAM or to what is behind it (firmware, option ROMs) as
// the guest chooses.
type PAMRange struct {
	Base, Size  uint64 // bytes
	Read, Write bool   // go to RAM
}

// SMRAM says where system management memory can be seen.
type SMRAM struct {
	Enabled bool // there is SMRAM at 0xA0000
	Open    bool // outside of system management mode too
	Closed  bool // code only, within system management mode
	Locked  bool
	TSEG    uint64 // size in bytes of the segment below the top of low memory; 0: none
}

// MCHConfig describes a host bridge.
type MCHConfig struct {
	// ECAM is where the 256 MiB configuration window is after reset, a multiple
	// of 256 MiB. 0 leaves it to firmware.
	ECAM uint64
	// LowTop is the end of RAM below 4 GiB, HighTop that above it (or 0), in
	// bytes; both are shown in TOLUD and TOUUD.
	LowTop, HighTop uint64
	// PAM and SMRAM, if not nil, are called after the guest changed these
	// attributes, and by Reset.
	PAM   func(ranges []PAMRange)
	SMRAM func(s SMRAM)
}

// MCH is the host bridge of the Q35 chipset (8086:29c0), device 0 of bus 0.
type MCH struct {
	*Function
	c    MCHConfig
	host *Host
}

// NewMCH returns the host bridge and puts it at 00:00.0.
func NewMCH(h *Host, c MCHConfig) (*MCH, error) {
	f := NewFunction("mch", Identity{Vendor: 0x8086, Device: 0x29c0, Revision: 2, Class: 0x060000,
		SubsystemVendor: 0x1af4, Subsystem: 0x1100})
	m := &MCH{Function: f, c: c, host: h}
	if c.ECAM%(256<<20) != 0 || c.ECAM>>36 != 0 {
		return nil, fmt.Errorf("mch: configuration window at %#x: must be a multiple of 256 MiB below 64 GiB", c.ECAM)
	}
	bar := uint32(0xe0000000)
	if c.ECAM != 0 {
		bar = uint32(c.ECAM) | 1
	}
	f.Preset(mchPCIEXBAR, 4, bar, 0xfc000007)
	f.Preset(mchPCIEXBAR+4, 4, uint32(c.ECAM>>32), 0xf)
	f.Preset(mchPAM0, 1, 0, 0x30)
	for i := 1; i < 7; i++ {
		f.Preset(mchPAM0+i, 1, 0, 0x33)
	}
	f.Preset(mchSMRAM, 1, 2, smramOpen|smramClosed|smramLock|smramEnable)
	f.Preset(mchESMRAMC, 1, 0x38, 0x87)
	f.Preset(mchTOM, 2, uint32(max(c.HighTop, c.LowTop)>>26), 0)
	f.Preset(mchTOUUD, 2, uint32(c.HighTop>>20), 0xffff)
	f.Preset(mchTOLUD, 2, uint32(c.LowTop>>20)<<4, 0xfff0)
	f.Preset(mchTSEGMB, 4, uint32(c.LowTop)&0xfff00000, 0xfff00000)
	f.HookConfig(mchPCIEXBAR, 8, ConfigHook{Written: func(int, int) { m.placeECAM() }})
	f.HookConfig(mchPAM0, 7, ConfigHook{Written: func(int, int) { m.tellPAM() }})
	f.HookConfig(mchSMRAM, 2, ConfigHook{Written: func(int, int) {
		f.mu.Lock()
		m.lockSMRAM()
		f.mu.Unlock()
		m.tellSMRAM()
	}})
	f.OnReset(m.Reset)
	if err := h.Bus().Add(0, 0, f); err != nil {
		return nil, err
	}
	m.placeECAM()
	return m, nil
}

// lockSMRAM makes the SMRAM registers read-only once D_LCK is set, until reset.
// The caller holds the function's lock.
func (m *MCH) lockSMRAM() {
	if m.cfg[mchSMRAM]&smramLock != 0 && m.wmask[mchSMRAM]&smramLock != 0 {
		m.cfg[mchSMRAM] &^= smramOpen
		m.wmask[mchSMRAM] = smramClosed
		m.wmask[mchESMRAMC] = 0
	}
}

// unlockSMRAM makes the registers writable as after reset. The caller holds the
// function's lock.
func (m *MCH) unlockSMRAM() {
	m.wmask[mchSMRAM] = smramOpen | smramClosed | smramLock | smramEnable
	m.wmask[mchESMRAMC] = 0x87
}

// Reset puts the bridge into its power-on state.
func (m *MCH) Reset() {
	m.mu.Lock()
	m.unlockSMRAM()
	m.mu.Unlock()
	m.Function.Reset()
	m.placeECAM()
	m.tellPAM()
	m.tellSMRAM()
}

// ECAM returns where the configuration window is and its size in bytes, 0 while
// there is none.
func (m *MCH) ECAM() (base, size uint64) {
	v := uint64(m.Config(mchPCIEXBAR, 4)) | uint64(m.Config(mchPCIEXBAR+4, 4))<<32
	if v&1 == 0 {
		return 0, 0
	}
	switch v >> 1 & 3 {
	case 0:
		size = 256 << 20
	case 1:
		size = 128 << 20
	case 2:
		size = 64 << 20
	default:
		return 0, 0 // reserved
	}
	return v & 0xffc000000 &^ (size - 1), size
}

func (m *MCH) placeECAM() {
	// The register's bits cannot form a range that does not fit.
	_ = m.host.MapECAM(m.ECAM())
}

// PAM returns the attributes of the 13 ranges from 0xC0000 on, by address.
func (m *MCH) PAM() []PAMRange {
	l := make([]PAMRange, 0, 13)
	for i := range 12 {
		v := m.Config(mchPAM0+1+i/2, 1) >> (4 * (i & 1))
		l = append(l, PAMRange{0xc0000 + uint64(i)<<14, 1 << 14, v&1 != 0, v&2 != 0})
	}
	v := m.Config(mchPAM0, 1) >> 4
	return append(l, PAMRange{0xf0000, 1 << 16, v&1 != 0, v&2 != 0})
}

func (m *MCH) tellPAM() {
	if m.c.PAM != nil {
		m.c.PAM(m.PAM())
	}
}

// SMRAM returns the present visibility of system management memory.
func (m *MCH) SMRAM() SMRAM {
	s, e := m.Config(mchSMRAM, 1), m.Config(mchESMRAMC, 1)
	r := SMRAM{
		Enabled: s&smramEnable != 0,
		Open:    s&smramOpen != 0,
		Closed:  s&smramClosed != 0,
		Locked:  s&smramLock != 0,
	}
	if e&1 != 0 && r.Enabled {
		r.TSEG = [4]uint64{1 << 20, 2 << 20, 8 << 20, 0}[e>>1&3]
	}
	return r
}

func (m *MCH) tellSMRAM() {
	if m.c.SMRAM != nil {
		m.c.SMRAM(m.SMRAM())
	}
}
