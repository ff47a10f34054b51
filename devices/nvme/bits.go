package nvme

import "dfemu/devices"

// Rows of the register table (NVMe over PCIe Transport 1.0, section 3.1).
const (
	regCAP = iota
	regVS
	regINTMS
	regINTMC
	regCC
	regCSTS
	regNSSR
	regAQA
	regASQ
	regACQ
	regCMBLOC
	regCMBSZ
	regBPINFO
	regCMBMSC
	regCMBSTS
	regCMBEBS
	regCMBSWTP
	regNSSD
	regCRTO
	regSQTDBL
	regCQHDBL
)

// Places in BAR 0.
const (
	doorbells  = 0x1000
	msixTable  = 0x2000
	msixPBA    = 0x3000
	bar0Size   = 0x4000
	maxQueues  = 129 // with the admin queue
	cmbBAR     = 2
	admin      = 0 // identifier of the admin queues
	sqeSize    = 64
	cqeSize    = 16
	allSpaces  = 0xffffffff
	maxSpaces  = 1024
	identBytes = 4096
)

type fields = []devices.Field

var bank = devices.NewBank("NVMe", []devices.Register{
	regCAP: {Offset: 0x00, Size: 8, Name: "CAP", Rights: devices.RO, Fields: fields{
		{Name: "MQES", Lo: 0, Hi: 15}, {Name: "CQR", Lo: 16, Hi: 16}, {Name: "AMS", Lo: 17, Hi: 18}, {Name: "TO", Lo: 24, Hi: 31},
		{Name: "DSTRD", Lo: 32, Hi: 35}, {Name: "NSSRS", Lo: 36, Hi: 36}, {Name: "CSS", Lo: 37, Hi: 44}, {Name: "BPS", Lo: 45, Hi: 45},
		{Name: "CPS", Lo: 46, Hi: 47}, {Name: "MPSMIN", Lo: 48, Hi: 51}, {Name: "MPSMAX", Lo: 52, Hi: 55}, {Name: "PMRS", Lo: 56, Hi: 56},
		{Name: "CMBS", Lo: 57, Hi: 57}, {Name: "NSSS", Lo: 58, Hi: 58}, {Name: "CRMS", Lo: 59, Hi: 60}}},
	regVS: {Offset: 0x08, Size: 4, Name: "VS", Rights: devices.RO, Fields: fields{
		{Name: "TER", Lo: 0, Hi: 7}, {Name: "MNR", Lo: 8, Hi: 15}, {Name: "MJR", Lo: 16, Hi: 31}}},
	regINTMS: {Offset: 0x0c, Size: 4, Name: "INTMS", Fields: fields{{Name: "IVMS", Lo: 0, Hi: 31}}},
	regINTMC: {Offset: 0x10, Size: 4, Name: "INTMC", Fields: fields{{Name: "IVMC", Lo: 0, Hi: 31}}},
	regCC: {Offset: 0x14, Size: 4, Name: "CC", Fields: fields{
		{Name: "EN", Lo: 0, Hi: 0}, {Name: "CSS", Lo: 4, Hi: 6}, {Name: "MPS", Lo: 7, Hi: 10}, {Name: "AMS", Lo: 11, Hi: 13},
		{Name: "SHN", Lo: 14, Hi: 15}, {Name: "IOSQES", Lo: 16, Hi: 19}, {Name: "IOCQES", Lo: 20, Hi: 23}, {Name: "CRIME", Lo: 24, Hi: 24}}},
	regCSTS: {Offset: 0x1c, Size: 4, Name: "CSTS", Reserved: 0xffffff80, Clause: "NVMe base 2.0, 3.1.3.6", Fields: fields{
		{Name: "RDY", Lo: 0, Hi: 0}, {Name: "CFS", Lo: 1, Hi: 1}, {Name: "SHST", Lo: 2, Hi: 3}, {Name: "NSSRO", Lo: 4, Hi: 4},
		{Name: "PP", Lo: 5, Hi: 5}, {Name: "ST", Lo: 6, Hi: 6}}},
	regNSSR: {Offset: 0x20, Size: 4, Name: "NSSR", Fields: fields{{Name: "NSSRC", Lo: 0, Hi: 31}}},
	regAQA:  {Offset: 0x24, Size: 4, Name: "AQA", Clause: "NVMe base 2.0, 3.1.3.8", Fields: fields{{Name: "ASQS", Lo: 0, Hi: 11}, {Name: "ACQS", Lo: 16, Hi: 27}}},
	regASQ:  {Offset: 0x28, Size: 8, Name: "ASQ", Reserved: 0xfff, Clause: "NVMe base 2.0, 3.1.3.9", Fields: fields{{Name: "ASQB", Lo: 12, Hi: 63}}},
	regACQ:  {Offset: 0x30, Size: 8, Name: "ACQ", Reserved: 0xfff, Clause: "NVMe base 2.0, 3.1.3.10", Fields: fields{{Name: "ACQB", Lo: 12, Hi: 63}}},
	regCMBLOC: {Offset: 0x38, Size: 4, Name: "CMBLOC", Rights: devices.RO, Fields: fields{
		{Name: "BIR", Lo: 0, Hi: 2}, {Name: "CQMMS", Lo: 3, Hi: 3}, {Name: "CQPDS", Lo: 4, Hi: 4}, {Name: "CDPMLS", Lo: 5, Hi: 5},
		{Name: "CDPCILS", Lo: 6, Hi: 6}, {Name: "CDMMMS", Lo: 7, Hi: 7}, {Name: "CQDA", Lo: 8, Hi: 8}, {Name: "OFST", Lo: 12, Hi: 31}}},
	regCMBSZ: {Offset: 0x3c, Size: 4, Name: "CMBSZ", Rights: devices.RO, Fields: fields{
		{Name: "SQS", Lo: 0, Hi: 0}, {Name: "CQS", Lo: 1, Hi: 1}, {Name: "LISTS", Lo: 2, Hi: 2}, {Name: "RDS", Lo: 3, Hi: 3},
		{Name: "WDS", Lo: 4, Hi: 4}, {Name: "SZU", Lo: 8, Hi: 11}, {Name: "SZ", Lo: 12, Hi: 31}}},
	regBPINFO: {Offset: 0x40, Size: 4, Name: "BPINFO", Rights: devices.RO},
	regCMBMSC: {Offset: 0x50, Size: 8, Name: "CMBMSC", Reserved: 0xffc, Clause: "NVMe base 2.0, 3.1.3.16", Fields: fields{
		{Name: "CRE", Lo: 0, Hi: 0}, {Name: "CMSE", Lo: 1, Hi: 1}, {Name: "CBA", Lo: 12, Hi: 63}}},
	regCMBSTS:  {Offset: 0x58, Size: 4, Name: "CMBSTS", Rights: devices.RO, Fields: fields{{Name: "CBAI", Lo: 0, Hi: 0}}},
	regCMBEBS:  {Offset: 0x5c, Size: 4, Name: "CMBEBS", Rights: devices.RO},
	regCMBSWTP: {Offset: 0x60, Size: 4, Name: "CMBSWTP", Rights: devices.RO},
	regNSSD:    {Offset: 0x64, Size: 4, Name: "NSSD", Rights: devices.RO},
	regCRTO: {Offset: 0x68, Size: 4, Name: "CRTO", Rights: devices.RO, Fields: fields{
		{Name: "CRWMT", Lo: 0, Hi: 15}, {Name: "CRIMT", Lo: 16, Hi: 31}}},
	regSQTDBL: {Offset: doorbells, Size: 4, Name: "SQTDBL", Rights: devices.WO, Count: maxQueues, Stride: 8, Whole: true, Doorbell: true,
		Clause: "NVMe over PCIe 1.0, 3.1.2", Fields: fields{{Name: "SQT", Lo: 0, Hi: 15}}},
	regCQHDBL: {Offset: doorbells + 4, Size: 4, Name: "CQHDBL", Rights: devices.WO, Count: maxQueues, Stride: 8, Whole: true,
		Clause: "NVMe over PCIe 1.0, 3.1.2", Fields: fields{{Name: "CQH", Lo: 0, Hi: 15}}},
}).With(devices.Rules{Clause: "NVMe base 2.0, 3.1.3"})

// Bits of CAP.
const (
	capCQR    = 1 << 16
	capTO     = 24
	capNSSRS  = 1 << 36
	capCSSNVM = 1 << 37
	capCSSIO  = 1 << 43 // one or more I/O command sets, see Identify CNS 1Ch
	capCSSNo  = 1 << 44 // admin only is possible
	capMPSMAX = 52
	capCMBS   = 1 << 57
	capCRWMS  = 1 << 59
	maxMPS    = 4 // pages of 64 KiB
)

const version = 0x00020000 // 2.0.0

// Bits of CC.
const (
	ccEN       = 1 << 0
	ccWritable = 0x00fffff1
	ccReserved = ^uint32(0x01fffff1)
	ccLatched  = 0x00003ff0 // CSS, MPS, AMS: fixed while enabled
)

// Values of CC.CSS.
const (
	cssNVM   = 0
	cssAll   = 6
	cssAdmin = 7
)

// Bits of CSTS.
const (
	cstsRDY   = 1 << 0
	cstsCFS   = 1 << 1
	cstsSHST  = 3 << 2
	cstsBusy  = 1 << 2 // SHST: shutdown processing occurring
	cstsDone  = 2 << 2 // SHST: shutdown processing complete
	cstsNSSRO = 1 << 4
)

const nssrValue = 0x4e564d65 // "NVMe"

// Bits of CMBMSC.
const (
	cmbCRE  = 1 << 0
	cmbCMSE = 1 << 1
)
