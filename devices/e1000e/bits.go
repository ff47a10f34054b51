package e1000e

import "dfemu/devices"

// Sections and names are those of the Intel 82574 GbE Controller Family
// Datasheet, chapter 10 unless another is given.

// Rows of the register table that are more than storage.
const (
	regCTRL = iota
	regSTATUS
	regEECD
	regEERD
	regCTRLEXT
	regMDIC
	regICR
	regITR
	regICS
	regIMS
	regIMC
	regEIAC
	regIAM
	regIVAR
	regEITR
	regRCTL
	regTCTL
	regEEWR
	regRDBAL
	regRDBAH
	regRDLEN
	regRDH
	regRDT
	regRXDCTL
	regTDBAL
	regTDBAH
	regTDLEN
	regTDH
	regTDT
	regTXDCTL
	regRXCSUM
	regRFCTL
	regMTA
	regRAL
	regRAH
	regVFTA
	regMRQC
	regRETA
	regRSSRK
	regSTATS
	regSYSTIML
	regSYSTIMH
	regTIMINCA
	regSWSM
	regFWSM
	regEEMNGCTL
	regTSYNCTXCTL
	regTSYNCRXCTL
	regPlain // rows from here on are storage
)

func reg(off uint64, name string, f ...devices.Field) devices.Register {
	return devices.Register{Offset: off, Size: 4, Name: name, Whole: true, Fields: f}
}

func ro(r devices.Register) devices.Register { r.Rights = devices.RO; return r }

func wo(r devices.Register) devices.Register { r.Rights = devices.WO; return r }

// zero has a driver write bits as 0.
func zero(bits uint64, r devices.Register) devices.Register { r.Reserved = bits; return r }

const (
	upperHalf = 0xffff0000
	aboveLEN  = 0xfff00000 // of a ring's length in bytes
)

func doorbell(r devices.Register) devices.Register {
	r.Doorbell = true
	return r
}

func array(off uint64, count int, stride uint64, name string, f ...devices.Field) devices.Register {
	r := reg(off, name, f...)
	r.Count, r.Stride = count, stride
	return r
}

func bit(name string, n uint8) devices.Field { return devices.Field{Name: name, Lo: n, Hi: n} }

func bits(name string, lo, hi uint8) devices.Field {
	return devices.Field{Name: name, Lo: lo, Hi: hi}
}

var causeFields = []devices.Field{
	bit("TXDW", 0), bit("TXQE", 1), bit("LSC", 2), bit("RXDMT0", 4), bit("RXO", 6), bit("RXT0", 7), bit("MDAC", 9), bit("TXD_LOW", 15),
	bit("SRPD", 16), bit("ACK", 17), bit("MNG", 18), bit("RxQ0", 20), bit("RxQ1", 21), bit("TxQ0", 22), bit("TxQ1", 23), bit("Other", 24), bit("INT_ASSERTED", 31),
}

// registers is the table. What a driver must write as 0 is where the data sheet says so and not more: of many bits that have no name it
// does not, and drivers keep what they read of them.
var registers = devices.NewBank("e1000e", table()).With(devices.Rules{Clause: "82574 datasheet, 10.2"})

func table() []devices.Register {
	t := []devices.Register{
		regCTRL: reg(0x0000, "CTRL", bit("FD", 0), bit("GIO_master_disable", 2), bit("ASDE", 5), bit("SLU", 6), bits("SPEED", 8, 9), bit("FRCSPD", 11),
			bit("FRCDPLX", 12), bit("ADVD3WUC", 20), bit("RST", 26), bit("RFCE", 27), bit("TFCE", 28), bit("VME", 30), bit("PHY_RST", 31)),
		regSTATUS:  ro(reg(0x0008, "STATUS", bit("FD", 0), bit("LU", 1), bits("LAN_ID", 2, 3), bit("TXOFF", 4), bits("SPEED", 6, 7), bits("ASDV", 8, 9), bit("PHYRA", 10), bit("GIO_master_enable", 19))),
		regEECD:    reg(0x0010, "EEC", bit("EE_SK", 0), bit("EE_CS", 1), bit("EE_DI", 2), bit("EE_DO", 3), bit("EE_REQ", 6), bit("EE_GNT", 7), bit("EE_PRES", 8), bit("Auto_RD", 9), bits("NVSize", 11, 14)),
		regEERD:    reg(0x0014, "EERD", bit("START", 0), bit("DONE", 1), bits("ADDR", 2, 15), bits("DATA", 16, 31)),
		regCTRLEXT: reg(0x0018, "CTRL_EXT", bit("ASDCHK", 12), bit("EE_RST", 13), bit("SPD_BYPS", 15), bit("RO_DIS", 17), bits("LINK_MODE", 22, 23), bit("EIAME", 24), bit("IAME", 27), bit("DRV_LOAD", 28), bit("PBA_support", 31)),
		regMDIC:    reg(0x0020, "MDIC", bits("DATA", 0, 15), bits("REGADD", 16, 20), bits("PHYADD", 21, 25), bits("OP", 26, 27), bit("R", 28), bit("I", 29), bit("E", 30)),
		regICR:     reg(0x00c0, "ICR", causeFields...),
		regITR:     zero(upperHalf, reg(0x00c4, "ITR", bits("INTERVAL", 0, 15))),
		regICS:     wo(reg(0x00c8, "ICS", causeFields...)),
		regIMS:     reg(0x00d0, "IMS", causeFields...),
		regIMC:     wo(reg(0x00d8, "IMC", causeFields...)),
		regEIAC:    reg(0x00dc, "EIAC", causeFields...),
		regIAM:     reg(0x00e0, "IAM", causeFields...),
		regIVAR:    zero(0x7ff00000, reg(0x00e4, "IVAR", bits("RxQ0", 0, 3), bits("RxQ1", 4, 7), bits("TxQ0", 8, 11), bits("TxQ1", 12, 15), bits("Other", 16, 19), bit("TxWB", 31))),
		regEITR:    zero(upperHalf, array(0x00e8, 5, 4, "EITR", bits("INTERVAL", 0, 15))),
		regRCTL: zero(1<<0|1<<14|1<<21|1<<24|1<<31, reg(0x0100, "RCTL", bit("EN", 1), bit("SBP", 2), bit("UPE", 3), bit("MPE", 4), bit("LPE", 5), bits("LBM", 6, 7), bits("RDMTS", 8, 9), bits("DTYP", 10, 11),
			bits("MO", 12, 13), bit("BAM", 15), bits("BSIZE", 16, 17), bit("VFE", 18), bit("CFIEN", 19), bit("CFI", 20), bit("DPF", 22), bit("PMCF", 23), bit("BSEX", 25), bit("SECRC", 26))),
		regTCTL:       zero(1<<0|1<<2, reg(0x0400, "TCTL", bit("EN", 1), bit("PSP", 3), bits("CT", 4, 11), bits("COLD", 12, 21), bit("MULR", 28))),
		regEEWR:       reg(0x102c, "EEWR", bit("START", 0), bit("DONE", 1), bits("ADDR", 2, 15), bits("DATA", 16, 31)),
		regRDBAL:      array(0x2800, 2, 0x100, "RDBAL"),
		regRDBAH:      array(0x2804, 2, 0x100, "RDBAH"),
		regRDLEN:      zero(aboveLEN, array(0x2808, 2, 0x100, "RDLEN")),
		regRDH:        zero(upperHalf, array(0x2810, 2, 0x100, "RDH")),
		regRDT:        zero(upperHalf, array(0x2818, 2, 0x100, "RDT")),
		regRXDCTL:     array(0x2828, 2, 0x100, "RXDCTL", bits("PTHRESH", 0, 5), bits("HTHRESH", 8, 13), bits("WTHRESH", 16, 21), bit("GRAN", 24)),
		regTDBAL:      array(0x3800, 2, 0x100, "TDBAL"),
		regTDBAH:      array(0x3804, 2, 0x100, "TDBAH"),
		regTDLEN:      zero(aboveLEN, array(0x3808, 2, 0x100, "TDLEN")),
		regTDH:        zero(upperHalf, array(0x3810, 2, 0x100, "TDH")),
		regTDT:        zero(upperHalf, doorbell(array(0x3818, 2, 0x100, "TDT"))),
		regTXDCTL:     array(0x3828, 2, 0x100, "TXDCTL", bits("PTHRESH", 0, 5), bits("HTHRESH", 8, 13), bits("WTHRESH", 16, 21), bit("GRAN", 24), bits("LWTHRESH", 25, 31)),
		regRXCSUM:     zero(0xffffc000, reg(0x5000, "RXCSUM", bits("PCSS", 0, 7), bit("IPOFL", 8), bit("TUOFL", 9), bit("CRCOFL", 11), bit("IPPCSE", 12), bit("PCSD", 13))),
		regRFCTL:      reg(0x5008, "RFCTL", bit("IPv6_DIS", 10), bit("ACKDIS", 12), bit("ACKD_DIS", 13), bit("EXSTEN", 15)),
		regMTA:        array(0x5200, 128, 4, "MTA"),
		regRAL:        array(0x5400, 16, 8, "RAL"),
		regRAH:        array(0x5404, 16, 8, "RAH", bits("RAH", 0, 15), bits("ASEL", 16, 17), bit("AV", 31)),
		regVFTA:       array(0x5600, 128, 4, "VFTA"),
		regMRQC:       reg(0x5818, "MRQC", bits("Multiple_Receive_Queues_Enable", 0, 1), bits("RSS_Field_Enable", 16, 31)),
		regRETA:       array(0x5c00, 32, 4, "RETA"),
		regRSSRK:      array(0x5c80, 10, 4, "RSSRK"),
		regSTATS:      ro(array(0x4000, statCount, 4, "STAT")),
		regSYSTIML:    reg(0xb600, "SYSTIML"),
		regSYSTIMH:    reg(0xb604, "SYSTIMH"),
		regTIMINCA:    reg(0xb608, "TIMINCA", bits("INCVALUE", 0, 23), bits("INCPERIOD", 24, 31)),
		regSWSM:       reg(0x5b50, "SWSM", bit("SMBI", 0), bit("SWESMBI", 1), bit("WMNG", 2)),
		regFWSM:       ro(reg(0x5b54, "FWSM")),
		regEEMNGCTL:   ro(reg(0x1010, "EEMNGCTL", bit("CFG_DONE0", 18))),
		regTSYNCTXCTL: reg(0xb614, "TSYNCTXCTL", bit("TXTT", 0), bit("EN", 4)),
		regTSYNCRXCTL: reg(0xb620, "TSYNCRXCTL", bit("RXTT", 0), bits("TYPE", 1, 3), bit("EN", 4)),
	}
	return append(t, plain()...)
}

// plain are the registers that hold what is written to them.
func plain() []devices.Register {
	var t []devices.Register
	for _, r := range []struct {
		off  uint64
		name string
	}{
		{0x0004, "CTRL_ALIAS"}, {0x001c, "FLA"}, {0x0028, "FCAL"}, {0x002c, "FCAH"}, {0x0030, "FCT"}, {0x0038, "VET"}, {0x0170, "FCTTV"},
		{0x0410, "TIPG"}, {0x0458, "AIT"}, {0x0e00, "LEDCTL"}, {0x0f00, "EXTCNF_CTRL"}, {0x0f08, "EXTCNF_SIZE"}, {0x0f10, "POEMB"},
		{0x1000, "PBA"}, {0x1008, "PBS"}, {0x1024, "EEARBC"}, {0x1028, "FLASHT"}, {0x1030, "FLSWCTL"}, {0x1034, "FLSWDATA"}, {0x1038, "FLSWCNT"}, {0x103c, "FLOP"},
		{0x2008, "ERT"}, {0x2160, "FCRTL"}, {0x2168, "FCRTH"}, {0x2170, "PSRCTL"}, {0x2c00, "RSRPD"}, {0x2c08, "RAID"},
		{0x2410, "RDFH"}, {0x2418, "RDFT"}, {0x2420, "RDFHS"}, {0x2428, "RDFTS"}, {0x2430, "RDFPC"},
		{0x3410, "TDFH"}, {0x3418, "TDFT"}, {0x3420, "TDFHS"}, {0x3428, "TDFTS"}, {0x3430, "TDFPC"},
		{0x5800, "WUC"}, {0x5808, "WUFC"}, {0x5810, "WUS"}, {0x5820, "MANC"}, {0x5828, "MFVAL"}, {0x5838, "IPAV"}, {0x5860, "MANC2H"},
		{0x5b00, "GCR"}, {0x5b08, "FUNCTAG"}, {0x5b10, "GSCL_1"}, {0x5b14, "GSCL_2"}, {0x5b18, "GSCL_3"}, {0x5b1c, "GSCL_4"},
		{0x5b30, "FACTPS"}, {0x5b58, "SWSM2"}, {0x5b64, "GCR2"}, {0x5b68, "PBACLR"}, {0x5f40, "FCRTV"},
		{0xb60c, "TIMADJL"}, {0xb610, "TIMADJH"}, {0xb618, "TXSTMPL"}, {0xb61c, "TXSTMPH"}, {0xb624, "RXSTMPL"}, {0xb628, "RXSTMPH"},
		{0xb62c, "RXSATRL"}, {0xb630, "RXSATRH"}, {0xb634, "RXMTRL"}, {0xb638, "RXUDP"},
	} {
		t = append(t, reg(r.off, r.name))
	}
	return append(t,
		zero(upperHalf&^(1<<31), array(0x2820, 2, 0x100, "RDTR", bits("Delay", 0, 15), bit("FPD", 31))), zero(upperHalf, array(0x282c, 2, 0x100, "RADV")),
		zero(upperHalf&^(1<<31), array(0x3820, 2, 0x100, "TIDV")), zero(upperHalf, array(0x382c, 2, 0x100, "TADV")), array(0x3840, 2, 0x100, "TARC"),
		array(0x5840, 4, 8, "IP4AT"), array(0x5880, 4, 4, "IP6AT"), array(0x5890, 4, 4, "MDEF"), array(0x5900, 32, 4, "WUPM"),
		array(0x5f00, 8, 8, "FFLT"), array(0x9000, 128, 8, "FFMT"), array(0x9800, 128, 8, "FFVT"),
		array(0x8800, 0x200, 4, "HOST_IF"), array(0x10000, 0x2000, 4, "PBM"))
}

// Bits of registers.
const (
	ctrlMasterDisable = 1 << 2
	ctrlSLU           = 1 << 6
	ctrlRST           = 1 << 26
	ctrlVME           = 1 << 30
	ctrlPHYRST        = 1 << 31

	statusFD     = 1 << 0
	statusLU     = 1 << 1
	statusSpeed  = 2 << 6 // 1000 Mbit/s
	statusASDV   = 2 << 8
	statusPHYRA  = 1 << 10
	statusMaster = 1 << 19

	ctrlExtEERST = 1 << 13
	ctrlExtEIAME = 1 << 24
	ctrlExtIAME  = 1 << 27

	causeTXDW    = 1 << 0
	causeTXQE    = 1 << 1
	causeLSC     = 1 << 2
	causeRXDMT0  = 1 << 4
	causeRXO     = 1 << 6
	causeRXT0    = 1 << 7
	causeMDAC    = 1 << 9
	causeSRPD    = 1 << 16
	causeACK     = 1 << 17
	causeMNG     = 1 << 18
	causeRxQ0    = 1 << 20
	causeTxQ0    = 1 << 22
	causeOther   = 1 << 24
	causeAssert  = 1 << 31
	causeOthers  = causeLSC | causeRXO | causeMDAC | causeSRPD | causeACK | causeMNG
	causeQueues  = 0x1f << 20
	causeDefined = 0x01f782d7 | causeRXDMT0

	rctlEN    = 1 << 1
	rctlUPE   = 1 << 3
	rctlMPE   = 1 << 4
	rctlLPE   = 1 << 5
	rctlLBM   = 3 << 6
	rctlBAM   = 1 << 15
	rctlVFE   = 1 << 18
	rctlCFIEN = 1 << 19
	rctlCFI   = 1 << 20
	rctlBSEX  = 1 << 25
	rctlSECRC = 1 << 26

	tctlEN  = 1 << 1
	tctlPSP = 1 << 3

	rxcsumIPOFL = 1 << 8
	rxcsumTUOFL = 1 << 9
	rxcsumPCSD  = 1 << 13

	rfctlEXSTEN = 1 << 15

	eecdREQ    = 1 << 6
	eecdGNT    = 1 << 7
	eecdPRES   = 1 << 8
	eecdAutoRD = 1 << 9
)

// Offsets of registers that are only storage but mean something.
const (
	offVET        = 0x0038
	offPSRCTL     = 0x2170
	offRDTR       = 0x2820
	offRADV       = 0x282c
	offTIDV       = 0x3820
	offTADV       = 0x382c
	offEXTCNFCTRL = 0x0f00
	offPBA        = 0x1000
	offLEDCTL     = 0x0e00
	offGCR        = 0x5b00
	offFACTPS     = 0x5b30
	offMANC       = 0x5820
)

// Sizes of the BARs.
const (
	registersSize = 128 << 10
	flashSize     = 128 << 10
	portsSize     = 32
	msixSize      = 16 << 10
	msixPBA       = 0x2000
	vectors       = 5
)

const (
	queues       = 2
	descSize     = 16
	batch        = 64
	maxTransmit  = 16288 // bytes of a packet that is not segmented
	maxSegmented = 14 + 8 + 65535 + 40
	maxReceive   = 16384 // with long packets on
	minFrame     = 14
)

// Codes of packets for traces and faults.
const (
	OpTransmit = 1
	OpReceive  = 2
)
