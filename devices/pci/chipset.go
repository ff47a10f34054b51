package pci

import (
	"sync"

	"dfemu/devices"
)

// Rows of the chipset configuration registers (ICH9 data sheet, section 10.1).
const (
	ccD31IP = iota
	ccD31IR
	ccD30IR
	ccD29IR
	ccD28IR
	ccD27IR
	ccD26IR
	ccD25IR
	ccOIC
	ccRC
	ccHPTC
	ccGCS
	ccBUC
	ccFD
	ccCG
	ccScratch
	ccCount
)

// chipsetRegisters holds the registers that software looks for.
var chipsetRegisters = devices.NewBank("lpc RCBA", []devices.Register{
	ccD31IP:   {Offset: 0x3100, Size: 4, Name: "DxxIP", Count: 7, Stride: 4},
	ccD31IR:   {Offset: 0x3140, Size: 2, Name: "D31IR"},
	ccD30IR:   {Offset: 0x3142, Size: 2, Name: "D30IR", Rights: devices.RO},
	ccD29IR:   {Offset: 0x3144, Size: 2, Name: "D29IR"},
	ccD28IR:   {Offset: 0x3146, Size: 2, Name: "D28IR"},
	ccD27IR:   {Offset: 0x3148, Size: 2, Name: "D27IR"},
	ccD26IR:   {Offset: 0x314c, Size: 2, Name: "D26IR"},
	ccD25IR:   {Offset: 0x3150, Size: 2, Name: "D25IR"},
	ccOIC:     {Offset: 0x31ff, Size: 1, Name: "OIC"},
	ccRC:      {Offset: 0x3400, Size: 4, Name: "RC"},
	ccHPTC:    {Offset: 0x3404, Size: 4, Name: "HPTC"},
	ccGCS:     {Offset: 0x3410, Size: 4, Name: "GCS"},
	ccBUC:     {Offset: 0x3414, Size: 1, Name: "BUC"},
	ccFD:      {Offset: 0x3418, Size: 4, Name: "FD"},
	ccCG:      {Offset: 0x341c, Size: 4, Name: "CG"},
	ccScratch: {Offset: 0x0014, Size: 4, Name: "V0CTL"},
})

// routeDevice is the device whose pins a DxxIR register routes.
var routeDevice = map[int]int{
	ccD31IR: 31, ccD29IR: 29, ccD28IR: 28, ccD27IR: 27, ccD26IR: 26, ccD25IR: 25,
}

// chipset is the region that RCBA places.
type chipset struct {
	l   *LPC
	mu  sync.Mutex
	val [ccCount]uint64
	ip  [7]uint64
}

func (c *chipset) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.val = [ccCount]uint64{ccHPTC: 1 << 7, ccOIC: 2, ccScratch: 0x800000ff}
	c.ip = [7]uint64{}
	for row := range routeDevice {
		c.val[row] = 0x3210
	}
}

// ReadRegister implements devices.Registers.
func (c *chipset) ReadRegister(r devices.Reg, _ uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.ID {
	case ccD31IP:
		return c.ip[r.Index]
	case ccD30IR:
		return 0x7654 // fixed: PIRQE to PIRQH
	}
	return c.val[r.ID]
}

// WriteRegister implements devices.Registers.
func (c *chipset) WriteRegister(r devices.Reg, v, mask uint64) {
	c.mu.Lock()
	p := &c.val[r.ID]
	if r.ID == ccD31IP {
		p = &c.ip[r.Index]
	}
	*p = *p&^mask | v&mask
	now := *p
	c.mu.Unlock()
	if dev, ok := routeDevice[r.ID]; ok {
		c.route(dev, now)
	}
	if r.ID == ccHPTC {
		c.l.tellHPET()
	}
}

// route makes the pins of dev drive the PIRQs that a DxxIR value says: three
// bits for each pin, four apart.
func (c *chipset) route(dev int, v uint64) {
	for pin := range 4 {
		c.l.host.router.setRoute(dev, pin, uint8(v>>(4*pin)&7))
	}
}

func (c *chipset) routeAll() {
	for row, dev := range routeDevice {
		c.mu.Lock()
		v := c.val[row]
		c.mu.Unlock()
		c.route(dev, v)
	}
}

// HPET returns where the event timers are, and whether they are enabled.
func (l *LPC) HPET() (base uint64, on bool) {
	l.chip.mu.Lock()
	defer l.chip.mu.Unlock()
	v := l.chip.val[ccHPTC]
	return 0xfed00000 + v&3<<12, v>>7&1 != 0
}

// NoReboot tells whether the guest keeps the TCO watchdog from resetting the
// machine (GCS, bit 5).
func (l *LPC) NoReboot() bool {
	l.chip.mu.Lock()
	defer l.chip.mu.Unlock()
	return l.chip.val[ccGCS]>>5&1 != 0
}
