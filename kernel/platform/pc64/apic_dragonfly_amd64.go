package pc64

import (
	"sync/atomic"

	"dfemu/kernel/platform/acpi"
)

// Vectors. Those of devices are below vecTimer.
const (
	vecDevice = 0x30
	vecTimer  = 0xef
	vecIPI    = 0xf0
	vecFlush  = 0xf1
	vecSpur   = 0xff
)

// Local APIC registers, as offsets in xAPIC mode.
const (
	apicID      = 0x20
	apicTPR     = 0x80
	apicEOI     = 0xb0
	apicSVR     = 0xf0
	apicICR     = 0x300
	apicICRHigh = 0x310
	apicTimer   = 0x320
	apicLINT0   = 0x350
	apicLINT1   = 0x360
	apicError   = 0x370
	apicInitial = 0x380
	apicCurrent = 0x390
	apicDivide  = 0x3e0

	msrAPICBase    = 0x1b
	msrTSCDeadline = 0x6e0
	msrX2APIC      = 0x800
)

var (
	x2apic      bool
	tscDeadline bool
	apicBase    uint64 = directMap + 0xfee00000
	// apicMul converts nanoseconds to counts of the local timer, in 1/2^32; see initClock.
	apicMul uint64
)

func apicRead(reg uint64) uint32 {
	if x2apic {
		return uint32(rdmsr(msrX2APIC + uint32(reg>>4)))
	}
	return load32(apicBase + reg)
}

func apicWrite(reg uint64, v uint32) {
	if x2apic {
		wrmsr(msrX2APIC+uint32(reg>>4), uint64(v))
		return
	}
	store32(apicBase+reg, v)
}

// sendICR sends an interrupt command to a processor.
func sendICR(dest, cmd uint32) {
	if x2apic {
		wrmsr(msrX2APIC+apicICR>>4, uint64(dest)<<32|uint64(cmd))
		return
	}
	for apicRead(apicICR)&(1<<12) != 0 {
		pause()
	}
	apicWrite(apicICRHigh, dest<<24)
	apicWrite(apicICR, cmd)
}

// sendVector interrupts a processor.
func sendVector(dest, vec uint32) { sendICR(dest, 1<<14|vec) }

// sendNMI interrupts a processor whatever it does.
func sendNMI(dest uint32) { sendICR(dest, 1<<14|4<<8) }

// initAPIC turns on the local APIC of the CPU that calls.
func initAPIC(p *percpu) {
	_, _, ecx, _ := cpuid(1, 0)
	base := rdmsr(msrAPICBase) | 1<<11
	if ecx>>21&1 != 0 {
		base |= 1 << 10
		x2apic = true
	}
	wrmsr(msrAPICBase, base)
	tscDeadline = ecx>>24&1 != 0
	apicWrite(apicTPR, 0)
	apicWrite(apicSVR, 0x100|vecSpur)
	apicWrite(apicLINT0, 1<<16|7<<8)
	apicWrite(apicLINT1, 4<<8) // NMI
	apicWrite(apicError, 1<<16)
	apicWrite(apicDivide, 0xb) // by 1
	if tscDeadline {
		apicWrite(apicTimer, 2<<17|vecTimer)
	} else {
		apicWrite(apicTimer, vecTimer)
	}
	p.apicID = apicRead(apicID)
	if !x2apic {
		p.apicID >>= 24
	}
}

// I/O APIC.

var (
	tables    acpi.Info
	ioapicMax [acpi.MaxIOAPICs]uint32 // entries
)

func ioapicRead(n int, reg uint32) uint32 {
	a := directMap + tables.IOAPICs[n].Addr
	store32(a, reg)
	return load32(a + 0x10)
}

func ioapicWrite(n int, reg, v uint32) {
	a := directMap + tables.IOAPICs[n].Addr
	store32(a, reg)
	store32(a+0x10, v)
}

// init8259 masks the old interrupt controllers. It comes before the local APIC is set up, so that a
// request that is pending goes away where it came from.
func init8259() {
	out8(0x21, 0xff)
	out8(0xa1, 0xff)
}

// initIOAPICs masks everything.
func initIOAPICs() {
	for n := range tables.NIOAPICs {
		ioapicMax[n] = ioapicRead(n, 1)>>16&0xff + 1
		for e := range ioapicMax[n] {
			ioapicWrite(n, 0x10+2*e, 1<<16)
			ioapicWrite(n, 0x11+2*e, 0)
		}
	}
}

// findGSI returns the I/O APIC and entry of a global system interrupt, or -1.
func findGSI(gsi uint32) (n int, entry uint32) {
	for n := range tables.NIOAPICs {
		if first := tables.IOAPICs[n].GSI; gsi >= first && gsi-first < ioapicMax[n] {
			return n, gsi - first
		}
	}
	return -1, 0
}

// ioapicLock guards the pair of registers by which an I/O APIC is reached. It is taken with interrupts off.
var ioapicLock atomic.Uint32

func lockIOAPIC() {
	for !ioapicLock.CompareAndSwap(0, 1) {
		flushIfAsked()
		pause()
	}
}

// routeGSI sends a global system interrupt to a processor, masked or not.
func routeGSI(gsi, vec, dest uint32, level, low, mask bool) bool {
	n, e := findGSI(gsi)
	if n < 0 {
		return false
	}
	v := vec
	if level {
		v |= 1 << 15
	}
	if low {
		v |= 1 << 13
	}
	if mask {
		v |= 1 << 16
	}
	lockIOAPIC()
	ioapicWrite(n, 0x10+2*e, 1<<16)
	ioapicWrite(n, 0x11+2*e, dest<<24)
	ioapicWrite(n, 0x10+2*e, v)
	ioapicLock.Store(0)
	return true
}

// maskGSI masks or unmasks a routed interrupt.
func maskGSI(gsi uint32, mask bool) {
	n, e := findGSI(gsi)
	if n < 0 {
		return
	}
	lockIOAPIC()
	v := ioapicRead(n, 0x10+2*e) &^ (1 << 16)
	if mask {
		v |= 1 << 16
	}
	ioapicWrite(n, 0x10+2*e, v)
	ioapicLock.Store(0)
}
