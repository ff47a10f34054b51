package hpet

import "dfemu/devices"

// Rows of the register table (HPET 1.0a, section 2.3).
const (
	regCapID = iota
	regConfig
	regStatus
	regCounter
	regTimerConfig
	regTimerComparator
	regTimerFSB
)

func newBank(timers int) *devices.Bank {
	return devices.NewBank("HPET", []devices.Register{
		regCapID: {Offset: 0x000, Size: 8, Name: "GCAP_ID", Rights: devices.RO},
		regConfig: {Offset: 0x010, Size: 8, Name: "GEN_CONF", Fields: []devices.Field{
			{Name: "ENABLE_CNF", Lo: 0, Hi: 0}, {Name: "LEG_RT_CNF", Lo: 1, Hi: 1}}},
		regStatus:  {Offset: 0x020, Size: 8, Name: "GINTR_STA"},
		regCounter: {Offset: 0x0f0, Size: 8, Name: "MAIN_CNT"},
		regTimerConfig: {Offset: 0x100, Size: 8, Name: "TIMn_CONF", Count: timers, Stride: 0x20, Fields: []devices.Field{
			{Name: "INT_TYPE_CNF", Lo: 1, Hi: 1}, {Name: "INT_ENB_CNF", Lo: 2, Hi: 2}, {Name: "TYPE_CNF", Lo: 3, Hi: 3},
			{Name: "PER_INT_CAP", Lo: 4, Hi: 4}, {Name: "SIZE_CAP", Lo: 5, Hi: 5}, {Name: "VAL_SET_CNF", Lo: 6, Hi: 6},
			{Name: "32MODE_CNF", Lo: 8, Hi: 8}, {Name: "INT_ROUTE_CNF", Lo: 9, Hi: 13}, {Name: "FSB_EN_CNF", Lo: 14, Hi: 14},
			{Name: "FSB_INT_DEL_CAP", Lo: 15, Hi: 15}, {Name: "INT_ROUTE_CAP", Lo: 32, Hi: 63}}},
		regTimerComparator: {Offset: 0x108, Size: 8, Name: "TIMn_COMP", Count: timers, Stride: 0x20},
		regTimerFSB:        {Offset: 0x110, Size: 8, Name: "TIMn_FSB", Count: timers, Stride: 0x20},
	})
}

// Bits of the general capabilities and configuration registers.
const (
	capCounter64 = 1 << 13
	capLegacy    = 1 << 15
	capRevision  = 1
	capVendor    = 0x8086 << 16

	confEnable = 1 << 0
	confLegacy = 1 << 1
)

// Bits of a timer's configuration and capabilities register.
const (
	timLevel      = 1 << 1
	timEnable     = 1 << 2
	timPeriodic   = 1 << 3
	timPerCap     = 1 << 4
	timSize64     = 1 << 5
	timValSet     = 1 << 6
	tim32         = 1 << 8
	timRouteShift = 9
	timRouteMask  = 0x1f << timRouteShift
	timFSB        = 1 << 14
	timFSBCap     = 1 << 15

	timWritable = timLevel | timEnable | timPeriodic | timValSet | tim32 | timRouteMask
)
