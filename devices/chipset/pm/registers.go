package pm

import "dfemu/devices"

// Rows of the register table (ICH9, section 13.8.3), as offsets from PMBASE.
const (
	regPM1Sts = iota
	regPM1En
	regPM1Cnt
	regTimer
	regProcCnt
	regLevels
	regGPE0Sts
	regGPE0En
	regSMIEn
	regSMISts
	regAltGPIEn
	regAltGPISts
	regGPECnt
	regDevActSts
	regPM2Cnt
)

var bank = devices.NewBank("ACPI", []devices.Register{
	regPM1Sts: {Offset: PM1Event, Size: 2, Name: "PM1_STS", Fields: []devices.Field{
		{Name: "TMROF_STS", Lo: 0, Hi: 0}, {Name: "BM_STS", Lo: 4, Hi: 4}, {Name: "GBL_STS", Lo: 5, Hi: 5},
		{Name: "PWRBTN_STS", Lo: 8, Hi: 8}, {Name: "SLPBTN_STS", Lo: 9, Hi: 9}, {Name: "RTC_STS", Lo: 10, Hi: 10},
		{Name: "WAK_STS", Lo: 15, Hi: 15}}},
	regPM1En: {Offset: 0x02, Size: 2, Name: "PM1_EN"},
	regPM1Cnt: {Offset: PM1Control, Size: 4, Name: "PM1_CNT", Fields: []devices.Field{
		{Name: "SCI_EN", Lo: 0, Hi: 0}, {Name: "BM_RLD", Lo: 1, Hi: 1}, {Name: "GBL_RLS", Lo: 2, Hi: 2},
		{Name: "SLP_TYP", Lo: 10, Hi: 12}, {Name: "SLP_EN", Lo: 13, Hi: 13}}},
	regTimer:   {Offset: PMTimer, Size: 4, Name: "PM1_TMR", Rights: devices.RO},
	regProcCnt: {Offset: 0x10, Size: 4, Name: "PROC_CNT"},
	regLevels:  {Offset: 0x14, Size: 1, Name: "LV", Rights: devices.RO, Count: 3, Stride: 1},
	regGPE0Sts: {Offset: GPE0, Size: 8, Name: "GPE0_STS"},
	regGPE0En:  {Offset: GPE0 + 8, Size: 8, Name: "GPE0_EN"},
	regSMIEn: {Offset: 0x30, Size: 4, Name: "SMI_EN", Fields: []devices.Field{
		{Name: "GBL_SMI_EN", Lo: 0, Hi: 0}, {Name: "APMC_EN", Lo: 5, Hi: 5}}},
	regSMISts:    {Offset: 0x34, Size: 4, Name: "SMI_STS"},
	regAltGPIEn:  {Offset: 0x38, Size: 2, Name: "ALT_GP_SMI_EN"},
	regAltGPISts: {Offset: 0x3a, Size: 2, Name: "ALT_GP_SMI_STS"},
	regGPECnt:    {Offset: 0x42, Size: 1, Name: "GPE_CNTL"},
	regDevActSts: {Offset: 0x44, Size: 2, Name: "DEVACT_STS"},
	regPM2Cnt:    {Offset: PM2Control, Size: 1, Name: "PM2_CNT"},
})

// Rows of the APM ports' table.
const (
	regAPMCnt = iota
	regAPMSts
)

var apmBank = devices.NewBank("APM", []devices.Register{
	regAPMCnt: {Offset: 0, Size: 1, Name: "APM_CNT"},
	regAPMSts: {Offset: 1, Size: 1, Name: "APM_STS"},
})

// Bits of PM1_STS and PM1_EN.
const (
	pm1TMROF  = 1 << 0
	pm1GBL    = 1 << 5
	pm1PWRBTN = 1 << 8
	pm1SLPBTN = 1 << 9
	pm1RTC    = 1 << 10
	pm1WAK    = 1 << 15

	pm1Enables = pm1TMROF | pm1GBL | pm1PWRBTN | pm1SLPBTN | pm1RTC
)

// Bits of PM1_CNT.
const (
	cntSCI      = 1 << 0
	cntBMRLD    = 1 << 1
	cntSlpShift = 10
	cntSlpMask  = 7 << cntSlpShift
	cntSLPEN    = 1 << 13

	cntWritable = cntSCI | cntBMRLD | cntSlpMask
)

// smiAPMC in SMI_EN says that the APM ports raise SMIs. It is always set: to
// firmware it means that system management mode was set up already. With the
// global enable bit it is locked, so no SMI ever happens.
const (
	smiGlobal = 1 << 0
	smiAPMC   = 1 << 5
)
